"""Pins the version of an object that others may replace: all reads are of one version.

    pinned = pin(url, version)      the version that was seen before, or the one that is there now
    pinned.fetch(start, stop)       its bytes, or SourceChangedError
    with pinned.held(): ...         what a reader made of them is of that version, or SourceChangedError

Stores that take conditions are asked for the version with each request (If-Match, generation; local files are
looked at before and after each read). Of all others the version is compared before and after. Where that is a
date in whole seconds, a file of this very second is looked at again when the second is over: what is written
from then on has another date.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cpr.errors import CprError, SourceChangedError, TransferError
from cpr.io.error_translation import translate_errors
from cpr.io.objects import find, open_store, require_stat
from cpr.io.stores.base import ChangedError, PinningStore, Stat, Store
from cpr.io.urls import protocol_of

__all__ = ["Pinned", "Version", "find_versions", "pin", "same_version", "version_now"]

Version = Mapping[str, str | int]

_TRIES = 3
# Two writes within a tick of the clock that dates files look alike: local ones tick every few milliseconds.
_TICK_SECONDS = 0.02
_WHOLE_SECOND = 1.0


class Pinned:
    """One version of an object.

    Attributes:
        url: of the object.
        store: that has it.
        path: there.
        version: as the store tells it.
        nbytes: its size.
    """

    def __init__(self, url: str, store: Store, path: str, stat: Stat) -> None:
        self.url = url
        self.store = store
        self.path = path
        self.version: Version = stat.version
        self.nbytes = stat.nbytes
        self._pins = isinstance(store, PinningStore) and store.can_pin(stat.version)

    def fetch(self, start: int, stop: int) -> bytes | memoryview:
        """Fetch the bytes from start to stop, all of them.

        Raises SourceChangedError where another version is there, TransferError for an answer that is short.
        """
        stop = min(stop, self.nbytes)
        block: bytes | memoryview = b""
        for _ in range(_TRIES):
            try:
                block = self._fetch(start, stop)
            except ChangedError:
                self.require_unchanged()
                continue  # the store has it all the same: a proxy may have said so
            if len(block) == stop - start:
                return block
        self.require_unchanged()
        raise TransferError(
            "the store gives fewer bytes than it says there are",
            url=self.url,
            expected=f"bytes {start} to {stop} of {self.nbytes}",
            actual=f"{len(block)} bytes",
            remedy="read again; if it stays so, compare the object's size with the store's listing",
        )

    def _fetch(self, start: int, stop: int) -> bytes | memoryview:
        if self._pins:
            assert isinstance(self.store, PinningStore)
            return self.store.fetch_version(self.path, start, stop, self.version)
        return self.store.fetch(self.path, start, stop)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Ensure that everything read in the block, and any error it raises, comes from this version."""
        try:
            yield
        except SourceChangedError:
            raise
        except CprError:
            if not self._pins:
                self.require_unchanged()
            raise
        if not self._pins:
            self.require_unchanged()

    def require_unchanged(self) -> None:
        """Raise SourceChangedError unless the store still has this version."""
        require_version(self.url, self.version, require_stat(self.store, self.path, self.url).version)


def pin(url: str, version: Version | None = None) -> Pinned:
    """Pin an object to a version seen before, or to the present one; one request.

    Raises SourceChangedError where another one is there, ResourceNotFoundError and TransferError.
    """
    store, path = open_store(url)
    stat = require_stat(store, path, url)
    if version:
        require_version(url, version, stat.version)
    else:
        stat = _settled(url, store, path, stat)
    return Pinned(url, store, path, stat)


def version_now(url: str) -> Version:
    """The present version, distinguishable from any later one.

    Raises ResourceNotFoundError and TransferError.
    """
    return pin(url).version


def find_versions(pattern: str) -> dict[str, Version]:
    """The objects that match a glob pattern with their versions, as `version_now`, sorted by URL."""
    found = find(pattern)
    if wait := max((_fresh_seconds(url, stat) for url, stat in found.items()), default=0.0):
        time.sleep(wait)
        found = find(pattern)
    return {url: stat.version for url, stat in found.items()}


def same_version(one: Version, other: Version) -> bool:
    """Whether two answers are of one version; a listing may say less than a stat of the object."""
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def require_version(url: str, expected: Version, actual: Version) -> None:
    """Raise SourceChangedError unless the actual version is the expected one."""
    if not same_version(expected, actual):
        raise SourceChangedError(
            "the object was replaced since its version was first asked for",
            url=url,
            expected=version_text(expected),
            actual=version_text(actual),
            remedy="run again: a new source, from from_path() or glob(), takes the object as it is now",
        )


def _settled(url: str, store: Store, path: str, stat: Stat) -> Stat:
    if wait := _fresh_seconds(url, stat):
        time.sleep(wait)
        with translate_errors(url, "look at"):
            return store.stat(path) or stat
    return stat


def _fresh_seconds(url: str, stat: Stat) -> float:
    """How long until a further write would change the file's date; 0 if it would already.

    SFTP, and others that tell no more than size and date, date files by whole seconds.
    """
    if protocol_of(url) == "file":
        tick = _TICK_SECONDS
    elif stat.version.keys() == {"size", "mtime"} and float(stat.version["mtime"]).is_integer():
        tick = _WHOLE_SECOND
    else:
        return 0.0
    # Of a server whose clock is up to a tick behind.
    return tick if abs(time.time() - stat.modified.timestamp()) < 2 * tick else 0.0


def version_text(version: Version) -> str:
    """Format a version for error messages."""
    return ", ".join(f"{name} {value}" for name, value in version.items())
