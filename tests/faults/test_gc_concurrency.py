"""Collections beside writers that are stopped and continued: nothing that a record refers to is deleted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import cpr
from cpr.errors import CprError
from cpr.io import gc_mark_lists
from cpr.operations.gc import collect
from cpr.operations.scan import find_records

ROOT = Path(__file__).parents[2]


def run_beside(monkeypatch, grace: float, **plan: Any) -> dict[str, Any]:
    """Writers and collections side by side; what came of it, and which records refer to nothing."""
    remembered = min(0.2, grace / 20)
    monkeypatch.setattr(gc_mark_lists, "REMEMBERED_SECONDS", remembered)
    monkeypatch.setattr("cpr.operations.gc.REMEMBERED_SECONDS", remembered)
    writers = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.gc_writers", json.dumps({**plan, "remembered": remembered})],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env=os.environ.copy(),
        start_new_session=True,
    )
    rounds = deleted = acquitted = 0
    try:
        while writers.poll() is None:
            time.sleep(0.5)
            try:
                done = collect([plan["base"]], grace=timedelta(seconds=grace), delete=True)
            except CprError as error:
                # No record yet; or this machine is so busy that half the grace period has passed.
                assert "no record" in error.problem or "too long" in error.problem, error
                continue
            rounds += 1
            deleted += len(done.deleted)
            acquitted += len(done.acquitted)
        out, _ = writers.communicate(timeout=120)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(writers.pid, signal.SIGKILL)  # the stopped ones too
    assert writers.returncode == 0
    records, dangling = 0, []
    for record in find_records(plan["base"]):
        records += 1
        assert not record.problems
        for one in record.targets:
            try:
                one.load().get_data()
            except cpr.ResourceNotFoundError:
                dangling.append(one.url)
    return {
        **json.loads(out),
        "rounds": rounds,
        "deleted": deleted,
        "acquitted": acquitted,
        "records": records,
        "dangling": dangling,
    }


def require_none_lost(found: dict[str, Any], grace: float) -> None:
    print(found)
    if (found["dangling"] or found["lost"]) and found["longest"] > grace / 2:
        pytest.skip(f"this machine held a writer up for {found['longest']:.1f} s, beyond the assumption")
    assert found["dangling"] == []
    assert found["lost"] == 0
    assert found["records"] >= found["writers"]
    # Otherwise nothing was proved.
    assert found["deleted"] > 0
    assert found["renamed"] > 0


@pytest.mark.slow
def test_writers_on_local_disk(tmp_path, monkeypatch):
    grace = 4.0
    found = run_beside(
        monkeypatch,
        grace,
        base=str(tmp_path / "run"),
        writers=12,
        seconds=16,
        contents=150,
        pause=0.3,
        stop=0.6,
    )
    require_none_lost(found, grace)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.real_s3
def test_a_hundred_writers_on_s3(s3_url, monkeypatch):
    grace = 120.0
    found = run_beside(
        monkeypatch, grace, base=s3_url, writers=100, seconds=480, contents=800, pause=20.0, stop=4.0
    )
    require_none_lost(found, grace)
    assert found["writers"] == 100


@pytest.mark.long
def test_writers_that_know_nothing_of_marks_lose_results(tmp_path, monkeypatch):
    """What the marks are for: without them the same run goes wrong."""
    found = run_beside(
        monkeypatch,
        2.0,
        base=str(tmp_path / "run"),
        writers=12,
        seconds=30,
        contents=200,
        pause=0.8,
        stop=0.8,
        blind=True,
    )
    print(found)
    assert found["lost"]
