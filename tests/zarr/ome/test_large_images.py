"""Large images pass in little memory, pyramid and all: plane by plane, and through dask's workers."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import dask.array as da
import numpy as np
import pytest

import cpr

distributed = pytest.importorskip("distributed")

SHAPE = (6, 300, 310)


def run(code: str, *arguments: str) -> dict:
    command = [sys.executable, "-c", code, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500, env=os.environ)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout.splitlines()[-1])


_PLANES = """
import json, sys, time
import numpy as np
import cpr, s3fs, zarr, obstore

url, count, downscale = sys.argv[1], int(sys.argv[2]), sys.argv[3]
plane = np.random.default_rng(0).poisson(100, (1024, 1024)).astype("uint16")

def target(name):
    return cpr.OMEZarrTarget.from_path(
        f"{url}/{name}.ome.zarr", metadata={"axes": "ZYX"}, downscale=downscale, compressors=None
    )

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))

small = target("small")
small.set_data((plane for _ in range(2)), shape=(2, 1024, 1024), dtype="uint16")
small.persist()
before, start = peak(), time.time()
large = target("large")
large.set_data((plane + np.uint16(z) for z in range(count)), shape=(count, 1024, 1024), dtype="uint16")
large.persist()
seconds = time.time() - start
growth = peak() - before
for z in (0, count // 2, count - 1):
    assert (large.get_data(region=np.s_[z]) == plane + np.uint16(z)).all()
levels = [level.shape for level in large.levels()]
print(json.dumps({"growth": growth, "nbytes": large.nbytes, "levels": levels, "seconds": seconds}))
"""


@pytest.mark.slow
@pytest.mark.s3
@pytest.mark.parametrize("downscale", ["YX", "ZYX"])
def test_memory_does_not_grow_with_the_image(downscale, s3_url):
    found = run(_PLANES, s3_url, "96", downscale)
    assert found["nbytes"] > 192 << 20
    # 48 MiB of cells go up while the next are made.
    assert found["growth"] < 150


@pytest.mark.long
@pytest.mark.s3
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("downscale", ["YX", "ZYX"])
def test_two_gigabytes_pass_plane_by_plane(downscale, s3_url):
    found = run(_PLANES, s3_url, "1024", downscale)
    print(found)
    assert found["nbytes"] > 1 << 31
    assert found["growth"] < 150


def pixels(block_info=None):
    """Different in every element, and made on the worker."""
    (z0, z1), (y0, y1), (x0, x1) = block_info[None]["array-location"]
    z, y, x = np.ogrid[z0:z1, y0:y1, x0:x1]
    return (z * 1000003 + y * 1009 + x).astype("uint32")


def lazy(chunks=((2, 4), (128, 128, 44), (100, 200, 10))):
    return da.map_blocks(pixels, chunks=chunks, dtype="uint32", meta=np.empty((0, 0, 0), "uint32"))


@pytest.mark.slow
def test_workers_write_the_pyramid_and_no_pixel_passes_through_the_client(tmp_path):
    """The same image as without a cluster; the client gets sizes, digests and extremes."""
    options = {"chunks": (2, 64, 64), "levels": 4, "downscale": "ZYX"}
    alone = cpr.OMEZarrTarget.from_path(f"{tmp_path}/a.ome.zarr", **options)
    alone.set_data(lazy().compute())
    alone.add_labels("cells", lazy().compute() > 9)
    received = []
    gather = distributed.Client.gather

    def spy(self, *args, **kwargs):
        result = gather(self, *args, **kwargs)
        received.append(len(pickle.dumps(result)))
        return result

    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(distributed.Client, "gather", spy)
        target = cpr.OMEZarrTarget.from_path(f"{tmp_path}/a.ome.zarr", **options)
        target.set_data(lazy())
        target.add_labels("cells", lazy() > 9)
        patch.undo()
        # From within a task of the cluster.
        inside = client.submit(_write, str(tmp_path), options, pure=False).result(timeout=60)
    assert target.data_hash == alone.data_hash
    assert received
    assert sum(received) < 40_000 < lazy().nbytes
    assert target.persist().verify() == alone.persist().verify()
    assert np.array_equal(inside.get_data(level=3)[...], alone.get_data(level=3)[...])


def _write(folder, options):
    target = cpr.OMEZarrTarget.from_path(f"{folder}/b.ome.zarr", **options)
    target.set_data(lazy())
    return target


_DASK = """
import json, sys, time
import dask.array as da, distributed, numpy as np, psutil
import cpr, zarr, s3fs, obstore

def block(block_info=None):
    shape = tuple(b - a for a, b in block_info[None]["array-location"])
    z = block_info[None]["chunk-location"][0]
    return np.random.default_rng(z).integers(0, 1 << 16, shape, dtype="uint16")

def lazy(n):
    chunks = ((8,) * n, (1024,), (1024,))
    return da.map_blocks(block, chunks=chunks, dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))

def target(name):
    return cpr.OMEZarrTarget.from_path(
        f"{sys.argv[1]}/{name}.ome.zarr", metadata={"axes": "ZYX"}, chunks=(1, 1024, 1024),
        downscale=sys.argv[3], compressors=None,
    )

if __name__ == "__main__":
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit="512MiB", dashboard_address=None
    )
    client = distributed.Client(cluster)
    small = target("small")
    small.set_data(lazy(2))
    small.persist()
    names = set(client.scheduler_info()["workers"])
    before, start = psutil.Process().memory_info().rss, time.time()
    large = target("large")
    large.set_data(lazy(int(sys.argv[2])))
    large.persist()
    seconds = time.time() - start
    with open("/proc/self/status") as lines:
        peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    growth = (peak - before) / 2**20
    again = cpr.load(large.serialize())
    expected = int(lazy(int(sys.argv[2])).sum(dtype="uint64").compute())
    assert int(again.get_dask().sum(dtype="uint64").compute()) == expected
    assert abs(float(again.get_dask(-1).mean().compute()) - expected / again.levels()[0].data.size) < 5
    print(json.dumps({
        "nbytes": large.nbytes, "growth": growth, "seconds": seconds,
        "restarts": len(names ^ set(client.scheduler_info()["workers"])),
    }))
    client.close(); cluster.close()
"""


@pytest.mark.long
@pytest.mark.s3
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("downscale", ["YX", "ZYX"])
def test_two_gigabytes_pass_through_workers_of_512_mebibytes(downscale, s3_url):
    found = run(_DASK, s3_url, "129", downscale)
    print(found)
    assert found["nbytes"] > 1 << 31
    assert found["restarts"] == 0
    assert found["growth"] < 50
