"""Everything else that fsspec implements, through the interface all its filesystems share.

Publication is atomic by the best means a filesystem has: fsspec's buffered files hold an object back
until `commit()` (GCS, Azure); others get a temporary name and a rename (SFTP, SMB, HDFS); in memory
the bytes are put in one piece.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

from cpr.io.location import normalise
from cpr.io.store import Entry, Stat, Upload, touched, version_of

__all__ = ["GenericStore"]

# GCS takes chunks in multiples of 256 KiB; larger ones mean fewer round trips.
_CHUNK_BYTES = 8 << 20
_CHUNKS_IN_FLIGHT = 2


class GenericStore:
    """Any fsspec filesystem."""

    def __init__(self, fs: AbstractFileSystem) -> None:
        self._fs = fs

    def stat(self, path: str) -> Stat | None:
        try:
            info = self._fs.info(path)
        except FileNotFoundError:
            return None
        if info.get("type") != "file":
            return None
        return Stat(int(info["size"]), version_of(info))

    def require_container(self, path: str) -> None:
        """There is no common way to ask; a write to a missing bucket fails by itself."""

    def fetch(self, path: str, start: int, stop: int) -> bytes:
        return bytes(self._fs.cat_file(path, start=start, end=stop))

    def upload(self, path: str) -> Upload:
        if isinstance(self._fs, MemoryFileSystem):
            return _MemoryUpload(self._fs, path)
        return _BackgroundUpload(self._fs, path)

    def remove(self, path: str) -> None:
        self._fs.rm_file(path)

    def find(self, pattern: str) -> dict[str, Stat]:
        found: dict[str, dict[str, Any]] = self._fs.glob(pattern, detail=True)
        return {
            normalise(self._fs.unstrip_protocol(path)): Stat(int(info["size"] or 0), version_of(info))
            for path, info in found.items()
            if info["type"] == "file"
        }

    def walk(self, path: str) -> Iterator[Entry]:
        for found, info in self._fs.find(path, detail=True).items():
            if found != path:  # find() of a file is that file
                yield Entry(
                    normalise(self._fs.unstrip_protocol(found)), touched(info), int(info["size"] or 0)
                )

    def uploads(self, path: str) -> Iterator[tuple[Entry, str]]:  # noqa: ARG002
        # GCS and Azure drop unfinished ones by themselves, after a week, and list none.
        yield from ()

    def abort_upload(self, path: str, upload: str) -> None:
        raise FileNotFoundError(f"{path}: {upload}")


class _MemoryUpload:
    """Bytes of this process, put under their name in one piece."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self._fs = fs
        self._path = path
        self._bytes = bytearray()

    def write(self, block: memoryview) -> None:
        self._bytes += block

    def commit(self) -> None:
        self._fs.pipe_file(self._path, bytes(self._bytes))

    def abort(self, patience: float | None = None) -> None:  # noqa: ARG002
        self._bytes.clear()


class _BackgroundUpload:
    """A file of any fsspec filesystem, written by one thread while the next bytes are made."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self._fs = fs
        self._path = path
        self._temporary: str | None = None
        self._file = fs.open(path, "wb", autocommit=False, block_size=_CHUNK_BYTES)
        if not isinstance(self._file, AbstractBufferedFile) or not _holds_back(self._file):
            self._file.close()
            folder, _, name = path.rpartition("/")
            self._temporary = f"{folder}/.{name[:64]}.{secrets.token_hex(8)}.part"
            fs.makedirs(folder, exist_ok=True)
            self._file = fs.open(self._temporary, "wb")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cpr-upload")
        self._pending: list[Future[Any]] = []

    def write(self, block: memoryview) -> None:
        while len(self._pending) >= _CHUNKS_IN_FLIGHT:
            self._pending.pop(0).result()
        self._pending.append(self._thread.submit(self._file.write, bytes(block)))

    def commit(self) -> None:
        for future in self._pending:
            future.result()
        self._thread.shutdown()
        self._file.close()
        if self._temporary is None:
            self._file.commit()
        else:
            self._fs.mv(self._temporary, self._path)

    def abort(self, patience: float | None = None) -> None:  # noqa: ARG002
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._temporary is None:
            self._file.discard()
            # A buffered file that is not marked closed would publish itself when collected.
            self._file.closed = True
        else:
            self._file.close()
            self._fs.rm_file(self._temporary)


def _holds_back(file: AbstractBufferedFile) -> bool:
    """Whether this class of file really has commit() and discard() of its own."""
    return type(file).commit is not AbstractBufferedFile.commit and not file.autocommit
