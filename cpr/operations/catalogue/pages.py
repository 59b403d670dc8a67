"""What the headers of a Parquet file's pages claim, before anybody makes room for it.

Each page begins with a header in Thrift's compact protocol (parquet.thrift, `PageHeader`: field 1 is the
type, field 2 the size when unpacked, field 3 the size as it lies in the file). Decoders allocate what field 2
says; the footer, which is looked at first, says how much all pages of a column come to.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Header", "are_honest", "read_header", "varint"]

_MOST_LEVELS = 8
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class Header(NamedTuple):
    """What a page claims.

    Attributes:
        unpacked: its bytes when unpacked.
        packed: its bytes in the file.
        end: where the header ends.
    """

    unpacked: int
    packed: int
    end: int


def are_honest(content: Any, footer: Any) -> bool:
    """Whether all pages of a file fit into what the footer says of their columns.

    Args:
        content: the file's bytes.
        footer: pyarrow's `FileMetaData` of it.
    """
    view = memoryview(content).cast("B")
    try:
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            for column in range(group.num_columns):
                if not _fits(view, group.column(column)):
                    return False
    except (ValueError, IndexError):
        return False
    return True


def _fits(view: memoryview, column: Any) -> bool:
    starts = (column.dictionary_page_offset, column.data_page_offset)
    place = min(start for start in starts if start is not None)
    end = place + column.total_compressed_size
    if not 0 <= place <= end <= len(view):
        return False
    claimed = 0
    while place < end:
        header = read_header(view, place)
        claimed += header.unpacked + header.end - place
        place = header.end + header.packed
        if min(header.unpacked, header.packed) < 0 or claimed > column.total_uncompressed_size:
            return False
    return bool(place == end)


def read_header(content: Any, place: int) -> Header:
    """The header that begins at a place. Raises ValueError and IndexError for what is none."""
    sizes = {2: -1, 3: -1}
    end = _skip_struct(content, place, sizes, 0)
    return Header(sizes[2], sizes[3], end)


def _skip_struct(content: Any, place: int, sizes: dict[int, int] | None, level: int) -> int:
    """Where a struct ends; of the outermost one the numbers that are asked for are noted."""
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
        if sizes is not None and field in sizes and kind == _I32:
            raw, place = _read_varint(content, place)
            sizes[field] = _signed(raw)
        else:
            place = _skip(content, place, kind, level)
    return place + 1


def _skip(content: Any, place: int, kind: int, level: int) -> int:
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
    if kind == _STRUCT:
        return _skip_struct(content, place, None, level + 1)
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
