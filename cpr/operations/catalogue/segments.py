"""Reads and writes the files of the catalogue, in the hidden folder of a results URL.

    results/.cpr/catalogue/1/<16 hex digits of the URL>.<32 of the content>.parquet

Each is written once and never changed; all of them together are the catalogue. A row counts if the listing
shows its object in the same version. So it does not matter which processes write or remove files here.
Somebody with write access can falsify a list, and nothing else: see docs/decisions/trust.md.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cpr import io
from cpr.errors import CprError
from cpr.io.confinement import writing_only_below
from cpr.io.hashing import digest_of, hex16
from cpr.operations.catalogue.parquet_page_headers import are_honest
from cpr.operations.catalogue.rows import ENCODED, SCHEMA

__all__ = ["FAILURES", "FULL_ROWS", "Writer", "is_segment", "read", "read_parts"]

log = logging.getLogger("cpr")

FOLDER = ".cpr/catalogue/1"
_MOST_BYTES = 4 << 30
_MOST_FOOTER_BYTES = 64 << 20
_MOST_EXPANSION = 64  # times the size of the file
_ROWS_AT_ONCE = 1 << 16
FAILURES = (CprError, pa.ArrowException, OSError, ValueError, KeyError, RuntimeError, TypeError)
FULL_ROWS = 1 << 18
"""Of a file that gets no more of them: some 60 MB when they are read."""


def is_segment(url: str, name: bytes) -> bool:
    """Whether an object's name is that of a catalogue file for a results URL."""
    head = f"{FOLDER}/{hex16(url.encode())}.".encode()
    return name.startswith(head) and re.fullmatch(rb"[0-9a-f]{32}\.parquet", name[len(head) :]) is not None


def read(url: str, nbytes: int, columns: Sequence[str]) -> Any:
    """Read columns of a file, as a table; None if it is malformed or cannot be read. Raises nothing.

    Every byte is digested: what is damaged is not believed.
    """
    try:
        return _valid(_open(url, nbytes, columns).read(columns=list(columns), use_threads=False))
    except FAILURES as error:
        log.debug("a catalogue is not read, after %s", type(error).__name__)
        return None


def read_parts(url: str, nbytes: int) -> Iterator[Any]:
    """Read all columns of a file, some ten thousand rows at a time. Raises FAILURES if that fails."""
    parquet = _open(url, nbytes, SCHEMA.names)
    for number in range(parquet.num_row_groups):
        yield _valid(parquet.read_row_group(number, use_threads=False)).cast(SCHEMA)


def _valid(table: Any) -> Any:
    """The table, after checking that its texts are UTF-8, as Parquet's reader does not. Raises FAILURES."""
    table.validate(full=True)
    return table


def _open(url: str, nbytes: int, columns: Sequence[str]) -> Any:
    """Open a file, if it is as cpr writes it. Raises FAILURES."""
    if nbytes > _MOST_BYTES:
        raise ValueError("it is too large")
    with io.reading(url) as file:
        content = pa.py_buffer(file.read())
    if _digest(content) != url[-40:-8]:
        raise ValueError("its bytes are others")
    parquet = pq.ParquetFile(
        pa.BufferReader(content),
        read_dictionary=[name for name in ENCODED if name in columns],
        thrift_string_size_limit=_MOST_FOOTER_BYTES,
        thrift_container_size_limit=_MOST_FOOTER_BYTES,
    )
    if not _is_modest(parquet.metadata, nbytes) or not are_honest(content, parquet.metadata, ENCODED):
        raise ValueError("it claims more than it may")
    schema = parquet.schema_arrow
    if schema.names != SCHEMA.names or any(
        schema.field(one.name).type not in (one.type, pa.dictionary(pa.int32(), one.type)) for one in SCHEMA
    ):
        raise ValueError("its columns are others")
    return parquet


def _is_modest(footer: Any, nbytes: int) -> bool:
    """Whether its columns claim no more memory than such a file may take."""
    most = max(64 << 20, _MOST_EXPANSION * nbytes)
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    claimed = sum(column.total_uncompressed_size for column in columns)
    # A run of equal values takes a few bytes, whatever their number; so does a long text that is repeated,
    # but in columns that stay encoded when they are read.
    repeats = any(column.has_dictionary_page and column.path_in_schema not in ENCODED for column in columns)
    return claimed <= most and footer.num_rows * 64 <= most and not repeats


class Writer:
    """Writes rows while they come, in files of `FULL_ROWS`, so that no more are in memory.

    Who is interrupted leaves the files that were full. What fails is told in the log, and ends the writing.

    Attributes:
        rows: how many were added.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._sink: Any = None
        self._parquet: Any = None
        self._error: CprError | None = None
        self._places: set[str] = set()
        self._in_file = 0
        self.rows = 0

    def add(self, table: Any) -> None:
        """Add rows: of further objects, or further rows of the latest object."""
        if not table.num_rows or self._error is not None:
            return
        if self._in_file >= FULL_ROWS:
            # The rows of an object are in one file.
            end = pc.index(pc.is_valid(table["name"]), True).as_py()
            if end >= 0:
                self._write(table[:end])
                self._publish()
                table = table[end:]
        self._write(table)

    def _write(self, table: Any) -> None:
        if not table.num_rows:
            return
        if self._sink is None:
            self._sink = pa.BufferOutputStream()
            self._parquet = pq.ParquetWriter(
                self._sink,
                SCHEMA,
                compression="zstd",
                use_dictionary=list(ENCODED),
                write_statistics=False,
                dictionary_pagesize_limit=16 << 20,
            )
        self._parquet.write_table(table, row_group_size=_ROWS_AT_ONCE)
        self._in_file += table.num_rows
        self.rows += table.num_rows

    def finish(self, instead_of: Iterable[str]) -> None:
        """Write the rest, and delete files whose rows were rewritten or are outdated."""
        self._publish()
        if self._error is None:
            try:
                with writing_only_below(self._url):
                    for old in instead_of:
                        if old not in self._places:
                            io.remove(old)
            except CprError as error:
                self._tell(error)

    def _publish(self) -> None:
        if self._sink is None or self._error is not None:
            return
        self._parquet.close()
        content = self._sink.getvalue()
        self._sink, self._parquet, self._in_file = None, None, 0
        try:
            place = io.join(
                self._url.rstrip("/"), f"{FOLDER}/{hex16(self._url.encode())}.{_digest(content)}.parquet"
            )
            with writing_only_below(self._url), io.writing(place) as file:
                file.write(memoryview(content))
            self._places.add(place)
        except CprError as error:
            self._error = error
            self._tell(error)

    def _tell(self, error: CprError) -> None:
        # Without write permission none are written; a message each time would be noise.
        level = logging.DEBUG if error.problem.startswith("no permission") else logging.WARNING
        log.log(level, "the catalogue of %s is not written: %s", self._url, error.problem)


def _digest(content: Any) -> str:
    return digest_of(memoryview(content), "xxh3_128").hex()
