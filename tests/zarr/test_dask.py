"""Dask arrays are stored by the workers that compute them; neither client nor scheduler sees a pixel."""

from __future__ import annotations

import json
import os
import pickle
import sys
import uuid

import dask
import dask.array as da
import numpy as np
import pytest

import cpr

distributed = pytest.importorskip("distributed")

SHAPE = (12, 256, 256)


def pixels(block_info=None):
    """Different in every element, and made on the worker."""
    (z0, z1), (y0, y1), (x0, x1) = block_info[None]["array-location"]
    z, y, x = np.ogrid[z0:z1, y0:y1, x0:x1]
    return (z * 65536 + y * 256 + x + 1).astype("uint32")


def lazy(chunks=((4, 4, 4), (128, 128), (128, 128)), function=pixels):
    return da.map_blocks(function, chunks=chunks, dtype="uint32", meta=np.empty((0, 0, 0), "uint32"))


EXPECTED = (np.arange(np.prod(SHAPE)) + 1).reshape(SHAPE).astype("uint32")


@pytest.fixture(scope="module")
def client():
    with dask.config.set({"distributed.worker.daemon": True}):
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        )
        with cluster, distributed.Client(cluster) as client:
            yield client


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path):
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_url")


def stored(base, data, **options):
    target = cpr.ZarrTarget.from_path(f"{base}/cells.zarr", **options)
    target.set_data(data)
    return cpr.load(json.dumps(target.serialize()))


@pytest.mark.parametrize(
    "options", [{}, {"chunks": (2, 64, 64)}, {"chunks": (1, 64, 64), "shards": (4, 128, 128)}], ids=str
)
def test_workers_write_and_read(client, base, options):
    target = stored(base, lazy(), **options)
    assert np.array_equal(target.get_data()[...], EXPECTED)
    assert target.get_dask().sum().compute() == EXPECTED.sum()
    target.verify()
    # The same as without a cluster.
    with dask.config.set(scheduler="threads"):
        alone = stored(base, lazy(), **options)
    assert alone.data_hash == target.data_hash


def test_blocks_that_are_no_chunks_are_rechunked_never_raced(client, base):
    target = stored(base, lazy(((5, 7), (100, 156), (256,))), chunks=(3, 64, 64))
    assert np.array_equal(target.get_data()[...], EXPECTED)
    target.verify()


def test_no_pixel_passes_through_the_client(client, base):
    """What the graph and the results weigh: sizes and digests, nothing of the 3 MiB of pixels."""
    received = []
    gather = distributed.Client.gather

    def spy(self, *args, **kwargs):
        result = gather(self, *args, **kwargs)
        received.append(len(pickle.dumps(result)))
        return result

    distributed.Client.gather = spy
    try:
        stored(base, lazy())
    finally:
        distributed.Client.gather = gather
    assert received
    assert sum(received) < 10_000


def test_from_within_a_task_of_the_cluster(client, base):
    def task(base):
        target = cpr.ZarrTarget.from_path(f"{base}/cells.zarr")
        target.set_data(lazy())
        return target

    target = client.submit(task, base, pure=False).result(timeout=60)
    assert np.array_equal(target.get_data()[...], EXPECTED)


def dying(path):
    def pixels_and_death(block_info=None):
        import os
        import signal

        import numpy as np

        (z0, z1), (y0, y1), (x0, x1) = block_info[None]["array-location"]
        if z0 == 4 and y0 == 128:
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        z, y, x = np.ogrid[z0:z1, y0:y1, x0:x1]
        return (z * 65536 + y * 256 + x + 1).astype("uint32")

    return pixels_and_death


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(client, base, tmp_path):
    flag = str(tmp_path / f"killed-{uuid.uuid4().hex}")
    target = stored(base, lazy(function=dying(flag)), chunks=(1, 64, 64))
    assert os.path.exists(flag)
    assert np.array_equal(target.get_data()[...], EXPECTED)
    target.verify()
    assert target.data_hash == stored(base, lazy(), chunks=(1, 64, 64)).data_hash


def test_a_chunk_computed_twice_changes_nothing(base, monkeypatch):
    from cpr.zarr.dask import _WriteBlock

    once = _WriteBlock.__call__
    monkeypatch.setattr(
        _WriteBlock,
        "__call__",
        lambda self, block, block_id=(): (once(self, block, block_id), once(self, block, block_id))[1],
    )
    with dask.config.set(scheduler="synchronous"):
        twice = stored(base, lazy())
    monkeypatch.undo()
    twice.verify()
    assert np.array_equal(twice.get_data()[...], EXPECTED)


@pytest.mark.slow
@pytest.mark.s3
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("blocks", [10, pytest.param(129, marks=pytest.mark.long)])
def test_gigabytes_pass_through_workers_of_512_mebibytes(blocks, s3_url):
    """There and back; the client's memory stays as it is."""
    import subprocess

    found = subprocess.run(
        [sys.executable, "-c", _BIG, s3_url, str(blocks)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1000,
        env=os.environ,
    )
    assert found.returncode == 0, found.stderr
    seen = json.loads(found.stdout.splitlines()[-1])
    print(seen)
    assert seen["nbytes"] > blocks << 24
    assert seen["restarts"] == 0
    assert seen["growth"] < 50


_BIG = """
import json, sys, time
import dask.array as da, distributed, numpy as np, psutil
import cpr, zarr, s3fs

def block(block_info=None):
    shape = tuple(b - a for a, b in block_info[None]["array-location"])
    z = block_info[None]["chunk-location"][0]
    return np.random.default_rng(z).integers(0, 1 << 16, shape, dtype="uint16")

if __name__ == "__main__":
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit="512MiB", dashboard_address=None
    )
    client = distributed.Client(cluster)
    def lazy(n):
        chunks = ((8,) * n, (1024,), (1024,))
        return da.map_blocks(block, chunks=chunks, dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))
    small = cpr.ZarrTarget.from_path(f"{sys.argv[1]}/small.zarr", chunks=(1, 1024, 1024), compressors=None)
    small.set_data(lazy(2))
    small.persist()
    assert small.get_dask().max().compute() > 0
    me = psutil.Process()
    names = set(client.scheduler_info()["workers"])
    before, start = me.memory_info().rss, time.time()
    target = cpr.ZarrTarget.from_path(f"{sys.argv[1]}/big.zarr", chunks=(1, 1024, 1024), compressors=None)
    target.set_data(lazy(int(sys.argv[2])))
    target.persist()
    written = time.time()
    again = cpr.load(target.serialize())
    total = int(again.get_dask().sum(dtype="uint64").compute())
    read = time.time()
    expected = int(lazy(int(sys.argv[2])).sum(dtype="uint64").compute())
    assert total == expected, (total, expected)
    # Not getrusage: its peak outlives exec, and is that of the test runner.
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = int(status["VmHWM"].split()[0]) * 1024
    print(json.dumps({
        "nbytes": target.nbytes, "growth": (peak - before) / 2**20,
        "restarts": len(names ^ set(client.scheduler_info()["workers"])),
        "write": written - start, "read": read - written,
    }))
    client.close(); cluster.close()
"""
