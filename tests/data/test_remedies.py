"""Errors of formats name a remedy, and the remedy works: each is carried out.

A row is what fails, a piece of the remedy that its error has to name, and what somebody does who follows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.errors import CprError

da = pytest.importorskip("dask.array")
pytest.importorskip("pyarrow")

STACK = np.arange(3 * 4 * 5, dtype="uint16").reshape(3, 4, 5)
TABLE = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
PLANES = {"shape": (2, 4, 5), "dtype": "uint16"}
MANY = pd.Categorical([f"label number {i}" for i in range(9999)])
TIMES = pd.date_range("2026-01-01", periods=2)


def stored(cls: type[Any], ext: str, data: Any, say: dict[str, Any] | None = None, **options: Any) -> Any:
    """What comes back of data that was stored with these options."""
    target = cls.from_path(f"memory://remedies/a{ext}", **options)
    target.set_data(data, **(say or {}))
    return cpr.load(target.serialize()).get_data()


def tif(data: Any, say: dict[str, Any] | None = None, **options: Any) -> Any:
    return stored(cpr.ImageTarget, ".tif", data, say, **options)


def ome(data: Any, **options: Any) -> Any:
    return stored(cpr.ImageTarget, ".ome.tif", data, **options)


def npy(data: Any, say: dict[str, Any] | None = None) -> Any:
    return stored(cpr.NumpyTarget, ".npy", data, say)


def csv(data: Any, **options: Any) -> Any:
    return stored(cpr.CSVTarget, ".csv", data, **options)


def column(values: Any, **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"column": values, **more})


def names(*channels: str) -> dict[str, Any]:
    return {"axes": "CYX", "Channel": {"Name": list(channels)}}


def chunks(first: Any, then: Any) -> Any:
    return iter([first, then])


FAR = np.array([2**62], "i8").view("M8[s]")
HALF = "\ud800x"
Row = tuple[Callable[[], Any], str, Callable[[], Any]]
REMEDIES: dict[str, Row] = {
    # images
    "channels": (
        lambda: ome(STACK, metadata=names("a")), "name every channel",
        lambda: ome(STACK, metadata=names("a", "b", "c")),
    ),
    "channels without C": (
        lambda: ome(STACK, metadata={**names("a", "b", "c"), "axes": "ZYX"}), "axes= with a C",
        lambda: ome(STACK, metadata=names("a", "b", "c")),
    ),
    "OME's dtypes": (lambda: ome(STACK.astype("int64")), "float32", lambda: ome(STACK.astype("float32"))),
    "OME's dtypes, another name": (
        lambda: ome(STACK.astype("int64")), "name the file .tif", lambda: tif(STACK.astype("int64"))
    ),
    "ImageJ's dtypes": (
        lambda: tif(STACK.astype("int64"), imagej=True), "astype('float32')",
        lambda: tif(STACK.astype("float32"), imagej=True),
    ),
    "ImageJ's dtypes, without it": (
        lambda: tif(STACK.astype("int32"), imagej=True), "leave out imagej=True",
        lambda: tif(STACK.astype("int32")),
    ),
    "ImageJ's axes": (
        lambda: tif(np.stack([STACK] * 2), imagej=True, metadata={"axes": "CZYX"}), "transpose it",
        lambda: tif(np.stack([STACK] * 2, 1), imagej=True, metadata={"axes": "ZCYX"}),
    ),
    "ImageJ's colours": (
        lambda: tif(np.zeros((9, 9, 3), "uint16"), imagej=True), "make C an axis before Y",
        lambda: tif(np.zeros((3, 9, 9), "uint16"), imagej=True, metadata={"axes": "CYX"}),
    ),
    "TIFF's dtypes": (
        lambda: tif(STACK.astype("M8[s]")), "use a NumpyTarget", lambda: npy(STACK.astype("M8[s]"))
    ),
    "longdouble": (
        lambda: tif(STACK.astype(np.longdouble)), "astype('float32')", lambda: tif(STACK.astype("float32"))
    ),
    "axes and shape": (
        lambda: tif(STACK, metadata={"axes": "YX"}), "'axes': 'ZYX'",
        lambda: tif(STACK, metadata={"axes": "ZYX"}),
    ),
    "axes and shape, none": (
        lambda: tif(STACK, metadata={"axes": "ZZX"}), "leave them out", lambda: tif(STACK)
    ),
    "pages": (
        lambda: tif(STACK, metadata={"axes": "YXZ"}), "numpy.moveaxis",
        lambda: tif(np.moveaxis(STACK, -1, 0), metadata={"axes": "ZYX"}),
    ),
    "predictor": (
        lambda: tif(STACK.astype("complex64"), predictor=True), "leave out predictor=True",
        lambda: tif(STACK.astype("complex64")),
    ),
    "metadata that no file holds": (
        lambda: tif(STACK, imagej=True, metadata={"custom": {"a": "two\nlines"}}), "leave it out",
        lambda: tif(STACK, imagej=True),
    ),
    "metadata as text": (
        lambda: tif(STACK, metadata="ZYX"), "metadata={'axes': 'ZYX'}",
        lambda: tif(STACK, metadata={"axes": "ZYX"}),
    ),
    "unknown key": (
        lambda: tif(STACK, metadata={"operator": "me"}), "'custom': {'operator': ...}",
        lambda: tif(STACK, metadata={"custom": {"operator": "me"}}),
    ),
    "unit of length": (
        lambda: tif(STACK, pixel_size=1, unit="furlong"), "convert the pixel size",
        lambda: tif(STACK, pixel_size=0.2, unit="m"),
    ),
    # arrays
    "a region": (
        lambda: cpr.load(_record()).get_data(region="0:2"), "np.s_[3, 10:20]",
        lambda: cpr.load(_record()).get_data(region=np.s_[1, 1:2]),
    ),
    "planes of several shapes": (
        lambda: npy(chunks(STACK[0], STACK[0, 1:]), PLANES), "planes",
        lambda: npy(chunks(STACK[0], STACK[1]), PLANES),
    ),
    "planes of several dtypes": (
        lambda: npy(chunks(STACK[0], STACK[1] * 1.5), PLANES),
        "plane.astype(dtype)",
        lambda: npy(chunks(STACK[0], (STACK[1] * 1.5).astype("uint16")), PLANES),
    ),
    "planes without a shape": (
        lambda: npy(iter(STACK)), "shape=(n, y, x), dtype='uint16'",
        lambda: npy(iter(STACK), {"shape": (3, 4, 5), "dtype": "uint16"}),
    ),
    "fewer planes": (
        lambda: npy(iter(STACK[:2]), {"shape": (3, 4, 5), "dtype": "uint16"}),
        "shape that the planes add up to",
        lambda: npy(iter(STACK[:2]), PLANES),
    ),
    "a shape of an array": (
        lambda: npy(STACK, {"shape": (2, 4, 5)}), "leave shape= out", lambda: npy(STACK)
    ),
    "chunks of unknown size": (
        lambda: npy(_unknown()), "compute_chunk_sizes()", lambda: npy(_unknown().compute_chunk_sizes())
    ),
    "a masked array": (
        lambda: npy(np.ma.masked_equal(STACK, 3)), "numpy.ma.filled(array, 0)",
        lambda: npy(np.ma.filled(np.ma.masked_equal(STACK, 3), 0)),
    ),
    "objects": (
        lambda: npy(np.array([1, 2.5], object)), "array.astype(float)",
        lambda: npy(np.array([1, 2.5], object).astype(float)),
    ),
    "fields": (
        lambda: npy(np.zeros(1, [(f"{'x' * 600}{i}", "f4") for i in range(20)])), "shorter names",
        lambda: npy(np.zeros(1, [(f"x{i}", "f4") for i in range(20)])),
    ),
    # tables
    "name of an index": (
        lambda: csv(TABLE.rename_axis([("a",)])), "rename_axis", lambda: csv(TABLE.rename_axis("a"))
    ),
    "label": (
        lambda: csv(TABLE.set_axis([b"a", "b"], axis=1)), "rename(columns=...)",
        lambda: csv(TABLE.set_axis([b"a", "b"], axis=1).rename(columns={b"a": "a"})),
    ),
    "infinite categories": (
        lambda: csv(column(pd.Categorical([np.inf, 1]))), "text",
        lambda: csv(column(pd.Categorical([np.inf, 1]).rename_categories(str))),
    ),
    "many categories": (
        lambda: csv(column(MANY)), "astype(",
        lambda: csv(column(pd.Series(MANY).astype("str"))),
    ),
    "several sorts of missing": (
        lambda: csv(column(pd.Series(["x", None, np.nan], dtype=object))), "astype('str')",
        lambda: csv(column(pd.Series(["x", None, np.nan], dtype=object).astype("str"))),
    ),
    "integers as objects": (
        lambda: csv(column(pd.Series([1, None], dtype=object))), "astype('Int64')",
        lambda: csv(column(pd.Series([1, None], dtype=object).astype("Int64"))),
    ),
    "booleans as objects": (
        lambda: csv(column(pd.Series([True, None], dtype=object))), "astype('boolean')",
        lambda: csv(column(pd.Series([True, None], dtype=object).astype("boolean"))),
    ),
    "dates as objects": (
        lambda: csv(column([time.date() for time in TIMES])), "pandas.to_datetime",
        lambda: csv(column(pd.to_datetime([time.date() for time in TIMES]))),
    ),
    "sparse": (
        lambda: csv(column(pd.arrays.SparseArray([0, 1]))), "sparse.to_dense()",
        lambda: csv(column(pd.Series(pd.arrays.SparseArray([0, 1])).sparse.to_dense())),
    ),
    "complex": (
        lambda: csv(column([1j])), "the real and the imaginary part",
        lambda: csv(column([0.0], imaginary=[1.0])),
    ),
    "periods": (
        lambda: csv(column(pd.period_range("2026", periods=2, freq="D"))), "astype('str')",
        lambda: csv(column(pd.Series(pd.period_range("2026", periods=2, freq="D")).astype("str"))),
    ),
    "half a character": (
        lambda: csv(column(pd.array([HALF], "string[python]"))), "encode('utf-8', 'replace')",
        lambda: csv(column([HALF.encode("utf-8", "replace").decode()])),
    ),
    "a series": (lambda: csv(TABLE["a"]), "series.to_frame()", lambda: csv(TABLE["a"].to_frame())),
    "an array": (lambda: csv(STACK[0]), "pandas.DataFrame", lambda: csv(pd.DataFrame(STACK[0]))),
    "no chunk": (lambda: csv(iter([])), "frame.iloc[:0]", lambda: csv(iter([TABLE.iloc[:0]]))),
    "chunks that are none": (
        lambda: csv(iter([TABLE, [1]])), "pandas.DataFrame(...)",
        lambda: csv(iter([TABLE, pd.DataFrame(TABLE)])),
    ),
    "chunks of other columns": (
        lambda: csv(chunks(TABLE, TABLE[["b", "a"]])), "columns, dtypes and sort of index of the first",
        lambda: csv(chunks(TABLE, TABLE[["b", "a"]][["a", "b"]])),
    ),
    "chunks of another index": (
        lambda: csv(chunks(TABLE, TABLE.set_axis(["x", "y"]))), "reset_index(drop=True)",
        lambda: csv(chunks(TABLE, TABLE.set_axis(["x", "y"]).reset_index(drop=True))),
    ),
    "a separator": (lambda: csv(TABLE, separator="ab"), "';'", lambda: csv(TABLE, separator=";")),
    "times too far away": (
        lambda: stored(cpr.ParquetTarget, ".parquet", column(FAR)), "as CSV", lambda: csv(column(FAR))
    ),
    "times too far away, as integers": (
        lambda: stored(cpr.ParquetTarget, ".parquet", column(FAR)), "astype('int64')",
        lambda: stored(cpr.ParquetTarget, ".parquet", column(pd.Series(FAR).astype("int64"))),
    ),
}  # fmt: skip


def _record() -> dict[str, Any]:
    target = cpr.NumpyTarget.from_path("memory://remedies/region.npy")
    target.set_data(STACK)
    return target.serialize()


def _unknown() -> Any:
    array = da.from_array(STACK, chunks=(1, 4, 5))
    return array[array[:, 0, 0] > 3]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REMEDIES)
def test_the_remedy_works(name):
    fails, named, works = REMEDIES[name]
    with pytest.raises(CprError) as caught:
        fails()
    assert named in re.sub(r"\s+", " ", caught.value.remedy), caught.value.remedy
    assert works() is not None
