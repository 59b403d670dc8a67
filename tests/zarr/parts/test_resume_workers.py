"""A dask array written by the workers of a cluster, which are killed, as is the task that waits for them."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from datetime import timedelta

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.zarr.stores.manifest import manifest_url
from tests.zarr.parts.task_processes import TaskProcesses

distributed = pytest.importorskip("distributed")

UNITS = 12
DATA = np.arange(1, 1 + UNITS * 16 * 16, dtype="uint16").reshape(UNITS, 16, 16)
# Two workers of one thread. What a worker has done and the task has not been handed yet, is lost with it as
# well: how much that is, depends on the machine.
UNDER_WAY = {"task": 4, "all": 4, "worker": UNITS}

# A child is the process of the task, with the cluster for its dask.
TASKS = """
import json, os, sys, time
import dask.array as da
import numpy as np
from distributed import Client
import cpr
import cpr.zarr.ZarrPart, cpr.zarr.ZarrTarget
from cpr.provenance.running_task import tell_running_key

DATA = np.arange(1, 1 + 12 * 16 * 16, dtype="uint16").reshape(12, 16, 16)

def run(address, url, log, record):
    def plane(block, block_id=None):
        with open(log, "a") as file:
            file.write(f"{block_id[0]}\\n")
        time.sleep(0.02)
        return block

    tell_running_key(lambda: "a key")
    array = da.from_array(DATA, chunks=(1, 16, 16), name=f"a-{url}")
    meta = np.empty((0, 0, 0), "uint16")
    array = da.map_blocks(plane, array, dtype="uint16", name=f"b-{url}", meta=meta)
    target = cpr.ZarrTarget.from_path(url, chunks=(1, 8, 16))
    with Client(address):
        target.set_data(array)
    with open(record, "w") as file:
        json.dump(target.serialize(), file)
"""


class Workers:
    """Two workers of one thread; those that were killed are started again, with no nanny to wait for."""

    def __init__(self, address, folder, output):
        self._command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny"]
        self._command += ["--nthreads", "1", "--no-dashboard", "--local-directory", str(folder)]
        self._output = output
        self.running = []

    def complete(self, client):
        while len(self.running) < 2:
            self.running.append(subprocess.Popen(self._command, stdout=self._output, stderr=self._output))
        pids = {worker.pid for worker in self.running}
        deadline = time.monotonic() + 120
        while True:
            with suppress(OSError):  # one is gone, and the scheduler does not know yet
                if set(client.run(os.getpid).values()) == pids:
                    return
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self, count):
        for _ in range(count):
            worker = self.running.pop()
            worker.kill()
            worker.wait()

    def close(self):
        self.kill(len(self.running))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.long)])
def test_killed_at_random_points(kills, tmp_path, tmp_path_factory):
    """A worker, the task, or all of them; right each time, and computed twice is what was under way."""
    draw, kinds = random.Random(kills), itertools.cycle(["worker", "task", "all"])
    twice, most, killed = 0, 0, 0
    with (
        open(tmp_path / "errors", "w") as errors,
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        closing(Workers(cluster.scheduler_address, tmp_path_factory.mktemp("dask"), errors)) as workers,
        closing(TaskProcesses(TASKS, errors)) as tasks,
    ):
        for number, kind in zip(range(kills), kinds, strict=False):
            workers.complete(client)
            folder, log, record = (tmp_path / f"{number}{end}" for end in ("", ".log", ".json"))
            places = folder / "volume.zarr", log, record
            pid, lines = tasks.begin(cluster.scheduler_address, *places), draw.randrange(UNITS)
            deadline = time.monotonic() + 120
            while not record.exists() and (not log.exists() or len(log.read_text().split()) <= lines):
                assert time.monotonic() < deadline, (tmp_path / "errors").read_text()
                time.sleep(0.001)
            time.sleep(draw.random() * 0.04)
            if kind != "worker":
                with suppress(ProcessLookupError):  # it has ended
                    os.kill(pid, signal.SIGKILL)
            workers.kill({"worker": 1, "task": 0, "all": 2}[kind])
            status = tasks.end()
            assert status == 0 if kind == "worker" else status in (0, -9), (tmp_path / "errors").read_text()
            killed += status == -9 or kind == "worker"
            if not record.exists():
                workers.complete(client)
                tasks.begin(cluster.scheduler_address, *places)
                assert tasks.end() == 0, (tmp_path / "errors").read_text()
            target = cpr.load(json.loads(record.read_text()))
            assert np.array_equal(target.get_data()[...], DATA)
            assert target.verify() == 1 + 2 * UNITS
            computed = log.read_text().split()
            assert set(computed) == {str(n) for n in range(UNITS)}
            assert len(computed) <= UNITS + UNDER_WAY[kind], kind
            twice, most = twice + len(computed) - UNITS, max(most, len(computed) - UNITS)
            io.remove_orphans(str(folder), timedelta(seconds=-60))
            found = sorted(io.find(f"{folder}/**", hidden=True))
            assert [place for place in found if not place.startswith(f"{target.url}/")] == [
                manifest_url(target.url)
            ]
    assert killed
    print(f"{killed} of {kills} killed, {twice} blocks computed twice, at most {most} at once")
