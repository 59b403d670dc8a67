"""The Parquet formats: of tables that cpr writes and restores exactly, and of foreign files.

Source: https://parquet.apache.org/docs/file-format/, through pyarrow. Row groups are written as they
come, forward only. The footer is at the end; when a table of ours is read it is fetched first
(`cpr.parquet.row_groups`). Encoded files of others are held until they are decoded.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import pandas as pd

from cpr.data.memory import Expansion, Room, require_memory
from cpr.data.tables import Frames, Layout, TableFormat, own_copy
from cpr.data.tables.table_format import other_rows
from cpr.errors import CprError, DecodeError, MissingDependencyError
from cpr.format import ReadableFile, WritableFile, damaged, expect_end, hold_ahead
from cpr.parquet.columns import array_of, arrow_type
from cpr.parquet.dictionaries import worth_a_dictionary
from cpr.parquet.pandas_metadata import file_names, pandas_metadata, require_modest_labels
from cpr.parquet.row_groups import ROWS_OF_TEXT, WIDTHS, ForwardReads, read_columns
from cpr.parquet.watched_file import WatchedFile

__all__ = [
    "ForeignParquet",
    "Parquet",
    "Reading",
    "claimed_bytes",
    "coded_fields",
    "opened",
    "pyarrow",
    "rows_at_once",
    "to_pandas",
]

# Large enough that a reader's requests are few, small enough to be held beside everything else.
_ROW_GROUP_BYTES = 32 << 20
_READ_CELLS = 2_000_000
# What is fetched before the rest of a large file: most footers; and read at once of columns that are large.
_END_BYTES, _BUFFER_BYTES = 256 << 10, 1 << 20
# Fetched before it is decoded, beside the columns that are: half of what other reads may have.
_AHEAD_BYTES = 48 << 20


@dataclass(frozen=True)
class Parquet(TableFormat):
    """The Parquet format for tables that are restored exactly.

    Attributes:
        compression: of the columns: zstd, snappy (what most programs write), gzip or None.
        table: labels, dtypes, index and number of rows; taken from the data.
    """

    extensions: ClassVar[tuple[str, ...]] = (".parquet", ".parq")

    compression: Literal["zstd", "snappy", "gzip"] | None = "zstd"

    def describe(self, data: Any) -> Self:
        """This format with the layout of the table.

        Raises EncodeError for what a table on disk cannot hold, MissingDependencyError without pyarrow.
        """
        pyarrow()
        return super().describe(data)

    def encode(self, data: Any, file: WritableFile) -> None:
        """Write the table, one row group after another."""
        pa, pq = pyarrow()
        frames = Frames.of(data)
        layout = frames.layout
        types = layout.stored_types
        names = file_names(layout)
        schema = pa.schema(
            [pa.field(n, arrow_type(t)) for n, t in zip(names, types, strict=True)], pandas_metadata(layout)
        )
        sink = _Sink(file)
        groups = self._row_groups(frames, schema)
        group = next(groups, None)
        writer = pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"),
            schema,
            compression=self.compression or "none",
            use_dictionary=True if group is None else worth_a_dictionary(group),
        )
        try:
            while group is not None:
                writer.write_table(group, row_group_size=max(1, group.num_rows))
                del group  # before there is the next
                group = next(groups, None)
            writer.close()
        except BaseException:
            # The writer ends its file when it is let go of; nobody wants that end any more.
            sink.deaf = True
            writer.close()
            if sink.failure is not None:
                raise sink.failure from None
            raise

    def _row_groups(self, frames: Frames, schema: Any) -> Iterator[Any]:
        """Collect the pieces of a stream into pyarrow tables, one for each row group."""
        pa, _ = pyarrow()
        layout = frames.layout
        waiting: list[Any] = []
        for piece in frames:
            columns = [
                array_of(values, column, name)
                for values, column, name in zip(
                    piece.columns, layout.stored_types, layout.stored_fields, strict=True
                )
            ]
            waiting.append(pa.Table.from_arrays(columns, schema=schema))
            del piece, columns
            if sum(table.nbytes for table in waiting) >= _ROW_GROUP_BYTES:
                yield _together(waiting)
        if waiting:
            yield _together(waiting)

    def decode(self, file: ReadableFile) -> pd.DataFrame:
        """Read the table, with the recorded dtypes.

        Raises DecodeError for a file that does not hold such a table, whole.
        """
        layout = self._recorded()
        assert layout.rows is not None
        with Reading():
            hold_ahead(file, _AHEAD_BYTES)
            expect_end(file, _END_BYTES)
            reads = ForwardReads(file)
            parquet = opened(reads, buffer_bytes=_BUFFER_BYTES)
            _require(parquet, layout)
            arrays = read_columns(parquet, reads, layout)
        return layout.frame(arrays, layout.rows)


@dataclass(frozen=True)
class ForeignParquet:
    """Parquet files of any origin, as pyarrow converts them to a DataFrame."""

    extensions: ClassVar[tuple[str, ...]] = (".parquet", ".parq", "")

    def share(self, data: pd.DataFrame) -> pd.DataFrame:
        """A copy of a cached frame."""
        return own_copy(data)

    def decode(self, file: ReadableFile) -> pd.DataFrame:
        """Read the table. Raises DecodeError for invalid Parquet, MissingDependencyError without pyarrow."""
        with Reading():
            pa, _ = pyarrow()
            parquet = opened(file)
            table, batches = Expansion("the table"), []
            for batch in parquet.iter_batches(rows_at_once(parquet, _READ_CELLS), use_pandas_metadata=True):
                table.grown(batch.nbytes)
                batches.append(batch)
        return to_pandas(pa.Table.from_batches(batches, parquet.schema_arrow))


def to_pandas(table: Any, what: str = "it") -> pd.DataFrame:
    """Convert a pyarrow table to a frame. Raises DecodeError for values that pandas cannot hold.

    Args:
        table: the table that was read.
        what: to read in another way, for the remedy.
    """
    try:
        require_modest_labels(table.schema)
        # Texts that are not UTF-8 would be found by whoever looks at one of them.
        table.validate(full=True)
        frame: pd.DataFrame = table.to_pandas()
    except Exception as error:
        raise damaged(
            "values that pandas has no column for",
            "what pyarrow converts",
            f"{type(error).__name__}: {ascii(str(error))[:200]}",
            f"read {what} as Arrow: with cpr.io.reading(url) as file: pyarrow.parquet.read_table(file)",
        ) from error
    return frame


class _Sink:
    """A writable file for pyarrow, with a position, which ignores `close`."""

    closed = False

    def __init__(self, file: WritableFile) -> None:
        self._file = file
        self._position = 0
        self.deaf = False
        self.failure: BaseException | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._position += view.nbytes
        if not self.deaf:
            try:
                self._file.write(view)
            except BaseException as error:
                self.failure = error
                raise
        return view.nbytes

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Does nothing: no bytes are buffered."""

    def close(self) -> None:
        """Does nothing: whoever opened the file closes it."""


class Reading:
    """Converts pyarrow's errors for damaged files to DecodeErrors."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        # pyarrow's errors are ValueErrors, OSErrors, KeyErrors or RuntimeErrors, as it happens.
        if isinstance(error, Exception) and not isinstance(error, CprError):
            found = f"{type(error).__name__}: {ascii(str(error))[:200]}"
            expected = "columns as they were written"
            raise damaged("not a Parquet file of this kind", expected, found) from error


def opened(file: ReadableFile | ForwardReads, whole: bool = True, buffer_bytes: int = 0) -> Any:
    """Open a file, after checking that its footer claims no more than fits into memory.

    Args:
        file: to read.
        whole: whether the file may be kept in memory whole.
        buffer_bytes: to read at once of a column; 0 for all of it.
    """
    pa, pq = pyarrow()
    size = file.seek(0, os.SEEK_END)
    if whole:
        # The footer is at the end: until it is known, all of the file is held.
        require_memory(size, "the encoded table")
    file.seek(max(0, size - 8))
    (footer_bytes,) = struct.unpack("<I", file.read(4).rjust(4, b"\0"))
    require_memory(footer_bytes, "the footer")
    watched = WatchedFile(file, Room("the table"))
    parquet = pq.ParquetFile(pa.PythonFile(watched, mode="r"), pre_buffer=False, buffer_size=buffer_bytes)
    require_memory(claimed_bytes(parquet), "the table")
    watched.coded = coded_fields(parquet.schema_arrow)
    return parquet


def coded_fields(schema: Any) -> frozenset[int]:
    """Numbers of the fields that pyarrow returns dictionary-encoded."""
    pa, _ = pyarrow()
    return frozenset(i for i, one in enumerate(schema) if pa.types.is_dictionary(one.type))


def claimed_bytes(parquet: Any) -> int:
    """How much memory the table needs, according to its footer."""
    footer = parquet.metadata
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    encoded: int = sum(group.total_byte_size for group in groups)
    rows: int = max(footer.num_rows, sum(group.num_rows for group in groups))
    # A run of equal values takes a few bytes, whatever their number: in memory each takes its own.
    columns = [parquet.schema.column(i) for i in range(footer.num_columns)]
    row_bytes: int = sum(WIDTHS.get(one.physical_type, max(8, one.length)) for one in columns)
    return max(encoded, rows * row_bytes)


def _require(parquet: Any, layout: Layout) -> None:
    """Raise DecodeError unless the footer describes such a table."""
    if parquet.metadata.num_rows != layout.rows:
        # Asked first: a few bytes can claim any number of equal rows.
        raise other_rows(layout.rows, parquet.metadata.num_rows)
    names = parquet.schema_arrow.names
    # Earlier versions wrote no names for levels without.
    if names not in (file_names(layout), layout.stored_names) or parquet.metadata.num_columns != len(names):
        raise DecodeError(
            "the columns are not the recorded ones",
            field="columns",
            expected=ascii(layout.stored_names)[:200],
            actual=ascii(names)[:200],
            remedy="restore the file: its columns were changed",
        )


def rows_at_once(parquet: Any, rows: int) -> int:
    """How many rows to decode at a time: fewer if a long text may be repeated at little cost."""
    columns = map(parquet.schema.column, range(parquet.metadata.num_columns))
    return min(rows, ROWS_OF_TEXT) if any(c.physical_type == "BYTE_ARRAY" for c in columns) else rows


def _together(tables: list[Any]) -> Any:
    """Concatenate tables; empties the list, so that none is kept."""
    pa, _ = pyarrow()
    taken = list(tables)
    tables.clear()
    return pa.concat_tables(taken)


def pyarrow() -> tuple[Any, Any]:
    """Import pyarrow and pyarrow.parquet. Raises MissingDependencyError."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingDependencyError(
            "Parquet files need the pyarrow package", remedy='pip install "prefect-cpr[parquet]"'
        ) from None
    return pa, pq
