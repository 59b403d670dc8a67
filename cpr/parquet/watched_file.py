"""A file for pyarrow that checks, before pyarrow decodes a page, that there is memory for it.

A dictionary of one long text, or texts that each begin as the one before, become any number of bytes in one
step of pyarrow's. So the bytes of every column pass here first, page by page (`cpr.parquet.page_claims`).

Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Collection
from typing import Any

from cpr.data.memory import Room, require_memory
from cpr.parquet.page_claims import Chunk, Leaf, Page
from cpr.parquet.structs import FOOTER, PAGE_HEADER
from cpr.parquet.thrift import read_struct

__all__ = ["WatchedFile"]

# A header has statistics, which may be long; pyarrow reads none that is longer.
_MOST_HEADER = 16 << 20
_OPTIONAL, _REPEATED = 1, 2
_OF_ONE_LENGTH = 7
# What is wrong with a struct that has not what it should.
_ODD = (KeyError, IndexError, TypeError, AttributeError)


class WatchedFile:
    """A readable file for pyarrow that raises before more is decoded than fits into memory.

    Args:
        file: to read.
        room: memory limit for all columns; several files may share one.

    Attributes:
        coded: fields at the top of the schema, by number, whose texts stay numbers in a dictionary.

    Reads raise DecodeError for what has no room, ValueError for pages that cannot be what they say.
    """

    def __init__(self, file: Any, room: Room, coded: Collection[int] = ()) -> None:
        self._file = file
        self.coded = coded
        self.seek, self.tell, self.close = file.seek, file.tell, file.close
        self._room = room
        self._lock = threading.Lock()
        self._size: int = file.seek(0, os.SEEK_END)
        self._footer = self._size
        self._empty: frozenset[tuple[int, int]] = frozenset()
        self._chunks = self._find_chunks()
        self._starts = [chunk.start for chunk in self._chunks]

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return bool(self._file.closed)

    def read(self, size: int = -1) -> bytes:
        """Read bytes, after checking the pages in them."""
        with self._lock:
            start = self._file.tell()
            data: bytes = self._file.read(size)
            if data and self._chunks and not self._is_beside(start, start + len(data)):
                self._look(start, memoryview(data))
            return data

    def _is_beside(self, start: int, stop: int) -> bool:
        """Whether a range of bytes contains no values of columns.

        Up to the end it is the footer, where pyarrow looks for it, or all of a longer one: no column reaches
        into it. Of a column without values pyarrow decodes nothing; one that begins in another is that.
        """
        if stop >= self._size or start >= self._footer:
            return True
        before = bisect_right(self._starts, start) - 1
        return (start, stop) in self._empty and (before < 0 or start >= self._chunks[before].stop)

    def _find_chunks(self) -> list[Chunk]:
        """Positions of the column chunks, in order; none if the file does not end like Parquet."""
        self._file.seek(max(0, self._size - 8))
        tail = self._file.read(8)
        footer_bytes = int.from_bytes(tail[:4], "little")
        end = self._size - 8 - footer_bytes
        if tail[4:] != b"PAR1" or end < 0:
            return []  # pyarrow says what is wrong with it
        require_memory(footer_bytes, "the footer")
        self._file.seek(end)
        try:
            found = _chunks(read_struct(self._file.read(footer_bytes), 0, FOOTER)[0])
        except _ODD as error:
            raise ValueError(f"a footer that is damaged ({type(error).__name__})") from None
        chunks = [chunk for chunk in found if chunk.values > 0]
        self._footer = end
        self._empty = frozenset((one.start, one.stop) for one in found if one.values == 0)
        for chunk, after in zip(chunks, [*(one.start for one in chunks[1:]), end], strict=False):
            if chunk.start < 0 or chunk.stop > after:
                raise ValueError(f"a column at {chunk.start} that reaches into what is behind it")
        return chunks

    def _look(self, start: int, data: memoryview) -> None:
        """Check the bytes that are read: of one column, or of several with gaps between them."""
        stop = start + len(data)
        found = False
        for number in range(max(0, bisect_right(self._starts, start) - 1), len(self._chunks)):
            chunk = self._chunks[number]
            if chunk.start >= stop:
                break
            if chunk.stop <= start:
                continue
            found = True
            begin, end = max(start, chunk.start), min(stop, chunk.stop)
            if begin == chunk.start:
                chunk.restart()
            if begin != chunk.at:
                raise ValueError(f"a read at {begin}, where no page begins")
            chunk.at = end
            self._feed(chunk, data[begin - start : end - start])
        if not found:
            raise ValueError(f"a read at {start}, where no column is")

    def _feed(self, chunk: Chunk, data: memoryview) -> None:
        """Check the next bytes of a column."""
        if chunk.pending:
            data = memoryview(chunk.pending + data)
            chunk.pending = b""
        position = 0
        while chunk.seen < chunk.values:  # pyarrow reads no pages behind
            skipped = min(chunk.skip, len(data) - position)
            position, chunk.skip = position + skipped, chunk.skip - skipped
            if position == len(data):
                break
            taken = self._look_at_page(chunk, data[position:])
            if taken is None:
                chunk.pending = bytes(data[position:])
                break
            position += taken

    def _look_at_page(self, chunk: Chunk, data: memoryview) -> int | None:
        """Length of a page with its header; None if more bytes are needed."""
        try:
            header, begin = read_struct(data[:_MOST_HEADER], 0, PAGE_HEADER)
        except IndexError:
            if chunk.at == chunk.stop or len(data) >= _MOST_HEADER:
                raise ValueError("a page whose header is cut") from None
            return None
        try:
            page = Page(chunk, header)
            if begin + page.stored > len(data):
                if chunk.at == chunk.stop:
                    raise ValueError("a page that is cut")
                return None
            require_memory(page.nbytes, "a page")
            self._room.claim(*page.claim(data[begin:], chunk.leaf.top in self.coded))
        except _ODD as error:
            raise ValueError(f"a page that is damaged ({type(error).__name__})") from None
        chunk.seen += page.count if page.has_values else 0
        return begin + page.stored


def _chunks(footer: dict[int, Any]) -> list[Chunk]:
    """The column chunks that have bytes, sorted by position, then those without values."""
    leaves = _leaves(footer[2])
    found: dict[int, Chunk] = {}
    empty: list[Chunk] = []
    for group in footer.get(4, []):
        if len(group[1]) != len(leaves):
            raise ValueError(f"{len(group[1])} columns, not {len(leaves)}")
        for leaf, column in zip(leaves, group[1], strict=True):
            about = column[3]
            start = about[9]
            if 0 < about.get(11, 0) < start:
                start = about[11]
            chunk = Chunk(start, start + about[7], leaf, about[4], about[5], group[3])
            if about[7] > 0 and about[5] == 0:
                empty.append(chunk)
            elif about[7] > 0 and about[5] > 0 and found.setdefault(start, chunk) != chunk:
                raise ValueError(f"two columns that begin at {start}")
    return [found[start] for start in sorted(found)] + empty


def _leaves(schema: list[dict[int, Any]]) -> list[Leaf]:
    """The leaf columns of the schema, which lists its tree in depth-first order."""
    found: list[Leaf] = []
    # Of each open field: how many are to come in it, and its levels.
    open_fields = [(schema[0].get(5, 0), 0, 0)]
    top = -1
    for one in schema[1:]:
        while open_fields and not open_fields[-1][0]:
            open_fields.pop()
        if not open_fields:
            raise ValueError("a schema of more fields than it says")
        left, definition, repetition = open_fields[-1]
        open_fields[-1] = left - 1, definition, repetition
        top += len(open_fields) == 1
        kind = one.get(3, 0)
        definition += kind in (_OPTIONAL, _REPEATED)
        repetition += kind == _REPEATED
        if one.get(5, 0):
            open_fields.append((one[5], definition, repetition))
        else:
            # Of other types decoders do not look at it.
            length = max(0, one.get(2, 0)) if one[1] == _OF_ONE_LENGTH else 0
            found.append(Leaf(one[1], length, top, definition, repetition))
    return found
