"""Looks up, lists and deletes objects at URLs of any store."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress

from cpr.errors import ResourceNotFoundError
from cpr.io.confinement import require_allowed
from cpr.io.error_translation import translate_errors
from cpr.io.parallel_map import parallel_map
from cpr.io.protocols import kind_of, load_store
from cpr.io.stores.base import BulkRemovingStore, ChecksumStore, Stat, Store
from cpr.io.urls import normalise, pattern_folder, protocol_of

__all__ = [
    "find",
    "lookup",
    "open_store",
    "remove",
    "remove_folder",
    "remove_many",
    "require_folder_of",
    "require_stat",
    "stat",
    "store_checksum",
]

_DELETIONS_AT_ONCE = 16
_DELETIONS_A_REQUEST = 1000


def open_store(url: str) -> tuple[Store, str]:
    """Get the store that serves a URL in this process, and the URL's path in it.

    Raises MissingDependencyError where its client is not installed, and TransferError where it cannot be
    reached.
    """
    store: type[Store] = load_store(kind_of(protocol_of(url)).store)
    with translate_errors(url, "open"):
        return store.open(url)


def lookup(url: str) -> Stat | None:
    """Size and version of an object; None if there is none. Raises TransferError."""
    store, path = open_store(url)
    with translate_errors(url, "look at"):
        return store.stat(path)


def stat(url: str) -> Stat:
    """Size and version of an object. Raises ResourceNotFoundError or TransferError."""
    store, path = open_store(url)
    return require_stat(store, path, url)


def store_checksum(url: str) -> tuple[int, str | None]:
    """Size of an object and the store's own checksum of it, `crc64nvme:<hex>`, without reading it.

    None if the store keeps none, or none of this object. Raises ResourceNotFoundError and TransferError.
    """
    store, path = open_store(url)
    if not isinstance(store, ChecksumStore):
        return require_stat(store, path, url).nbytes, None
    with translate_errors(url, "look at"):
        return store.store_checksum(path)


def require_stat(store: Store, path: str, url: str) -> Stat:
    """As `stat`, on an open store; the ResourceNotFoundError says whether the bucket is missing."""
    with translate_errors(url, "look at"):
        found = store.stat(path)
        if found is None:
            store.require_container(path)
            raise FileNotFoundError(url)
    return found


def remove(url: str) -> None:
    """Delete an object; a missing one is no error. Raises TransferError."""
    store, path = open_store(url)
    with suppress(ResourceNotFoundError), translate_errors(url, "delete"):
        store.remove(path)


def remove_folder(url: str) -> None:
    """Delete everything in a folder and below, many objects at a time; a missing folder is no error."""
    if protocol_of(url) == "file":
        with suppress(ResourceNotFoundError), translate_errors(url, "delete"):
            require_allowed(url)
            shutil.rmtree(url)  # which refuses a link, and follows none
        return
    store, path = open_store(url)
    with translate_errors(url, "list"):
        urls = [entry.url for entry in store.walk(path)]
    remove_many(urls)


def remove_many(urls: Iterable[str]) -> None:
    """Delete objects of one store, with bulk requests if it has them; missing ones are no error.

    Raises TransferError, with the objects before it deleted and maybe others.
    """
    waiting = list(urls)
    if not waiting:
        return
    store, _ = open_store(waiting[0])
    if isinstance(store, BulkRemovingStore):
        for start in range(0, len(waiting), _DELETIONS_A_REQUEST):
            batch = waiting[start : start + _DELETIONS_A_REQUEST]
            with translate_errors(batch[0], "delete"):
                store.remove_many([open_store(url)[1] for url in batch])
        return
    for _ in parallel_map(remove, waiting, _DELETIONS_AT_ONCE):
        pass


def find(pattern: str, hidden: bool = False) -> dict[str, Stat]:
    """List the objects that match a glob pattern (`*`, `?`, `[...]`, `**`), sorted by URL.

    As in a shell, a name that begins with a dot matches only where the pattern spells the dot, or with
    `hidden`. Raises ResourceNotFoundError when the bucket does not exist, TransferError for a folder that may
    not be listed, and CprError for what is no pattern; no match is no error.
    """
    pattern = normalise(pattern)
    store, path = open_store(pattern)
    with translate_errors(pattern, "list"):
        return dict(sorted(store.find(path, hidden).items()))


def require_folder_of(pattern: str) -> None:
    """Raise ResourceNotFoundError unless the folder exists in which a glob pattern starts."""
    pattern = normalise(pattern)
    folder = pattern_folder(pattern)
    store, path = open_store(folder)
    with translate_errors(folder, "look at"):
        found = store.has_folder(path)
    if not found:
        raise ResourceNotFoundError(
            "nothing matches this pattern, and there is no such folder",
            url=pattern,
            expected=f"files in {folder}",
            actual="no such folder",
            remedy="correct the pattern; where its folder may be missing, pass empty='ignore'",
        )
