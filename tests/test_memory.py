"""A stream of any length passes in the same small memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.s3, pytest.mark.slow]

SCRIPT = """
import json, resource, sys
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

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

imported = peak()
target = cls.from_path(f"{url}/{count}{ext}", **options)
if is_table:
    target.set_data(frame for _ in range(count))
else:
    target.set_data((plane for _ in range(count)), shape=(count, 2048, 2048), dtype="uint16")
print(json.dumps({"growth": peak() - imported, "nbytes": target.nbytes}))
"""

KINDS = {
    "tiff-none": ("ImageTarget", ".tif", {"compression": None}),
    "tiff-zlib": ("ImageTarget", ".tif", {}),
    "ome-zlib": ("ImageTarget", ".ome.tif", {}),
    "npy": ("NumpyTarget", ".npy", {}),
    "csv": ("CSVTarget", ".csv", {}),
    "parquet": ("ParquetTarget", ".parquet", {}),
}


def grown(kind: str, count: int, url: str) -> tuple[float, int]:
    """MiB that memory grew by over the imports, and bytes stored, in a process of its own."""
    name, ext, options = KINDS[kind]
    command = [sys.executable, "-c", SCRIPT, name, ext, str(count), json.dumps(options), url]
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    return found["growth"], found["nbytes"]


@pytest.mark.parametrize("kind", ["tiff-none", "tiff-zlib", "npy", "parquet"])
def test_memory_does_not_grow_with_the_stream(kind, s3_url):
    short, _ = grown(kind, 8, s3_url)
    long, nbytes = grown(kind, 48, s3_url)
    assert nbytes > 100 << 20
    assert long < 200
    assert long < short + 60


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["tiff-none", "tiff-zlib"])
def test_four_gigabytes_pass_in_200_mebibytes(kind, s3_url):
    short, _ = grown(kind, 128, s3_url)
    long, nbytes = grown(kind, 512, s3_url)
    assert nbytes > 1 << 30
    assert long < 200
    assert abs(long - short) < 40
