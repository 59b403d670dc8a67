"""Whatever hands over the data, what is stored is what was hashed, or it is refused.

Each producer meets each format; the rows of "Producers and formats" in docs/guarantees.md. Whether a producer
may change its data afterwards is in test_sharing.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import dask.array
import dask.dataframe
import numpy as np
import pandas as pd
import pytest
import zarr

import cpr
from cpr.data.arrays import hash_array
from cpr.errors import EncodeError
from tests.data.tables.frames import same

STACK = np.random.default_rng(0).integers(0, 1000, (3, 8, 10)).astype("uint16")

ARRAYS: dict[str, tuple[type, str, dict[str, Any]]] = {
    "ImageJ TIFF": (cpr.ImageTarget, ".tif", {}),
    "OME-TIFF": (cpr.ImageTarget, ".ome.tif", {}),
    "uncompressed TIFF": (cpr.ImageTarget, ".tif", {"compression": None}),
    "NPY": (cpr.NumpyTarget, ".npy", {}),
    "Zarr": (cpr.ZarrTarget, ".zarr", {"chunks": (1, 8, 8)}),
    "OME-Zarr": (cpr.OMEZarrTarget, ".ome.zarr", {}),
}
TABLES: dict[str, tuple[type, str, dict[str, Any]]] = {
    "CSV": (cpr.CSVTarget, ".csv", {}),
    "gzipped CSV": (cpr.CSVTarget, ".csv.gz", {}),
    "Parquet": (cpr.ParquetTarget, ".parquet", {}),
}


def memmap(folder) -> np.memmap:
    STACK.tofile(folder / "raw")
    return np.memmap(folder / "raw", STACK.dtype, "r", shape=STACK.shape)


def zarr_array(folder) -> zarr.Array:
    array = zarr.create_array(str(folder / "a.zarr"), shape=STACK.shape, dtype=STACK.dtype, chunks=(2, 8, 8))
    array[:] = STACK
    return array


ANNOUNCED = {"shape": STACK.shape, "dtype": "uint16"}

# What is handed over, what set_data is told besides, and what must come back.
SAME: dict[str, Callable[[Any], tuple[Any, dict[str, Any], np.ndarray]]] = {
    "array": lambda _: (STACK, {}, STACK),
    "Fortran order": lambda _: (np.asfortranarray(STACK), {}, STACK),
    "view with steps": lambda _: (STACK[::-1, ::2, ::-2], {}, STACK[::-1, ::2, ::-2]),
    "broadcast view": lambda _: (np.broadcast_to(STACK[:1], STACK.shape), {}, np.stack([STACK[0]] * 3)),
    "other byte order": lambda _: (STACK.astype(">u2"), {}, STACK),
    "read-only array": lambda _: (np.frombuffer(STACK.tobytes(), "u2").reshape(STACK.shape), {}, STACK),
    "bool mask": lambda _: (STACK > 500, {}, STACK > 500),
    "float array": lambda _: (STACK.astype("float32") / 7, {}, STACK.astype("float32") / 7),
    "numpy.memmap": lambda folder: (memmap(folder), {}, STACK),
    "zarr.Array": lambda folder: (zarr_array(folder), {}, STACK),
    "dask array": lambda _: (dask.array.from_array(STACK, chunks=(2, 4, 10)), {}, STACK),
    "dask array of a zarr.Array": lambda folder: (dask.array.from_zarr(zarr_array(folder)), {}, STACK),
    "iterable of planes": lambda _: (iter(STACK), ANNOUNCED, STACK),
    "iterable of slabs": lambda _: ((STACK[i : i + 2] for i in (0, 2)), ANNOUNCED, STACK),
}

REFUSED: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
    "too few planes": lambda: (iter(STACK[:2]), ANNOUNCED),
    "too many planes": lambda: (iter([*STACK, STACK[0]]), ANNOUNCED),
    "planes of another shape": lambda: (iter(STACK[:, :4]), ANNOUNCED),
    "planes of another dtype": lambda: (iter(STACK.astype("float64")), ANNOUNCED),
    "masked array": lambda: (np.ma.masked_equal(STACK, 1), {}),
    "array of objects": lambda: (STACK.astype(object), {}),
    "array of dates": lambda: (STACK.astype("M8[s]").reshape(STACK.shape), {}),
}
# NPY and Zarr hold dates.
HOLD = {("array of dates", "NPY"), ("array of dates", "Zarr")}


def target_of(format: str) -> Any:
    cls, ext, options = (ARRAYS | TABLES)[format]
    return cls.from_path(f"memory://{uuid.uuid4().hex}/a{ext}", **options)


@pytest.mark.parametrize("format", ARRAYS)
@pytest.mark.parametrize("producer", SAME)
def test_arrays(producer, format, tmp_path):
    data, announced, expected = SAME[producer](tmp_path)
    target = target_of(format)
    target.set_data(data, **announced)
    found = cpr.load(target.serialize())
    # All of it; an OME-Zarr gives its first level.
    read = np.asarray(found.get_data(region=np.s_[...]))
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)
    if "Zarr" not in format:  # whose content is named by its objects
        assert found.data_hash == hash_array(expected)


@pytest.mark.parametrize("format", ARRAYS)
@pytest.mark.parametrize("producer", REFUSED)
def test_arrays_that_are_refused(producer, format):
    if (producer, format) in HOLD:
        return
    data, announced = REFUSED[producer]()
    target = target_of(format)
    with pytest.raises(EncodeError) as caught:
        target.set_data(data, **announced)
    assert caught.value.remedy
    assert target.data_hash is None
    assert list(cpr.io.find(f"{target.location}/**")) == []


FRAME = pd.DataFrame(
    {
        "label": np.arange(6),
        "area": np.linspace(0, 1, 6),
        "name": pd.array(["a", None, "c", "d", "", "f"], dtype="string"),
        "kind": pd.Categorical(list("xyxyxy")),
        "when": pd.to_datetime(["2026-01-01"] * 6, utc=True),
    }
)

FRAMES: dict[str, Callable[[], tuple[Any, pd.DataFrame]]] = {
    "DataFrame": lambda: (FRAME, FRAME),
    "slice of a DataFrame": lambda: (FRAME.iloc[1:5:2], FRAME.iloc[1:5:2]),
    "DataFrame with a MultiIndex": lambda: (
        FRAME.set_index(["label", "name"]),
        FRAME.set_index(["label", "name"]),
    ),
    "empty DataFrame": lambda: (FRAME.iloc[:0], FRAME.iloc[:0]),
    "iterable of DataFrames": lambda: ((FRAME.iloc[i : i + 2] for i in (0, 2, 4)), FRAME),
    "dask DataFrame": lambda: (dask.dataframe.from_pandas(FRAME, npartitions=2), FRAME),
}


@pytest.mark.parametrize("format", TABLES)
@pytest.mark.parametrize("producer", FRAMES)
def test_tables(producer, format):
    data, expected = FRAMES[producer]()
    target = target_of(format)
    target.set_data(data)
    found = cpr.load(target.serialize())
    assert same(found.get_data(), expected)
    assert found.format.fingerprint(expected) == found.data_hash
