"""Converts column values to Arrow arrays and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from cpr.data.tables import ColumnType, Values
from cpr.data.tables.texts import ArrowTexts
from cpr.data.tables.values import category_values, recoded, to_pandas
from cpr.errors import EncodeError

__all__ = ["array_of", "arrow_type", "column_of", "is_plain"]

# Parquet counts no whole seconds: they are stored as milliseconds.
_MAX_SECONDS = np.iinfo(np.int64).max // 1000


def arrow_type(column: ColumnType) -> Any:
    """The Arrow type in which a column is stored."""
    import pyarrow as pa

    if column.kind in {"number", "masked"}:
        return pa.from_numpy_dtype(column.numpy)
    if column.kind == "datetime":
        zone = column.zone
        # Arrow writes fixed offsets without the letters before them.
        return pa.timestamp(column.unit, zone.removeprefix("UTC") or zone if zone else None)
    if column.kind == "duration":
        return pa.duration(column.unit)
    if column.kind == "text":
        return pa.large_string()
    assert column.of is not None
    of = arrow_type(column.of)
    return pa.dictionary(pa.int32(), of, column.ordered) if column.of.kind == "text" else of


def array_of(values: Values, column: ColumnType, field: str) -> Any:
    """Convert values to an Arrow array. Raises EncodeError for times that Parquet cannot represent."""
    import pyarrow as pa

    data, missing = values
    kind = arrow_type(column)
    if column.kind in {"datetime", "duration"}:
        there = data if missing is None else data[~missing]
        if column.unit == "s" and column.kind == "datetime" and (np.abs(there) > _MAX_SECONDS).any():
            raise EncodeError(
                "a datetime too far away for Parquet, which counts milliseconds",
                field=field,
                expected=f"up to {_MAX_SECONDS} seconds from 1970",
                actual=f"{there[np.abs(there) > _MAX_SECONDS][0]} seconds",
                remedy="store it as CSV, or the seconds as integers: frame[column].astype('int64')",
            )
        return pa.array(data, pa.int64(), mask=missing).view(kind)
    if isinstance(data, ArrowTexts):
        return data.arrow(missing)
    if column.kind != "category":
        return pa.array(data, kind, mask=missing)
    assert column.of is not None
    categories = array_of(category_values(column), column.of, field)
    codes = pa.array(data.astype(np.int32), mask=missing)
    if column.of.kind == "text":
        return pa.DictionaryArray.from_arrays(codes, categories, ordered=column.ordered)
    return categories.take(codes)


def is_plain(column: ColumnType) -> bool:
    """Whether pandas stores the column as a numpy array of fixed-size values."""
    return column.kind in {"number", "datetime", "duration"} and isinstance(column.dtype, np.dtype)


def column_of(array: Any, column: ColumnType) -> Any:
    """Convert an Arrow array to a pandas array; one of a plain type may share memory, so copy it.

    Raises ValueError (pyarrow's among them) for other types.
    """
    import pyarrow as pa

    if column.kind == "category":
        assert column.of is not None
        if not pa.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        found = _values(array.dictionary, column.of)
        return to_pandas(recoded(found, codes, column), column)
    if column.kind == "text" and column.own is None and column.dtype != object:
        return column.dtype.__from_arrow__(array.cast(pa.large_string()))
    return to_pandas(_values(array, column), column)


def _values(array: Any, column: ColumnType) -> Values:
    import pyarrow as pa

    missing = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    kind = arrow_type(column)
    if column.kind in {"datetime", "duration"}:
        if getattr(array.type, "tz", None) is None and column.zone is not None:
            raise ValueError("datetimes without a zone")
        array = array.cast(kind).view(pa.int64())
    else:
        array = array.cast(kind)
    if column.kind == "text":
        array = array.fill_null("") if missing is not None else array
    elif missing is not None:
        if column.kind == "number" and column.numpy.kind != "f":
            raise ValueError(f"a missing value in a column of {column.name}")
        if column.kind != "number":
            array = array.fill_null(column.numpy.type(0).item())
    make = np.asarray if is_plain(column) else np.array
    data = make(array.to_numpy(zero_copy_only=False), dtype=column.numpy)
    return Values(data, None if column.kind == "number" else missing)
