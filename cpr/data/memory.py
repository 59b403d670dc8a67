"""Measures free memory, and refuses data that would need more.

A file of a few bytes can claim, or expand to, any size. The claim is checked before memory is taken for
it, and what expands is watched while it does: an error that says what to do is better than a process
that the system kills. `CPR_MEMORY` (bytes, or such as "64GiB") replaces what the system says.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading

from cpr.errors import DecodeError
from cpr.io.variables import MEMORY

__all__ = ["Expansion", "Room", "available", "require_memory", "return_freed"]

# Read again whenever this much has come, not for every block.
_STEP = 16 << 20
# Of what was free at the begin this part stays free, for what is made of the data afterwards.
_RESERVE = 8


def available() -> int | None:
    """Bytes that this process may still allocate; None if the system does not say.

    The least of CPR_MEMORY or the machine's free memory, and of the limits of the control group (as
    containers set them) and of the address space (`ulimit -v`). Raises ConfigurationError.
    """
    given = MEMORY.get()
    bounds = [_free() if given is None else given, _group(), _address_space()]
    return min((bound for bound in bounds if bound is not None), default=None)


def require_memory(nbytes: int, what: str) -> None:
    """Raise DecodeError if there is not enough memory for so many bytes.

    Args:
        nbytes: to be allocated.
        what: the content, for the message: "the pixels".
    """
    # Asking costs 50 microseconds, and nobody runs out of memory by so little.
    if nbytes < _STEP:
        return
    free = available()
    if free is not None and nbytes > free:
        raise _too_large(what, free, nbytes)


def return_freed() -> None:
    """Return freed memory to the system, which the C library would otherwise keep.

    glibc keeps blocks of up to 32 MiB, for each thread separately, between others that are in use: after many
    blocks from several threads it may hold as much again as is in use. Takes a millisecond or two.
    """
    if sys.platform == "linux":
        # Other C libraries have no such function, and need none.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class Expansion:
    """Limits data that grows while it is decoded: call `grown(nbytes)` after every piece.

    Raises DecodeError once all of it is more than there was room for, or hardly any room is left.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._nbytes = 0
        self._next = _STEP
        self._room: int | None = None

    def grown(self, nbytes: int) -> None:
        """Record that so many more bytes were decoded."""
        self._nbytes += nbytes
        if self._nbytes < self._next:
            return
        self._next = self._nbytes + _STEP
        free = available()
        if free is None:
            return
        if self._room is None:
            self._room = free + self._nbytes
        if self._nbytes > self._room or free < self._room // _RESERVE:
            raise _too_large(self._what, self._room, f"{self._nbytes} bytes and more")


class Room:
    """Limits data that is decoded piece by piece to the memory that was free at the start."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._claimed = 0
        self._room: int | None = None
        self._is_known = False
        self._lock = threading.Lock()

    def claim(self, nbytes: int, besides: int = 0) -> None:
        """Reserve memory for data. Raises DecodeError if there is not enough for all of it.

        Args:
            nbytes: that the data occupies.
            besides: temporary memory while this piece is decoded.
        """
        with self._lock:
            self._claimed += nbytes
            most = self._claimed + besides
            if most < _STEP:
                return
            if not self._is_known:
                self._room, self._is_known = available(), True
            if self._room is not None and most > self._room:
                raise _too_large(self._what, self._room, f"{most} bytes and more")


def _too_large(what: str, free: int, found: object) -> DecodeError:
    return DecodeError(
        f"{what} would take more memory than there is",
        expected=f"at most {free} bytes",
        actual=str(found),
        remedy="read it in parts (region=, get_dask()); if the memory is there, say so in CPR_MEMORY",
    )


def _free() -> int | None:
    """Memory that the machine can provide without swapping; page cache counts as free."""
    known = _fields("/proc/meminfo")
    if "MemAvailable" in known:
        return (known["MemAvailable"] + known.get("SwapFree", 0)) << 10
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _group() -> int | None:
    """What the control group's limit leaves (https://docs.kernel.org/admin-guide/cgroup-v2.html)."""
    for folder, limit, usage, cache in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            with open(f"{folder}/{limit}") as most, open(f"{folder}/{usage}") as taken:
                text = most.read().strip()
                if not text.isdigit():
                    return None
                used = int(taken.read())
        except (OSError, ValueError):
            continue
        return max(0, int(text) - used + _fields(f"{folder}/memory.stat").get(cache, 0))
    return None


def _address_space() -> int | None:
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return None
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError):
        return None
    return max(0, limit - used)


def _fields(path: str) -> dict[str, int]:
    """Parse lines `Name: number` or `name number`; empty if there is no such file."""
    try:
        with open(path) as file:
            lines = [line.replace(":", " ").split() for line in file]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}
