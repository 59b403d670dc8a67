"""Confines the writes and deletions of a command on local disks to the folders that it was given.

Somebody who may write to a folder can put a link there that leads to other people's files. Inside
`writing_only_below` everything that cpr writes or deletes on a local disk is checked here: its folder, with
all links resolved, must be in one of the given places. Where the system supports it (all but Windows), the
folder is then opened step by step without following links, and used through its descriptor, so that a link
which is inserted meanwhile is an error as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from cpr.errors import TransferError
from cpr.io.urls import protocol_of

__all__ = ["OpenFolder", "is_outside", "require_allowed", "writing_only_below"]

# Resolved once, as a command begins; None where nothing is forbidden.
_places: ContextVar[tuple[str, ...] | None] = ContextVar("cpr_writing_below", default=None)
_BY_DESCRIPTOR = {os.open, os.mkdir, os.unlink, os.rename, os.link} <= os.supports_dir_fd


@contextmanager
def writing_only_below(*urls: str) -> Iterator[None]:
    """Confine writes and deletions on local disks to some folders, in this context.

    A place may itself be a link: then its target is meant. A nested block replaces the places of the outer
    one. Stores without links are not affected.

    Args:
        urls: normalised; of folders, which need not exist yet.
    """
    token = _places.set(tuple(os.path.realpath(url) for url in urls if protocol_of(url) == "file"))
    try:
        yield
    finally:
        _places.reset(token)


def require_allowed(url: str) -> None:
    """Raise TransferError if the folder of a local path, links resolved, is outside the allowed ones.

    Not so for a link at the place itself: it is replaced or deleted, and what it leads to stays. Nor for a
    URL of a store that has no links.
    """
    if protocol_of(url) == "file":
        _resolved(os.path.dirname(url))


def is_outside(url: str) -> bool:
    """Whether a file at a local URL, links resolved, is outside the allowed folders."""
    places = _places.get()
    if places is None or protocol_of(url) != "file":
        return False
    return not any(_is_within(os.path.realpath(url), one) for one in places)


def _resolved(folder: str) -> tuple[str, str] | None:
    """The allowed folder that contains a folder, and its real path; None if nothing is confined."""
    places = _places.get()
    if places is None:
        return None
    real = os.path.realpath(folder)
    for place in places:
        if _is_within(real, place):
            return place, real
    raise TransferError(
        "a link leads out of the place that was given",
        url=folder,
        expected="a place in " + (" or ".join(places) or "no folder of this machine"),
        actual=real,
        remedy="name the folder that the link leads to, or remove the link",
    )


def _is_within(real: str, place: str) -> bool:
    return real == place or real.startswith(place.rstrip(os.sep) + os.sep)


class OpenFolder:
    """An open folder in which files are made, renamed and deleted by name; see the module.

    Args:
        path: of the folder, absolute.
        make: make it, and those above, where they are missing.

    Raises OSError, and TransferError where it is in none of the places.
    """

    def __init__(self, path: str, make: bool = False) -> None:
        self.path = path
        self._descriptor: int | None = None
        found = _resolved(path)
        if found is None or not _BY_DESCRIPTOR:
            if make:
                os.makedirs(path, exist_ok=True)
            return
        place, real = found
        if make:
            os.makedirs(place, exist_ok=True)
        self._descriptor = _descend(place, os.path.relpath(real, place), make)

    def create(self, name: str) -> int:
        """Create a file; returns its descriptor. Raises FileExistsError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        return os.open(self._at(name), flags | getattr(os, "O_BINARY", 0), 0o666, dir_fd=self._descriptor)

    def replace(self, name: str, new: str) -> None:
        """Rename a file, replacing any file of that name."""
        here = self._descriptor
        os.replace(self._at(name), self._at(new), src_dir_fd=here, dst_dir_fd=here)

    def link(self, name: str, new: str) -> None:
        """Give a file a second name. Raises FileExistsError."""
        here = self._descriptor
        os.link(self._at(name), self._at(new), src_dir_fd=here, dst_dir_fd=here)

    def unlink(self, name: str) -> None:
        """Delete a name. Raises FileNotFoundError."""
        os.unlink(self._at(name), dir_fd=self._descriptor)

    def sync(self) -> None:
        """Make the folder's entries durable."""
        if os.name == "nt":  # Windows has no such call and journals its names
            return
        descriptor = os.open(self.path, os.O_RDONLY) if self._descriptor is None else self._descriptor
        try:
            os.fsync(descriptor)
        finally:
            if descriptor != self._descriptor:
                os.close(descriptor)

    def close(self) -> None:
        """Close the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name) if self._descriptor is None else name


def _descend(place: str, steps: str, make: bool) -> int:
    """Open a folder below another one, following no link on the way; returns its descriptor."""
    # The place itself has been resolved: it has no link, unless somebody has put one there since.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(place, flags)
    for step in steps.split(os.sep):
        if step == os.curdir:
            continue
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(step, dir_fd=descriptor)
            below = os.open(step, flags, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor
