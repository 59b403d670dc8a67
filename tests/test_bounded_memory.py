"""A stream of any length passes in the same small memory, and an array larger than memory comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.s3, pytest.mark.slow]

# The high water mark of this very program: ru_maxrss begins with that of the process it was forked from.
PEAK = """
def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
"""

SCRIPT = (
    PEAK
    + """
import json, sys
import numpy as np
import s3fs, tifffile, imagecodecs, pandas, pyarrow.parquet
import cpr

name, ext, count, options = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
url = sys.argv[5]
cls = getattr(cpr, name)
is_table = ext in {".csv", ".parquet"}
small = pandas.DataFrame({"a": [1.0]}) if is_table else np.zeros((4, 4), "uint16")
cls.from_path(f"{url}/import{ext}").set_data(small)
plane = np.random.default_rng(0).poisson(100, (2048, 2048)).astype("uint16")
frame = pandas.DataFrame({f"c{i}": np.random.default_rng(i).normal(size=100_000) for i in range(10)})

imported = peak()
target = cls.from_path(f"{url}/{count}{ext}", **options)
if is_table:
    target.set_data(frame for _ in range(count))
else:
    target.set_data((plane for _ in range(count)), shape=(count, 2048, 2048), dtype="uint16")
print(json.dumps({"growth": peak() - imported, "nbytes": target.nbytes}))
"""
)

# Under a limit from the first line on, imports included.
LARGE = (
    """
import resource, sys

limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
"""
    + PEAK
    + """
import json
import numpy as np
import cpr
from cpr.io.hashing import content_digest

name, ext, url = sys.argv[2], sys.argv[3], sys.argv[6]
options, count = json.loads(sys.argv[4]), int(sys.argv[5])
try:
    np.ones(limit, np.uint8)
except MemoryError:
    pass
else:
    sys.exit("the limit does not hold")
shape = (count, 2048, 2048)
noise = np.random.default_rng(0).integers(0, 1 << 16, shape[1:], np.uint16)

def planes():
    for number in range(count):
        yield noise ^ np.uint16(number)

target = getattr(cpr, name).from_path(f"{url}/large{ext}", **options)
target.set_data(planes(), shape=shape, dtype="uint16")
stored = cpr.load(target.serialize())
digest = content_digest()
digest.update(f"uint16,{shape},".encode())
for number in range(count):
    plane = stored.get_data(region=number)
    assert plane.shape == shape[1:]
    digest.update(plane)
assert digest.hexdigest() == target.data_hash
print(json.dumps({"peak": peak(), "nbytes": target.nbytes}))
"""
)

LARGE_TARGETS = {
    "tiff-none": ("ImageTarget", ".tif", {"compression": None}),
    "tiff-zlib": ("ImageTarget", ".tif", {}),
    "ome-zlib": ("ImageTarget", ".ome.tif", {}),
    "npy": ("NumpyTarget", ".npy", {}),
    "csv": ("CSVTarget", ".csv", {}),
    "parquet": ("ParquetTarget", ".parquet", {}),
}
LIMIT = 512_000_000
PLANES_PER_GIB = 128


def run(script: str, *arguments: object, timeout: float = 600) -> dict[str, float]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ, timeout=timeout
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def grown(kind: str, count: int, url: str) -> tuple[float, float]:
    """MiB that memory grew by over the imports, and bytes stored, in a process of its own."""
    name, ext, options = LARGE_TARGETS[kind]
    found = run(SCRIPT, name, ext, count, json.dumps(options), url)
    return found["growth"], found["nbytes"]


@pytest.mark.parametrize("kind", ["tiff-none", "tiff-zlib", "npy", "parquet"])
def test_memory_does_not_grow_with_the_stream(kind, s3_url):
    short, _ = grown(kind, 8, s3_url)
    long, nbytes = grown(kind, 48, s3_url)
    assert nbytes > 100 << 20
    assert 0 < long < 200
    assert long < short + 90  # the width of a transfer takes its time to be found


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["tiff-none", "tiff-zlib"])
def test_four_gigabytes_pass_in_200_mebibytes(kind, s3_url):
    short, _ = grown(kind, 128, s3_url)
    long, nbytes = grown(kind, 512, s3_url)
    assert nbytes > 1 << 30
    assert 0 < long < 200
    assert abs(long - short) < 40


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to RLIMIT_DATA")
@pytest.mark.parametrize(
    ("kind", "gib"),
    [
        ("tiff-none", 2),
        pytest.param("tiff-none", 20, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
)
def test_an_array_larger_than_memory(kind, gib, s3_url):
    """Streamed out and read back plane by plane, with 512 MB of memory for everything, hash equal.

    RLIMIT_DATA counts every private writable page that is reserved, touched or not, and needs no
    privilege; RLIMIT_AS would count the libraries, which are files, as well.
    """
    name, ext, options = LARGE_TARGETS[kind]
    found = run(
        LARGE, LIMIT, name, ext, json.dumps(options), gib * PLANES_PER_GIB, s3_url, timeout=600 + 150 * gib
    )
    assert found["nbytes"] > gib << 30
    assert found["peak"] * 2**20 < LIMIT
    print(f"{gib} GiB: at most {found['peak']:.0f} MiB, imports included")
