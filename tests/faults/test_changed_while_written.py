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
