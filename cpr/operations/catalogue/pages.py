"""What the headers of a Parquet file's pages claim, before anybody makes room for it.

Each page begins with a header in Thrift's compact protocol (parquet.thrift, `PageHeader`: field 1 is the
type, field 2 the size when unpacked, field 3 the size as it lies in the file). Decoders allocate what field 2
says; the footer, which is looked at first, says how much all pages of a column come to.

Unpacked is not decoded: a number of a dictionary, or a prefix that a text shares with the one before it,
takes some bits whatever the length of the text. Which of these a page uses its header says as well (in field
5, 7 or 8), whatever the footer tells: so the pages are those that cpr writes, or the file is not read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

__all__ = ["Header", "are_honest", "read_header", "varint"]

_MOST_LEVELS = 8
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # PageType
_PLAIN, _NUMBERS, _RLE, _NUMBERS_V2 = 0, 2, 3, 8  # Encoding; of the third only flags
_ABOUT = {5: {1: 6, 2: 7}, 7: {1: 6, 2: 7}, 8: {1: 6, 4: 7}}
"""By the field of a page's kind, and the field in it: which number of the header it is."""
_NUMBER_BYTES = 4  # of a text's length, before it
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class Header(NamedTuple):
    """What a page claims.

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
    """Whether all pages of a file fit into what the footer says of their columns, with each value in full.

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
    """Whether it is a page as cpr writes them, which holds no value in less bytes than it has."""
    if min(header.unpacked, header.packed, header.values) < 0:
        return False
    if header.kind == _DICTIONARY:
        # Room is made for as many texts as it says.
        fits = header.values * _NUMBER_BYTES <= header.unpacked
        return is_encoded and fits and header.encoding in (_PLAIN, _NUMBERS)
    known = (_PLAIN, _RLE, _NUMBERS, _NUMBERS_V2) if is_encoded else (_PLAIN, _RLE)
    return header.kind in (_DATA, _DATA_V2) and header.encoding in known


def read_header(content: Any, place: int) -> Header:
    """The header that begins at a place. Raises ValueError and IndexError for what is none."""
    numbers = dict.fromkeys((1, 2, 3, 6, 7), -1)
    end = _skip_struct(content, place, {1: 1, 2: 2, 3: 3}, numbers, 0)
    return Header(numbers[1], numbers[2], numbers[3], numbers[6], numbers[7], end)


def _skip_struct(
    content: Any, place: int, wanted: dict[int, int], numbers: dict[int, int], level: int
) -> int:
    """Where a struct ends; of its fields those that are wanted are noted."""
    if level > _MOST_LEVELS:
        raise ValueError("structs in structs in structs")
    field = 0
    while (head := content[place]) != 0:
        kind, step = head & 15, head >> 4
        place += 1
        if step:
            field += step
        else:
            raw, place = _read_varint(content, place)
            field = _signed(raw)
        if field in wanted and kind == _I32:
            raw, place = _read_varint(content, place)
            numbers[wanted[field]] = _signed(raw)
        elif kind == _STRUCT:
            below = _ABOUT.get(field, {}) if level == 0 else {}
            place = _skip_struct(content, place, below, numbers, level + 1)
        else:
            place = _skip(content, place, kind)
    return place + 1


def _skip(content: Any, place: int, kind: int) -> int:
    if kind in (_TRUE, _FALSE):
        return place
    if kind == _BYTE:
        return place + 1
    if kind in (_I16, _I32, _I64):
        return _read_varint(content, place)[1]
    if kind == _DOUBLE:
        return place + 8
    if kind == _BINARY:
        length, place = _read_varint(content, place)
        return place + length
    raise ValueError("page headers have no lists and maps")


def _read_varint(content: Any, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number without an end")


def _signed(raw: int) -> int:
    """A number of which the last bit is the sign."""
    return (raw >> 1) ^ -(raw & 1)


def varint(value: int) -> bytes:
    """A number as Thrift writes it, seven bits a byte.

    >>> varint(300).hex()
    'ac02'
    """
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
