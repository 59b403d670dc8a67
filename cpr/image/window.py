"""A forward-only file that lets its writer go back a little.

tifffile writes each page in one order: it leaves a hole for the page's directory (IFD), writes the
pixels, goes back to fill the hole, then patches the pointer in the directory before it. So everything
before a new hole is final, and one encoded page is all that has to be held.
"""

from __future__ import annotations

import io
import os
from typing import Any

from cpr.format import WritableFile

__all__ = ["Window"]

_FILLER = bytes(1 << 16)


class Window(io.RawIOBase):
    """Write and seek within what is not final yet; what is final has been passed on.

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
        """True."""
        return True

    def seekable(self) -> bool:
        """True, within the window."""
        return True

    def tell(self) -> int:
        """The position in the whole file."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; beyond the end it makes a hole, and everything before the hole is passed on."""
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
        """Write at the position; a hole before it is zeros until it is filled."""
        view = memoryview(data).cast("B")
        offset = self._position - self._start
        if offset > len(self._held):
            self._held.extend(bytes(offset - len(self._held)))
        # A copy: the caller may use its buffer again while this waits in the window.
        self._held[offset : offset + view.nbytes] = view
        self._position += view.nbytes
        return view.nbytes

    def pass_on(self) -> None:
        """Declare all that was written final."""
        if self._held:
            self._start += len(self._held)
            held, self._held = self._held, bytearray()
            self._file.write(held)
