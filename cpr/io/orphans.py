"""What killed processes leave behind, found and removed.

Whoever writes cleans up behind itself, whatever it raises; a process that is killed cannot. Nothing of
what it leaves is ever visible as a result:

    multipart uploads on S3, which cost storage and appear in no listing of objects
    temporary files of local and other file systems, `.<name>.<16 hex digits>.part`
    digests of blocks, `.cpr/<name>.blocks`, beside which the object never came or was deleted
    locks that nobody has renewed since, `<hex digits>.cpr-lease`, given back or not
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cpr.errors import ResourceNotFoundError
from cpr.io.failures import translated
from cpr.io.location import join, normalise, split
from cpr.io.store import Entry, Store, open_store, remove

__all__ = ["Orphan", "find_orphans", "remove_orphans"]

_TEMPORARY = re.compile(r"\..{1,64}\.[0-9a-f]{16}\.part", re.DOTALL)
_LEASE = re.compile(r"(.*[/\\])?\.?[0-9a-f]{16,32}\.cpr-lease([/\\][0-9]{12})?", re.DOTALL)
_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Orphan:
    """Something that a killed process has left.

    Attributes:
        url: of the file; of a multipart upload, the object that it would have become.
        touched: when it was last written to.
        nbytes: what it takes up.
        upload: a multipart upload's id; None for a file.
    """

    url: str
    touched: datetime
    nbytes: int
    upload: str | None = None


def find_orphans(url: str, older_than: timedelta = _A_DAY) -> list[Orphan]:
    """What killed processes have left in a folder, bucket or prefix and all below it, sorted by URL.

    Takes one listing of all that is there (1000 objects a request on S3).

    Args:
        url: of the folder, bucket or prefix.
        older_than: what was written to since is left out: somebody may still be at it. The clocks of this
            machine and of the store are compared.

    Raises:
        ResourceNotFoundError: the bucket does not exist; a folder that does not holds no orphans.
        TransferError: the store refused or failed.

    >>> find_orphans("memory://results")
    []
    """
    url = normalise(url)
    store, path = open_store(url)
    before = datetime.now(UTC) - older_than
    with translated(url, "list"):
        found = [*_uploads(store, path), *_files(store, path, before)]
    return sorted((orphan for orphan in found if orphan.touched <= before), key=lambda one: one.url)


def remove_orphans(url: str, older_than: timedelta = _A_DAY) -> list[Orphan]:
    """Remove what `find_orphans` finds, and return it. Objects are never touched.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the store refused or failed; what comes first in the list may be gone already.

    >>> remove_orphans("memory://results")
    []
    """
    orphans = find_orphans(url, older_than)
    for orphan in orphans:
        if orphan.upload is None:
            remove(orphan.url)
            continue
        store, path = open_store(orphan.url)
        # Gone meanwhile: completed, or aborted by somebody else.
        with suppress(ResourceNotFoundError), translated(orphan.url, "clean up"):
            store.abort_upload(path, orphan.upload)
    return orphans


def _uploads(store: Store, path: str) -> Iterator[Orphan]:
    for entry, upload in store.uploads(path):
        yield Orphan(entry.url, entry.touched, entry.nbytes, upload)


def _files(store: Store, path: str, before: datetime) -> Iterator[Orphan]:
    """Temporary files, locks, and digests without an object."""
    objects: set[str] = set()
    digests: dict[str, Entry] = {}
    for entry in store.walk(path):
        folder, name = split(entry.url)
        if _TEMPORARY.fullmatch(name) or _LEASE.fullmatch(entry.url):
            yield Orphan(entry.url, entry.touched, entry.nbytes)
        elif (beside := _object_of(folder, name)) is not None:
            if entry.touched <= before:
                digests[beside] = entry
        else:
            objects.add(entry.url)
    for url, entry in digests.items():
        # Asked again, for the object may have come while the listing went on.
        if url not in objects and not _is_there(url):
            yield Orphan(entry.url, entry.touched, entry.nbytes)


def _object_of(folder: str, name: str) -> str | None:
    """The object that digests belong to (see `blocks_url`); None if these are no digests."""
    place = re.fullmatch(r"(.*)[/\\]\.cpr", folder, re.DOTALL)
    if place is None or not name.endswith(".blocks"):
        return None
    return join(place[1], name.removesuffix(".blocks"))


def _is_there(url: str) -> bool:
    """Whether there is an object, or a folder with something in it."""
    store, path = open_store(url)
    return store.stat(path) is not None or next(iter(store.walk(path)), None) is not None
