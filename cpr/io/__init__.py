"""Moves bytes to and from any fsspec URL, whole and hashed, and knows nothing of their meaning.

    writing(url)   the one way in: a forward-only file; what was written appears whole or not at all
    reading(url)   the one way out: a seekable file whose bytes are hashed and counted as they arrive
    read_through(url, algorithm, nbytes)  its checksum and size, nothing kept
    ranged(url)    parts of an object: a seekable file that fetches little more than what is read
    pin(url, version)  one version of an object that is not ours; reading_pinned and ranged_pinned read it
    verified(url)  the same for an object that cpr wrote: every part is checked before it is given
    copy(url, url, stored)  from place to place, past its digests
    stat(url)      size and version of an object (lookup: None where there is none; listed(urls): of many)
    store_checksum(url)  what the store says of its bytes; kept_store_checksum(url, ...)  what it is to say
    sidecar_url(url, ending)  where something that belongs to an object is kept,
    object_of_sidecar(url)    and the way back
    find(pattern)  the objects that match
    remove(url)    deletes an object, silently if it is gone
    remove_orphans(url)  deletes what killed processes have left; find_orphans(url) lists it

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
