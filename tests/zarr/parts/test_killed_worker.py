"""A worker of a cluster is killed in the midst of a write: the cluster goes on, with it started again."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.zarr.parts import resumed
from cpr.zarr.stores.manifest import manifest_url

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

UNITS = 16
DATA = np.random.default_rng(4).integers(0, 2**16, (UNITS, 32, 32), dtype="uint16")
SECONDS = 0.25  # that a unit takes


def compute(block, log="", block_id=None):
    """Tells who computes which block, before that is done."""
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {block_id[0]}\n")
    time.sleep(SECONDS)
    return block


class Killer(threading.Thread):
    """Kills the worker that has begun unit number `after`, while it is at it."""

    def __init__(self, log, after):
        super().__init__(daemon=True)
        self._log, self._after, self.killed = log, after, None

    def run(self):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            lines = self._log.read_text().splitlines() if self._log.exists() else []
            if len(lines) > self._after:
                time.sleep(SECONDS / 2)
                self.killed = int(lines[self._after].split()[0])
                os.kill(self.killed, signal.SIGKILL)
                return
            time.sleep(0.005)


@pytest.fixture(scope="module")
def cluster():
    """Two processes of one thread, each with a nanny that starts it again."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("key", ["a key", None])
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (cpr.ZarrTarget, {"chunks": (1, 16, 16)}),
        (cpr.ZarrTarget, {"chunks": (1, 8, 8), "shards": (1, 16, 32)}),
        (cpr.OMEZarrTarget, {"chunks": (1, 16, 16), "levels": 3, "metadata": {"axes": "ZYX"}}),
    ],
    ids=["chunks", "shards", "image"],
)
def test_a_worker_is_killed(cls, options, key, cluster, tmp_path, monkeypatch):
    """The data are right; of parts, computed twice is what the worker had under way, or just done."""
    monkeypatch.setattr(resumed, "running_key", lambda: key)
    log = tmp_path / "log"
    ending = ".ome.zarr" if cls is cpr.OMEZarrTarget else ".zarr"
    array = da.from_array(DATA, chunks=(1, 32, 32))
    meta = np.empty((0, 0, 0), DATA.dtype)
    array = da.map_blocks(compute, array, log=str(log), dtype=DATA.dtype, meta=meta)
    killer = Killer(log, UNITS // 2)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2)
        killer.start()
        target = cls.from_path(f"{tmp_path}/results/volume{ending}", **options)
        target.set_data(array)
    killer.join()
    assert killer.killed is not None
    once = cls.from_path(f"{tmp_path}/once/volume{ending}", **options)
    once.set_data(DATA)
    assert target.persist().data_hash == once.data_hash
    cpr.load(target.serialize()).verify()
    assert np.array_equal(target.get_data(region=np.s_[...]), DATA)
    computed = [int(line.split()[1]) for line in log.read_text().splitlines()]
    assert set(computed) == set(range(UNITS))
    print(f"{len(computed) - UNITS} units computed twice")
    if key is not None:
        assert 1 <= len(computed) - UNITS <= 2
    found = io.find(f"{tmp_path}/results/**", hidden=True)
    assert [one for one in found if not one.startswith(f"{target.url}/")] == [manifest_url(target.url)]
