"""Prepares the text of a CSV file for the parser: removes the header, marks empty strings.

pandas' parser gives the same for an empty cell and for `""`. Where they mean different things, the second
is marked before the parser sees it. Only quotes decide where cells begin, so blocks are scanned for them
with numpy and nothing is parsed twice.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from cpr.csv.cells import EMPTY
from cpr.errors import CprError, DecodeError

__all__ = ["BOM", "Body", "Marked", "take_header", "whole_rows", "with_row_ends"]

_MARK = EMPTY.encode()
BOM = b"\xef\xbb\xbf"
# No text that a person or a program wants in one row is longer; damage and malice are.
_MAX_ROW_BYTES = 64 << 20
_QUOTE, _RETURN, _NEWLINE = b'"\r\n'


def take_header(blocks: Iterator[bytes], expected: bytes, names: list[str], separator: str) -> bytes:
    """Remove the header row; returns the rest of the block that contains its end.

    Args:
        blocks: the text, consumed as far as needed.
        expected: the header as cpr writes it.
        names: the column names in it.
        separator: between them.

    Raises:
        DecodeError: the file begins with something else.
    """
    start = b""
    while len(start) < len(expected) and (block := next(blocks, None)) is not None:
        start += block
    if start.startswith(expected):
        return start[len(expected) :]
    # Another program may have written the same table: with other quotes or line ends.
    start = start.removeprefix(BOM)
    while (end := _end_of_row(start)) is None and len(start) < 2 * len(expected) + (1 << 20):
        block = next(blocks, None)
        if block is None:
            end = len(start)
            break
        start += block
    row = start[: end or 0]
    try:
        found = next(csv.reader(io.StringIO(row.decode(), newline=""), delimiter=separator, strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        found = None
    if found is None or [*found] != names:
        raise DecodeError(
            "the header is not the recorded one",
            field="columns",
            expected=ascii(names)[:200],
            actual=ascii(row[:200]),
            remedy="restore the file: its columns were changed",
        )
    rest = start[len(row) :]
    return rest[2:] if rest.startswith(b"\r\n") else rest[1:]


def _end_of_row(text: bytes) -> int | None:
    """The end of the first row: a line end that is not in quotes."""
    inside = False
    for i, byte in enumerate(text):
        if byte == _QUOTE:
            inside = not inside
        elif not inside and byte in {_RETURN, _NEWLINE} and i + 1 < len(text):
            return i
    return None


def with_row_ends(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Pass blocks through. Raises DecodeError for a row that does not end."""
    row_bytes = 0
    for block in blocks:
        if b"\n" in block or b"\r" in block:
            row_bytes = 0
        row_bytes += len(block)
        if row_bytes > _MAX_ROW_BYTES:
            raise DecodeError(
                "a row without an end",
                expected=f"rows of up to {_MAX_ROW_BYTES >> 20} MiB",
                actual="more",
                remedy="restore the file",
            )
        yield block


def whole_rows(blocks: Iterable[bytes], nbytes: int) -> Iterator[bytes]:
    """The text in pieces of about so many bytes, each of which ends with a row."""
    held: list[bytes] = []
    size, inside = 0, False
    for block in blocks:
        end = _last_row_end(block, inside) if size + len(block) >= nbytes else 0
        if end:
            yield b"".join((*held, block[:end]))
            held, size, inside = [], 0, False
            block = block[end:]  # noqa: PLW2901
        held.append(block)
        size += len(block)
        inside ^= _turns(block)
    if size:
        yield b"".join(held)


def _turns(text: bytes) -> bool:
    """Whether a text that starts inside quotes ends outside, and vice versa."""
    # Looking for one byte takes a tenth of the time of counting it.
    return b'"' in text and text.count(b'"') % 2 == 1


def _last_row_end(block: bytes, inside: bool) -> int:
    """The end of the last complete row in a block, 0 if there is none; `inside`: it starts in quotes."""
    inside ^= _turns(block)
    stop = len(block)
    # From quote to quote: what is between two of them is all in quotes, or not.
    while stop > 0:
        start = block.rfind(b'"', 0, stop) + 1
        if not inside:
            # A return at the very end may be half of a line end.
            end = (
                max(block.rfind(b"\n", start, stop), block.rfind(b"\r", start, min(stop, len(block) - 1))) + 1
            )
            if end:
                return end
        stop, inside = start - 1, not inside
    return 0


class Body(io.RawIOBase):
    """Blocks of text as a readable file, for a parser.

    Attributes:
        failure: the error that the blocks raised; a parser may have put its own in its place.
    """

    def __init__(self, blocks: Iterable[bytes]) -> None:
        super().__init__()
        self._blocks = iter(blocks)
        self._block = memoryview(b"")
        self.failure: CprError | None = None

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes."""
        view = memoryview(buffer).cast("B")
        while not self._block:
            try:
                block = next(self._blocks, None)
            except CprError as error:
                self.failure = self.failure or error
                raise
            if block is None:
                return 0
            self._block = memoryview(block)
        count = min(len(view), len(self._block))
        view[:count] = self._block[:count]
        self._block = self._block[count:]
        return count


class Marked:
    """Blocks of rows in which every cell `""` is replaced by the mark of an empty string.

    Args:
        blocks: the text.
        separator: between cells.
        mark: whether to mark them.

    Raises DecodeError for a row that does not end.
    """

    def __init__(self, blocks: Iterable[bytes], separator: str, mark: bool) -> None:
        self._blocks = blocks
        self._mark = mark
        self._ends = np.zeros(256, bool)
        self._ends[[ord(separator), _RETURN, _NEWLINE]] = True
        self._inside = False

    def __iter__(self) -> Iterator[bytes]:
        # The last bytes wait for the next block, because what follows a quote decides what it means.
        before, held = b"\n", b""
        for block in with_row_ends(self._blocks):
            held += block
            cut = len(held[:-2].rstrip(b'"'))
            if cut:
                yield self._scan(before, held[:cut], held[cut : cut + 2])
                before, held = held[cut - 1 : cut], held[cut:]
        if held[-1:] not in {b"\n", b"\r"}:
            raise DecodeError(
                "the last row does not end",
                expected="a line end after every row",
                actual=ascii(held[-20:]),
                remedy="restore the file: it was cut",
            )
        yield self._scan(before, held, b"\n\n")

    def _scan(self, before: bytes, text: bytes, after: bytes) -> bytes:
        if b'"' not in text:
            return text
        if not self._mark or b'""' not in text + after:
            self._inside ^= _turns(text)
            return text
        codes = np.frombuffer(before + text + after, np.uint8)
        quotes = np.flatnonzero(codes[1 : 1 + len(text)] == _QUOTE) + 1
        opens = quotes[int(self._inside) :: 2]
        self._inside ^= len(quotes) % 2 == 1
        empty = (
            opens[(codes[opens + 1] == _QUOTE) & self._ends[codes[opens - 1]] & self._ends[codes[opens + 2]]]
            - 1
        )
        parts, start = [], 0
        for place in empty.tolist():
            parts += [text[start:place], _MARK]
            start = place + 2
        parts.append(text[start:])
        return b"".join(parts)
