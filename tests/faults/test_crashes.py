"""Processes that are killed, or end in the middle of a write: nothing is half there, and nothing hangs."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import cpr
from cpr import io
from cpr.io.block_digests import SMALL_BYTES, blocks_url
from cpr.io.objects import open_store
from cpr.io.stores.base import UploadListingStore
from cpr.records.registry import RECORD_KEY
from tests.faults.crash_process import NOT_ENDED, PART_BYTES, TARGETS, fill, seconds_to_end, whole
from tests.target_cases import TARGET_CASES, TargetCase

pytestmark = pytest.mark.slow

KILLS = 200
NOW = timedelta(0)
PREVIEWS = (".preview.png", ".preview.json")
KEY = re.compile(r"(?P<number>\d+)-(?P<key>[0-9a-f]{16})(?P<ext>\..*)")

kinds = pytest.mark.parametrize("kind", TARGET_CASES, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def crash(s3_server):
    """crash(plan): carries out a plan of tests.faults.crash_process in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.crash_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    )

    def carry_out(kind: TargetCase, base: str, end: str, at: float, **plan: Any) -> dict[str, Any]:
        plan = {"stream": False, "large": True, **plan, "kind": kind.name, "base": base, "end": end, "at": at}
        print(json.dumps(plan), file=process.stdin, flush=True)
        answer = json.loads(process.stdout.readline())
        assert answer["seconds"] < seconds_to_end(), (plan, answer)
        return answer

    yield carry_out
    process.stdin.close()
    assert process.wait(10) == 0


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.real_s3)])
def base(request, tmp_path):
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_url")


def everything(base: str) -> set[str]:
    store, path = open_store(base)
    return {entry.url for entry in store.walk(path)}


def uploads(base: str) -> list[str]:
    store, path = open_store(base)
    if not isinstance(store, UploadListingStore):
        return []
    return [upload for _, upload in store.uploads(path)]


class Expected:
    """What targets of a kind hold, and the records of any that may be visible, made in memory."""

    def __init__(self, kind: TargetCase) -> None:
        self.kind = kind
        self._records: dict[tuple[bool, bool], dict[str, Any]] = {}
        self._data = {large: whole(kind, large) for large in (False, True)}

    def data(self, large: bool) -> Any:
        return self._data[large]

    def record(self, url: str, large: bool, stream: bool) -> dict[str, Any]:
        """The record of an object that is visible at a URL."""
        if (large, stream) not in self._records:
            twin = self.kind.cls().from_path(
                f"memory://{uuid.uuid4().hex}/twin{self.kind.ext}", **self.kind.options
            )
            fill(twin, self.kind, large, stream, self.data(large), lambda: None)
            self._records[large, stream] = twin.serialize()
            io.remove(twin.url)
        record = self._records[large, stream]
        fields = record[RECORD_KEY]
        location, name = io.split(url)
        match = KEY.fullmatch(name)
        assert match, f"{url} is no result's name"
        if not stream:
            assert match["key"] == fields["key"], f"{url} is another result's name"
        here = {**fields, "location": location, "name": match["number"], "key": match["key"]}
        return {**record, RECORD_KEY: here}


def require_whole(base: str, expected: Expected, large: bool, stream: bool) -> int:
    """All that is visible is whole, and all the rest is found and removed; the number of results."""
    visible = list(io.find(f"{base}/*"))
    there = everything(base)
    keep = set()
    for url in visible:
        target = cpr.load(expected.record(url, large, stream))
        assert expected.kind.equal(target.get_data(), expected.data(large)), url
        target.check(full=True)
        keep.add(url)
        if target.blocks is not None:
            keep.add(blocks_url(url))
        # Made when the object is there already: a result is as good without it.
        keep |= {beside for ending in PREVIEWS if (beside := io.sidecar_url(url, ending)) in there}
    assert keep <= there
    orphans = io.find_orphans(base, NOW)
    assert {one.url for one in orphans if one.upload is None} == there - keep
    assert sorted(one.upload for one in orphans if one.upload) == sorted(uploads(base))
    assert io.find_orphans(base) == []
    assert io.remove_orphans(base, NOW) == orphans
    assert everything(base) == keep
    assert uploads(base) == []
    return len(visible)


def plans(kind: TargetCase, backend: str, count: int) -> list[dict[str, Any]]:
    """Some at any time, some at a counted moment, some at one of publishing; the same ones in every run."""
    dice = random.Random(f"{kind.name} {backend}")
    found: list[dict[str, Any]] = []
    for number in range(count):
        plan = {"large": number % (2 if "shape" in kind.announce else 4) == 0, "stream": number % 4 > 1}
        how = number % 3
        if how == 0:
            plan["at"] = dice.uniform(0.0, 0.6)
        elif how == 1:
            plan["at"] = dice.randrange(12)
        else:
            # Publishing has 3 moments on S3 and 4 in a folder: steps of 5 reach all of them.
            plan.update(at=number // 3 * 5, commit=True)
        found.append(plan)
    return found


@kinds
def test_killed(kind: TargetCase, base, crash):
    """Whatever is visible afterwards is whole; the same targets can be written then."""
    expected = Expected(kind)
    count = KILLS // len(TARGET_CASES) // 2 + (not base.startswith("s3"))
    moments, results = set(), 0
    for number, plan in enumerate(plans(kind, base[:2], count)):
        folder = f"{base}/{number}"
        while (answer := crash(kind, folder, "kill", **plan))["status"] == NOT_ENDED:
            # Done before its time had come, on a fast machine: sooner, in another place.
            assert isinstance(plan["at"], float), (plan, answer)
            plan["at"] /= 2
            folder += "-sooner"
        assert answer["status"] == -9, (plan, answer)
        moments.add(answer["moment"])
        results += require_whole(folder, expected, plan["large"], plan["stream"])
        target = kind.cls().from_path(f"{folder}/{number % 2}{kind.ext}", **kind.options)
        target.set_data(expected.data(plan["large"]))
        record = target.serialize()
        assert kind.equal(cpr.load(record).get_data(), expected.data(plan["large"]))
    assert results > 0
    assert len({moment for moment in moments if moment.startswith("commit")}) > 1
    assert len(moments) > 2


def test_kills_are_as_many_as_they_say():
    assert sum(KILLS // len(TARGET_CASES) // 2 * 2 + 1 for _ in TARGET_CASES) >= KILLS
    for kind in TARGET_CASES:
        twin = kind.cls().from_path(f"memory://{uuid.uuid4().hex}/a{kind.ext}", **kind.options)
        twin.set_data(whole(kind, large=True))
        assert twin.persist().nbytes > PART_BYTES > SMALL_BYTES
        io.remove(twin.url)


def ended(kind: TargetCase, base: str, crash: Callable[..., Any], end: str, status: int, clean: bool) -> None:
    """End a process in the middle of a stream's second target, and look what is there."""
    expected = Expected(kind)
    answer = crash(kind, base, end, 3, stream=True)
    assert answer["status"] == status, answer
    if clean:
        assert uploads(base) == []
        assert [name for name in everything(base) if name.endswith(".part")] == []
        assert io.find_orphans(base, NOW) == []
    assert require_whole(base, expected, large=True, stream=True) in (1, 2)


@kinds
def test_exit_in_a_stream(kind: TargetCase, base, crash):
    ended(kind, base, crash, "exit", 5, clean=True)


@kinds
def test_uncaught_exception_in_a_stream(kind: TargetCase, base, crash):
    ended(kind, base, crash, "raise", 1, clean=True)


@kinds
def test_terminated_by_a_signal_that_is_handled(kind: TargetCase, base, crash):
    """As the worker processes of Dask and Prefect do: the handler raises SystemExit."""
    ended(kind, base, crash, "term, handled", 143, clean=True)


@kinds
def test_terminated_by_a_signal(kind: TargetCase, base, crash):
    ended(kind, base, crash, "term", -15, clean=False)


@pytest.mark.parametrize("end", ["collect", "keep", "collect in the client's thread"])
def test_an_abandoned_writer(end, base, crash):
    """One that is garbage, in whatever thread it is collected, and one that is kept to the very end."""
    answer = crash(TARGET_CASES[0], base, end, 0)
    assert answer["status"] == 0, answer
    assert uploads(base) == []
    kept = {"collect": {"after.bin"}, "keep": set()}.get(end, {"first.bin", "after.bin"})
    assert everything(base) == {f"{base}/{name}" for name in kept}


@kinds
def test_the_directory_is_removed(kind: TargetCase, tmp_path, crash):
    """Between two pieces of a stream: an error that ends the process, and nothing comes back."""
    base = str(tmp_path / "results")
    answer = crash(kind, base, "rmtree", 0, stream=True)
    assert answer["status"] == 1, answer
    assert everything(str(tmp_path)) == set()


@kinds
def test_the_disk_is_full(kind: TargetCase, small_disk, crash):
    """A few results fit, then none: those are whole, the process ends, and its temporary file is gone."""
    disk = small_disk("20m")
    answer = crash(kind, disk, "disk", 10**9, stream=True)
    assert answer["status"] == 1, answer
    assert io.find_orphans(disk, NOW) == []
    assert 1 <= require_whole(disk, Expected(kind), large=True, stream=True) < TARGETS
