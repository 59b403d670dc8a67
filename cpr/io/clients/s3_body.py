"""Request bodies for aiobotocore: buffers of our own, or memory that is lent to us until it is sent."""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from io import BytesIO
from typing import Any, Self

__all__ = ["Body", "LentBody"]


class Body(BytesIO):
    """Bytes to send, with a record of when the last of them was sent."""

    def __init__(self, content: bytes = b"") -> None:
        super().__init__(content)
        self.sent = 0.0

    @property
    def collected(self) -> int:
        """Bytes collected so far; the reused buffer may be longer."""
        return self.tell()

    @property
    def own_bytes(self) -> int:
        """How many of the bytes are in buffers of our own."""
        return self.collected

    def end(self) -> None:
        """Finish collecting; sending starts at the first byte."""
        self.truncate()
        self.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        self.sent = time.monotonic()
        return super().read(size)


class _Length:
    """The only property of a BytesIO buffer that aiohttp uses: its length."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes

    def __len__(self) -> int:
        return self.nbytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class LentBody(Body):
    """Bytes to send; only those that nobody else keeps in memory are copied.

    It is a BytesIO only in name, because aiohttp reads other files in threads; it is read in pieces, and
    returns fewer bytes than requested at the end of a piece.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[memoryview] = []
        self._begins: list[int] = []
        self._position = self._nbytes = self._own_bytes = 0

    @property
    def collected(self) -> int:
        return self._nbytes

    @property
    def own_bytes(self) -> int:
        return self._own_bytes

    def end(self) -> None:
        self._position = 0

    def write(self, data: Any, /) -> int:
        """Append a copy of the data."""
        own = memoryview(bytes(data))
        self._own_bytes += own.nbytes
        self.lend(own)
        return own.nbytes

    def lend(self, view: memoryview) -> None:
        """Append memory that stays unchanged until all is sent, without copying it."""
        if view.nbytes:
            self._pieces.append(view)
            self._begins.append(self._nbytes)
            self._nbytes += view.nbytes

    def read(self, size: int | None = -1, /) -> bytes:
        self.sent = time.monotonic()
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(self._nbytes), b""))
        if self._position >= self._nbytes:
            return b""
        index = bisect_right(self._begins, self._position) - 1
        offset = self._position - self._begins[index]
        found = bytes(self._pieces[index][offset : offset + size])
        self._position += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._nbytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def getbuffer(self) -> Any:
        return _Length(self._nbytes)

    def getvalue(self) -> bytes:
        return b"".join(self._pieces)
