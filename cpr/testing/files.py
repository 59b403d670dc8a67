"""In-memory files for tests of formats, as strict as the files that cpr passes to formats."""

from __future__ import annotations

import io
from typing import Any

__all__ = ["ForwardFile", "SeekableBytes"]


class ForwardFile:
    """The file that a format encodes into: only `write`, which can be made to fail."""

    def __init__(self, fail_after: int | None = None) -> None:
        self._parts: list[bytes] = []
        self._nbytes = 0
        self._fail_after = fail_after

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes; raises OSError after more than `fail_after` bytes."""
        part = bytes(memoryview(data).cast("B"))
        self._nbytes += len(part)
        if self._fail_after is not None and self._nbytes > self._fail_after:
            raise OSError("the store failed")
        self._parts.append(part)
        return len(part)

    def getvalue(self) -> bytes:
        """Everything written so far."""
        return b"".join(self._parts)


class SeekableBytes(io.BytesIO):
    """The file that a format decodes from; released bytes must not be read again."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._released = 0

    def release(self, position: int) -> None:
        """Promise that nothing before `position` is read again."""
        self._released = max(self._released, position)

    def readinto(self, buffer: Any) -> int:
        """As BytesIO's, refusing what was released."""
        self._refuse_released()
        return super().readinto(buffer)

    def read(self, size: int | None = -1) -> bytes:
        """As BytesIO's, refusing what was released."""
        self._refuse_released()
        return super().read(size)

    def _refuse_released(self) -> None:
        if self.tell() < self._released:
            raise AssertionError(f"byte {self.tell()} is read after it was released")
