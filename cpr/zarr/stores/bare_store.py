"""Selects zarr's own store for a URL, one for each event loop, without cpr's checks.

An async filesystem belongs to the event loop that first used it, so each loop gets one.
"""

from __future__ import annotations

import asyncio
import weakref

from zarr.abc.store import Store
from zarr.storage import FsspecStore, ObjectStore

from cpr.io.clients.fsspec import close_on
from cpr.io.error_translation import translate_errors
from cpr.io.filesystems import filesystem
from cpr.io.protocols import kind_of
from cpr.io.stores.s3_obstore import fast_bucket
from cpr.io.urls import protocol_of
from cpr.zarr.stores.gcs import GcsStore
from cpr.zarr.stores.local import FastLocalStore
from cpr.zarr.stores.s3 import ObstoreFirstStore
from cpr.zarr.stores.sftp import SftpStore

__all__ = ["bare_store"]

# Where a filesystem keeps its twins for other loops, which go when it goes.
_TWINS = "_cpr_twins"


def bare_store(url: str, read_only: bool = False) -> Store:
    """Zarr's own store for a URL on the running event loop; the faster one if there are two."""
    if protocol_of(url) == "file":
        return FastLocalStore(url, read_only=read_only)
    with translate_errors(url, "open"):
        fs, path = filesystem(url)
    if not fs.async_impl:
        store = SftpStore.from_mapper(fs.get_mapper(path), read_only=read_only)
        # from_mapper keeps a slash that listings do not have.
        store.path = path
        return store
    twins = fs.__dict__.setdefault(_TWINS, weakref.WeakKeyDictionary())
    twin = twins.get(asyncio.get_running_loop())
    if twin is None:
        options = {**fs.storage_options, "asynchronous": True, "skip_instance_cache": True}
        twin = twins[asyncio.get_running_loop()] = type(fs)(*fs.storage_args, **options)
        close_on(asyncio.get_running_loop(), twin)
        kind_of(protocol_of(url)).settle(twin)
    name = kind_of(protocol_of(url)).name
    if name == "gs":
        return GcsStore(twin, path, read_only)
    bucket, _, prefix = path.partition("/")
    fast = fast_bucket(fs, bucket) if name == "s3" else None
    if fast is None:
        return FsspecStore(twin, path=path, read_only=read_only)
    return ObstoreFirstStore(twin, path, read_only, ObjectStore(fast.store), prefix)
