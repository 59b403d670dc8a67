"""Many processes write a part each into a bucket, and one assembles them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

import cpr
from cpr.zarr.parts.assembly import Piece, merged
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.manifest_entries import Entry

# A writer knows nothing but the pickle of an empty part, and hands nothing back but a record.
WRITER = """
import json, pickle, sys
import numpy as np
for part in pickle.load(sys.stdin.buffer):
    (start, stop), *_ = part.region
    draws = [np.random.default_rng(z) for z in range(start, stop)]
    part.set_data(np.stack([draw.integers(0, 2**12, (96, 128), dtype="uint16") for draw in draws]))
    print(json.dumps(part.serialize()))
"""


def plane(z: int) -> np.ndarray:
    return np.random.default_rng(z).integers(0, 2**12, (96, 128), dtype="uint16")


LONG = [pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "writers", "planes"),
    [
        (cpr.OMEZarrTarget, 3, 9),
        pytest.param(cpr.ZarrTarget, 64, 128, marks=LONG),
        pytest.param(cpr.OMEZarrTarget, 64, 128, marks=LONG),
    ],
)
def test_processes_write_a_part_each(cls, writers, planes, s3_url):
    options = {"chunks": (1, 48, 64), "shape": (planes, 96, 128), "dtype": "uint16"}
    options |= {"levels": 2} if cls is cpr.OMEZarrTarget else {}
    whole = cls.from_path(f"{s3_url}/volume.ome.zarr", **options)
    shares = [[whole.part(region)] for region in whole.regions((planes // writers,))]
    processes = []
    for share in shares:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False
        )
        process.stdin.write(pickle.dumps(share))
        process.stdin.close()
        processes.append(process)
    records = []
    for process in processes:
        records += [json.loads(line) for line in process.stdout.read().splitlines()]
        process.stdout.close()
        assert process.wait() == 0
    assert len(records) == writers
    assert max(len(json.dumps(record)) for record in records) < 1000
    whole.assemble([cpr.load(record) for record in records])
    once = cls.from_path(f"{s3_url}/once/volume.ome.zarr", **options)
    once.set_data(map(plane, range(planes)))
    assert whole.data_hash == once.persist().data_hash
    assert whole.verify() == once.verify()


@pytest.mark.parametrize(
    "objects", [20_000, pytest.param(1_000_000, marks=[pytest.mark.long, pytest.mark.slow])]
)
def test_digests_of_many_objects_are_merged_in_little_time_and_memory(objects, tmp_path):
    """In a process of its own, whose peak is its own."""
    code = f"""
import re, time
from tests.zarr.parts.test_many_writers import manifests, pieces_of
made = manifests({objects}, 200)
start = time.process_time()
from cpr.zarr.parts.assembly import merged
from cpr.zarr.stores.manifest import Manifest
whole = Manifest.of("memory://x/a.zarr", merged(pieces_of(made), "memory://x/a.zarr"), "xxh3_128")
assert whole.objects == {objects}
# Not getrusage, which begins with the peak of the process that started this one.
peak = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
print(time.process_time() - start, peak / 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, mebibytes = map(float, done.stdout.split())
    print(f"{objects} objects: {seconds:.1f} s, peak {mebibytes:.0f} MiB")
    assert seconds < 60
    assert mebibytes < 2048


def manifests(objects: int, parts: int) -> list[Manifest]:
    each = objects // parts
    digest = b"0123456789abcdef"
    return [
        Manifest.of(
            "memory://x/a.zarr",
            {f"c/{part}/{n // 100}/{n % 100}": Entry(4 << 20, digest, b"") for n in range(each)},
            "xxh3_128",
        )
        for part in range(parts)
    ]


def pieces_of(made: list[Manifest]) -> list[Piece]:
    from datetime import UTC, datetime

    return [Piece(None, one, one.entries(), datetime.now(UTC)) for one in made]  # type: ignore[arg-type]


def test_merging_names_what_two_parts_list():
    (one,) = manifests(10, 1)
    with pytest.raises(cpr.CorruptDataError, match="10 different ones"):
        merged(pieces_of([one, one]), "memory://x/a.zarr")


@pytest.mark.parametrize("reader", ["zarr", "tensorstore", "ngff_zarr", "ome_zarr"])
def test_other_programs_open_what_was_assembled(reader, tmp_path):
    module = pytest.importorskip(reader)
    data = np.stack([plane(z) for z in range(4)])
    whole = cpr.OMEZarrTarget.from_path(
        tmp_path / "volume.ome.zarr", shape=data.shape, dtype=data.dtype, chunks=(1, 48, 64), levels=2
    )
    parts = [whole.part(np.s_[z]) for z in range(4)]
    for z, part in enumerate(parts):
        part.set_data(data[z])
    whole.assemble(parts)
    if reader == "zarr":
        group = module.open_group(whole.url, mode="r")
        assert np.array_equal(group["0"][...], data)
        assert dict(group.attrs)["ome"]["version"] == "0.5"
    elif reader == "tensorstore":
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{whole.url}/0/"}}
        assert np.array_equal(module.open(spec).result().read().result(), data)
    elif reader == "ngff_zarr":
        assert np.array_equal(np.asarray(module.from_ngff_zarr(whole.url).images[0].data), data)
    else:
        from ome_zarr.io import parse_url
        from ome_zarr.reader import Reader

        (node, *_) = list(Reader(parse_url(whole.url))())
        assert np.array_equal(np.asarray(node.data[0]), data)
