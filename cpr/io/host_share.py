"""How many processes of this machine transfer with the same place: they share its network.

Each one that does touches a file of its own, once a second, in a folder that all processes of a user see.
Whose file is older than a few seconds does not count: it is idle, or gone. Where there is no such folder, and
in containers that have one each, a process takes itself for the only one.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress

from cpr.io.hashing import hex16

__all__ = ["HostShare"]

_EVERY_SECONDS = 1.0
_IDLE_SECONDS = 4.0
_FORGOTTEN_SECONDS = 3600.0


class HostShare:
    """One place, as the processes of this machine share it.

    Args:
        place: what they have in common, a bucket and a direction.
    """

    def __init__(self, place: str) -> None:
        self._prefix = f"{hex16(place.encode())}-"
        self._asked = -_EVERY_SECONDS
        self._processes = 1

    def processes(self) -> int:
        """How many transfer with it now, this one included; looked up once a second."""
        now = time.monotonic()
        if now - self._asked >= _EVERY_SECONDS:
            self._asked = now
            with suppress(OSError):
                self._processes = self._count()
        return self._processes

    def _count(self) -> int:
        folder = _folder()
        own = f"{self._prefix}{os.getpid()}"
        path = os.path.join(folder, own)
        with open(path, "wb"):
            os.utime(path)
        now, found = os.stat(path).st_mtime, 1
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name == own:
                    continue
                with suppress(FileNotFoundError):
                    age = now - entry.stat().st_mtime
                    if age > _FORGOTTEN_SECONDS:
                        os.unlink(entry.path)
                    found += age < _IDLE_SECONDS and entry.name.startswith(self._prefix)
        return found


def _folder() -> str:
    """The user's own folder for these files. Raises OSError where there can be none, or it is another's."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    folder = os.path.join(tempfile.gettempdir(), f"cpr-transfers-{user}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and (os.path.islink(folder) or os.stat(folder).st_uid != user):
        raise PermissionError(folder)
    return folder
