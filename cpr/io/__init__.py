"""Moves bytes to and from any fsspec URL, whole and hashed, and knows nothing of their meaning.

    writing(url)   writes an object: a forward-only file whose content appears whole or not at all
    reading(url)   reads an object: a seekable file whose bytes are hashed and counted as they arrive
    read_through(url, algorithm, nbytes)  checksum and size of an object, without keeping its bytes
    ranged(url)    parts of an object: a seekable file that fetches little more than what is read
    pin(url, version)  fixes the version of a source; reading_pinned and ranged_pinned read that version
    verified(url)  as `ranged`, of an object that cpr wrote: every block is verified before it is returned
    copy(url, url, stored)  copies an object and verifies it on the way
    stat(url)      size and version of an object (lookup: None where there is none; listed(urls): of many)
    store_checksum(url)  the store's own checksum; kept_store_checksum(url, ...)  the one that it must have
    sidecar_url(url, ending)  URL of a sidecar file of an object,
    object_of_sidecar(url)    and the object that a sidecar belongs to
    find(pattern)  the objects that match
    remove(url)    deletes an object, silently if it is gone
    remove_orphans(url)  deletes leftovers of killed processes; find_orphans(url) lists them

Below them a `Store` per kind of place (local files, S3, everything else fsspec implements) does
the requests. Where storage options come from is `cpr.io.urls`'s business alone.
"""

from __future__ import annotations

from cpr.io.block_digests import SMALL_BYTES, kept_store_checksum, verified
from cpr.io.bulk_lookup import listed
from cpr.io.copying import copy
from cpr.io.hashing_sink import Stored
from cpr.io.objects import find, lookup, remove, require_folder_of, stat, store_checksum
from cpr.io.orphans import Orphan, find_orphans, remove_orphans
from cpr.io.publishing import writing
from cpr.io.reading import ranged, ranged_pinned, read_through, reading, reading_pinned
from cpr.io.seekable_files import SeekableFile
from cpr.io.sidecars import object_of_sidecar, sidecar_url
from cpr.io.stores.base import Stat
from cpr.io.urls import join, normalise, split
from cpr.io.version_pinning import find_versions, pin, version_now

__all__ = [
    "SMALL_BYTES",
    "Orphan",
    "SeekableFile",
    "Stat",
    "Stored",
    "copy",
    "find",
    "find_orphans",
    "find_versions",
    "join",
    "kept_store_checksum",
    "listed",
    "lookup",
    "normalise",
    "object_of_sidecar",
    "pin",
    "ranged",
    "ranged_pinned",
    "read_through",
    "reading",
    "reading_pinned",
    "remove",
    "remove_orphans",
    "require_folder_of",
    "sidecar_url",
    "split",
    "stat",
    "store_checksum",
    "verified",
    "version_now",
    "writing",
]
