"""The CSV format: tables that cpr writes and restores exactly.

Source: RFC 4180, https://www.rfc-editor.org/rfc/rfc4180, with newlines for line ends. What it leaves open
(missing values, datetimes, floats) is decided in `cpr.csv.cells`. The dtypes, which CSV loses, are in the
record, and so is the number of rows: a file cut at a row boundary is noticed. CSV files that somebody else
wrote are read by `cpr.csv.foreign`.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd

from cpr.csv.cells import EMPTY, ESCAPE, cells, codes_of, quoted, values_from_texts
from cpr.csv.compression import GzipWriter, blocks_of
from cpr.csv.predecessor import predecessor_hash, read_as_predecessor
from cpr.csv.rows import BOM, Marked, take_header, whole_rows
from cpr.data.tables import ColumnType, Frames, Layout, TableFormat, Values
from cpr.data.tables.values import to_pandas
from cpr.errors import CprError
from cpr.format import ReadableFile, WritableFile, damaged, unusable
from cpr.io.parallel_map import parallel_map

__all__ = [
    "CSV",
    "PARSER_ERRORS",
    "Compression",
    "by_extension",
    "exact_floats",
    "read_csv",
    "require_separator",
]

Compression = Literal["gzip"]

# Its stubs do not know columns named by numbers.
read_csv: Any = pd.read_csv

PARSER_ERRORS = (ValueError, OverflowError, TypeError, LookupError, MemoryError, pd.errors.ParserError)
"""What pandas' parser raises for text that is no CSV."""

# Text that is parsed at once: of narrow tables some 400,000 cells, and of wide ones enough rows.
_PIECE_BYTES = 4 << 20
_ESCAPE = ESCAPE.encode()
# The parser lets other threads work.
_AT_ONCE = min(4, os.cpu_count() or 1)


def exact_floats() -> dict[str, Any]:
    """The option with which pandas reads floats exactly; needless and deprecated since pandas 3.1."""
    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    return {} if version >= (3, 1) else {"float_precision": "round_trip"}


def by_extension(ext: str, options: dict[str, Any]) -> dict[str, Any]:
    """Complete the options with compression and separator from the file's extension.

    Raises FormatError where `compression` contradicts it.
    """
    compression = "gzip" if ext.lower().endswith(".gz") else None
    if options.get("compression", compression) != compression:
        raise unusable(
            "extension and compression contradict each other",
            "compression",
            repr(compression),
            options["compression"],
            "leave compression= out: .csv.gz is gzip, .csv is not compressed",
        )
    separator = {"separator": "\t"} if ext.lower().startswith(".tsv") else {}
    return {**separator, **options, "compression": compression}


def require_separator(separator: str) -> None:
    """Raise FormatError for a separator that cannot stand between cells."""
    if len(separator) != 1 or not separator.isascii() or separator.isalnum() or separator in '"\r\n\0 .-+':
        expected = "one ASCII character that numbers, dates and quotes do not need"
        raise unusable("no usable separator", "separator", expected, separator, "choose ',', ';' or '\\t'")


@dataclass(frozen=True)
class CSV(TableFormat):
    """The CSV format for tables that are restored exactly.

    Attributes:
        separator: between cells.
        compression: `gzip` or None; the extension says which.
        table: labels, dtypes, index and number of rows; taken from the data.
        origin: the program that wrote the file, if not cpr; the file is read and hashed in its way.
    """

    extensions: ClassVar[tuple[str, ...]] = (".csv", ".csv.gz")

    separator: str = ","
    compression: Compression | None = None
    origin: Literal["predecessor"] | None = None

    def __post_init__(self) -> None:
        require_separator(self.separator)
        super().__post_init__()

    def describe(self, data: Any) -> Self:
        """This format with the layout of the table. Raises EncodeError for unsupported tables."""
        return dataclasses.replace(super().describe(data), origin=None)

    def fingerprint(self, data: Any) -> str:
        """The content hash of the table (see `cpr.data.tables`)."""
        return super().fingerprint(data) if self.origin is None else predecessor_hash(data)

    def encode(self, data: Any, file: WritableFile) -> None:
        """Write header and rows, piece by piece."""
        frames = Frames.of(data)
        layout = frames.layout
        out = GzipWriter(file) if self.compression else file
        out.write(self._header(layout))
        types = layout.stored_types
        alone = len(types) == 1
        for piece in frames:
            columns = [
                cells(values, column, self.separator, alone)
                for values, column in zip(piece.columns, types, strict=True)
            ]
            lines = columns[0] if alone else list(map(self.separator.join, zip(*columns, strict=True)))
            lines.append("")
            out.write("\n".join(lines).encode())
        if isinstance(out, GzipWriter):
            out.finish()

    def _header(self, layout: Layout) -> bytes:
        names = quoted(layout.stored_names, self.separator)
        if len(names) == 1 and not names[0]:
            names = ['""']
        return f"{self.separator.join(names)}\n".encode()

    def decode(self, file: ReadableFile) -> pd.DataFrame:
        """Read the table, with the recorded dtypes.

        Raises DecodeError for a file that does not hold such a table, whole.
        """
        if self.origin is not None:
            return read_as_predecessor(file, exact_floats())
        layout = self._recorded()
        with _parsing():
            return self._restored(
                layout, parallel_map(self._parser(layout), self._rows(file, layout), _AT_ONCE)
            )

    def _rows(self, file: ReadableFile, layout: Layout) -> Iterator[bytes]:
        """The rows as text, in pieces."""
        blocks = blocks_of(file, self.compression is not None)
        names = [name.replace("␛", "␛␛").replace("\0", "␛0") for name in layout.stored_names]
        rest = take_header(blocks, self._header(layout), names, self.separator)
        while not rest:
            block = next(blocks, None)
            if block is None:
                return
            rest = block
        mark = len(layout.stored_types) > 1
        yield from whole_rows(Marked(chain([rest], blocks), self.separator, mark), _PIECE_BYTES)

    def _parser(self, layout: Layout) -> Callable[[bytes], tuple[int, list[Any]]]:
        """A parser that turns rows into columns: converted by pandas, or text where pandas would guess."""
        types = layout.stored_types
        options = {
            "sep": self.separator,
            "header": None,
            "names": list(range(len(types))),
            "index_col": False,
            "dtype": {i: _parser_dtype(column) for i, column in enumerate(types)},
            "na_values": {i: _parser_missing(column) for i, column in enumerate(types)},
            "keep_default_na": False,
            "low_memory": False,
            "encoding": "utf-8",
            "engine": "c",
            **exact_floats(),
        }

        def parse(rows: bytes) -> tuple[int, list[Any]]:
            # The parser drops one byte order mark: not the one that the first cell may begin with.
            chunk = read_csv(io.BytesIO(BOM + rows), **options)
            # Its first byte is found, or not, in a tenth of the time.
            escaped = _ESCAPE[:1] in rows and _ESCAPE in rows
            return len(chunk), list(_columns(chunk, layout, escaped))

        return parse


def _parser_dtype(column: ColumnType) -> Any:
    if column.kind == "number":
        # Narrow floats are rounded afterwards: the parser does not know all of them.
        return np.dtype("float64") if column.numpy.kind == "f" else column.numpy
    # Not "category": the parser makes booleans of categories that look like them.
    return object


def _parser_missing(column: ColumnType) -> list[str]:
    if column.kind == "text":
        return [""]
    if column.kind == "category":
        assert column.of is not None
        return _parser_missing(column.of)
    # A program that puts everything in quotes does so with missing numbers as well.
    return ["", EMPTY]


def _values(cells: pd.Series[Any], column: ColumnType) -> Values:
    if column.kind == "number":
        with np.errstate(over="ignore"):
            return Values(cells.to_numpy().astype(column.numpy, copy=False), None)
    if column.kind == "category":
        codes, texts = pd.factorize(cells.to_numpy())
        return codes_of(texts.tolist(), codes, column)
    return values_from_texts(cells.tolist(), cells.isna().to_numpy(), column)


def _column(cells: pd.Series[Any], column: ColumnType, escaped: bool) -> Any:
    """Make a pandas column from its cells; `escaped`: some of them may contain ␛."""
    if column.kind == "text" and column.own is None and column.dtype != object and not escaped:
        return pd.array(cells.to_numpy(), dtype=column.dtype)
    return to_pandas(_values(cells, column), column)


def _columns(chunk: pd.DataFrame, layout: Layout, escaped: bool) -> Iterator[Any]:
    for i, column in enumerate(layout.stored_types):
        try:
            yield _column(chunk[i], column, escaped)
        except (ValueError, OverflowError, TypeError) as error:
            raise damaged(
                "cells that are not of the column's dtype",
                column.name,
                ascii(str(error)),
                field=layout.stored_fields[i],
            ) from error


@contextmanager
def _parsing() -> Iterator[None]:
    """Convert errors of pandas' parser to DecodeErrors."""
    try:
        yield
    except CprError:
        raise
    except PARSER_ERRORS as error:
        raise damaged(
            "not a CSV file of this kind", "rows of cells", f"{type(error).__name__}: {str(error)!a}"
        ) from error
