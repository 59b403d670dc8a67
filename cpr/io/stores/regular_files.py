"""Checks that a local path is a regular file, and not a pipe, socket, device or folder."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

__all__ = ["open_regular", "require_removable", "require_replaceable"]


def require_replaceable(path: str) -> None:
    """Raise OSError for a device, pipe or socket: `/dev/null` must not become a file."""
    with contextlib.suppress(FileNotFoundError):
        # What a process has open looks like files there: /dev/stdout leads to it.
        if os.path.islink(path) and os.readlink(path).startswith("/proc/"):
            raise _special(path)
        _require_plain(os.stat(path).st_mode, path)


def require_removable(path: str) -> None:
    """As `require_replaceable`, for deletion. A link may be deleted: its target stays."""
    with contextlib.suppress(FileNotFoundError):
        _require_plain(os.lstat(path).st_mode, path)


def _require_plain(mode: int, path: str) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
        raise _special(path)


def _special(path: str) -> OSError:
    return OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)


def open_regular(path: str, flags: int) -> int:
    """An opener for `open`: raises OSError at once for anything but a file, as reading might never end."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO
        raise OSError(kind, os.strerror(kind), path)
    return descriptor
