"""Column types: dtypes in a form that every format understands."""

from __future__ import annotations

import datetime as dt
import importlib.util
import re
import zoneinfo
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from cpr.data.tables.arrow import arrow_name, own_name, pandas_dtype
from cpr.errors import FormatError

__all__ = ["Array", "ColumnType", "dtype_name", "native"]

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
_STRING = re.compile(r"(?P<name>str|string)(\[(?P<storage>python|pyarrow)\])?")
_OBJECT = re.compile(r"object(\[(?P<absent>None|nan|NA)\])?")


@dataclass(frozen=True, eq=False)
class ColumnType:
    """A dtype in a form that JSON can hold and every format understands.

    Attributes:
        name: as pandas writes it: `int64`, `Int64`, `datetime64[us, UTC]`, `str`, `object[None]` (strings
            among which None is what is missing), `category`.
        kind: which of the six sorts of `Values` the column is made of.
        categories: of a category, in their order.
        of: the type of the categories.
        ordered: whether the categories are.
        own: what pandas calls the dtype of the same values in its own memory, where they are in Arrow's.
    """

    name: str
    kind: Kind
    categories: pd.Index[Any] | None = None
    of: ColumnType | None = None
    ordered: bool = False
    own: str | None = None

    @classmethod
    def named(cls, name: object) -> ColumnType:
        """The type with this name. Raises FormatError if tables here cannot have it."""
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
            if (own := own_name(name)) is not None:
                return cls(name, cls.named(own).kind, own=own)
        raise FormatError(
            "no dtype of a table",
            field="table",
            expected="a dtype as cpr writes it",
            actual=ascii(name)[:100],
        )

    def require_index(self) -> None:
        """Raise FormatError for a type that pandas cannot use in an index (row labels, categories)."""
        if self.name == "float16":
            raise FormatError("no dtype of an index", field="table", actual=self.name)

    @property
    def is_string(self) -> bool:
        """Whether it is one of pandas' string dtypes, in whichever memory."""
        return _STRING.fullmatch(self.name) is not None

    @cached_property
    def unit(self) -> str:
        """The unit of a time: s, ms, us or ns."""
        match = _TIMES.fullmatch(self.own or self.name)
        assert match is not None
        return match["unit"]

    @cached_property
    def zone(self) -> str | None:
        """The time zone of a datetime type."""
        match = _TIMES.fullmatch(self.own or self.name)
        return None if match is None else match["zone"]

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype of the `data` in `Values`."""
        if self.kind in {"number", "masked"}:
            name = self.own or self.name
            return np.dtype(_MASKED.get(name, name))
        return np.dtype(object if self.kind == "text" else "int64")

    @cached_property
    def dtype(self) -> Any:
        """The pandas (or numpy) dtype itself. Raises MissingDependencyError for Arrow's without pyarrow."""
        if self.own is not None:
            return pandas_dtype(self.name)
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
        """The object that marks missing Python strings: None, nan or NA."""
        match = _OBJECT.fullmatch(self.name)
        return None if match is None else match["absent"]


def dtype_name(dtype: Any) -> str:
    """The name of a numpy or pandas dtype in records."""
    if isinstance(dtype, pd.StringDtype):
        name = "string" if dtype.na_value is pd.NA else "str"
        # Only what differs from this installation's default: the default is free to vary.
        return name if dtype == _string_dtype(name, None) else f"{name}[{dtype.storage}]"
    if isinstance(dtype, pd.DatetimeTZDtype):
        return f"datetime64[{dtype.unit}, {dtype.tz}]"
    if isinstance(dtype, pd.ArrowDtype):
        return arrow_name(dtype)
    return str(native(dtype))


def native(dtype: Any) -> Any:
    """The dtype in native byte order."""
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
    """The time zone of a name; only the time zone database is searched."""
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
