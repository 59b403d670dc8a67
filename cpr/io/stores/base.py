"""A store is a kind of place: what cpr asks of local files, of S3, and of any other filesystem.

Everything above speaks to stores through this protocol, so that hashing, streaming and publishing
exist once. Methods raise what the store's client raises; the callers translate.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from cpr.errors import ResourceNotFoundError
from cpr.io.error_translation import translate_errors
from cpr.io.urls import filesystem, normalise, protocol_of

__all__ = [
    "Entry",
    "OccupiedError",
    "Stat",
    "Store",
    "Upload",
    "existing",
    "find",
    "lookup",
    "modified_time",
    "open_store",
    "remove",
    "remove_folder",
    "stat",
]


_UNKNOWN = datetime.fromtimestamp(0, UTC)
_AT_ONCE = 16  # requests to delete


@dataclass(frozen=True)
class Stat:
    """What a store tells of an object without reading it.

    Attributes:
        nbytes: its size.
        version: changes whenever the object does: ETag, generation, or size and modification time.
        modified: when it was last written to, by the store's clock.
    """

    nbytes: int
    version: Mapping[str, str | int] = field(default_factory=dict)
    modified: datetime = field(default=_UNKNOWN, compare=False)


@dataclass(frozen=True)
class Entry:
    """A line of a listing.

    Attributes:
        url: of the object.
        modified: when it was last written to.
        nbytes: its size.
    """

    url: str
    modified: datetime
    nbytes: int


class OccupiedError(Exception):
    """There is an object already where one was to be created."""


class Upload(Protocol):
    """An object under way: visible when `commit` returns, never before, never after `abort`.

    One that is to create its object raises OccupiedError from whichever call finds that one is there.
    """

    def write(self, block: memoryview) -> None:
        """Take the next bytes, copying what is not sent yet; raises if earlier ones failed."""

    def commit(self) -> None:
        """Wait for the bytes and publish the object whole."""

    def abort(self, timeout: float | None = None) -> None:
        """Discard what was written; nothing stays behind. Safe at any time before commit.

        Where requests are needed they may take `timeout` seconds.
        """


class Store(Protocol):
    """Requests to one kind of place; paths are the filesystem's own."""

    def stat(self, path: str) -> Stat | None:
        """Size and version now, never from a cached listing; None where there is no such object."""

    def require_container(self, path: str) -> None:
        """Raise FileNotFoundError if the bucket itself does not exist, where that can be told."""

    def fetch(self, path: str, start: int, stop: int) -> bytes | memoryview:
        """The bytes from start to stop, fewer only where the object ends."""

    def upload(self, path: str, create: bool = False) -> Upload:
        """Begin an object. Creates local folders where they are missing, buckets never.

        With `create` one that is there already is left alone: OccupiedError is raised, now or later.
        """

    def remove(self, path: str) -> None:
        """Delete an object. Raises FileNotFoundError where the store tells."""

    def find(self, pattern: str) -> dict[str, Stat]:
        """URL or path and stat of the objects that match a glob pattern."""

    def walk(self, path: str) -> Iterator[Entry]:
        """All that lies in a folder and below, hidden files too; nothing where there is no such folder."""

    def uploads(self, path: str) -> Iterator[tuple[Entry, str]]:
        """The uploads into a folder that were begun and not ended, with their ids, where a store has such."""

    def abort_upload(self, path: str, upload: str) -> None:
        """End one of them. Raises FileNotFoundError if it has ended already."""


def open_store(url: str) -> tuple[Store, str]:
    """The store that serves a URL in this process, and the path there."""
    # Imports are here, not above: each store module may import its client.
    protocol = protocol_of(url)
    if protocol == "file":
        from cpr.io.stores.local import LocalStore

        return LocalStore(), url
    with translate_errors(url, "open"):
        fs, path = filesystem(url)
    if protocol in ("s3", "s3a"):
        from cpr.io.stores.s3 import S3Store

        return S3Store(fs), path
    if protocol in ("gs", "gcs"):
        from cpr.io.stores.gcs import GCSStore

        return GCSStore(fs), path
    from cpr.io.stores.fsspec import GenericStore

    return GenericStore(url, fs, path), path


def lookup(url: str) -> Stat | None:
    """Size and version of an object, None where there is none. Raises TransferError."""
    store, path = open_store(url)
    with translate_errors(url, "look at"):
        return store.stat(path)


def stat(url: str) -> Stat:
    """Size and version of an object. Raises ResourceNotFoundError or TransferError."""
    store, path = open_store(url)
    return existing(store, path, url)


def existing(store: Store, path: str, url: str) -> Stat:
    """`stat` of an open store: raises ResourceNotFoundError, saying whether it is the bucket that lacks."""
    with translate_errors(url, "look at"):
        found = store.stat(path)
        if found is None:
            store.require_container(path)
            raise FileNotFoundError(url)
    return found


def remove(url: str) -> None:
    """Delete an object; one that is gone already is no error."""
    store, path = open_store(url)
    with suppress(ResourceNotFoundError), translate_errors(url, "delete"):
        store.remove(path)


def remove_folder(url: str) -> None:
    """Delete all that lies in a folder and below, many objects at a time; nothing there is no error."""
    if protocol_of(url) == "file":
        with suppress(ResourceNotFoundError), translate_errors(url, "delete"):
            shutil.rmtree(url)
        return
    store, path = open_store(url)
    with translate_errors(url, "list"):
        urls = [entry.url for entry in store.walk(path)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(remove, urls))


def find(pattern: str) -> dict[str, Stat]:
    """The objects that match a glob pattern (`*`, `?`, `[...]`, `**`), sorted by URL.

    Raises ResourceNotFoundError when the bucket does not exist; an empty folder is no error.
    """
    pattern = normalise(pattern)
    store, path = open_store(pattern)
    with translate_errors(pattern, "list"):
        return dict(sorted(store.find(path).items()))


def version_of(info: Mapping[str, Any]) -> dict[str, str | int]:
    """What changes with an object, from fsspec's `info`: ETag, generation, else size and time."""
    for name in ("ETag", "etag", "generation", "md5Hash", "content_md5"):
        if info.get(name):
            return {name.lower(): str(info[name]).strip('"')}
    version: dict[str, str | int] = {"size": int(info.get("size") or 0)}
    for name in ("mtime", "modified", "LastModified", "last_modified", "created"):
        if (time := info.get(name)) is not None:
            # info() and listings of one filesystem may disagree on datetime or seconds.
            version["mtime"] = str(time.timestamp() if hasattr(time, "timestamp") else time)
            break
    return version


def modified_time(info: Mapping[str, Any]) -> datetime:
    """When a file was last written to, from fsspec's `info`; now, where a filesystem does not tell."""
    for name in ("LastModified", "last_modified", "mtime", "modified", "updated", "created"):
        time = info.get(name)
        if isinstance(time, str):
            time = datetime.fromisoformat(time)
        if isinstance(time, datetime):
            return time if time.tzinfo else time.replace(tzinfo=UTC)
        if isinstance(time, (int, float)):
            return datetime.fromtimestamp(time, UTC)
    return datetime.now(UTC)


_MAGIC = re.compile(r"[*?\[]")


def has_magic(pattern: str) -> bool:
    """Whether a path is a glob pattern."""
    return _MAGIC.search(pattern) is not None
