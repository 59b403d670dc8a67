"""Store for objects in the memory of this process, under `memory://`: for tests and examples."""

from __future__ import annotations

from fsspec import AbstractFileSystem

from cpr.io.fork_safe import PerProcess
from cpr.io.stores.base import OccupiedError, Versioned
from cpr.io.stores.fsspec import FsspecStore

__all__ = ["MemoryStore"]

_conditional_writes: PerProcess[str, None] = PerProcess()


class MemoryStore(FsspecStore):
    """fsspec's memory filesystem; an object is stored under its name in one step."""

    conditions_may_be_ignored = False

    def upload(self, path: str, create: bool = False) -> _MemoryUpload:
        if create and self.stat(path) is not None:
            raise OccupiedError
        return _MemoryUpload(self._fs, path, create)

    def conditional(self, path: str) -> _ConditionalObject:
        """The object at a path, for conditional writes."""
        return _ConditionalObject(self._fs, path)


class _MemoryUpload:
    def __init__(self, fs: AbstractFileSystem, path: str, is_new: bool) -> None:
        self._fs = fs
        self._path = path
        self._is_new = is_new
        self._bytes = bytearray()

    def write(self, block: memoryview) -> None:
        self._bytes += block

    def commit(self) -> None:
        with _conditional_writes.lock:
            if self._is_new and self._fs.exists(self._path):
                raise OccupiedError
            self._fs.pipe_file(self._path, bytes(self._bytes))

    def abort(self, timeout: float | None = None) -> None:  # noqa: ARG002
        self._bytes.clear()


class _ConditionalObject:
    """Compare-and-swap under a lock of this process, the only one that sees the object."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self._fs = fs
        self._path = path

    def read(self) -> Versioned | None:
        with _conditional_writes.lock:
            return self._read()

    def _read(self) -> Versioned | None:
        try:
            content = bytes(self._fs.cat_file(self._path))
        except FileNotFoundError:
            return None
        # Nobody writes the same content twice.
        return Versioned(content, content.hex(), None)

    def write_if(self, content: bytes, version: str | None) -> str | None:
        with _conditional_writes.lock:
            now = self._read()
            if (None if now is None else now.version) != version:
                return None
            self._fs.pipe_file(self._path, content)
        return content.hex()
