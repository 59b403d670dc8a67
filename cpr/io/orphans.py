"""Finds and removes what killed processes leave behind: temporary files, unfinished uploads, stale locks.

Every writer cleans up after an error; a process that is killed cannot. None of its leftovers is ever
visible as a result:

    multipart uploads on S3, which cost storage and appear in no listing of objects
    temporary files of local and other file systems, `.<name>.<16 hex digits>.part`; in the folder of a result
    also those of zarr, `<name>.<32 hex digits>.partial`
    sidecars in `.cpr` (see `cpr.io.sidecars`) whose object was never completed or was deleted: digests of
    its blocks, its preview, its provenance
    expired locks, `<hex digits>.cpr-lease`, released or not
    folders that were being written, such as a Zarr's chunks: those with a marker, `cpr.io.write_markers`
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cpr.errors import ResourceNotFoundError
from cpr.io.block_digests import blocks_url
from cpr.io.confinement import writing_only_below
from cpr.io.error_translation import translate_errors
from cpr.io.objects import lookup, open_store, remove, remove_folder
from cpr.io.sidecars import object_of_sidecar
from cpr.io.stores.base import Entry, Store, UploadListingStore
from cpr.io.temp_names import is_temporary, is_temporary_of_zarr
from cpr.io.urls import normalise, split
from cpr.io.write_markers import folder_of, marker_url, take_over

__all__ = ["Orphan", "find_orphans", "remove_orphans"]

_LEASE = re.compile(r"(.*[/\\])?\.?[0-9a-f]{16,32}\.cpr-lease([/\\][0-9]{12})?", re.DOTALL)
_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Orphan:
    """A leftover of a killed process.

    Attributes:
        url: of the file or folder; of a multipart upload, the object that it would have become.
        modified: when it was last written to.
        nbytes: what it takes up.
        upload: a multipart upload's id; None for a file or folder.
        is_folder: whether it is all that lies in a folder.
    """

    url: str
    modified: datetime
    nbytes: int
    upload: str | None = None
    is_folder: bool = False


def find_orphans(url: str, older_than: timedelta = _A_DAY) -> list[Orphan]:
    """List leftovers of killed processes in a folder, bucket or prefix, at any depth, sorted by URL.

    Takes one listing of all that is there (1000 objects a request on S3).

    Args:
        url: of the folder, bucket or prefix.
        older_than: anything modified since is left out, as its writer may still be running. For a folder the
            newest object counts, so that a writer may take days if it pauses for less than this. The clock
            of this machine is compared with times of the store.

    Raises:
        ResourceNotFoundError: the bucket does not exist; a folder that does not holds no orphans.
        TransferError: the store refused or failed.

    >>> find_orphans("memory://results")
    []
    """
    url = normalise(url)
    store, path = open_store(url)
    try:
        before = datetime.now(UTC) - older_than
    except OverflowError:
        before = datetime.min.replace(tzinfo=UTC)
    with translate_errors(url, "list"):
        found = [*_uploads(store, path), *_files(store, path, before)]
    return sorted((orphan for orphan in found if orphan.modified <= before), key=lambda one: one.url)


def remove_orphans(url: str, older_than: timedelta = _A_DAY) -> list[Orphan]:
    """Remove what `find_orphans` finds, and return it. Results are never touched.

    A folder whose writer was alive after all is left alone if it was published by now; else its writer
    fails when it tries to publish it.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the store refused or failed; what comes first in the list may be gone already.

    >>> remove_orphans("memory://results")
    []
    """
    with writing_only_below(normalise(url)):
        return [orphan for orphan in find_orphans(url, older_than) if _remove(orphan)]


def _remove(orphan: Orphan) -> bool:
    if orphan.is_folder:
        if not take_over(orphan.url):
            return False
        remove_folder(orphan.url)
        remove(marker_url(orphan.url))  # last: whoever is interrupted finds it again
    elif orphan.upload is None:
        remove(orphan.url)
    else:
        store, path = open_store(orphan.url)
        assert isinstance(store, UploadListingStore)
        # Gone meanwhile: completed, or aborted by somebody else.
        with suppress(ResourceNotFoundError), translate_errors(orphan.url, "clean up"):
            store.abort_upload(path, orphan.upload)
    return True


def _uploads(store: Store, path: str) -> Iterator[Orphan]:
    if not isinstance(store, UploadListingStore):
        return
    for entry, upload in store.uploads(path):
        yield Orphan(entry.url, entry.modified, entry.nbytes, upload)


def _files(store: Store, path: str, before: datetime) -> Iterator[Orphan]:
    """Temporary files, locks, sidecars without an object, and folders that were abandoned half written."""
    objects: set[str] = set()
    beside: list[tuple[str, Entry]] = []
    markers: dict[str, Entry] = {}
    of_zarr: list[Entry] = []
    for entry in store.walk(path):
        if is_temporary(split(entry.url)[1]) or _LEASE.fullmatch(entry.url):
            yield Orphan(entry.url, entry.modified, entry.nbytes)
        elif (marked := folder_of(entry.url)) is not None:
            if entry.modified <= before:
                markers[marked] = entry
        elif (url := object_of_sidecar(entry.url)) is not None:
            if entry.modified <= before:
                beside.append((url, entry))
        elif is_temporary_of_zarr(split(entry.url)[1]):
            of_zarr.append(entry)
        else:
            objects.add(entry.url)
    for url, entry in beside:
        # Asked again, for the object may have come while the listing went on.
        if url not in objects and not _is_there(url):
            yield Orphan(entry.url, entry.modified, entry.nbytes)
    # Not those of Zarrs that cpr has not written.
    results = {url for url, _ in beside} - markers.keys()
    for entry in of_zarr:
        if any(folder in results for folder in _folders(entry.url)):
            yield Orphan(entry.url, entry.modified, entry.nbytes)
    for url, marker in markers.items():
        if lookup(blocks_url(url)) is not None:
            yield Orphan(marker.url, marker.modified, marker.nbytes)  # it was published, and killed then
        else:
            yield _folder(url, marker)


def _folders(url: str) -> Iterator[str]:
    """The folders that contain an object, the innermost first."""
    while (folder := split(url)[0]) not in ("", url):
        yield folder
        url = folder


def _folder(url: str, marker: Entry) -> Orphan:
    modified, nbytes = marker.modified, marker.nbytes
    store, path = open_store(url)
    for entry in store.walk(path):
        modified, nbytes = max(modified, entry.modified), nbytes + entry.nbytes
    return Orphan(url, modified, nbytes, is_folder=True)


def _is_there(url: str) -> bool:
    """Whether an object exists at the URL, or a folder that is not empty."""
    store, path = open_store(url)
    return store.stat(path) is not None or next(iter(store.walk(path)), None) is not None
