"""Seekable buffers in front of a forward-only file, because tifffile seeks back while it writes.

tifffile writes a page in one order: it leaves a hole for the page's directory (IFD), writes the
pixels, goes back to fill the hole, and patches the pointer in the directory before it. So everything
before a new hole is final, and one encoded page is all that a `Window` holds. Of pixels that are not
compressed every position is known beforehand; a `Skeleton` keeps all that is written around them.
"""

from __future__ import annotations

import io
import os
from typing import Any

from cpr.format import WritableFile
from cpr.io import SeekableFile

__all__ = ["Skeleton", "Window"]


class Window(io.RawIOBase):
    """A seekable buffer of everything that is not final yet; final bytes are passed on.

    Attributes:
        holes: where each hole began: the offsets of the directories, in order.
    """

    def __init__(self, file: WritableFile) -> None:
        super().__init__()
        self._file = file
        self._held = bytearray()
        self._start = 0  # position of the first byte held
        self._position = 0
        self.holes: list[int] = []

    @property
    def _end(self) -> int:
        return self._start + len(self._held)

    def writable(self) -> bool:
        """Always True."""
        return True

    def seekable(self) -> bool:
        """True, within the window."""
        return True

    def tell(self) -> int:
        """The position in the whole file."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position; beyond the end it makes a hole, and everything before the hole is passed on."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        position = base + offset
        if position < self._start:
            raise ValueError(f"byte {position} has left the window, which starts at {self._start}")
        if position > self._end >= self._position:
            self.holes.append(self._end)
            self.pass_on()
        self._position = position
        return position

    def write(self, data: Any) -> int:
        """Write at the position; a gap before it is zeros until it is filled."""
        view = memoryview(data).cast("B")
        offset = self._position - self._start
        if offset > len(self._held):
            self._held.extend(bytes(offset - len(self._held)))
        # A copy: the caller may use its buffer again while this waits in the window.
        self._held[offset : offset + view.nbytes] = view
        self._position += view.nbytes
        return view.nbytes

    def pass_on(self) -> None:
        """Declare everything written so far final."""
        if self._held:
            self._start += len(self._held)
            held, self._held = self._held, bytearray()
            self._file.write(held)


class Skeleton(SeekableFile):
    """A file except for one long hole, which stays empty and reads as zeros."""

    def __init__(self) -> None:
        super().__init__(0)
        self._head = bytearray()
        self._tail = bytearray()
        self._tail_start: int | None = None

    def writable(self) -> bool:
        """Always True."""
        return True

    def write(self, data: Any) -> int:
        """Write before or after the hole; the first write beyond the end makes the hole."""
        view = memoryview(data).cast("B")
        if self._tail_start is None and self._position > len(self._head):
            self._tail_start = self._position
        if self._tail_start is not None and self._position >= self._tail_start:
            start, part = self._tail_start, self._tail
        else:
            start, part = 0, self._head
        offset = self._position - start
        part.extend(bytes(max(0, offset - len(part))))
        part[offset : offset + view.nbytes] = view
        self._position += view.nbytes
        self._size = max(self._size, self._position)
        return view.nbytes

    def _read_at(self, position: int, view: memoryview) -> int:
        data = self.between(position, position + view.nbytes)
        view[:] = data
        return len(data)

    def between(self, start: int, stop: int) -> bytes:
        """The bytes from start to stop."""
        tail_start = self._size if self._tail_start is None else self._tail_start
        head = bytes(self._head[start:stop])
        hole = bytes(max(0, min(stop, tail_start) - max(start, len(self._head))))
        tail = bytes(self._tail[max(0, start - tail_start) : max(0, stop - tail_start)])
        return head + hole + tail

    def after(self, position: int) -> bytes:
        """The bytes from a position on."""
        return self.between(position, self._size)
