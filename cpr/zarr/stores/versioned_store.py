"""The store that reads a source in one version; any other version raises SourceChangedError.

What a version consists of is in its names:

    "listing", "objects"        of every object below the source: a digest of their keys, sizes and versions
    "zarr.json etag" and such   what the store says of single metadata objects

The version of an object is asked for after it was read: if that is still the version of the source, then so
is what was read. (Local files that are changed in place get another time while they change.)
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest

from cpr import io
from cpr.errors import SourceChangedError, TransferError
from cpr.io.error_translation import translate_errors
from cpr.io.objects import open_store
from cpr.io.shared_answers import SharedAnswers
from cpr.io.urls import protocol_of
from cpr.zarr.stores.url_store import ReadOnlyStore

__all__ = ["MOST_LISTED", "Version", "VersionedStore", "changed", "listing_version", "object_version"]

Version = Mapping[str, str | int]

_LISTING = "listing"
_LISTINGS_KEPT = 8
MOST_LISTED = 20_000
"""Objects that are listed unasked: two seconds, where a page of 1,000 takes a tenth of one."""

#: (URL, digest) -> key, relative to the URL -> digest of the object's version
_listings: SharedAnswers[tuple[str, str], dict[str, bytes]] = SharedAnswers(_LISTINGS_KEPT)


def listing_version(url: str, needed: Collection[str], *, unlimited: bool = False) -> Version | None:
    """One version for all objects below a URL, from a listing.

    None where that cannot be had: there are more than MOST_LISTED objects, or the store does not list them
    (web servers, buckets that one may only read from), or says of an object something else than its listing.

    Args:
        url: of a folder.
        needed: keys, at least one of which must exist.
        unlimited: list any number of objects.
    """
    try:
        found = _listed(url, None if unlimited else MOST_LISTED)
    except (TransferError, NotImplementedError):
        return None
    known = next((key for key in needed if key in found), None) if found is not None else None
    if found is None or known is None:
        return None
    asked = io.lookup(io.join(url, known))
    if asked is None or _brief(asked.version) != found[known]:
        return None
    digest = _digest_of(found)
    _listings.keep((url, digest), found)
    return {_LISTING: digest, "objects": len(found)}


def object_version(url: str, name: str) -> Version:
    """The store's version of one object below a URL; empty if there is none."""
    found = io.lookup(io.join(url, name))
    return {} if found is None else {f"{name} {key}": value for key, value in found.version.items()}


class VersionedStore(ReadOnlyStore):
    """A store of a hierarchy that raises SourceChangedError for objects of another version.

    Args:
        url: of the hierarchy.
        folder: of the source inside, "" for all of it: what the version is of.
        version: the version that is to be read.
    """

    def __init__(self, url: str, folder: str, version: Version) -> None:
        super().__init__(url)
        self._source = folder
        self._version = dict(version)

    @property
    def may_vanish(self) -> bool:  # type: ignore[override]
        """False if the version covers all objects, which are then known to have existed."""
        return _LISTING not in self._version

    def _state(self) -> tuple[Any, ...]:
        return self.url, self._source, self._version

    def __hash__(self) -> int:
        return hash((type(self), self.url, self._source))

    async def get_bytes(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        value = await super().get_bytes(key, prototype, byte_range)
        await asyncio.to_thread(self._require_unchanged, key)
        return value

    async def exists(self, key: str) -> bool:
        found = await super().exists(key)
        await asyncio.to_thread(self._require_unchanged, key)
        return found

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        seen = set()
        async for name in super().list_dir(prefix):
            seen.add(name)
            yield name
        folder = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        if _LISTING in self._version and folder.startswith(self._folder_inside):
            inside = folder[len(self._folder_inside) :]
            keys = (key for key in await asyncio.to_thread(self._listing) if key.startswith(inside))
            if gone := {key[len(inside) :].partition("/")[0] for key in keys} - seen:
                raise changed(self._place(folder + min(gone)), "with this object", "without it")

    @property
    def _folder_inside(self) -> str:
        return f"{self._source}/" if self._source else ""

    def _require_unchanged(self, key: str) -> None:
        if not key.startswith(self._folder_inside):
            return
        name = key[len(self._folder_inside) :]
        if _LISTING in self._version:
            expected = self._listing().get(name)
        else:
            about = {k: v for k, v in self._version.items() if k.rpartition(" ")[0] == name}
            if not about:
                return
            expected = _brief({k.rpartition(" ")[2]: v for k, v in about.items()})
        found = io.lookup(self._place(key))
        actual = None if found is None else _brief(found.version)
        if actual != expected:
            raise changed(self._place(key), _shown(expected), _shown(actual))

    def _listing(self) -> dict[str, bytes]:
        place = io.join(self.url, self._source) if self._source else self.url
        digest = str(self._version[_LISTING])

        def ask() -> dict[str, bytes]:
            found = _listed(place, None) or {}
            if (now := _digest_of(found)) != digest:
                raise changed(place, f"{self._version['objects']} objects, {digest}", f"{len(found)}, {now}")
            return found

        return _listings.get((place, digest), ask)


def changed(url: str, expected: str, actual: str) -> SourceChangedError:
    """The error for a place where another version is than the one that was asked for."""
    return SourceChangedError(
        "the source is not the version any more that took part in the cache key",
        url=url,
        expected=f"version {expected}",
        actual=f"version {actual}",
        remedy="make the source again, from_path(...), once nobody writes to it: its key is then another one",
    )


def _listed(url: str, limit: int | None) -> dict[str, bytes] | None:
    found: dict[str, bytes] = {}
    with translate_errors(url, "list"):
        for key, version in _files(url) if protocol_of(url) == "file" else _objects(url):
            if len(found) == limit:
                return None
            found[key] = _brief(version)
    return found


def _objects(url: str) -> Iterator[tuple[str, Version]]:
    store, path = open_store(url)
    start = len(io.join(url, ""))
    for entry in store.walk(path):
        yield entry.url[start:], entry.version


def _files(folder: str) -> Iterator[tuple[str, Version]]:
    """The files in a folder, following links once each, as chunks may be stored elsewhere."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            path = os.path.join(place, name)
            if (stat := io.lookup(path)) is not None:
                yield os.path.relpath(path, folder).replace(os.sep, "/"), stat.version


def _brief(version: Version) -> bytes:
    text = json.dumps({key: str(value) for key, value in version.items()}, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _digest_of(found: Mapping[str, bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(found):
        digest.update(key.encode("utf-8", "surrogatepass") + b"\0" + found[key])
    return digest.hexdigest()


def _shown(digest: bytes | None) -> str:
    return "of no object" if digest is None else digest.hex()
