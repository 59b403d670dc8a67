"""Column values as plain numpy arrays, and their conversion from pandas arrays and back."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from cpr.data.tables.arrow import arrow_array, plain_values
from cpr.data.tables.columns import Array, ColumnType
from cpr.data.tables.texts import ArrowTexts
from cpr.errors import EncodeError, FormatError

__all__ = [
    "Values",
    "absent_in",
    "category_values",
    "from_pandas",
    "joined",
    "plain_array",
    "recoded",
    "to_pandas",
    "values_from_json",
    "values_to_json",
]

# What stands for a missing value in a column of Python objects.
_ABSENT: dict[str, Any] = {"None": None, "nan": np.nan, "NA": pd.NA}


class Values(NamedTuple):
    """Values of a column, or of part of it, as plain arrays.

    Attributes:
        data: what is there, in native byte order: numbers as they are, times as int64 counts of their
            unit, text as str objects (`ArrowTexts` where pandas has none), categories as codes.
            Something of the same dtype where a value is missing.
        missing: True where nothing is, or None where all is there. NaN in a column of plain floats
            is a number, not missing.
    """

    data: Array
    missing: Array | None


def plain_array(array: Any) -> Any:
    """Unwrap a pandas array that only wraps a numpy array."""
    # Python strings of pandas' are such a wrapper as well, with a dtype of their own.
    wrapped = isinstance(array, pd.arrays.NumpyExtensionArray) and not isinstance(array.dtype, pd.StringDtype)
    return array.to_numpy() if wrapped else array


def from_pandas(array: Any, column: ColumnType, field: str) -> Values:
    """Convert a pandas array of a type to plain values, which share no memory with it.

    Raises EncodeError for objects that are not strings.
    """
    array = array.copy()
    is_arrows = column.own is not None or getattr(column.dtype, "storage", None) == "pyarrow"
    if column.kind == "text" and is_arrows:
        return Values(cast(Array, ArrowTexts(array.__arrow_array__(), field)), _any(array.isna()))
    if column.own is not None:
        data, missing = plain_values(array, column.numpy)
        return Values(_canonical(data), _any(missing))
    if column.kind == "text":
        return _texts(array, column, field)
    if column.kind == "category":
        codes = np.asarray(array.codes, dtype=np.int64)
        return Values(codes, _any(codes < 0))
    if column.kind == "masked":
        missing = array.isna()
        filler: Any = False if column.name == "boolean" else 0
        data = array.to_numpy(dtype=column.numpy, na_value=filler)
        return Values(_canonical(data), _any(missing))
    if column.kind == "number":
        return Values(_canonical(np.ascontiguousarray(array, dtype=column.numpy)), None)
    counts = np.ascontiguousarray(array.asi8 if hasattr(array, "asi8") else np.asarray(array).view("int64"))
    return Values(counts, _any(counts == np.iinfo(np.int64).min))


def to_pandas(values: Values, column: ColumnType) -> Any:
    """Convert plain values to a pandas array of a type, without a copy if pandas allows that."""
    data, missing = values
    if column.kind == "number":
        return data
    if column.own is not None:
        return arrow_array(data, missing, column.name)
    if column.kind == "category":
        return pd.Categorical.from_codes(data, dtype=column.dtype)
    if column.kind == "masked":
        mask = np.zeros(data.shape, bool) if missing is None else _writable(missing)
        maker = {"b": pd.arrays.BooleanArray, "f": pd.arrays.FloatingArray}.get(
            data.dtype.kind, pd.arrays.IntegerArray
        )
        return maker(data, mask)
    if column.kind in {"datetime", "duration"}:
        if missing is not None:
            data = np.where(missing, np.iinfo(np.int64).min, data)
        kind = "M8" if column.kind == "datetime" else "m8"
        times = data.view(f"{kind}[{column.unit}]")
        if column.zone is None:
            return times
        return pd.DatetimeIndex(times, tz="UTC").tz_convert(column.dtype.tz).array
    if missing is not None:
        data = data.copy()
        data[missing] = _ABSENT[column.absent or "None"]
    return data if column.dtype == object else pd.array(data, dtype=column.dtype)


def recoded(found: Values, codes: Array, column: ColumnType) -> Values:
    """Map codes into the categories found in a file to codes into the column's categories.

    Raises ValueError for one that is used and is no category.
    """
    assert column.of is not None and column.categories is not None
    places = column.categories.get_indexer(pd.Index(to_pandas(found, column.of), dtype=column.of.dtype))
    # Code -1, a missing value, is the last entry of the table.
    data = np.append(places, -1).astype(np.int64)[codes]
    unknown = np.flatnonzero((data < 0) & (codes >= 0))
    if unknown.size:
        raise ValueError(f"no category: {ascii(found.data[codes[unknown[0]]])[:50]}")
    return Values(data, _any(data < 0))


def joined(parts: list[Any], column: ColumnType) -> Any:
    """Concatenate pandas arrays of a type."""
    if not parts:
        return to_pandas(Values(np.empty(0, column.numpy), None), column)
    if len(parts) == 1:
        return _writable(parts[0])
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return pd.concat([pd.Series(part) for part in parts], ignore_index=True).array


def _writable(array: Any) -> Any:
    """The array, or a copy if it is read-only, as arrays from pandas' parser are."""
    return array.copy() if isinstance(array, np.ndarray) and not array.flags.writeable else array


def values_to_json(values: Values, field: str) -> list[Any]:
    """Values as a JSON list, None for missing. Raises EncodeError for NaN and infinities."""
    if values.data.dtype.kind == "f" and not np.isfinite(values.data).all():
        raise EncodeError(
            "labels and categories cannot be NaN or infinite",
            field=field,
            expected="finite numbers",
            actual=ascii(values.data.tolist())[:100],
            remedy="make them text: frame[column].cat.rename_categories(str), frame.rename(columns=str)",
        )
    items: list[Any] = values.data.tolist()
    if values.missing is None:
        return items
    return [None if gone else item for item, gone in zip(items, values.missing.tolist(), strict=True)]


def values_from_json(items: Any, column: ColumnType) -> Values:
    """Parse what `values_to_json` wrote. Raises FormatError for anything else."""
    wanted: type[Any] = {"b": bool, "f": float, "O": str}.get(column.numpy.kind, int)
    if not isinstance(items, list) or any(type(item) not in {wanted, type(None)} for item in items):
        raise FormatError("not values of this dtype", field="table", expected=column.name)
    missing = np.array([item is None for item in items], dtype=bool)
    filler = -1 if column.kind == "category" else wanted()
    data = np.empty(len(items), column.numpy)
    try:
        data[:] = [filler if item is None else item for item in items]
    except (OverflowError, ValueError) as error:
        raise FormatError("not values of this dtype", field="table", expected=column.name) from error
    return Values(data, _any(missing))


def _texts(array: Any, column: ColumnType, field: str) -> Values:
    if column.dtype != object:
        missing = array.isna()
        return Values(array.to_numpy(dtype=object, na_value=""), _any(missing))
    data = np.asarray(array, dtype=object)
    found = pd.api.types.infer_dtype(data, skipna=True)
    if found not in {"string", "empty"}:
        row = next((i for i, x in enumerate(data) if not (isinstance(x, str) or _is_missing(x))), None)
        if row is None:
            absent_in(data, field)  # more than one sort, or one of another dtype
            row = 0
        raise EncodeError(
            f"an object column holds something other than strings ({type(data[row]).__name__}, row {row})",
            field=field,
            expected="strings and one sort of missing value",
            actual=f"{found}: {ascii(data[row])[:60]}",
            remedy=_REMEDIES.get(found, "convert it: frame[column].astype('str'), or a dtype of its own"),
        )
    missing = np.asarray(pd.isna(data), dtype=bool)
    if missing.any():
        data = np.where(missing, "", data)
    return Values(data, _any(missing))


def _is_missing(item: Any) -> bool:
    return bool(pd.api.types.is_scalar(item) and pd.isna(item))


_REMEDIES = {
    "boolean": "give it a dtype of its own: frame[column].astype('boolean')",
    "integer": "give it a dtype of its own: frame[column].astype('Int64')",
    "integer-na": "give it a dtype of its own: frame[column].astype('Int64')",
    "floating": "give it a dtype of its own: frame[column].astype('float64')",
    "mixed-integer-float": "give it a dtype of its own: frame[column].astype('float64')",
    "decimal": "give it a dtype of its own: frame[column].astype('float64'), or text: astype('str')",
    "date": "give it a dtype of its own: pandas.to_datetime(frame[column])",
    "datetime": "give it a dtype of its own: pandas.to_datetime(frame[column])",
}


def absent_in(array: Any, field: str) -> str | None:
    """The object that marks missing values in an object array: None, nan, NA; None if nothing is missing."""
    missing = np.asarray(pd.isna(array), dtype=bool)
    kinds = {type(item) for item in np.asarray(array, dtype=object)[missing].tolist()}
    names = {
        "None"
        if kind is type(None)
        else "NA"
        if kind is type(pd.NA)
        else "nan"
        if issubclass(kind, float)
        else kind.__name__
        for kind in kinds
    }
    if len(names) > 1 or not names <= set(_ABSENT):
        raise EncodeError(
            "an object column with several sorts of missing values",
            field=field,
            expected="one of None, NaN, pandas.NA",
            actual=", ".join(sorted(names)),
            remedy="give it a dtype of its own: frame[column].astype('str')",
        )
    return next(iter(names), None)


def _canonical(data: Array) -> Array:
    """Replace every NaN by the same one: its payload survives neither text nor most arithmetic."""
    if data.dtype.kind == "f":
        nan = np.isnan(data)
        if nan.any():
            data = data.copy()
            data[nan] = np.nan
    return data


def _any(missing: Array) -> Array | None:
    return missing if missing.any() else None


@functools.lru_cache(maxsize=64)
def category_values(column: ColumnType) -> Values:
    """The categories of a type, as values of the type `of`."""
    assert column.of is not None and column.categories is not None
    return from_pandas(plain_array(column.categories.array), column.of, "categories")
