"""Store for local files: written under a temporary name, synced, renamed, and the folder synced.

After a power cut the file is there whole or not at all (rename(2) is atomic within a folder; the
sync of the folder makes the name itself durable).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Self

from cpr.io.answer_checks import SetupError
from cpr.io.confinement import OpenFolder
from cpr.io.stores.base import ChangedError, Entry, OccupiedError, Stat
from cpr.io.stores.glob import has_magic, matching
from cpr.io.stores.listings import Page
from cpr.io.stores.local_cas import VersionedFolder
from cpr.io.stores.local_listing import pages_in, unless_gone
from cpr.io.stores.regular_files import open_regular, require_removable, require_replaceable
from cpr.io.temp_names import temporary_name

__all__ = ["LocalStore"]


class LocalStore:
    """Files of this machine; paths are absolute."""

    conditions_may_be_ignored = False

    @classmethod
    def open(cls, url: str) -> tuple[Self, str]:
        return cls(), url

    def stat(self, path: str) -> Stat | None:
        return _stat(path)

    def require_container(self, path: str) -> None:
        """Raise if anything but a file is at the path; missing folders are created by writes."""
        if os.path.isdir(path):
            raise SetupError("NotAFile")
        if os.path.exists(path):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))

    def fetch(self, path: str, start: int, stop: int) -> bytes:
        with open(path, "rb", buffering=0, opener=open_regular) as file:
            # Python takes memory for what is asked, not for what is there.
            end = min(stop, os.fstat(file.fileno()).st_size)
            if end <= start:
                return b""
            file.seek(start)
            return file.read(end - start)

    def can_pin(self, version: Mapping[str, str | int]) -> bool:
        """Whether it is a version of a local file."""
        return version.keys() == {"size", "mtime_ns"}

    def fetch_version(self, path: str, start: int, stop: int, version: Mapping[str, str | int]) -> bytes:
        """As `fetch`, for a file that is unchanged before and after the read."""
        with open(path, "rb", buffering=0, opener=open_regular) as file:
            if _version(os.fstat(file.fileno())) != version:
                raise ChangedError
            file.seek(start)
            block = file.read(stop - start)
            if _version(os.fstat(file.fileno())) != version:
                raise ChangedError
            return block

    def upload(self, path: str, create: bool = False) -> LocalUpload:
        if create and _stat(path) is not None:
            raise OccupiedError
        require_replaceable(path)
        return LocalUpload(path, create)

    def remove(self, path: str) -> None:
        require_removable(path)
        folder, name = os.path.split(path)
        place = OpenFolder(folder)
        try:
            place.unlink(name)
        finally:
            place.close()

    def find(self, pattern: str, hidden: bool = False) -> dict[str, Stat]:
        if not has_magic(pattern):
            with contextlib.suppress(NotADirectoryError):
                found = _stat(pattern)
                return {} if found is None else {pattern: found}
            return {}
        steps = pattern.replace(os.sep, "/")
        return {os.path.normpath(path): stat for path, stat in matching(steps, _listed, hidden)}

    def has_folder(self, path: str) -> bool:
        return os.path.isdir(path)

    def names_in(self, path: str) -> set[str]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return set(os.listdir(path))
        return set()

    def walk(self, path: str) -> Iterator[Entry]:
        for folder, folders, names in os.walk(path, onerror=unless_gone):
            # Links to folders are listed and not followed: what they lead to may be anywhere.
            for name in [*names, *(one for one in folders if os.path.islink(os.path.join(folder, one)))]:
                url = os.path.join(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    result = os.lstat(url)
                    yield Entry(url, _time(result), result.st_size, _version(result))

    def pages(self, path: str) -> Iterator[Page]:
        """As `walk`, in its order, for millions of files."""
        return pages_in(path)

    def conditional(self, path: str) -> VersionedFolder:
        """The object at a path, for conditional writes: a folder of its versions."""
        return VersionedFolder(path)


def _listed(prefix: str, deep: bool) -> tuple[list[tuple[str, Stat]], list[str]]:
    """Files and folders whose paths start with a prefix; links are followed, but not in a circle."""
    files: list[tuple[str, Stat]] = []
    folders = _scan(prefix.rpartition("/")[0] or "/", prefix, files)
    if not deep:
        return files, folders
    waiting = [(folder, frozenset[str]()) for folder in folders]
    while waiting:
        folder, above = waiting.pop()
        real = os.path.realpath(folder)
        if real not in above:
            waiting += [(one, above | {real}) for one in _scan(folder.rstrip("/"), folder, files)]
    return files, []


def _scan(folder: str, prefix: str, files: list[tuple[str, Stat]]) -> list[str]:
    """The subfolders whose paths start with a prefix; matching files are appended to a list."""
    folders = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = f"{folder.rstrip('/')}/{entry.name}"
                if not path.startswith(prefix):
                    continue
                if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(path)):
                    folders.append(f"{path}/")
                elif (stat := _stat_or_link(path)) is not None:
                    files.append((path, stat))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return folders


def _time(result: os.stat_result) -> datetime:
    """Modification time of a file, clamped to the range of Python's datetime."""
    return datetime.fromtimestamp(min(max(result.st_mtime, -62_135_510_400), 253_370_764_800), UTC)


def _stat_or_link(path: str) -> Stat | None:
    """As `_stat`; for a link that cannot be resolved (circular or inaccessible), the link itself.

    So reading it raises an error, and the rest of the listing is complete.
    """
    try:
        return _stat(path)
    except NotADirectoryError:  # a link to what would be inside a file
        return None
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG}:
            raise
        result = os.lstat(path)
        return Stat(result.st_size, _version(result), _time(result))


def _stat(path: str) -> Stat | None:
    try:
        result = os.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(result.st_mode):
        return None
    return Stat(result.st_size, _version(result), _time(result))


def _version(result: os.stat_result) -> dict[str, str | int]:
    return {"size": result.st_size, "mtime_ns": result.st_mtime_ns}


class LocalUpload:
    """A temporary file in the folder of its final name, hidden from `*` patterns."""

    def __init__(self, path: str, create: bool = False) -> None:
        self._path = path
        self._only_new = create
        folder, self._name = os.path.split(path)
        self._temporary = temporary_name(self._name)
        self._folder = OpenFolder(folder, make=True)
        try:
            self._file: int | None = self._folder.create(self._temporary)
        except BaseException:
            self._folder.close()
            raise

    def write(self, block: memoryview) -> None:
        assert self._file is not None
        while block:
            block = block[os.write(self._file, block) :]

    def commit(self) -> None:
        assert self._file is not None
        os.fsync(self._file)
        os.close(self._file)
        self._file = None
        if not (self._only_new and self._linked()):
            require_replaceable(self._path)
            self._folder.replace(self._temporary, self._name)
        self._folder.sync()
        self._folder.close()

    def _linked(self) -> bool:
        """Whether the file got its name by a hard link, which replaces nothing; not every disk has them."""
        try:
            self._folder.link(self._temporary, self._name)
        except FileExistsError:
            raise OccupiedError from None
        except OSError:
            return False
        self._folder.unlink(self._temporary)
        return True

    def abort(self, timeout: float | None = None) -> None:  # noqa: ARG002
        if self._file is not None:
            os.close(self._file)
            self._file = None
        with contextlib.suppress(FileNotFoundError):
            self._folder.unlink(self._temporary)
        self._folder.close()
