"""Hashes a table chunk by chunk, and collects the layout of the whole table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cpr.data.tables.columns import ColumnType
from cpr.data.tables.layout import Layout, require_unicode
from cpr.data.tables.layout_json import type_to_json
from cpr.data.tables.levels import Levels, level_arrays
from cpr.data.tables.texts import ArrowTexts
from cpr.data.tables.values import Values, absent_in, from_pandas, plain_array
from cpr.errors import EncodeError
from cpr.io.hashing import ContentDigest, hex16

__all__ = ["Piece", "TableDigest"]

# Small enough that the text of a piece stays in tens of megabytes, large enough to be worth a call.
PIECE_CELLS = 400_000


class Piece(NamedTuple):
    """Consecutive rows of a table: the stored columns, index first."""

    rows: int
    columns: list[Values]


class TableDigest:
    """Hashes the chunks of a table in order, and collects the layout of the whole table."""

    def __init__(self, layout: Layout) -> None:
        self._first = layout
        self._rows = 0
        self._digests = [_Digest() for _ in (*layout.index.types, *layout.types)]
        self._absent: list[str | None] = [None] * len(layout.types)
        self._absent_index: list[str | None] = [None] * len(layout.index.types)
        self._is_range = layout.index.span is not None

    def require_same(self, chunk: pd.DataFrame, number: int) -> None:
        """Raise EncodeError for a chunk with another layout than the first one."""
        first, found = self._first, Layout.of(chunk)
        if (found.labels, found.heads.to_json()) != (first.labels, first.heads.to_json()):
            raise _differs("has other columns", number, "columns", first.fields, found.fields)
        if found.index.names != first.index.names or found.index.multi != first.index.multi:
            raise _differs("has another index", number, "index", first.index.names, found.index.names)
        if self._numbered and found.index.span is None:
            raise _differs(
                "has another index", number, "index", "the default one", type(chunk.index).__name__
            )
        pairs = [
            *zip(first.fields, first.types, found.types, strict=True),
            *(
                (first.index.field(i, "index"), a, b)
                for i, (a, b) in enumerate(zip(first.index.types, found.index.types, strict=True))
            ),
        ]
        for field, expected, actual in pairs:
            if type_to_json(expected) != type_to_json(actual):
                raise _differs(
                    "has another dtype", number, field, type_to_json(expected), type_to_json(actual)
                )

    @property
    def _numbered(self) -> bool:
        return self._first.index.is_default

    def pieces(self, chunk: pd.DataFrame, number: int) -> Iterator[Piece]:
        """Hash a chunk, and yield it in pieces."""
        first = self._first
        arrays = [plain_array(column.array) for _, column in chunk.items()]
        self._continue(chunk.index, number)
        step = max(1, PIECE_CELLS // max(1, len(self._digests)))
        for start in range(0, len(chunk), step):
            rows = min(step, len(chunk) - start)
            columns = [*self._index_values(chunk.index[start : start + rows].copy(deep=True))]
            for i, array in enumerate(arrays):
                # What is hashed is what is written, whatever happens to the frame meanwhile.
                part, field = array[start : start + rows].copy(), first.fields[i]
                with _In(number, self._rows):
                    columns.append(from_pandas(part, first.types[i], field))
                    self._absent[i] = _same_absent(self._absent[i], part, columns[-1], first.types[i], field)
            names = [first.index.field(i, "index") for i in range(len(first.index.types))]
            for digest, values, field in zip(self._digests, columns, [*names, *first.fields], strict=True):
                digest.update(values, field)
            self._rows += rows
            yield Piece(rows, columns if first.writes_index else columns[len(first.index.types) :])

    def look_for_absent(self, frame: pd.DataFrame) -> None:
        """Record which objects mark missing values in the object columns of a whole frame."""
        first = self._first
        levels = [first.index.field(i, "index") for i in range(len(first.index.types))]
        for i, (array, column) in enumerate(zip(level_arrays(frame.index), first.index.types, strict=True)):
            if column.name == "object":
                self._absent_index[i] = _absent(array, column, levels[i])
        for i, column in enumerate(first.types):
            if column.name == "object":
                self._absent[i] = _absent(plain_array(frame.iloc[:, i].array), column, first.fields[i])

    def _continue(self, index: pd.Index[Any], number: int) -> None:
        """Check that a range index continues where the previous chunk ended."""
        span = self._first.index.span
        if span is None or not self._is_range or not isinstance(index, pd.RangeIndex) or not len(index):
            self._is_range = self._is_range and isinstance(index, pd.RangeIndex)
            return
        goes_on = index.start == span[0] + span[1] * self._rows and (index.step == span[1] or len(index) == 1)
        if self._numbered and not goes_on and (index.start, index.step) != (0, 1):
            raise _differs("does not go on where the one before ended", number, "index", self._rows, index)
        self._is_range = self._is_range and (goes_on or self._numbered)

    def _index_values(self, index: pd.Index[Any]) -> Iterator[Values]:
        levels = self._first.index
        if self._numbered:
            yield Values(np.arange(self._rows, self._rows + len(index), dtype=np.int64), None)
            return
        for i, (array, column) in enumerate(zip(level_arrays(index), levels.types, strict=True)):
            field = levels.field(i, "index")
            values = from_pandas(array, column, field)
            self._absent_index[i] = _same_absent(self._absent_index[i], array, values, column, field)
            yield values

    def layout(self) -> Layout:
        """The layout of all chunks so far."""
        first = self._first
        types = _with_absent(first.types, self._absent)
        levels = first.index
        span = levels.span if self._is_range else None
        index = Levels(levels.names, _with_absent(levels.types, self._absent_index), levels.multi, span)
        return Layout(first.labels, types, first.heads, index, self._rows)

    def fingerprint(self, layout: Layout) -> str:
        """The content hash of all chunks so far."""
        parts = [layout.meaning(), self._rows, [digest.digest() for digest in self._digests]]
        return hex16(json.dumps(parts).encode())

    def second(self, layout: Layout) -> str:
        """The longer digest of the same content, `algorithm:hexdigest`."""
        passed = ContentDigest()
        parts = [layout.meaning(), self._rows, [digest.second() for digest in self._digests]]
        passed.update(json.dumps(parts).encode())
        return passed.second()


class _Digest:
    """The digest of one column, independent of how the column is chunked."""

    def __init__(self) -> None:
        self._data = ContentDigest()
        self._marks = ContentDigest()

    def update(self, values: Values, field: str) -> None:
        """Hash the next values. Raises EncodeError for text that is not Unicode."""
        data, missing = values
        if isinstance(data, ArrowTexts):
            self._data.update(data.utf8)
            marks = data.lengths()
            if missing is not None:
                marks[missing] = -1
        elif data.dtype == object:
            texts = data.tolist()
            text = "".join(texts)
            require_unicode(text, field)
            self._data.update(text.encode())
            marks = np.fromiter(map(len, texts), np.int64, len(texts))
            if missing is not None:
                marks[missing] = -1
        else:
            marks = np.zeros(len(data), np.int8) if missing is None else missing.astype(np.int8)
            self._data.update(data.view(np.uint8))
        self._marks.update(marks.view(np.uint8))

    def digest(self) -> str:
        return self._data.hexdigest() + self._marks.hexdigest()

    def second(self) -> str:
        return self._data.second() + self._marks.second()


class _In:
    """Adds chunk and row numbers to errors about a piece."""

    def __init__(self, number: int, row: int) -> None:
        self._place = f" (chunk {number}, from row {row})"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, EncodeError):
            error.problem += self._place


def _same_absent(known: str | None, array: Any, values: Values, column: ColumnType, field: str) -> str | None:
    if values.missing is None or column.name != "object":
        return known
    found = absent_in(array, field)
    if known is not None and found != known:
        raise EncodeError(
            "an object column with several sorts of missing values",
            field=field,
            expected=f"{known}, as before",
            actual=found,
            remedy="give it a dtype of its own: frame[column].astype('str')",
        )
    return found


def _absent(array: Any, column: ColumnType, field: str) -> str | None:
    return _same_absent(None, array, from_pandas(array, column, field), column, field)


def _with_absent(types: tuple[ColumnType, ...], absent: list[str | None]) -> tuple[ColumnType, ...]:
    return tuple(
        column if kind is None else ColumnType.named(f"object[{kind}]")
        for column, kind in zip(types, absent, strict=True)
    )


def _differs(problem: str, number: int, field: str, expected: Any, actual: Any) -> EncodeError:
    return EncodeError(
        f"chunk {number} {problem}",
        field=field,
        expected=f"{str(expected)[:200]}, as in the first chunk",
        actual=str(actual)[:200],
        remedy="give every chunk the columns, dtypes and sort of index of the first one"
        if field != "index"
        else "number the chunks on, or drop their index: chunk.reset_index(drop=True)",
    )
