"""Types of columns, as a record writes them down, and what is in columns, as plain arrays."""

from __future__ import annotations

import datetime as dt
import importlib.util
import re
import zoneinfo
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from cpr.errors import EncodeError, FormatError

__all__ = ["Array", "ColumnType", "Values", "from_pandas", "joined", "plain_array", "recoded", "to_pandas"]

Array = np.ndarray[Any, Any]
Kind = Literal["number", "masked", "datetime", "duration", "text", "category"]

_NUMBERS = frozenset("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split())
# pandas' nullable types: a numpy array and a mask.
_MASKED = {
    "boolean": "bool",
    **{name: name.lower() for name in "Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64".split()},
    **{name: name.lower() for name in "Float32 Float64".split()},
}
_TIMES = re.compile(r"(?P<kind>datetime64|timedelta64)\[(?P<unit>s|ms|us|ns)(, (?P<zone>[^\]]{1,80}))?\]")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+)*")
_OFFSET = re.compile(r"UTC(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d)")
_STRINGS = {"str": np.nan, "string": pd.NA}
_STRING = re.compile(r"(?P<name>str|string)(\[(?P<storage>python|pyarrow)\])?")
# What stands for a missing value in a column of Python objects.
_ABSENT: dict[str, Any] = {"None": None, "nan": np.nan, "NA": pd.NA}
_OBJECT = re.compile(r"object(\[(?P<absent>None|nan|NA)\])?")

# A record is stored with every result that names the table: large lists do not belong there.
_MAX_CATEGORIES_CHARACTERS = 1 << 16


class Values(NamedTuple):
    """Part of a column.

    Attributes:
        data: what is there, in native byte order: numbers as they are, times as int64 counts of their
            unit, text as str objects, categories as codes. Something of the same dtype where a value
            is missing.
        missing: True where nothing is, or None where all is there. NaN in a column of plain floats
            is a number, not missing.
    """

    data: Array
    missing: Array | None


@dataclass(frozen=True, eq=False)
class ColumnType:
    """A dtype in a form that JSON holds and every format understands.

    Attributes:
        name: as pandas writes it: `int64`, `Int64`, `datetime64[us, UTC]`, `str`, `object[None]` (strings
            among which None is what is missing), `category`.
        kind: which of the six sorts of `Values` the column is made of.
        categories: of a category, in their order.
        of: the type of the categories.
        ordered: whether the categories are.
    """

    name: str
    kind: Kind
    categories: pd.Index[Any] | None = None
    of: ColumnType | None = None
    ordered: bool = False

    @classmethod
    def of_array(cls, array: Any, field: str) -> ColumnType:
        """The type of a pandas or numpy array. Raises EncodeError, naming `field`, where there is none."""
        dtype = array.dtype
        if isinstance(dtype, pd.CategoricalDtype):
            return _category(dtype, field)
        try:
            found = cls.named(_name(dtype))
        except FormatError:
            raise _cannot_hold(dtype, field) from None
        named_zone = isinstance(getattr(dtype, "tz", None), zoneinfo.ZoneInfo)
        if found.name != "object" and found.dtype != _native(dtype) and not named_zone:
            # A zone that is not what its name says would come back as another one.
            raise _cannot_hold(dtype, field)
        return found

    @classmethod
    def named(cls, name: object) -> ColumnType:
        """The type of a name. Raises FormatError for one that no table of ours has."""
        if isinstance(name, str):
            if name in _NUMBERS:
                return cls(name, "number")
            if name in _MASKED:
                return cls(name, "masked")
            if _STRING.fullmatch(name) or _OBJECT.fullmatch(name):
                return cls(name, "text")
            times = _TIMES.fullmatch(name)
            if times and times["kind"] == "timedelta64" and not times["zone"]:
                return cls(name, "duration")
            if times and times["kind"] == "datetime64":
                if times["zone"]:
                    _zone(times["zone"])
                return cls(name, "datetime")
        raise FormatError(
            "no dtype of a table",
            field="table",
            expected="a dtype as cpr writes it",
            actual=ascii(name)[:100],
        )

    @classmethod
    def from_json(cls, value: Any) -> ColumnType:
        """The type from its JSON value. Raises FormatError for what `to_json` cannot have written."""
        if not isinstance(value, dict):
            return cls.named(value)
        if set(value) != {"categories", "of", "ordered"} or not isinstance(value["ordered"], bool):
            raise FormatError("no category", field="table", actual=ascii(value)[:100])
        of = cls.named(value["of"])
        of.require_index()
        values = values_from_json(value["categories"], of)
        categories: pd.Index[Any] = pd.Index(to_pandas(values, of), dtype=of.dtype)
        if categories.hasnans or not categories.is_unique:
            raise FormatError("categories are unique and not missing", field="table")
        return cls("category", "category", categories, of, value["ordered"])

    def require_index(self) -> None:
        """Raise FormatError for what pandas has no index of, which categories and row labels are kept in."""
        if self.name == "float16":
            raise FormatError("no dtype of an index", field="table", actual=self.name)

    @cached_property
    def category_values(self) -> Values:
        """The categories, as values of the type `of`."""
        assert self.of is not None and self.categories is not None
        return from_pandas(plain_array(self.categories.array), self.of, "categories")

    def to_json(self) -> Any:
        """The type as a JSON value."""
        if self.of is None:
            return self.name
        return {
            "categories": values_to_json(self.category_values, "categories"),
            "of": self.of.name,
            "ordered": self.ordered,
        }

    def meaning(self) -> Any:
        """What of the type is content, as a JSON value: not where strings are stored in memory."""
        if self.of is not None:
            return {**self.to_json(), "of": self.of.meaning()}
        return _STRING.sub(r"\g<name>", self.name) if self.kind == "text" else self.name

    @cached_property
    def unit(self) -> str:
        """The unit of a time: s, ms, us or ns."""
        match = _TIMES.fullmatch(self.name)
        assert match is not None
        return match["unit"]

    @cached_property
    def zone(self) -> str | None:
        """The zone of a datetime."""
        match = _TIMES.fullmatch(self.name)
        return None if match is None else match["zone"]

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """What the `data` of `Values` has for its dtype."""
        if self.kind in {"number", "masked"}:
            return np.dtype(_MASKED.get(self.name, self.name))
        return np.dtype(object if self.kind == "text" else "int64")

    @cached_property
    def dtype(self) -> Any:
        """The pandas (or numpy) dtype itself."""
        if self.kind == "category":
            return pd.CategoricalDtype(self.categories, self.ordered)
        if self.kind == "number":
            return np.dtype(self.name)
        if self.zone is not None:
            _zone(self.zone)
            # By name: pandas 2 has another class for the same zone.
            return pd.DatetimeTZDtype(self.unit, self.zone)  # type: ignore[call-overload]
        if self.kind in {"datetime", "duration"}:
            return np.dtype(self.name)
        string = _STRING.fullmatch(self.name)
        if string:
            return _string_dtype(string["name"], string["storage"])
        return np.dtype(object) if self.kind == "text" else pd.api.types.pandas_dtype(self.name)

    @cached_property
    def absent(self) -> str | None:
        """Which object stands for what is missing among Python strings: None, nan or NA."""
        match = _OBJECT.fullmatch(self.name)
        return None if match is None else match["absent"]


def plain_array(array: Any) -> Any:
    """A pandas array without the wrapper around numpy's."""
    # Python strings of pandas' are such a wrapper as well, with a dtype of their own.
    wrapped = isinstance(array, pd.arrays.NumpyExtensionArray) and not isinstance(array.dtype, pd.StringDtype)
    return array.to_numpy() if wrapped else array


def from_pandas(array: Any, column: ColumnType, field: str) -> Values:
    """A pandas array of a type as plain values. Raises EncodeError for objects that are not strings."""
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
    """Plain values as a pandas array of a type, without a copy where pandas can do without."""
    data, missing = values
    if column.kind == "number":
        return data
    if column.kind == "category":
        return pd.Categorical.from_codes(data, dtype=column.dtype)
    if column.kind == "masked":
        mask = np.zeros(data.shape, bool) if missing is None else missing
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
    """Codes into a column's categories, from codes into the ones that a file was found to hold.

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
    """Arrays of a type as pandas has them, one after the other."""
    if not parts:
        return to_pandas(Values(np.empty(0, column.numpy), None), column)
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return pd.concat([pd.Series(part) for part in parts], ignore_index=True).array


def values_to_json(values: Values, field: str) -> list[Any]:
    """Values as a JSON list; None is missing. Raises EncodeError for NaN and infinities."""
    if values.data.dtype.kind == "f" and not np.isfinite(values.data).all():
        raise EncodeError(
            "labels and categories cannot be NaN or infinite",
            field=field,
            expected="finite numbers",
            actual=ascii(values.data.tolist())[:100],
            remedy="rename them, for example to text",
        )
    items: list[Any] = values.data.tolist()
    if values.missing is None:
        return items
    return [None if gone else item for item, gone in zip(items, values.missing.tolist(), strict=True)]


def values_from_json(items: Any, column: ColumnType) -> Values:
    """What `values_to_json` wrote. Raises FormatError for anything else."""
    wanted: type[Any] = {"b": bool, "f": float, "O": str}.get(column.numpy.kind, int)
    if not isinstance(items, list) or any(type(item) not in {wanted, type(None)} for item in items):
        raise FormatError("not values of this dtype", field="table", expected=column.name)
    missing = np.array([item is None for item in items], dtype=bool)
    filler = wanted()
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
    """What stands for missing values in an object array: None, nan, NA, or nothing missing (None)."""
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


def _category(dtype: pd.CategoricalDtype, field: str) -> ColumnType:
    categories = dtype.categories
    of = ColumnType.of_array(plain_array(categories.array), field)
    if of.kind == "category":
        raise _cannot_hold(dtype, field)
    found = ColumnType("category", "category", categories, of, bool(dtype.ordered))
    try:
        size = len(str(found.to_json()))
    except EncodeError as error:
        error.field = field
        raise
    if size > _MAX_CATEGORIES_CHARACTERS:
        raise EncodeError(
            "too many categories to keep in a record",
            field=field,
            expected=f"at most {_MAX_CATEGORIES_CHARACTERS} characters of them",
            actual=f"{len(categories)} categories, {size} characters",
            remedy=f"store the values themselves: frame[column].astype('{of.name}')",
        )
    return found


def _name(dtype: Any) -> str:
    if isinstance(dtype, pd.StringDtype):
        name = "string" if dtype.na_value is pd.NA else "str"
        # Only what differs from this installation's default: the default is free to vary.
        return name if dtype == _string_dtype(name, None) else f"{name}[{dtype.storage}]"
    if isinstance(dtype, pd.DatetimeTZDtype):
        return f"datetime64[{dtype.unit}, {dtype.tz}]"
    return str(_native(dtype))


def _native(dtype: Any) -> Any:
    return dtype.newbyteorder("=") if isinstance(dtype, np.dtype) else dtype


def _string_dtype(name: str, storage: str | None) -> Any:
    if storage == "pyarrow" and importlib.util.find_spec("pyarrow") is None:
        storage = None
    if name == "string":
        return pd.StringDtype(storage)
    if pd.__version__.startswith("2."):
        return np.dtype(object)
    return pd.StringDtype(storage, na_value=np.nan)


def _zone(name: str) -> dt.tzinfo:
    """The time zone of a name; nothing but the zone database is looked into."""
    if name == "UTC":
        return dt.UTC
    offset = _OFFSET.fullmatch(name)
    if offset:
        minutes = int(offset["hours"]) * 60 + int(offset["minutes"])
        if minutes < 24 * 60:
            return dt.timezone(dt.timedelta(minutes=minutes if offset["sign"] == "+" else -minutes))
    elif _ZONE.fullmatch(name):
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise FormatError(
        "no such time zone",
        field="table",
        expected="UTC, UTC+hh:mm, or a name of the zone database",
        actual=ascii(name)[:100],
        remedy="install the zone database: pip install tzdata",
    )


def _canonical(data: Array) -> Array:
    """One NaN for all: which of the many it is, neither text nor most arithmetic keeps."""
    if data.dtype.kind == "f":
        nan = np.isnan(data)
        if nan.any():
            data = data.copy()
            data[nan] = np.nan
    return data


def _any(missing: Array) -> Array | None:
    return missing if missing.any() else None


def _cannot_hold(dtype: Any, field: str) -> EncodeError:
    name = str(dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        remedy = "convert it to UTC or a zone with a name: frame[column].dt.tz_convert('UTC')"
    elif isinstance(dtype, pd.ArrowDtype):
        remedy = (
            "convert it to pandas' own types: frame[column].convert_dtypes(dtype_backend='numpy_nullable')"
        )
    elif isinstance(dtype, pd.SparseDtype):
        remedy = "make it dense: frame[column].sparse.to_dense()"
    elif name.startswith("complex"):
        remedy = "store two columns, the real and the imaginary part"
    else:
        remedy = "convert it, for example to text: frame[column].astype('str')"
    return EncodeError(
        "a table on disk cannot hold this dtype",
        field=field,
        expected="numbers, booleans, strings, datetimes, timedeltas, categories of these, or nullable ones",
        actual=name[:200],
        remedy=remedy,
    )
