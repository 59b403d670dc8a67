"""Remedies that arrays, their files and the memory for them name."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import dask.array as da
import numpy as np
import pandas as pd

import cpr
from cpr.data.memory import Expansion, available
from cpr.numpy.npy import NPY
from cpr.testing import SeekableBytes
from tests.remedies.rows import RESTORED, STACK, TABLE, Row, npy, parquet, place, put, stored

MANY_ELEMENTS = "{'descr': '<u2', 'fortran_order': False, 'shape': (4611686018427387904,), }\n"
PLANES = {"shape": (2, 4, 5), "dtype": "uint16"}


def saved(save: Callable[..., Any], *args: Any, **kwargs: Any) -> bytes:
    file = io.BytesIO()
    save(file, *args, **kwargs)
    return file.getvalue()


WHOLE = saved(np.save, STACK)
ZIP = saved(np.savez, a=STACK)


def chunks(first: Any, then: Any) -> Any:
    return iter([first, then])


def read(data: bytes, region: Any = None, ext: str = ".npy") -> Any:
    return cpr.NumpySource.from_path(put(data, f"a{ext}")).get_data(region=region)


def damaged(data: bytes, ext: str = ".npy", good: bytes = WHOLE, region: Any = None) -> Row:
    return Row(lambda: read(data, region, ext), RESTORED, lambda: read(good, region, ext))


def header(text: str, version: bytes = b"\1\0", rest: bytes = b"") -> bytes:
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode() + rest


def _record() -> dict[str, Any]:
    target = cpr.NumpyTarget.from_path(place("region.npy"))
    target.set_data(STACK)
    return target.serialize()


def _unknown() -> Any:
    array = da.from_array(STACK, chunks=(1, 4, 5))
    return array[array[:, 0, 0] > 3]


def _wrong_blocks(**declared: Any) -> Any:
    array = da.from_array(STACK, chunks=(1, 4, 5))
    return da.map_blocks(lambda block: (block[:, :2] * 1.5).astype("float32"), array, **declared)


def without(package: str, call: Callable[[], Any]) -> Callable[[], Any]:
    """The call, where a package is not installed."""

    def called() -> Any:
        hidden = {name: None for name in sys.modules if name.partition(".")[0] == package} | {package: None}
        with mock.patch.dict(sys.modules, hidden):
            return call()

    return called


def extra(name: str, package: str) -> Callable[[], Any]:
    """That what pip is asked for has the package."""

    def found() -> Any:
        project = tomllib.loads((Path(cpr.__file__).parents[1] / "pyproject.toml").read_text())["project"]
        wanted = project["optional-dependencies"][name]
        return (
            project["name"] == "prefect-cpr" and [one for one in wanted if re.match(package, one)]
        ) or None

    return found


def with_memory(text: str, call: Callable[[], Any]) -> Callable[[], Any]:
    def called() -> Any:
        with mock.patch.dict(os.environ, {"CPR_MEMORY": text}):
            return call()

    return called


LARGE = saved(np.save, np.zeros((20, 1024, 1024), "u1"))


def _grown() -> Any:
    table = Expansion("the table")
    for _ in range(20):
        table.grown(1 << 24)
    return table


def _image() -> dict[str, Any]:
    target = cpr.ImageTarget.from_path(place("dask.tif"))
    target.set_data(STACK)
    return target.serialize()


_OF_ARROW = cpr.CSVTarget.from_path("a.csv").format.describe(
    pd.DataFrame({"a": pd.array([1, 2], "int64[pyarrow]")})
)


class _Shrinking(SeekableBytes):
    """A file that has become shorter since it told its length."""

    def __init__(self, data: bytes, length: int) -> None:
        super().__init__(data)
        self._length = length

    def seek(self, offset: int, whence: int = 0, /) -> int:
        found = super().seek(offset, whence)
        return self._length if whence == os.SEEK_END else found


PICKLED = saved(np.save, np.array([1, 2.5], object), allow_pickle=True)


def _unpickled() -> Any:
    with cpr.io.reading(put(PICKLED, "a.npy")) as file:
        return np.load(file, allow_pickle=True)


ROWS: dict[str, Row] = {
    "a region": Row(
        lambda: cpr.load(_record()).get_data(region="0:2"), "np.s_[3, 10:20]",
        lambda: cpr.load(_record()).get_data(region=np.s_[1, 1:2]),
    ),
    "no array": Row(
        lambda: npy("a.npy"), "from_path('a.npy').get_data()", lambda: npy(read(WHOLE))
    ),
    "rows of several lengths": Row(
        lambda: npy([[1, 2], [3]]), "same shape", lambda: npy([[1, 2], [3, 4]])
    ),
    "planes of several shapes": Row(
        lambda: npy(chunks(STACK[0], STACK[0, 1:]), PLANES), "last axes of shape",
        lambda: npy(chunks(STACK[0], STACK[1]), PLANES),
    ),
    "planes of several dtypes": Row(
        lambda: npy(chunks(STACK[0], STACK[1] * 1.5), PLANES), "plane.astype(dtype)",
        lambda: npy(chunks(STACK[0], (STACK[1] * 1.5).astype("uint16")), PLANES),
    ),
    "a number for an array": Row(
        lambda: npy(5, PLANES),
        "np.full(shape, value)",
        lambda: npy(np.full(PLANES["shape"], 5, "uint16")),
    ),
    "planes without a shape": Row(
        lambda: npy(iter(STACK)), "shape=(n, y, x), dtype='uint16'",
        lambda: npy(iter(STACK), {"shape": (3, 4, 5), "dtype": "uint16"}),
    ),
    "fewer planes": Row(
        lambda: npy(iter(STACK[:2]), {"shape": (3, 4, 5), "dtype": "uint16"}),
        "shape that the planes add up to", lambda: npy(iter(STACK[:2]), PLANES),
    ),
    "a shape of an array": Row(
        lambda: npy(STACK, {"shape": (2, 4, 5)}), "leave shape= out", lambda: npy(STACK)
    ),
    "chunks of unknown size": Row(
        lambda: npy(_unknown()), "compute_chunk_sizes()", lambda: npy(_unknown().compute_chunk_sizes())
    ),
    "blocks of another shape": Row(
        lambda: npy(_wrong_blocks(dtype="float32")), "map_blocks(..., chunks=...)",
        lambda: npy(_wrong_blocks(dtype="float32", chunks=(1, 2, 5))),
    ),
    "blocks of another dtype": Row(
        lambda: stored(cpr.ZarrTarget, ".zarr", _wrong_blocks(dtype="uint16", chunks=(1, 2, 5))),
        "map_blocks(..., dtype=, chunks=)",
        lambda: stored(cpr.ZarrTarget, ".zarr", _wrong_blocks(dtype="float32", chunks=(1, 2, 5))),
    ),
    "a masked array": Row(
        lambda: npy(np.ma.masked_equal(STACK, 3)), "numpy.ma.filled(array, 0)",
        lambda: npy(np.ma.filled(np.ma.masked_equal(STACK, 3), 0)),
    ),
    "objects": Row(
        lambda: npy(np.array([1, 2.5], object)), "array.astype(float)",
        lambda: npy(np.array([1, 2.5], object).astype(float)),
    ),
    "fields": Row(
        lambda: npy(np.zeros(1, [(f"{'x' * 600}{i}", "f4") for i in range(20)])), "shorter names",
        lambda: npy(np.zeros(1, [(f"x{i}", "f4") for i in range(20)])),
    ),
    # NPY and NPZ files
    "no NPY": damaged(b"nothing"),
    "another version": damaged(header("", b"\7\0")),
    "pickles": Row(
        lambda: read(PICKLED), "array.astype(float)",
        lambda: read(saved(np.save, np.array([1, 2.5], object).astype(float))),
    ),
    "pickles that are trusted": Row(lambda: read(PICKLED), "allow_pickle=True", _unpickled),
    "a negative shape": damaged(header("{'descr': '<u2', 'fortran_order': False, 'shape': (-1,), }\n")),
    "a shape of all": damaged(header(MANY_ELEMENTS)),
    "a short file": damaged(WHOLE[:-1]),
    "texts that are none": damaged(saved(np.save, np.array(["a"]))[:-4] + b"\xff" * 4),
    "a file that shrinks": Row(
        lambda: NPY().decode(_Shrinking(WHOLE[:-1], len(WHOLE))), RESTORED, lambda: read(WHOLE)
    ),
    "a file that shrinks, in part": Row(
        lambda: NPY().decode_region(_Shrinking(WHOLE[:-1], len(WHOLE)), np.s_[2]), RESTORED,
        lambda: read(WHOLE, np.s_[2]),
    ),
    "a zip that is none": damaged(ZIP[:-30], ".npz", ZIP),
    "a region of a zip": Row(
        lambda: read(ZIP, np.s_[0], ".npz"), 'get_data()["name"][...]', lambda: read(ZIP, ext=".npz")["a"][0]
    ),
    # memory
    "more than there is memory": Row(
        with_memory("1MB", lambda: read(LARGE)), "region=",
        with_memory("1MB", lambda: read(LARGE, np.s_[0, :9])),
    ),
    "more than there is memory, but there is": Row(
        with_memory("1MB", lambda: read(LARGE)), "CPR_MEMORY",
        with_memory("1GiB", lambda: available() and read(LARGE)),
    ),
    "what grows": Row(with_memory("40MB", _grown), "CPR_MEMORY", with_memory("100GB", _grown)),
    "an amount of memory": Row(
        with_memory("much", lambda: read(LARGE)), "64GiB", with_memory("64GiB", lambda: read(LARGE))
    ),
    # packages
    "dask": Row(
        without("dask", lambda: cpr.load(_image()).get_dask()), 'pip install "prefect-cpr[dask]"',
        extra("dask", "dask"),
    ),
    "pyarrow": Row(
        without("pyarrow", lambda: parquet(TABLE)), 'pip install "prefect-cpr[parquet]"',
        extra("parquet", "pyarrow"),
    ),
    "pyarrow, for columns": Row(
        without("pyarrow", lambda: dataclasses.replace(_OF_ARROW)),
        'pip install "prefect-cpr[parquet]"', extra("parquet", "pyarrow"),
    ),
}  # fmt: skip
