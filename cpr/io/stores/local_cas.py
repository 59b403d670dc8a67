"""Compare-and-swap for small local files, without locks.

The object is a folder of numbered files; the highest number holds the content. Version n is replaced by
giving a complete new file the name n + 1 with link(2), which fails if that name exists, on NFS as well; then
the lower ones are deleted. A slow writer may succeed in linking a number that was deleted meanwhile: so a
write counts as successful only after checking that there is no higher number.

A process that is killed or stopped in between blocks no other, as it would with flock(2). Neither do
foreign files in the folder: numbers taken by folders, links and pipes are skipped, and the last number is
followed by the first, after the file with the last number was deleted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets

from cpr.errors import UnsupportedStoreError
from cpr.io.confinement import require_allowed
from cpr.io.stores.base import MOST_SMALL_BYTES, Versioned
from cpr.io.stores.regular_files import open_regular

__all__ = ["VersionedFolder"]

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_NUMBER = re.compile("[0-9]{12}")
_LAST = 10**12 - 1


class VersionedFolder:
    """The folder of versions at a path; created by the first write."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self) -> Versioned | None:
        """Present content and version; None if nothing was written."""
        while (number := self._highest()) > 0:
            try:
                with open(self._place(number), "rb", opener=open_regular) as file:
                    content = file.read(MOST_SMALL_BYTES)
                    written = os.fstat(file.fileno()).st_mtime
            except FileNotFoundError:
                continue  # a higher one has come
            return Versioned(content, str(number), max(0.0, self._now() - written))
        return None

    def write_if(self, content: bytes, version: str | None) -> str | None:
        """Write if the version is still this one (None: nothing was written); None if it is not."""
        before = int(version or 0)
        require_allowed(os.path.join(self._path, ""))
        os.makedirs(self._path, exist_ok=True)
        if self._highest() != before:
            return None
        number = self._after(before)
        temporary = self._write(content)
        try:
            os.link(temporary, self._place(number))
        except FileExistsError:
            return None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            raise UnsupportedStoreError(
                "this file system has no hard links, so that nothing can be locked here",
                url=self._path,
                expected="a file system with hard links",
                actual=errno.errorcode[error.errno or 0],
                remedy="put the locks into another folder, or into a bucket",
            ) from None
        finally:
            os.unlink(temporary)
        numbers = self._numbers()
        lost = max(numbers, default=0) != number
        for one in [number] if lost else [lower for lower in numbers if lower < number]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._place(one))
        return None if lost else str(number)

    def _place(self, number: int) -> str:
        return os.path.join(self._path, f"{number:012d}")

    def _numbers(self, are_files: bool = True) -> list[int]:
        """The numbers of files, or of entries that are not files."""
        try:
            with os.scandir(self._path) as entries:
                # Whatever else somebody has put here, folders and links too, is none of ours.
                return [
                    int(one.name)
                    for one in entries
                    if _NUMBER.fullmatch(one.name) and one.is_file(follow_symlinks=False) == are_files
                ]
        except FileNotFoundError:
            return []

    def _after(self, before: int) -> int:
        """The number after this one, skipping those taken by anything but a file."""
        taken, number = frozenset(self._numbers(are_files=False)), before % _LAST + 1
        while number in taken:
            number = number % _LAST + 1
        if number < before:
            # Nobody has counted so far. Who is slow finds a number that is there, or a higher one.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._place(before))
        return number

    def _highest(self) -> int:
        return max(self._numbers(), default=0)

    def _write(self, content: bytes) -> str:
        # Not synced: after a power cut nobody holds anything, whatever is in the file.
        temporary = os.path.join(self._path, f".lease.{secrets.token_hex(8)}.part")
        with open(temporary, "xb") as file:
            file.write(content)
        return temporary

    def _now(self) -> float:
        """The clock that stamps the files, which on a network is not this machine's."""
        temporary = self._write(b"")
        try:
            return os.stat(temporary).st_mtime
        finally:
            os.unlink(temporary)
