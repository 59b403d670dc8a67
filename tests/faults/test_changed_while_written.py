"""Memory that others change while it is written: what is stored is what was hashed, or CorruptDataError."""

from __future__ import annotations

import io as streams
import sys
import threading

import numpy as np
import pandas as pd
import pytest

import cpr
import cpr.data.arrays
import cpr.data.tables.table_digest
from cpr.errors import CorruptDataError
from cpr.io.hashing import ContentDigest
from cpr.zarr.stores import recording_store
from cpr.zarr.stores.manifest_entries import make_entry

PIXELS = (3, 64, 128)
ROUNDS = 12


def array() -> np.ndarray:
    return np.full(PIXELS, 7, "uint16")


def frame() -> pd.DataFrame:
    return pd.DataFrame({"a": np.full(5000, 7), "b": np.full(5000, 7.5)}, index=np.arange(5000) * 2)


CASES = {
    "npy": (cpr.NumpyTarget, ".npy", {}, array),
    "tif": (cpr.ImageTarget, ".tif", {}, array),
    "tif zstd": (cpr.ImageTarget, ".tif", {"compression": "zstd"}, array),
    "tif none": (cpr.ImageTarget, ".tif", {"compression": None}, array),
    "tif mask": (cpr.ImageTarget, ".tif", {}, lambda: array() > 0),
    "csv": (cpr.CSVTarget, ".csv", {}, frame),
    "parquet": (cpr.ParquetTarget, ".parquet", {}, frame),
}
ZARR = {
    "zarr": {},
    "zarr none": {"compressors": None},
    "zarr v2": {"zarr_format": 2},
    "zarr shards": {"chunks": (1, 64, 64), "shards": (3, 64, 128)},
}


def elements(data) -> np.ndarray:
    """The memory of an array, or of a column."""
    return data.reshape(-1) if isinstance(data, np.ndarray) else data["a"].array._ndarray


class Changing:
    """A digest that changes the data as soon as it has seen some of it."""

    def __init__(self, memory: np.ndarray) -> None:
        self._digest = ContentDigest()
        self._memory = memory

    def update(self, piece) -> None:
        self._digest.update(piece)
        self._memory[:] = self._memory ^ 1

    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def second(self) -> str:
        return self._digest.second()


@pytest.mark.parametrize("case", CASES)
def test_what_is_encoded_is_what_was_hashed(case, monkeypatch, tmp_path):
    cls, ext, options, make = CASES[case]
    data = make()
    target = cls.from_path(tmp_path / f"a{ext}", **options)
    target.set_data(data)
    memory = elements(data)
    memory.flags.writeable = True
    stream, file = target.format.stream(data), streams.BytesIO()
    with monkeypatch.context() as patch:
        for module in (cpr.data.arrays, cpr.data.tables.table_digest):
            patch.setattr(module, "ContentDigest", lambda: Changing(memory))
        target.format.encode(stream, file)
    expected = stream.fingerprint
    stored = tmp_path / "stored"
    stored.write_bytes(file.getvalue())
    with cpr.io.reading(str(stored)) as there:
        assert target.format.fingerprint(target.format.decode(there)) == expected


@pytest.mark.parametrize("case", [*CASES, *ZARR])
def test_another_thread_changes_it(case, tmp_path):
    cls, ext, options, make = CASES.get(case, (cpr.ZarrTarget, ".zarr", ZARR.get(case), array))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for number in range(ROUNDS):
            data = make()
            memory, stop = elements(data), threading.Event()
            memory.flags.writeable = True

            def change(memory=memory, stop=stop):
                value = memory[0]
                while not stop.is_set():
                    memory[100], memory[3000] = value ^ 1, value ^ 1
                    memory[100], memory[3000] = value, value

            target = cls.from_path(tmp_path / f"a{number}{ext}", **options)
            thread = threading.Thread(target=change)
            thread.start()
            try:
                target.set_data(data)
                record = target.serialize()
            except CorruptDataError:
                continue
            finally:
                stop.set()
                thread.join()
            again = cpr.load(record)
            found = again.get_data()
            if cls is cpr.ZarrTarget:
                again.verify()
                assert set(np.unique(found[...])) <= {6, 7}
            else:
                assert again.format.fingerprint(found) == record["__cpr__"]["data_hash"]
    finally:
        sys.setswitchinterval(before)


class InParts:
    """An array elsewhere whose parts are in memory that somebody else has as well."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self.shape, self.dtype = data, data.shape, data.dtype
        self.chunks = (1, *data.shape[1:])

    def __getitem__(self, region):
        return self._data[region]


def in_blocks(data: np.ndarray):
    """A dask array whose tasks give memory that somebody else has as well, not a copy."""
    dask, da = pytest.importorskip("dask"), pytest.importorskip("dask.array")
    planes = [dask.delayed(lambda z=z: data[z : z + 1], pure=False)() for z in range(len(data))]
    return da.concatenate([da.from_delayed(plane, (1, *data.shape[1:]), data.dtype) for plane in planes])


def whole(made):
    """Writes an array, of what `made` makes of it."""

    def write(cls, place, data):
        target = cls.from_path(place, chunks=(1, *data.shape[1:]), compressors=None)
        target.set_data(made(data))
        return target

    return write


def parts(made):
    """Writes it in parts."""

    def write(cls, place, data):
        options = {"chunks": (1, *data.shape[1:]), "compressors": None}
        target = cls.from_path(place, shape=data.shape, dtype=data.dtype, **options)
        halves = [target.part(region) for region in target.regions((len(data) // 2 + 1,))]
        for half in halves:
            (start, stop), *_ = half.region
            half.set_data(made(data[start:stop]))
        return target.assemble(halves)

    return write


def labels(made):
    """Writes it as labels of an image."""

    def write(cls, place, data):
        target = cls.from_path(place, chunks=(1, *data.shape[1:]), compressors=None)
        target.set_data(np.zeros_like(data))
        target.add_labels("cells", made(data))
        return target

    return write


def by_hand(cls, place, data):
    """Writes it through the group that create() gives."""
    target = cls.from_path(place)
    array = target.create().create_array("a", data=data, chunks=(1, *data.shape[1:]), compressors=None)
    array[0] = data[1]
    return target


SHAPES = {"small": (3, 64, 128), "large": (3, 2400, 2400)}  # of the second, pieces are not copied as a whole
MADE = {"numpy": np.asarray, "dask": in_blocks, "elsewhere": InParts}
WAYS = {
    f"{cls.__name__} {way.__name__} {called} {size}": (cls, way(made), shape)
    for cls in (cpr.ZarrTarget, cpr.OMEZarrTarget)
    for way in (whole, parts, labels)
    for called, made in MADE.items()
    for size, shape in SHAPES.items()
    if way is not labels or cls is cpr.OMEZarrTarget
} | {
    "create": (cpr.ZarrTarget, by_hand, SHAPES["small"]),
    # A piece is one chunk then, which zarr encodes where it is.
    "elsewhere huge": (cpr.ZarrTarget, whole(InParts), (2, 4200, 4200)),
}


@pytest.mark.parametrize("way", WAYS)
def test_chunks_are_stored_as_they_were_digested(way, tmp_path, monkeypatch):
    """Memory of the user's changes between the digest of each chunk and what the store is given of it."""
    cls, write, shape = WAYS[way]
    data = np.full(shape, 7, "uint16")

    def changing(*args):
        entry = make_entry(*args)
        data[:, :3, :3] ^= 1
        return entry

    with monkeypatch.context() as patch:
        patch.setattr(recording_store, "make_entry", changing)
        target = write(cls, tmp_path / ("a.ome.zarr" if cls is cpr.OMEZarrTarget else "a.zarr"), data)
        record = target.serialize()
    assert cpr.load(record).verify()
