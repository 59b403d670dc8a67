"""Counts what tifffile reads besides pixels, and limits it relative to the size of the file.

A few kilobytes of a TIFF may lead to the same bytes again and again: pages below pages, offsets that
thousands of entries share. Each reading takes time and memory; both are in proportion to the file where the
bytes that are read are.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cpr.errors import DecodeError
from cpr.format import ReadableFile, damaged
from cpr.image.page_index import require_forward, structure

__all__ = ["MeteredFile", "OutOfProportion"]

# tifffile reads a directory up to four times: to find the next, to compare pages, as one, as a frame.
_TIMES = 16
_BESIDES = 8 << 20
_PER_READ = 128


class OutOfProportion(BaseException):
    """Decoding a file of this size would take too much time or memory.

    Not a subclass of Exception: tifffile catches those, logs them, and continues with the next entry.

    Attributes:
        error: to be raised once tifffile has returned.
    """

    def __init__(self, problem: str, expected: str, actual: object) -> None:
        remedy = "write it again with the program that made it, or with tifffile from its pages"
        self.error: DecodeError = damaged(problem, expected, str(actual)[:80], remedy)
        super().__init__(self.error)

    @classmethod
    def of(cls, error: DecodeError) -> OutOfProportion:
        """Make one from an error that was raised already."""
        found = cls("", "", "")
        found.error = error
        return found


class _OwnPosition(io.RawIOBase):
    """A file with its own position, for a buffer, because others seek in the underlying file too."""

    def __init__(self, file: ReadableFile) -> None:
        super().__init__()
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = self._file.seek(0, whence) if whence == os.SEEK_END else self._position * whence
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._position)
        count = self._file.readinto(buffer)
        self._position += count
        return count


class MeteredFile(io.BufferedReader):
    """A buffered file that limits how much tifffile may read from it besides pixels.

    Raises OutOfProportion, while it is counting, where the bytes read are more than sixteen times the file's.
    """

    def __init__(self, file: ReadableFile) -> None:
        raw: Any = _OwnPosition(file)
        super().__init__(raw)
        self._size = file.seek(0, os.SEEK_END)
        self._most = self._left = _TIMES * self._size + _BESIDES
        self._counting = 0
        file.seek(0)
        self._order, self._pointer, self._tag_bytes, _ = structure(file.read(16))
        self._expected = -1

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is read in the block; pixels are read outside of it."""
        self._counting += 1
        try:
            yield
        finally:
            self._counting -= 1

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes; memory is allocated for bytes that exist, whatever number a header claims."""
        rest = max(0, self._size - self.tell())
        data = super().read(rest if size is None or size < 0 else min(size, rest))
        if self._counting:
            self._take(len(data))
        self._look(data)
        return data

    def _look(self, data: bytes) -> None:
        """Check each directory, subpages included: the number of tags first, then the tags."""
        if len(data) == self._expected and data:
            try:
                require_forward(data, self._order, self._pointer)
            except DecodeError as error:
                raise OutOfProportion.of(error) from None
        is_number = len(data) == (2 if self._pointer == "I" else 8)
        number = int.from_bytes(data, "little" if self._order == "<" else "big")
        self._expected = number * self._tag_bytes if is_number else -1

    def readinto(self, buffer: Any, /) -> int:
        """Read bytes into a buffer; returns how many."""
        count = super().readinto(buffer)
        if self._counting:
            self._take(count)
        return count

    def _take(self, count: int) -> None:
        self._left -= count + _PER_READ
        if self._left < 0:
            raise OutOfProportion(
                "its headers lead to the same bytes again and again",
                f"up to {self._most} bytes to read in a file of {self._size}",
                "more",
            )
