"""The JSON form of a table's layout, and its conversion to column types and back."""

from __future__ import annotations

import zoneinfo
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from cpr.data.tables.columns import ColumnType, dtype_name, native
from cpr.data.tables.values import category_values, plain_array, to_pandas, values_from_json, values_to_json
from cpr.errors import EncodeError, FormatError

__all__ = [
    "Category",
    "Level",
    "Plain",
    "Span",
    "Table",
    "column_type",
    "recorded_type",
    "type_meaning",
    "type_to_json",
]

Plain = str | int | float | bool | None

# A record is stored with every result that names the table: large lists do not belong there.
_MAX_CATEGORIES_CHARACTERS = 1 << 16


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Category(_Strict):
    """The dtype of categories: its values, their dtype, and whether they are ordered."""

    categories: list[Any]
    of: str
    ordered: bool


class Level(_Strict):
    """One level of an index."""

    name: Plain
    dtype: str | Category


class Span(_Strict):
    """A range index: its start and step."""

    name: Plain
    range: tuple[int, int]


class Table(_Strict):
    """The layout of a table; default values are left out of the record."""

    columns: list[tuple[Plain | list[Plain], str | Category]]
    rows: Annotated[int, Field(ge=0, lt=1 << 62)] | None
    index: Span | Level | Annotated[list[Level], Field(min_length=1)] = Span(name=None, range=(0, 1))
    labels: Span | Level | Annotated[list[Level], Field(min_length=1)] = Level(name=None, dtype="str")


def recorded_type(dtype: str | Category) -> ColumnType:
    """Parse the type of a column in a record. Raises FormatError for an unsupported one."""
    if isinstance(dtype, str):
        return ColumnType.named(dtype)
    of = ColumnType.named(dtype.of)
    of.require_index()
    if of.own is not None:
        raise FormatError("no dtype of categories", field="table", actual=ascii(dtype.of))
    categories: pd.Index[Any] = pd.Index(
        to_pandas(values_from_json(dtype.categories, of), of), dtype=of.dtype
    )
    if categories.hasnans or not categories.is_unique:
        raise FormatError("categories are unique and not missing", field="table")
    return ColumnType("category", "category", categories, of, dtype.ordered)


def type_to_json(column: ColumnType) -> Any:
    """The type of a column for a record."""
    if column.of is None:
        return column.name
    categories = values_to_json(category_values(column), "categories")
    return {"categories": categories, "of": column.of.name, "ordered": column.ordered}


def type_meaning(column: ColumnType) -> Any:
    """The part of a column's type that counts as content: not the memory in which strings are kept."""
    if column.of is not None:
        return {**type_to_json(column), "of": type_meaning(column.of)}
    return column.name.partition("[")[0] if column.is_string else column.name


def column_type(array: Any, field: str) -> ColumnType:
    """The type of a pandas or numpy array. Raises EncodeError, naming `field`, for an unsupported one."""
    dtype = array.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _category(dtype, field)
    try:
        found = ColumnType.named(dtype_name(dtype))
    except FormatError:
        raise _cannot_hold(dtype, field) from None
    named_zone = isinstance(getattr(dtype, "tz", None), zoneinfo.ZoneInfo)
    if found.name != "object" and found.dtype != native(dtype) and not named_zone:
        # A zone that is not what its name says would come back as another one.
        raise _cannot_hold(dtype, field)
    return found


def _category(dtype: pd.CategoricalDtype, field: str) -> ColumnType:
    categories = dtype.categories
    of = column_type(plain_array(categories.array), field)
    if of.kind == "category" or of.own is not None:
        raise _cannot_hold(dtype, field)
    found = ColumnType("category", "category", categories, of, bool(dtype.ordered))
    try:
        size = len(str(type_to_json(found)))
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


def _cannot_hold(dtype: Any, field: str) -> EncodeError:
    name = str(dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        remedy = "convert it to UTC or a zone with a name: frame[column].dt.tz_convert('UTC')"
    elif isinstance(dtype, pd.ArrowDtype):
        remedy = f"convert it to a type of pandas' own: frame[column].{_of_pandas(dtype.pyarrow_dtype)}"
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


def _of_pandas(arrow: Any) -> str:
    """The call that converts an Arrow column to pandas' own dtype, for error messages."""
    import pyarrow as pa

    if pa.types.is_timestamp(arrow):
        return f"astype('datetime64[{arrow.unit}{f', {arrow.tz}' if arrow.tz else ''}]')"
    if pa.types.is_date(arrow):
        return "astype('datetime64[s]')"
    if pa.types.is_floating(arrow) or pa.types.is_decimal(arrow):
        return "astype('float64')"
    return "astype('string')"
