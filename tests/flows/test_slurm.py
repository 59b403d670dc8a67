"""The flow of docs/places.md on Dask's workers that jobs start: `sbatch` runs the script that it is given."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.test_examples import run_as_module
from tools.doc_blocks import blocks, fill_raw

pytest.importorskip("dask_jobqueue")
pytestmark = [pytest.mark.slow, pytest.mark.s3, pytest.mark.xdist_group("prefect")]

# As Slurm's, it keeps a copy of the script, which is deleted as soon as it returns.
SBATCH = """#!/bin/sh
cp "$1" "{folder}/$$.sh" || exit 1
setsid sh "{folder}/$$.sh" >>"{folder}/log" 2>&1 </dev/null &
echo $! >>"{folder}/jobs"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -- -"$1" 2>/dev/null
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder of jobs; `sbatch` and `scancel` are on PATH."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        program = folder / name
        program.write_text(text.format(folder=folder))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    yield folder
    jobs = folder / "jobs"
    for job in jobs.read_text().split() if jobs.exists() else []:
        with suppress(ProcessLookupError):
            os.killpg(int(job), signal.SIGKILL)


def test_the_flow_of_the_page(slurm, s3_url, prefect_server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill_raw(s3_url)
    text = "\n".join(blocks("docs/places.md", "python")).replace("s3://my-bucket", s3_url)
    page = run_as_module(text, "slurm_page", tmp_path, monkeypatch)
    masks = page.segment(f"{s3_url}/raw", f"{s3_url}/slurm")
    log = (slurm / "log").read_text()
    assert [mask.get_name() for mask in masks] == ["one", "two"], log
    assert [mask.get_data().dtype for mask in masks] == [bool, bool]
    assert len((slurm / "jobs").read_text().split()) >= 2
