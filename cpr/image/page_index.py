"""Finds the pages of a TIFF: by its chain of directories, or by the index that cpr appends.

A TIFF's directories (IFDs) are a linked list, each behind the pixels of the one before, so the last
page of a thousand is a thousand requests away. Files of cpr's therefore end in an index that other
programs do not see, for nothing in the file points to it: one offset (8 bytes, little-endian) for each
page, then their number (8 bytes) and a mark (8 bytes).

Source of the structures: TIFF 6.0 (https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf) and
BigTIFF (http://bigtiff.org).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from cpr.errors import DecodeError
from cpr.format import ReadableFile, damaged

__all__ = [
    "directories",
    "ends_in_index",
    "index",
    "indexed",
    "is_tiff",
    "most_claimed",
    "require_first_directory",
    "require_forward",
    "structure",
]

_MARK = b"cprpages"
_MOST_TAGS = 4096
# Of a directory of some twenty tags: read at once.
_USUAL_BYTES = 512
# Pages may share values (a palette); a small file whose pages all share a large one is a bomb.
_MOST_SHARED = 64
_SUBIFDS = 330
# Of ImageJ's texts, which tifffile cuts from its other tag as it reads a page: backwards, by negative counts.
_IJ_BYTE_COUNTS = 50838
_COUNTS = frozenset({3, 4, 13, 16, 18})  # types that have no negative numbers
# Bytes of TIFF's types of values; those not listed take one.
_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def index(offsets: list[int]) -> bytes:
    """Encode the index of a file's pages."""
    return struct.pack(f"<{len(offsets)}Q", *offsets) + struct.pack("<Q", len(offsets)) + _MARK


def most_claimed(nbytes: int, besides: int = 50_000) -> int:
    """Upper limit for planes, or values that describe them, in a file of this size.

    Those that say nothing of planes, and then a few for each plane: with its page a plane takes 200 bytes.
    """
    return besides + nbytes // 64


def ends_in_index(file: ReadableFile, offsets: list[int]) -> bool:
    """Whether a file ends with the index of exactly these pages, as files of cpr do."""
    expected = index(offsets)
    file.seek(max(0, file.seek(0, os.SEEK_END) - len(expected)))
    return file.read(len(expected)) == expected


def indexed(file: ReadableFile, page: int) -> int | None:
    """Offset of a page's directory, from the file's index; None for a file without one."""
    end = file.seek(0, os.SEEK_END)
    if end < 32:
        return None
    file.seek(end - 16)
    count, mark = struct.unpack("<Q8s", file.read(16))
    if mark != _MARK or not 0 <= page < count <= end // 8:
        return None
    file.seek(end - 16 - 8 * (count - page))
    (offset,) = struct.unpack("<Q", file.read(8))
    return int(offset)


def directories(file: ReadableFile) -> Iterator[tuple[int, int]]:
    """Offset of every page's directory in order, with that of the next (0 after the last).

    Raises DecodeError where the chain leaves the file or runs in circles: a file that was cut.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    order, pointer, tag, head = structure(file.read(16))
    offset = struct.unpack_from(order + pointer, head)[0]
    seen = set()
    values = below = 0
    while offset:
        following, nbytes, count = _next(file, offset, end, order, pointer, tag)
        values += nbytes
        below += count
        if below > most_claimed(end):
            raise damaged(
                "more pages below its pages than are read of a file of this size",
                f"up to {most_claimed(end)}",
                f"{below}",
            )
        if values > _MOST_SHARED * end:
            raise damaged("its tags refer to the same bytes again and again", f"{end} bytes", f"{values}")
        if offset in seen:
            raise damaged("its directories run in circles", "a chain that ends", f"offset {offset} again")
        seen.add(offset)
        yield offset, following
        offset = following


def require_first_directory(file: ReadableFile) -> None:
    """Raise DecodeError if the first directory is invalid, or unsafe for tifffile to read."""
    next(directories(file), None)


def is_tiff(file: ReadableFile) -> bool:
    """Whether a file starts like a TIFF; reads a few bytes."""
    file.seek(0)
    try:
        structure(file.read(16))
    except DecodeError:
        return False
    return True


def require_forward(entries: bytes, order: str, pointer: str) -> None:
    """Raise DecodeError for tags with which tifffile would slice ImageJ's texts backwards.

    Args:
        entries: the tags, whole.
        order: of bytes.
        pointer: its format.
    """
    for code, kind, _, _ in struct.iter_unpack(f"{order}HH{pointer}{pointer}", entries):
        _require_forward(code, kind)


def _require_forward(code: int, kind: int) -> None:
    if code == _IJ_BYTE_COUNTS and kind not in _COUNTS:
        raise damaged("lengths of ImageJ's texts that may be negative", "numbers from 0", f"type {kind}")


def structure(head: bytes) -> tuple[str, str, int, bytes]:
    """Byte order, pointer format, tag size, and the bytes of the first pointer.

    Raises DecodeError for what is no TIFF.

    Args:
        head: the first 16 bytes of a file.
    """
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is not None and len(head) >= 8:
        version = struct.unpack_from(order + "H", head, 2)[0]
        if version == 42:
            return order, "I", 12, head[4:]
        if version == 43 and len(head) == 16:
            return order, "Q", 20, head[8:]
    raise damaged("not a TIFF file", "II or MM, and 42 or 43", ascii(head[:4]))


def _next(
    file: ReadableFile, offset: int, end: int, order: str, pointer: str, tag: int
) -> tuple[int, int, int]:
    """Offset of the directory after the one at `offset`, whose values must all lie within the file.

    And the size of these values, and how many pages are said to be below it.
    """
    count_format = order + ("H" if pointer == "I" else "Q")
    count_size, size = struct.calcsize(count_format), struct.calcsize(pointer)
    cut = damaged("the file is cut", f"a directory at byte {offset}", f"{end} bytes")
    if offset + count_size > end:
        raise cut
    file.seek(offset)
    start = file.read(_USUAL_BYTES)
    if len(start) < count_size:
        raise cut
    count = struct.unpack_from(count_format, start)[0]
    stop = count_size + count * tag
    if not 0 < count <= _MOST_TAGS or offset + stop + size > end:
        raise cut
    if len(start) < stop + size:
        start += file.read(stop + size - len(start))
    # A store may give fewer bytes than it has said that there are.
    if len(start) < stop + size:
        raise cut
    values = below = 0
    for code, kind, number, at in struct.iter_unpack(f"{order}HH{pointer}{pointer}", start[count_size:stop]):
        nbytes = number * _SIZES.get(kind, 1)
        if nbytes > size and at + nbytes > end:
            raise damaged("the file is cut", f"tag {code} at bytes {at} to {at + nbytes}", f"{end} bytes")
        _require_forward(code, kind)
        values += nbytes
        below += number * (code == _SUBIFDS)
    following = struct.unpack_from(order + pointer, start, stop)[0]
    if following and following + count_size > end:
        raise damaged("the file is cut", f"a directory at byte {following}", f"{end} bytes")
    return int(following), values, below
