"""Store for every other filesystem of fsspec, through the interface that all of them share.

Publication is atomic by the best means that a filesystem has: buffered files of object stores hold an object
back until `commit()` where they can; others get a hidden name beside the final one and a rename
(SMB, HDFS, and SFTP in `cpr.io.stores.sftp`).

Filesystems that are not asynchronous are asked for one thing at a time (`cpr.io.clients.thread_lock`); a
connection that was lost, or does not answer, is made anew. Each request is waited for within its limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Self, TypeVar

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

from cpr.errors import CprError
from cpr.io.answer_checks import BadAnswerError, whole_number
from cpr.io.clients.fsspec import holds_back
from cpr.io.clients.paramiko import disconnect, is_connection_lost
from cpr.io.clients.thread_lock import PIECE_BYTES, exclusive_use, last_answer
from cpr.io.filesystems import filesystem
from cpr.io.request_threads import in_thread
from cpr.io.stores.base import Entry, OccupiedError, Stat, Upload, is_older, modified_time, version_of
from cpr.io.stores.glob import has_magic, matching
from cpr.io.temp_names import is_temporary, temporary_name
from cpr.io.timeouts import NoAnswerError, at_most, cleaning_up, is_interruption, request_seconds, wait_for
from cpr.io.urls import normalise

__all__ = ["FsspecStore", "RenamedUpload"]

T = TypeVar("T")

# Fewer round trips than the few MiB that are usual.
_CHUNK_BYTES = 8 << 20
_CHUNKS_IN_FLIGHT = 2


class FsspecStore:
    """Any fsspec filesystem.

    Args:
        url: of something on it.
        fs: the filesystem that serves this URL in this process.
        path: the URL's path there.
    """

    def __init__(self, url: str, fs: AbstractFileSystem, path: str) -> None:
        self._opened_url = url
        self._fs = fs
        # Filesystems do not always give the URL of a path back: of SFTP the host would be missing.
        self._root = url.removesuffix(path) if url.endswith(path) else None

    @classmethod
    def open(cls, url: str) -> tuple[Self, str]:
        fs, path = filesystem(url)
        return cls(url, fs, path), path

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the filesystem by name, as `_call`."""
        return self._call(lambda fs: getattr(fs, method)(*arguments, **options))

    def _call(self, request: Callable[[Any], T], nbytes: int = 0, is_endless: bool = False) -> T:
        """Call the filesystem; retried once, with a new connection, if the connection was lost.

        Args:
            request: is given the filesystem.
            nbytes: how many it reads.
            is_endless: it consists of many, each of which has a limit of its own.
        """
        try:
            return _answer(self._fs, request, nbytes, is_endless)
        except Exception as error:
            if (
                is_interruption(error)
                or isinstance(self._fs, AsyncFileSystem)
                or not is_connection_lost(error)
            ):
                raise
        self._fs = filesystem(self._opened_url, instead_of=self._fs)[0]
        return _answer(self._fs, request, nbytes, is_endless)

    def _url(self, name: str) -> str:
        url = self._fs.unstrip_protocol(name) if self._root is None else self._root + name
        try:
            return normalise(url)
        except CprError:
            return str(url)  # one odd name stops no listing; who goes there is told

    def stat(self, path: str) -> Stat | None:
        try:
            info = self._ask("info", path)
        except FileNotFoundError:
            return None
        return _stat(info) if info.get("type") == "file" else None

    def require_container(self, path: str) -> None:
        """Does nothing, as there is no common way to ask; a write to a missing bucket fails."""

    def fetch(self, path: str, start: int, stop: int) -> bytes | memoryview:
        return self._call(lambda fs: bytes(fs.cat_file(path, start=start, end=stop)), nbytes=stop - start)

    def upload(self, path: str, create: bool = False) -> Upload:
        if create and self.stat(path) is not None:
            raise OccupiedError
        if isinstance(self._fs, AsyncFileSystem):
            file = self._ask("open", path, "wb", autocommit=False, block_size=_CHUNK_BYTES)
            if holds_back(file):
                return _HeldBackUpload(self._fs, file, path)
            # Nothing was sent yet; closing it would put an empty object there.
            file.closed = True
        folder, _, name = path.rpartition("/")
        if not isinstance(self._fs, AsyncFileSystem):  # whose folders are buckets, or nothing
            self._ask("makedirs", folder, exist_ok=True)
        return self._renamed(f"{folder}/{temporary_name(name)}", path, create)

    def _renamed(self, temporary: str, path: str, is_new: bool) -> RenamedUpload:
        return RenamedUpload(self._fs, temporary, path, is_new)

    def remove(self, path: str) -> None:
        self._ask("rm_file", path)

    def find(self, pattern: str, hidden: bool = False) -> dict[str, Stat]:
        if not has_magic(pattern):
            found = self.stat(pattern)
            return {} if found is None else {self._url(pattern): found}
        return {
            self._url(name): stat
            for name, stat in matching(pattern, self._listed, hidden)
            if not is_temporary(name.rpartition("/")[2])
        }

    def has_folder(self, path: str) -> bool:
        try:
            return bool(self._ask("info", path or "/")["type"] == "directory")
        except FileNotFoundError:
            return False

    def names_in(self, path: str) -> set[str]:
        return {info["name"].rpartition("/")[2] for info in self._ls(path.rstrip("/"))}

    def _listed(self, prefix: str, deep: bool) -> tuple[list[tuple[str, Stat]], list[str]]:
        """All files and folders whose paths start with a prefix."""
        infos = [one for one in self._ls(prefix.rpartition("/")[0]) if one["name"].startswith(prefix)]
        below = [one for one in infos if one["type"] == "directory" and not (deep and "is_link" in one)]
        folders = [f"{one['name']}/" for one in below]
        objects = [(one["name"], _stat(one)) for one in infos if one["type"] == "file"]
        if not deep:
            return objects, folders
        for folder in folders:
            objects += [(one["name"], _stat(one)) for one in self._below(folder) if one["type"] == "file"]
        return objects, []

    def _ls(self, folder: str) -> list[dict[str, Any]]:
        """Entries of a folder; none if it does not exist. Raises the filesystem's other errors."""
        try:
            infos = self._ls_of(folder or "/")
        except FileNotFoundError:
            return []
        except OSError as error:
            if is_interruption(error):
                raise
            with suppress(FileNotFoundError):
                if self._ask("info", folder or "/").get("type") == "file":
                    return []
            raise
        infos = [{**one, "name": one["name"].rstrip("/")} for one in infos]
        infos = [one for one in infos if one["name"].startswith(f"{folder}/")]
        # A name with a slash is none in a folder; followed, it may lead in circles.
        if any("/" in one["name"][len(folder) + 1 :] for one in infos):
            raise BadAnswerError("NotAName")
        return [self._followed(one) for one in infos]

    def _ls_of(self, folder: str) -> list[dict[str, Any]]:
        return self._call(lambda fs: list(fs.ls(folder, detail=True)), is_endless=True)

    def _followed(self, info: dict[str, Any]) -> dict[str, Any]:
        """The target of a link, under the link's name."""
        if info["type"] != "link":
            return info
        with suppress(FileNotFoundError):
            return {**self._ask("info", info["name"]), "name": info["name"], "is_link": True}
        return info

    def _below(self, folder: str) -> Iterator[dict[str, Any]]:
        """Every file in a folder and below, and every link to a folder, which is not followed."""
        folders = [folder.rstrip("/")]
        while folders:
            for info in self._ls(folders.pop()):
                if info["type"] == "directory" and "is_link" not in info:
                    folders.append(info["name"])
                elif info["type"] in ("file", "link", "directory"):
                    yield info

    def walk(self, path: str) -> Iterator[Entry]:
        for info in self._below(path):
            found = _stat(info)
            yield Entry(self._url(info["name"]), modified_time(info), found.nbytes, found.version)


def _answer(fs: Any, request: Callable[[Any], T], nbytes: int = 0, is_endless: bool = False) -> T:
    """Call a filesystem within a time limit. Raises NoAnswerError, after closing its connection."""
    # Others may have it: a limit counts from when they last had an answer.
    alive = time.monotonic if is_endless else lambda: last_answer(fs)
    try:
        return wait_for(in_thread(lambda: request(fs)), nbytes, alive)
    except NoAnswerError:
        disconnect(fs)
        raise


class _BackgroundUpload:
    """A file of any fsspec filesystem, written by a thread while the next bytes are produced.

    What answers to writes and renames say is no more than that; sizes tell what has come of them.
    """

    def __init__(self, fs: AbstractFileSystem, file: Any) -> None:
        self._fs = fs
        self._file = file
        self._nbytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cpr-upload")
        self._pending: list[Future[Any]] = []

    def write(self, block: memoryview) -> None:
        while len(self._pending) >= _CHUNKS_IN_FLIGHT:
            self._wait()
        self._pending.append(self._thread.submit(self._write, bytes(block)))

    def _wait(self) -> None:
        # Of its many requests each has a limit of its own.
        wait_for(self._pending.pop(0), alive=time.monotonic)

    def _write(self, block: bytes) -> None:
        for at in range(0, len(block), PIECE_BYTES):  # others have their turn between
            with exclusive_use(self._fs):
                self._write_piece(memoryview(block)[at : at + PIECE_BYTES])

    def _write_piece(self, piece: memoryview) -> None:
        while piece:
            count = self._file.write(bytes(piece))
            # Files without a buffer may take less than they are given; paramiko's say nothing.
            count = len(piece) if count is None else count
            if not 0 < count <= len(piece):
                raise BadAnswerError("NothingWritten")
            self._nbytes += count
            piece = piece[count:]

    def _require_whole(self, path: str) -> dict[str, Any]:
        """The info of the file at a path. Raises BadAnswerError unless it has the size that was written."""
        with suppress(FileNotFoundError):
            info: dict[str, Any] = self._fs.info(path)
            if _stat(info).nbytes == self._nbytes:
                return info
        raise BadAnswerError("NotWhatWasWritten")

    def commit(self) -> None:
        while self._pending:
            self._wait()
        self._thread.shutdown()
        _answer(self._fs, lambda _: self._in_turn(self._publish), nbytes=_CHUNK_BYTES)

    def abort(self, timeout: float | None = None) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        with cleaning_up(), at_most(request_seconds() if timeout is None else timeout):
            _answer(self._fs, lambda _: self._discard_after(self._pending[-1:]))

    def _discard_after(self, writing: list[Future[Any]]) -> None:
        for last in writing:  # what is sent now might begin an upload after its end
            with suppress(CancelledError, Exception):
                last.result(request_seconds())
        self._in_turn(self._discard)

    def _in_turn(self, action: Callable[[], None]) -> None:
        with exclusive_use(self._fs):
            action()

    def _publish(self) -> None:
        raise NotImplementedError

    def _discard(self) -> None:
        raise NotImplementedError


class _HeldBackUpload(_BackgroundUpload):
    """A buffered file that is invisible until it is committed."""

    def __init__(self, fs: AbstractFileSystem, file: Any, path: str) -> None:
        super().__init__(fs, file)
        self._path = path

    def _publish(self) -> None:
        self._file.close()
        self._file.commit()
        self._require_whole(self._path)

    def _discard(self) -> None:
        self._file.discard()
        # A buffered file that is not marked closed would publish itself when collected.
        self._file.closed = True


class RenamedUpload(_BackgroundUpload):
    """A file with a hidden name, which is renamed when it is complete.

    Renaming replaces what another has written since it was asked whether the name is free.
    """

    def __init__(self, fs: AbstractFileSystem, temporary: str, path: str, is_new: bool) -> None:
        # Not pipelined, where paramiko could: it drops the answers to the last writes, errors and all.
        super().__init__(fs, _answer(fs, lambda fs: fs.open(temporary, "wb")))
        self._temporary = temporary
        self._path = path
        self._is_new = is_new

    def _publish(self) -> None:
        self._file.close()
        written = self._require_whole(self._temporary)
        self._rename()
        found = self._require_whole(self._path)
        # What is there under the name may be what was there before.
        if is_older(found, written) or (not self._is_new and self._fs.exists(self._temporary)):
            raise BadAnswerError("NotRenamed")

    def _rename(self) -> None:
        """Rename the file. Raises OccupiedError if it was to be new and the name is taken."""
        self._fs.mv(self._temporary, self._path)

    def _discard(self) -> None:
        # What was not written need not be; it is to go.
        with suppress(OSError, EOFError):
            self._file.close()
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._temporary)


def _stat(info: dict[str, Any]) -> Stat:
    return Stat(whole_number(info.get("size") or 0), version_of(info), modified_time(info))
