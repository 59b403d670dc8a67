"""Every way to write a long Zarr, in a process that is killed with SIGKILL, on disk and in a bucket."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import closing, suppress
from datetime import timedelta

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.zarr.stores.manifest import manifest_url
from tests.zarr.parts.task_processes import TaskProcesses

KINDS = ["array of dask", "array in slices", "array in a loop"]
KINDS += ["image of dask", "image in slices", "image in a loop"]
DATA = np.random.default_rng(0).integers(0, 2**16, (4, 30, 32), dtype="uint16")
UNITS = 16  # of 16 x 16, which are four chunks; of the third level of an image a chunk spans four of them
CUT = {"chunks": (1, 8, 8)}
IMAGE = {**CUT, "levels": 3, "metadata": {"axes": "ZYX"}}

# A child is the process of the task, which tells of each unit it computes.
TASKS = """
import json, os, sys, time
import dask
import dask.array as da
import numpy as np
import cpr
import cpr.zarr.OMEZarrTarget, cpr.zarr.ZarrPart, cpr.zarr.ZarrTarget
from cpr.provenance.running_task import tell_running_key
from cpr.zarr.parts import resumed

resumed._LEAST_BYTES = resumed._UNIT_BYTES = 1
DATA = np.random.default_rng(0).integers(0, 2**16, (4, 30, 32), dtype="uint16")

def run(kind, url, log, record):
    def tell(*start):
        with open(log, "a") as file:
            file.write(" ".join(map(str, start)) + "\\n")
        time.sleep(0.01)

    class Sliced:
        shape, dtype, chunks = DATA.shape, DATA.dtype, (1, 16, 16)

        def __getitem__(self, region):
            tell(*(along.start for along in region))
            return DATA[region]

    def block(data, block_id=None):
        tell(*(n * size for n, size in zip(block_id, (1, 16, 16))))
        return data

    tell_running_key(lambda: "a key")
    what, _, how = kind.partition(" ")
    options = {"chunks": (1, 8, 8)}
    if what == "image":
        options.update(levels=3, metadata={"axes": "ZYX"})
    if how == "in a loop":
        options.update(shape=DATA.shape, dtype=DATA.dtype)
    target = (cpr.OMEZarrTarget if what == "image" else cpr.ZarrTarget).from_path(url, **options)
    if how == "of dask":
        array = da.from_array(DATA, chunks=(1, 16, 16), name="a")
        array = da.map_blocks(block, array, dtype="uint16", name="b", meta=np.empty((0, 0, 0), "uint16"))
        with dask.config.set(scheduler="threads", num_workers=2):
            target.set_data(array)
    elif how == "in slices":
        target.set_data(Sliced())
    else:
        for region in target.missing((1, 16, 16)):
            target[region] = Sliced()[region]
    if what == "image" and how != "in a loop":
        target.add_labels("cells", DATA >> 12)
    with open(record, "w") as file:
        json.dump(target.serialize(), file)
"""


def at_once(kind):
    image = kind.startswith("image")
    target = (cpr.OMEZarrTarget if image else cpr.ZarrTarget).from_path(
        f"memory://kinds/{kind}/volume{'.ome' * image}.zarr", **(IMAGE if image else CUT)
    )
    target.set_data(DATA)
    if image and kind != "image in a loop":
        target.add_labels("cells", DATA >> 12)
    return target.persist()


def kill_and_run_again(kind, kills, base, tmp_path):
    """Right each time; computed twice is what was under way; nothing is left over.

    That is a unit of each thread, and in a bucket that looks far away also what was on its way there.
    """
    pytest.importorskip("dask.array")
    draw, expected = random.Random(kind), at_once(kind)
    under_way = 2 if kind.endswith("dask") else 1
    twice, midst = 0, 0
    with open(tmp_path / "errors", "w") as errors, closing(TaskProcesses(TASKS, errors)) as tasks:
        for number in range(kills):
            folder = f"{base}/{number}"
            url = f"{folder}/volume{'.ome' * kind.startswith('image')}.zarr"
            log, record = tmp_path / f"{number}.log", tmp_path / f"{number}.json"
            # Beyond the last unit it is killed while it makes the rest of the levels, and writes labels.
            lines = draw.randrange(UNITS + UNITS // 4)
            pid = tasks.begin(kind, url, log, record)
            deadline = time.monotonic() + 120
            while not record.exists():
                there = len(log.read_text().splitlines()) if log.exists() else 0
                if there > lines or (there == UNITS <= lines):
                    break
                assert time.monotonic() < deadline, (tmp_path / "errors").read_text()
                time.sleep(0.001)
            time.sleep(draw.random() * (0.03 if lines < UNITS else 0.2))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            status = tasks.end()
            assert status in (0, -9), (tmp_path / "errors").read_text()
            record.unlink(missing_ok=True)
            beside = io.find(f"{folder}/.cpr/*", hidden=True)
            published = [one for one in beside if one.endswith(".blocks")]
            parts = [one for one in beside if one.endswith(".digests")]
            unpublished = len(log.read_text().splitlines() if log.exists() else []) - len(parts)
            tasks.begin(kind, url, log, record)
            assert tasks.end() == 0, (tmp_path / "errors").read_text()
            target = cpr.load(json.loads(record.read_text()))
            assert target.data_hash == expected.data_hash
            assert target.verify()
            computed = log.read_text().splitlines()
            assert len(set(computed)) == UNITS
            if not published:  # else it was done, and nobody was told
                midst += 1
                assert len(computed) <= UNITS + unpublished, (number, lines)
                if not base.startswith("s3://"):
                    assert len(computed) <= UNITS + under_way, (number, lines)
                twice += len(computed) - UNITS
                io.remove_orphans(folder, timedelta(seconds=-60))
                found = io.find(f"{folder}/**", hidden=True)
                rest = [one for one in found if not one.startswith(f"{target.url}/")]
                assert rest == [manifest_url(target.url)]
    assert midst
    print(f"{kind}: {midst} of {kills} killed in the midst, {twice} units computed twice")


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked"),
    pytest.mark.timeout(1800),
    pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.long)]),
    pytest.mark.parametrize("kind", KINDS),
]


def test_killed_at_random_points_on_disk(kind, kills, tmp_path):
    kill_and_run_again(kind, kills, str(tmp_path), tmp_path)


def test_killed_at_random_points_in_a_bucket(kind, kills, tmp_path, s3_url):
    kill_and_run_again(kind, kills, f"{s3_url}/kinds", tmp_path)
