"""Checks the page headers of a Parquet file before a decoder allocates what they claim.

Each page begins with a header (parquet.thrift, `PageHeader`: field 1 is the type, field 2 the size when
unpacked, field 3 the size as it lies in the file). Decoders allocate what field 2 says; the footer, which is
looked at first, says how much all pages of a column come to.

Unpacked is not decoded: a number of a dictionary, or a prefix that a text shares with the one before it,
takes some bits whatever the length of the text. Which of these a page uses its header says as well (in field
5, 7 or 8), whatever the footer tells: so the pages are those that cpr writes, or the file is not read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from cpr.parquet.structs import PAGE_HEADER
from cpr.parquet.thrift import read_struct

__all__ = ["Header", "are_honest", "read_header"]

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # PageType
_PLAIN, _NUMBERS, _RLE, _NUMBERS_V2 = 0, 2, 3, 8  # Encoding; of the third only flags
_ABOUT = {_DATA: (5, 2), _DICTIONARY: (7, 2), _DATA_V2: (8, 4)}
"""By the type of a page: the field that tells of it, and the one in it with the encoding; values are in 1."""
_NUMBER_BYTES = 4  # of a text's length, before it


class Header(NamedTuple):
    """The claims of a page header.

    Attributes:
        kind: which sort of page it is.
        unpacked: its bytes when unpacked.
        packed: its bytes in the file.
        values: how many it has.
        encoding: how they lie in it.
        end: where the header ends.
    """

    kind: int
    unpacked: int
    packed: int
    values: int
    encoding: int
    end: int


def are_honest(content: Any, footer: Any, encoded: Collection[str]) -> bool:
    """Whether all pages of a file fit what its footer says of their columns, with every value in full.

    Args:
        content: the file's bytes.
        footer: pyarrow's `FileMetaData` of it.
        encoded: names of columns that may have dictionaries, as these stay encoded when they are read.
    """
    view = memoryview(content).cast("B")
    try:
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            for column in range(group.num_columns):
                if not _fits(view, group.column(column), group.num_rows, encoded):
                    return False
    except (ValueError, IndexError):
        return False
    return True


def _fits(view: memoryview, column: Any, rows: int, encoded: Collection[str]) -> bool:
    starts = (column.dictionary_page_offset, column.data_page_offset)
    place = min(start for start in starts if start is not None)
    end = place + column.total_compressed_size
    if not 0 <= place <= end <= len(view):
        return False
    claimed = values = 0
    while place < end:
        header = read_header(view, place)
        if not _is_known(header, column.path_in_schema in encoded):
            return False
        claimed += header.unpacked + header.end - place
        values += header.values if header.kind != _DICTIONARY else 0
        place = header.end + header.packed
        if claimed > column.total_uncompressed_size:
            return False
    return bool(place == end) and values == rows


def _is_known(header: Header, is_encoded: bool) -> bool:
    """Whether a page is as cpr writes it, with at least as many bytes as its values need."""
    if min(header.unpacked, header.packed, header.values) < 0:
        return False
    if header.kind == _DICTIONARY:
        # Room is made for as many texts as it says.
        fits = header.values * _NUMBER_BYTES <= header.unpacked
        return is_encoded and fits and header.encoding in (_PLAIN, _NUMBERS)
    known = (_PLAIN, _RLE, _NUMBERS, _NUMBERS_V2) if is_encoded else (_PLAIN, _RLE)
    return header.kind in (_DATA, _DATA_V2) and header.encoding in known


def read_header(content: Any, place: int) -> Header:
    """Read the header at a position. Raises ValueError and IndexError if it is malformed."""
    fields, end = read_struct(content, place, PAGE_HEADER)
    kind, unpacked, packed = (_number(fields, at) for at in (1, 2, 3))
    if kind not in _ABOUT:
        raise ValueError(f"a page of type {kind}")
    field, encoding = _ABOUT[kind]
    about = fields.get(field)
    return Header(kind, unpacked, packed, _number(about, 1), _number(about, encoding), end)


def _number(fields: Any, at: int) -> int:
    number = fields.get(at) if isinstance(fields, dict) else None
    if type(number) is not int:
        raise ValueError(f"a header without the number in field {at}")
    return number
