"""A big image through Dask: its bytes go from worker to bucket to worker, past scheduler and client."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import prefect
import psutil
import pytest

import cpr

pytestmark = [pytest.mark.real_s3, pytest.mark.slow, pytest.mark.xdist_group("prefect")]

MIB = 1 << 20


class Peak:
    """The most memory that processes held while a block ran, beyond what they held before."""

    def __init__(self, pids: dict[str, int]) -> None:
        self.processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self.growth: dict[str, int] = {}

    @contextmanager
    def measured(self) -> Iterator[None]:
        before = {name: process.memory_info().rss for name, process in self.processes.items()}
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                for name, process in self.processes.items():
                    grown = process.memory_info().rss - before[name]
                    self.growth[name] = max(self.growth.get(name, 0), grown)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


@pytest.fixture
def separate(prefect_server, tmp_path):
    """A scheduler and two workers, each a process of its own: (its file, pids by role)."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    to_file = ["--scheduler-file", str(file)]
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path)]
    commands = {
        "scheduler": [*dask, "scheduler", "--port", "0", "--no-dashboard", *to_file],
        "worker 1": [*dask, "worker", *to_file, *options],
        "worker 2": [*dask, "worker", *to_file, *options],
    }
    started = {
        name: subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name, command in commands.items()
    }
    try:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        yield str(file), {name: process.pid for name, process in started.items()}
    finally:
        # Workers first: one whose scheduler is gone waits for it when it leaves.
        for name in ("worker 1", "worker 2", "scheduler"):
            started[name].terminate()
            started[name].wait(60)


# Defined in functions, so that Dask gets them by value, as from a script.
def tasks(decorate):
    @decorate
    def acquire(url: str, planes: int):
        import numpy as np

        import cpr

        stack = np.random.default_rng(planes).integers(0, 60_000, (planes, 1024, 1024), dtype=np.uint16)
        target = cpr.ImageTarget.from_path(f"{url}/stack.tif", compression=None)
        target.set_data(stack)
        return {"stack": (target,), "planes": planes}

    @decorate
    def measure(acquired):
        return float(acquired["stack"][0].get_data().mean())

    return acquire, measure


STYLES = {
    "plain": lambda results: prefect.task(cache_key_fn=cpr.task_input_hash, result_storage=results),
    "cpr.task": lambda results: cpr.task(result_storage=results),
}


@pytest.mark.parametrize("style", STYLES)
def test_512_mb_leave_scheduler_and_client_as_they_are(style, s3_url, separate, results, record_property):
    from prefect_dask import DaskTaskRunner

    scheduler_file, pids = separate
    acquire, measure = tasks(STYLES[style](results))

    @prefect.flow(
        persist_result=True,
        cache_result_in_memory=False,
        result_serializer=cpr.cpr_serializer(),
        result_storage=results,
        task_runner=DaskTaskRunner(address=_address(scheduler_file)),
    )
    def both(planes):
        acquired = acquire.submit(s3_url, planes)
        return acquired.result(), measure.submit(acquired).result()

    both(1)  # imports
    peak = Peak({"client": os.getpid(), **pids})
    with peak.measured():
        acquired, mean = both(256)  # 512 MiB
    growth = {name: f"{grown / MIB:.0f} MiB" for name, grown in peak.growth.items()}
    record_property("growth", growth)
    print(style, growth)
    assert peak.growth["scheduler"] < 40 * MIB, growth
    assert peak.growth["client"] < 60 * MIB, growth
    # The measurement sees what it should: the image was in a worker.
    assert max(peak.growth["worker 1"], peak.growth["worker 2"]) > 500 * MIB, growth
    assert acquired["stack"][0].nbytes > 512 * MIB
    assert np.isclose(mean, 30_000, rtol=0.01)
    assert sum(path.stat().st_size for path in results.iterdir() if path.is_file()) < 5000


def _address(scheduler_file: str) -> str:
    import json

    with open(scheduler_file) as file:
        return json.load(file)["address"]
