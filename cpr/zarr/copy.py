"""A hierarchy from one place to another: every object that its manifest lists, checked on the way."""

from __future__ import annotations

import asyncio

from zarr.abc.store import RangeByteRequest
from zarr.buffer import default_buffer_prototype

from cpr import io
from cpr.io.error_translation import translate_errors
from cpr.io.objects import open_store
from cpr.io.stores.base import Upload
from cpr.zarr.stores.entries import corrupt
from cpr.zarr.stores.manifest import Manifest, manifest_url
from cpr.zarr.stores.verifying import VerifyingStore
from cpr.zarr.zarr_internals import sync

__all__ = ["copy_all", "copy_objects"]

_AT_ONCE = 4  # objects
_SPAN = 8 << 20  # of a shard that is larger


def copy_all(manifest: Manifest, destination: str, place: str | None = None) -> None:
    """Copy a hierarchy; its manifest comes last, so that there is no result before it is whole.

    Args:
        manifest: of the hierarchy.
        destination: URL of the copy.
        place: of the copy's manifest; by default beside it.

    Raises CorruptDataError for an object that is not the one that was written, ResourceNotFoundError and
    TransferError.
    """
    copy_objects(manifest, destination)
    # Read and checked in parts, as far as it was needed: every page was.
    source, target = manifest.place, place or manifest_url(destination)
    with io.reading(source) as file:
        blob = file.read()
    if len(blob) != manifest.nbytes:
        raise corrupt(source, f"{manifest.nbytes} bytes", f"{len(blob)} bytes")
    # What was read now must be what has been checked.
    Manifest(manifest.url, manifest.nbytes, manifest.checksum, blob, source)
    _put(target, [blob])


def copy_objects(manifest: Manifest, destination: str) -> None:
    """Copy the objects of a hierarchy, or of a part of one. Raises as `copy_all`."""
    sync(_copy_all(VerifyingStore.of(manifest), destination))


async def _copy_all(store: VerifyingStore, destination: str) -> None:
    prototype = default_buffer_prototype()

    async def copy(key: str) -> None:
        size = await store.getsize(key)
        url = f"{destination}/{key}"
        if size <= _SPAN or not await store.has_blocks(key):
            found = await store.get_bytes(key, prototype)
            assert found is not None
            await asyncio.to_thread(_put, url, [found.to_bytes()])
            return
        upload = await asyncio.to_thread(_begin, url)
        try:
            for start in range(0, size, _SPAN):
                wanted = RangeByteRequest(start, min(start + _SPAN, size))
                part = await store.get_bytes(key, prototype, wanted)
                assert part is not None
                await asyncio.to_thread(_send, url, upload, part.to_bytes())
            await asyncio.to_thread(_commit, url, upload)
        except BaseException:
            await asyncio.to_thread(upload.abort)
            raise

    await store.for_all_objects(copy, _AT_ONCE)


def _put(url: str, pieces: list[bytes]) -> None:
    """Write an object whole, without digests of its blocks: the manifest has them."""
    upload = _begin(url)
    try:
        for piece in pieces:
            _send(url, upload, piece)
        _commit(url, upload)
    except BaseException:
        upload.abort()
        raise


def _begin(url: str) -> Upload:
    store, path = open_store(url)
    with translate_errors(url, "write"):
        return store.upload(path)


def _send(url: str, upload: Upload, piece: bytes) -> None:
    with translate_errors(url, "write"):
        upload.write(memoryview(piece))


def _commit(url: str, upload: Upload) -> None:
    with translate_errors(url, "write"):
        upload.commit()
