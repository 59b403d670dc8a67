"""Counts the processes of this machine that transfer with the same store, because they share its network.

Each transferring process touches a file of its own once a second, in a folder that all processes of a user
see, also while it waits for longer requests. A process whose file is older than a few seconds does not
count: it is idle, or has ended. Without such a folder, or in containers with a folder each, a process assumes
that it is the only one.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cpr.io.hashing import hex16
from cpr.io.request_threads import in_thread

__all__ = ["HostShare"]

_EVERY_SECONDS = 1.0
# Those that begin together see each other before any has many requests under way, which may take long.
_BEGINNING_SECONDS, _EVERY_SECONDS_THEN = 2.0, 0.02
_IDLE_SECONDS = 4.0
_FORGOTTEN_SECONDS = 3600.0


class HostShare:
    """One store and direction, shared by the processes of this machine.

    Args:
        place: what they have in common, a bucket and a direction.
    """

    def __init__(self, place: str) -> None:
        self._prefix = f"{hex16(place.encode())}-"
        self._lock = threading.Lock()
        self._asked = self._began = float("-inf")
        self._processes = 1
        self._waiting = 0
        self._is_touched = False

    def processes(self) -> int:
        """Number of processes that transfer now, with this one; refreshed once a second, at first sooner."""
        now = time.monotonic()
        if now - self._asked > _IDLE_SECONDS and not self._waiting:
            self._began = now
        begins = now - self._began < _BEGINNING_SECONDS
        if now - self._asked >= (_EVERY_SECONDS_THEN if begins else _EVERY_SECONDS):
            self._asked = now
            with suppress(OSError):
                self._processes = self._count()
        return self._processes

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count this process while the block waits for an answer."""
        with self._lock:
            self._waiting += 1
            if not self._is_touched:
                self._is_touched = True
                in_thread(self._stay)
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def _stay(self) -> None:
        """Touch the file once a second while any request is waited for."""
        while True:
            time.sleep(_EVERY_SECONDS)
            with self._lock:
                self._is_touched = self._waiting > 0
                if not self._is_touched:
                    return
            with suppress(OSError):
                _touch(self._path())

    def _path(self) -> str:
        return os.path.join(_folder(), f"{self._prefix}{os.getpid()}")

    def _count(self) -> int:
        path = self._path()
        _touch(path)
        folder, own = os.path.split(path)
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


def _touch(path: str) -> None:
    with open(path, "wb"):
        os.utime(path)


def _folder() -> str:
    """The user's own folder for these files. Raises OSError if it cannot be made or is someone else's."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    folder = os.path.join(tempfile.gettempdir(), f"cpr-transfers-{user}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and (os.path.islink(folder) or os.stat(folder).st_uid != user):
        raise PermissionError(folder)
    return folder
