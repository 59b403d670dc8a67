"""Decodes the columns of a Parquet file while it is downloaded.

The footer, which locates all columns, is fetched first. Then the file is read in order, a few columns of a
row group at a time, which are freed once they are decoded, so that the file is never held whole. Only pyarrow
locates columns, and only while reading: asking it for their positions crashes the process if a footer is
damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from cpr.data.memory import Expansion, return_freed
from cpr.data.tables import Layout
from cpr.data.tables.table_format import other_rows
from cpr.data.tables.values import joined
from cpr.format import ReadableFile
from cpr.parquet.columns import column_of, is_plain

__all__ = ["ROWS_OF_TEXT", "WIDTHS", "ForwardReads", "read_columns"]

WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8}
"""Bytes of a value in memory, by its type in the file. Of others, a few bits may stand for a long one."""

ROWS_OF_TEXT = 16_384
"""Of these, so many are decoded at once."""

# Of columns that threads take at once: all their rows of a row group, and those that are decoded at once.
_TOGETHER_BYTES = 24 << 20
_AT_ONCE_BYTES = 6 << 20
# Whenever so much was decoded, what was freed meanwhile goes back to the system.
_RETURN_BYTES = 16 << 20


class ForwardReads:
    """A readable file for pyarrow that records how far it was read."""

    closed = False

    def __init__(self, file: ReadableFile) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell
        self._farthest = 0

    def read(self, size: int = -1) -> bytes:
        """Read bytes."""
        data = self._file.read(size)
        self._farthest = max(self._farthest, self._file.tell())
        return data

    def close(self) -> None:
        """Does nothing: whoever opened the file closes it."""

    def restart(self) -> None:
        """Note that the footer was read and reading continues at the first byte."""
        self._farthest = 0

    def let_go(self) -> None:
        """Free what was read: only later positions are read from now on."""
        self._file.release(self._farthest)


def read_columns(parquet: Any, file: ForwardReads, layout: Layout) -> list[Any]:
    """Read the columns of a table as pandas arrays, in the order of `stored_types`.

    Args:
        parquet: the file as pyarrow has opened it; its footer was found to claim so many columns and rows.
        file: the file below it.
        layout: the recorded layout.

    Raises DecodeError, ValueError, and what pyarrow raises.
    """
    assert layout.rows is not None
    file.restart()
    footer, types = parquet.metadata, layout.stored_types
    table = Expansion("the table")
    # Values of a fixed size go where they stay; of others, what each row group holds is put together.
    plain = [np.empty(layout.rows, one.dtype) if is_plain(one) else None for one in types]
    parts: list[list[Any]] = [[] for _ in types]
    begin = decoded = 0
    for group in range(footer.num_row_groups):
        rows = footer.row_group(group).num_rows
        if rows < 0 or begin + rows > layout.rows:
            raise other_rows(layout.rows, f"at least {begin + rows}")
        for columns, at_once in _slices(parquet.schema, len(types), rows):
            row = begin
            # By number: names may repeat, and pyarrow takes those with dots for nested ones.
            for batch in parquet.reader.iter_batches(at_once, [group], columns):
                table.grown(batch.nbytes)
                decoded += batch.nbytes
                if row + batch.num_rows > begin + rows:
                    raise ValueError(f"a column of more than {rows} values")
                for i, column in enumerate(columns):
                    values = column_of(batch.column(i), types[column])
                    if (whole := plain[column]) is None:
                        parts[column].append(values)
                    else:
                        whole[row : row + len(values)] = values
                row += batch.num_rows
                del batch, values  # not beside the next ones
                if len(columns) == 1:  # of several, what others have read is not all that was asked for
                    file.let_go()
            if row != begin + rows:
                raise ValueError(f"a column of {row - begin} values, not {rows}")
            file.let_go()
            if decoded >= _RETURN_BYTES:
                decoded = 0
                return_freed()
        begin += rows
    if begin != layout.rows:
        raise other_rows(layout.rows, begin)
    found = []
    for whole, part, one in zip(plain, parts, types, strict=True):
        # One column after the other, so that at most one is there twice.
        found.append(joined(part, one) if whole is None else whole)
        part.clear()
    return found


def _slices(schema: Any, count: int, rows: int) -> Iterator[tuple[list[int], int]]:
    """Consecutive columns that are decoded together, and how many rows of them at a time."""
    widths = [WIDTHS.get(schema.column(i).physical_type, 0) for i in range(count)]
    for is_text, columns in groupby(range(count), lambda i: not widths[i]):
        if is_text:
            yield [*columns], max(1, min(rows, ROWS_OF_TEXT))
            continue
        some: list[int] = []
        row_bytes = 0
        for i in columns:
            if some and (row_bytes + widths[i]) * rows > _TOGETHER_BYTES:
                yield some, max(1, min(rows, _AT_ONCE_BYTES // row_bytes))
                some, row_bytes = [], 0
            some.append(i)
            row_bytes += widths[i]
        yield some, max(1, min(rows, _AT_ONCE_BYTES // row_bytes))
