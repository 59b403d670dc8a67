"""Files on local disks, told from what only looks like one: pipes, sockets, devices, folders."""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["open_regular", "require_replaceable"]


def require_replaceable(path: str) -> None:
    """Raise OSError where the name belongs to a device, pipe or socket: `/dev/null` must not become a file.

    A link may be replaced: what it leads to stays as it is.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)


def open_regular(path: str, flags: int) -> int:
    """An opener for `open`: raises OSError at once for what is no file, where reading might never end."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO
        raise OSError(kind, os.strerror(kind), path)
    return descriptor
