"""Detects that a source was deleted while it is read, since missing chunks look like fill values.

A chunk without an object is legal: all of it has the fill value. So any part of a deleted array reads as if
nothing had ever been written there. The array's metadata show that it existed: they are requested again after
a read that found no object for some chunk. If only chunks were deleted, and not the metadata, this is noticed
only for a source that has taken part in a cache key, which knows its objects, and for a shard whose index was
read before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import zarr
from zarr.buffer import default_buffer_prototype

from cpr.errors import ResourceNotFoundError
from cpr.io.outside_json import TooMuchJsonError, read_json

__all__ = ["Noted", "metadata_of", "note", "noting", "require_there"]


@dataclass
class Noted:
    """What was found missing during one read.

    Attributes:
        is_missing: whether some object was not there.
        gone: key of an object that was there first, and then was not.
        parts: keys of the objects of which parts were read.
    """

    is_missing: bool = False
    gone: str | None = None
    parts: set[str] = field(default_factory=set)


_noted: ContextVar[Noted | None] = ContextVar("noted", default=None)


@contextmanager
def noting() -> Iterator[Noted]:
    """Collect what stores find in the block, including tasks started in it."""
    noted = Noted()
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def note(key: str, is_there: bool, is_part: bool) -> None:
    """Record that an object, or part of one, was found or was missing."""
    noted = _noted.get()
    if noted is None:
        return
    if not is_there:
        noted.is_missing = True
        if key in noted.parts:
            noted.gone = key
    elif is_part:
        noted.parts.add(key)


def metadata_of(node: Any) -> str:
    """Name of the metadata object of an array or group."""
    if node.metadata.zarr_format == 3:
        return "zarr.json"
    return ".zarray" if isinstance(node, zarr.Array) else ".zgroup"


async def require_there(store: Any, path: str, name: str, noted: Noted | None = None) -> None:
    """Raise ResourceNotFoundError for an array or group that was deleted since it was opened.

    Args:
        store: that it is in; only of one that `may_vanish` anything is asked.
        path: of the array or group there.
        name: of its metadata object.
        noted: what was found while it was read; nothing is asked where nothing was missing.
    """
    if not getattr(store, "may_vanish", False):
        return
    if noted is not None and noted.gone is not None:
        raise _gone(f"{store.url}/{noted.gone}", "the object of which a part was read before")
    if noted is not None and not noted.is_missing:
        return
    key = f"{path}/{name}" if path else name
    if not await store.exists(key) and not await _is_told_above(store, path, name):
        raise _gone(f"{store.url}/{path}" if path else store.url, f"{name}, which it had when it was opened")


async def _is_told_above(store: Any, path: str, name: str) -> bool:
    """Whether the metadata may come from consolidated metadata of a parent group."""
    above = [path[:at] for at in range(len(path) - 1, 0, -1) if path[at] == "/"]
    for folder in dict.fromkeys([path, *above, ""]):
        if name != "zarr.json":
            if await store.exists(f"{folder}/.zmetadata" if folder else ".zmetadata"):
                return True
        elif folder != path:
            key = f"{folder}/zarr.json" if folder else "zarr.json"
            found = await store.get(key, default_buffer_prototype())
            if found is not None and _has_consolidated(found.to_bytes()):
                return True
    return False


def _has_consolidated(text: bytes) -> bool:
    try:
        return bool(read_json(text, strict=False).get("consolidated_metadata"))
    except (ValueError, AttributeError, TooMuchJsonError):
        return False


def _gone(url: str, expected: str) -> ResourceNotFoundError:
    return ResourceNotFoundError(
        "the Zarr is not there any more: it was deleted while it was read",
        url=url,
        expected=expected,
        actual="no such object",
        remedy="look whether it was moved, or is being written anew; once it is there, make the source again",
    )
