"""Files of rows in the hidden folder of a results URL.

    results/.cpr/catalogue/1/<16 hex digits of the URL>.<32 of the content>.parquet

Each is written once and never changed; all of them together are the catalogue. Which row counts is decided by
the listing: one of an object that is there, in this version. So it does not matter who else writes, or
removes what others have written. What anybody else may have put there is not believed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cpr import io
from cpr.errors import CprError
from cpr.io.hashing import digest_of, hex16
from cpr.operations.catalogue.pages import are_honest
from cpr.operations.catalogue.rows import SCHEMA
from cpr.operations.places import require_inside

__all__ = ["ENCODED", "is_segment", "publish", "read"]

log = logging.getLogger("cpr")

FOLDER = ".cpr/catalogue/1"
_MOST_BYTES = 4 << 30
_MOST_FOOTER_BYTES = 64 << 20
_MOST_EXPANSION = 64  # times the size of the file
_ROWS_AT_ONCE = 1 << 16
ENCODED = ["type", "location", "task", "flow", "flow_run"]


def is_segment(url: str, name: bytes) -> bool:
    """Whether an object's name is that of rows about a results URL."""
    head = f"{FOLDER}/{hex16(url.encode())}.".encode()
    return name.startswith(head) and re.fullmatch(rb"[0-9a-f]{32}\.parquet", name[len(head) :]) is not None


def read(url: str, nbytes: int, columns: Sequence[str]) -> Any:
    """Columns of a file, as a table; None for what is no such file, or cannot be read. Raises nothing.

    Every byte is digested: what is damaged is not believed.
    """
    if nbytes > _MOST_BYTES:
        return None
    try:
        with io.reading(url) as file:
            content = pa.py_buffer(file.read())
        if _digest(content) != url[-40:-8]:
            return None
        parquet = pq.ParquetFile(
            pa.BufferReader(content),
            read_dictionary=[name for name in ENCODED if name in columns],
            thrift_string_size_limit=_MOST_FOOTER_BYTES,
            thrift_container_size_limit=_MOST_FOOTER_BYTES,
        )
        if not _is_modest(parquet.metadata, nbytes) or not are_honest(content, parquet.metadata):
            return None
        schema = parquet.schema_arrow
        if schema.names != SCHEMA.names or any(
            schema.field(one.name).type not in (one.type, pa.dictionary(pa.int32(), one.type))
            for one in SCHEMA
        ):
            return None
        return parquet.read(columns=list(columns), use_threads=False)
    except (CprError, pa.ArrowException, OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        log.debug("a catalogue is not read, after %s", type(error).__name__)
        return None


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


def publish(url: str, table: Any, instead_of: Iterable[str]) -> None:
    """Write rows, and remove files whose rows are in it or worthless. What fails is told in the log."""
    try:
        place = _write(url, table) if table.num_rows else None
        for old in instead_of:
            if old != place:
                io.remove(old)
    except CprError as error:
        # Who may only read makes none, and need not be told each time.
        level = logging.DEBUG if error.problem.startswith("no permission") else logging.WARNING
        log.log(level, "the catalogue of %s is not written: %s", url, error.problem)


def _write(url: str, table: Any) -> str:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=_ROWS_AT_ONCE,
        compression="zstd",
        use_dictionary=ENCODED,
        write_statistics=False,
        dictionary_pagesize_limit=16 << 20,
    )
    content = sink.getvalue()
    place = io.join(url.rstrip("/"), f"{FOLDER}/{hex16(url.encode())}.{_digest(content)}.parquet")
    require_inside(place, url)
    with io.writing(place) as file:
        file.write(memoryview(content))
    return place


def _digest(content: Any) -> str:
    return digest_of(memoryview(content), "xxh3_128").hex()
