"""The layout of a table in a record: labels, dtypes, index, number of rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd

from cpr.data.tables.columns import ColumnType
from cpr.data.tables.layout_json import Table, column_type, recorded_type, type_meaning, type_to_json
from cpr.data.tables.levels import Levels, is_finite, level_arrays
from cpr.data.tables.values import from_pandas, plain_array, to_pandas, values_from_json, values_to_json
from cpr.errors import EncodeError, FormatError, MissingDependencyError
from cpr.format import damaged

__all__ = ["Layout", "require_unicode"]

# What pandas gives the columns of most frames; left out of records.
_PLAIN_LABELS = {"name": None, "dtype": "str"}


@dataclass(frozen=True)
class Layout:
    """The description of a table without its values.

    Attributes:
        labels: of the columns: JSON values, lists of them under a MultiIndex.
        types: of the columns.
        heads: the levels of the column labels.
        index: the levels of the row labels.
        rows: how many there are, once that is known.
    """

    labels: tuple[Any, ...]
    types: tuple[ColumnType, ...]
    heads: Levels
    index: Levels
    rows: int | None = None

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Self:
        """The layout of a frame. Raises EncodeError, naming the column, for unsupported content."""
        heads = Levels.of(frame.columns, "columns")
        labels = _labels(frame.columns, heads)
        fields = field_names(labels)
        types = tuple(
            column_type(plain_array(column.array), fields[i]) for i, (_, column) in enumerate(frame.items())
        )
        layout = cls(labels, types, heads, Levels.of(frame.index, "index"), len(frame))
        for name in layout.stored_names:
            require_unicode(name, name)
        return layout

    @cached_property
    def fields(self) -> list[str]:
        """The names of the columns in error messages."""
        return field_names(self.labels)

    @property
    def writes_index(self) -> bool:
        """Whether files contain the index: unless it is the default one, or there are no columns."""
        return not self.index.is_default or not self.types

    @property
    def stored_types(self) -> list[ColumnType]:
        """The types of the columns in files, index first."""
        return [*(self.index.types if self.writes_index else ()), *self.types]

    @property
    def stored_names(self) -> list[str]:
        """The names of the columns in files, index first."""
        names = ["" if name is None else str(name) for name in self.index.names] if self.writes_index else []
        return [*names, *self.fields]

    @property
    def stored_fields(self) -> list[str]:
        """The names of the stored columns in error messages."""
        levels = range(len(self.index.types)) if self.writes_index else ()
        return [*(self.index.field(i, "index") for i in levels), *self.fields]

    def to_json(self) -> dict[str, Any]:
        """The layout as a small JSON object, without default values."""
        found: dict[str, Any] = {
            "columns": [[label, type_to_json(t)] for label, t in zip(self.labels, self.types, strict=True)],
            "rows": self.rows,
        }
        if not self.index.is_default:
            found["index"] = self.index.to_json()
        if (heads := self.heads.to_json()) != _PLAIN_LABELS:
            found["labels"] = heads
        return found

    def meaning(self) -> Any:
        """The part of the layout that counts as content, as a JSON value."""
        return {
            "columns": [[label, type_meaning(t)] for label, t in zip(self.labels, self.types, strict=True)],
            "labels": [[n, type_meaning(t)] for n, t in zip(self.heads.names, self.heads.types, strict=True)],
            "index": [[n, type_meaning(t)] for n, t in zip(self.index.names, self.index.types, strict=True)],
        }

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Parse what `to_json` wrote. Raises FormatError for anything else."""
        try:
            table = Table.model_validate_json(json.dumps(value))
            layout = cls(
                tuple(label for label, _ in table.columns),
                tuple(recorded_type(dtype) for _, dtype in table.columns),
                Levels.recorded(table.labels),
                Levels.recorded(table.index),
                table.rows,
            )
            layout.columns()
            [t.dtype for t in layout.stored_types]
        except (FormatError, MissingDependencyError):
            raise
        except Exception as error:
            # Values that pandas makes no index of: it has many ways to say so.
            raise FormatError(
                "not the description of a table", field="table", actual=ascii(str(error))[:200]
            ) from error
        return layout

    def columns(self) -> pd.Index[Any]:
        """The column labels as a pandas index."""
        heads = self.heads
        if heads.span is not None:
            labels = heads.index([], len(self.labels))
            if list(labels) != list(self.labels):
                raise FormatError("labels that are not their range", field="table")
            return labels
        if heads.multi and any(not isinstance(x, list) or len(x) != len(heads.types) for x in self.labels):
            raise FormatError(
                "labels without all their levels", field="table", actual=ascii(self.labels)[:100]
            )
        parts = (
            list(zip(*self.labels, strict=True))
            if heads.multi and self.labels
            else [self.labels] * len(heads.types)
        )
        levels = [_label_array(list(part), t) for part, t in zip(parts, heads.types, strict=True)]
        return heads.index(levels, len(self.labels))

    def frame(self, arrays: Sequence[Any], rows: int) -> pd.DataFrame:
        """Make a frame of this layout from pandas arrays in the order of `stored_types`, without copying.

        Raises DecodeError where the stored index is not the range that it should be.
        """
        held = len(self.index.types) if self.writes_index else 0
        index = self.index.index(arrays[:held], rows)
        if (
            self.index.span is not None
            and held
            and not np.array_equal(np.asarray(arrays[0]), index.to_numpy())
        ):
            raise damaged(
                "the index is not the recorded one",
                repr(index),
                repr(arrays[0]),
                "restore the file: its rows were changed or reordered",
                self.stored_fields[0],
            )
        columns = {
            # pandas 3 takes an array of str objects for its own strings unless told.
            i: pd.Series(array, index, dtype=object, copy=False) if array.dtype == object else array
            for i, array in enumerate(arrays[held:])
        }
        frame = pd.DataFrame(columns, index=index, copy=False)
        frame.columns = self.columns()
        return frame


def require_unicode(text: str, field: str) -> None:
    """Raise EncodeError for text that UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(
            "text with half a surrogate pair is not Unicode",
            field=ascii(field)[1:-1],
            expected="text that UTF-8 can hold",
            actual=ascii(error.object[error.start : error.end])[:60],
            remedy="clean the text: text.encode('utf-8', 'replace').decode()",
        ) from None


def field_names(labels: Sequence[Any]) -> list[str]:
    """Labels as text, for headers and errors; the levels of a MultiIndex are joined by dots."""
    return [".".join(map(_text, label)) if isinstance(label, list) else _text(label) for label in labels]


def _text(label: Any) -> str:
    return "" if label is None else str(label)


def _labels(columns: pd.Index[Any], heads: Levels) -> tuple[Any, ...]:
    parts = []
    for level, (array, column) in enumerate(zip(level_arrays(columns), heads.types, strict=True)):
        if column.name == "object":
            parts.append([_plain_label(label) for label in array])
        else:
            parts.append(_level_json(array, column, heads.field(level, "columns")))
    return tuple(map(list, zip(*parts, strict=True))) if heads.multi else tuple(parts[0])


def _level_json(array: Any, column: ColumnType, field: str) -> list[Any]:
    return values_to_json(from_pandas(array, column, field), field)


def _label_array(labels: list[Any], column: ColumnType) -> Any:
    if column.name != "object":
        return to_pandas(values_from_json(labels, column), column)
    if any(type(label) not in {str, int, float, bool, type(None)} for label in labels):
        raise FormatError("no plain label", field="table", actual=ascii(labels)[:100])
    array = np.empty(len(labels), object)
    array[:] = labels
    return array


def _plain_label(label: Any) -> Any:
    if isinstance(label, np.generic):
        label = label.item()
    if label is None or type(label) in {str, int, bool} or is_finite(label):
        return label
    raise EncodeError(
        "a column label that is not plain",
        field=ascii(label)[:100],
        expected="text, a number or None",
        actual=type(label).__name__,
        remedy="rename the column: frame.rename(columns=...)",
    )
