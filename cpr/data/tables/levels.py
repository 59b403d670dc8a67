"""The levels of a row or column index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from cpr.data.tables.columns import ColumnType
from cpr.data.tables.layout_json import Level, Span, column_type, recorded_type, type_to_json
from cpr.data.tables.values import plain_array
from cpr.errors import EncodeError, FormatError

__all__ = ["Levels", "is_finite", "level_arrays"]


@dataclass(frozen=True)
class Levels:
    """The levels of an index: one, or several for a MultiIndex.

    Attributes:
        names: of each level.
        types: of each level.
        multi: whether it is a MultiIndex, which may have one level only.
        span: start and step where the index is a range.
    """

    names: tuple[Any, ...]
    types: tuple[ColumnType, ...]
    multi: bool = False
    span: tuple[int, int] | None = None

    @classmethod
    def of(cls, index: pd.Index[Any], what: str) -> Self:
        """The levels of an index. Raises EncodeError for dtypes and names that a record cannot hold."""
        multi = isinstance(index, pd.MultiIndex)
        for name in index.names:
            if not (name is None or type(name) in {str, int, bool} or is_finite(name)):
                raise EncodeError(
                    f"a name of the {what} that is not plain",
                    field=f"{what} {ascii(name)[:100]}",
                    expected="text, a number or None",
                    actual=ascii(name)[:100],
                    remedy="rename it: frame.rename_axis(...)",
                )
        types = [
            column_type(array, _level_field(index.names, i, what))
            for i, array in enumerate(level_arrays(index))
        ]
        span = (index.start, index.step) if isinstance(index, pd.RangeIndex) else None
        return cls(tuple(index.names), tuple(types), multi, span)

    @property
    def is_default(self) -> bool:
        """Whether this is pandas' default index for rows."""
        return self.span == (0, 1) and self.names == (None,)

    def field(self, level: int, what: str) -> str:
        """The name of a level in error messages."""
        return _level_field(self.names, level, what)

    def to_json(self) -> Any:
        """The levels as a JSON value: an object, or a list of them for a MultiIndex."""
        if self.span is not None:
            return {"name": self.names[0], "range": list(self.span)}
        levels = [{"name": n, "dtype": type_to_json(t)} for n, t in zip(self.names, self.types, strict=True)]
        return levels if self.multi else levels[0]

    @classmethod
    def recorded(cls, given: Span | Level | list[Level]) -> Self:
        """Parse the levels in a record. Raises FormatError for dtypes that an index cannot have."""
        if isinstance(given, Span):
            if given.range[1] == 0:
                raise FormatError("a range without a step", field="table")
            return cls((given.name,), (ColumnType.named("int64"),), span=given.range)
        levels = given if isinstance(given, list) else [given]
        types = tuple(recorded_type(level.dtype) for level in levels)
        for type_ in types:
            type_.require_index()
        return cls(tuple(level.name for level in levels), types, isinstance(given, list))

    def index(self, arrays: Sequence[Any], rows: int) -> pd.Index[Any]:
        """Make the index from an array for each level."""
        if self.span is not None:
            start, step = self.span
            return pd.RangeIndex(start, start + step * rows, step, name=self.names[0])
        if self.multi:
            # As indexes, of a dtype each: pandas 3 takes an array of str objects for its own strings.
            levels = [pd.Index(a, dtype=t.dtype, copy=False) for a, t in zip(arrays, self.types, strict=True)]
            return pd.MultiIndex.from_arrays(levels, names=list(self.names))
        index: pd.Index[Any] = pd.Index(arrays[0], dtype=self.types[0].dtype, name=self.names[0], copy=False)
        return index


def level_arrays(index: pd.Index[Any]) -> list[Any]:
    """The values of every level of an index."""
    # Without names: a level that is called 0 would be found before the one that is the first.
    nameless = index.set_names([None] * index.nlevels)
    return [plain_array(nameless.get_level_values(i).array) for i in range(index.nlevels)]


def is_finite(value: object) -> bool:
    """Whether a value is a float other than NaN and infinity."""
    return type(value) is float and bool(np.isfinite(value))


def _level_field(names: Sequence[Any], level: int, what: str) -> str:
    name = names[level]
    if name is not None:
        return f"{what} {name}"
    return what if len(names) == 1 else f"{what} level {level}"
