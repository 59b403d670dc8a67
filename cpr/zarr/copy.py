"""A hierarchy from one place to another: every object that its manifest lists, checked on the way.

Inside one store that copies, objects are read and checked, and the store copies them: none is uploaded.
"""

from __future__ import annotations

import asyncio
import hashlib

from zarr.abc.store import ByteRequest, RangeByteRequest
from zarr.buffer import default_buffer_prototype

from cpr import io
from cpr.io.copying import InsideCopies, can_copy
from cpr.io.error_translation import translate_errors
from cpr.io.objects import open_store
from cpr.io.stores.base import Upload
from cpr.io.urls import join
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
    is_inside = can_copy(manifest.url, destination)
    work = _Copying(
        VerifyingStore.of(manifest), destination, InsideCopies(manifest.url) if is_inside else None
    )
    sync(work.run())


class _Copying:
    """Objects on their way.

    Args:
        store: gives them checked.
        destination: URL of the copy.
        inside: lets the store copy what was checked; None where it cannot.
    """

    def __init__(self, store: VerifyingStore, destination: str, inside: InsideCopies | None) -> None:
        self._store = store
        self._destination = destination
        self._inside = inside

    async def run(self) -> None:
        """Copy all objects."""
        await self._store.for_all_objects(self._copy, _AT_ONCE)

    async def _copy(self, key: str) -> None:
        spans = await self._spans(key)
        if self._inside is not None and not self._inside.are_over:
            md5, data = hashlib.md5(usedforsecurity=False), b""
            for span in spans:
                data = await self._read(key, span)
                await asyncio.to_thread(md5.update, data)
            places = (join(self._store.url, key), self._place(key))
            size = await self._store.getsize(key)
            if await asyncio.to_thread(self._inside.copy, *places, md5.hexdigest(), size):
                return
            if len(spans) == 1:
                await asyncio.to_thread(_put, self._place(key), [data])
                return
        await self._send(key, spans)

    async def _send(self, key: str, spans: list[ByteRequest | None]) -> None:
        url = self._place(key)
        upload = await asyncio.to_thread(_begin, url)
        try:
            for span in spans:
                await asyncio.to_thread(_send, url, upload, await self._read(key, span))
            await asyncio.to_thread(_commit, url, upload)
        except BaseException:
            await asyncio.to_thread(upload.abort)
            raise

    def _place(self, key: str) -> str:
        return join(self._destination, key)

    async def _spans(self, key: str) -> list[ByteRequest | None]:
        """What is read of an object at a time: all of it, or so much of a large one as is checked alone."""
        size = await self._store.getsize(key)
        if size <= _SPAN or not await self._store.has_blocks(key):
            return [None]
        return [RangeByteRequest(start, min(start + _SPAN, size)) for start in range(0, size, _SPAN)]

    async def _read(self, key: str, span: ByteRequest | None) -> bytes:
        found = await self._store.get_bytes(key, default_buffer_prototype(), span)
        assert found is not None
        return found.to_bytes()


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
