"""Copies a Zarr hierarchy: every object in its manifest, verified on the way.

Inside one store that copies, objects are read and checked, and the store copies them: none is uploaded.
"""

from __future__ import annotations

import asyncio
import glob
import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from zarr.abc.store import ByteRequest, RangeByteRequest
from zarr.buffer import default_buffer_prototype

from cpr import io
from cpr.errors import CorruptDataError, ResourceNotFoundError
from cpr.io.copying import InsideCopies, can_copy
from cpr.io.error_translation import translate_errors
from cpr.io.objects import open_store
from cpr.io.request_threads import in_thread
from cpr.io.stores.base import OccupiedError, Upload
from cpr.io.urls import join
from cpr.zarr.stores.chunk_verification import corrupt
from cpr.zarr.stores.manifest import Manifest, manifest_url
from cpr.zarr.stores.verifying_store import VerifyingStore
from cpr.zarr.zarr_internals import sync

__all__ = ["copy_all", "copy_objects"]

T = TypeVar("T")

_NEAR = 4  # objects
_SPAN = 8 << 20  # of a shard that is larger


def copy_all(manifest: Manifest, destination: str, place: str | None = None, replace: bool = False) -> None:
    """Copy a hierarchy; its manifest is written last, so that the result appears only when complete.

    Objects that no manifest vouches for are what a killed copy has left, and are replaced.

    Args:
        manifest: of the hierarchy.
        destination: URL of the copy.
        place: of the copy's manifest; by default beside it.
        replace: replace whatever is there.

    Raises OccupiedError where another result has an object that would be replaced, CorruptDataError for an
    object that is not the one that was written, ResourceNotFoundError and TransferError.
    """
    source, target = manifest.place, place or manifest_url(destination)
    if not replace:
        _require_free(manifest, destination, target)
    copy_objects(manifest, destination)
    # Read and checked in parts, as far as it was needed: every page was.
    with io.reading(source) as file:
        blob = file.read()
    if len(blob) != manifest.nbytes:
        raise corrupt(source, f"{manifest.nbytes} bytes", f"{len(blob)} bytes")
    # What was read now must be what has been checked, to the last byte.
    Manifest(manifest.url, manifest.nbytes, manifest.checksum, blob, source).require_whole()
    _put(target, [blob])


def copy_objects(manifest: Manifest, destination: str) -> None:
    """Copy the objects of a hierarchy, or of a part of one. Raises as `copy_all`."""
    is_inside = can_copy(manifest.url, destination)
    work = _Copying(
        VerifyingStore.of(manifest), destination, InsideCopies(manifest.url) if is_inside else None
    )
    sync(work.run())


def _require_free(manifest: Manifest, destination: str, place: str) -> None:
    """Raise OccupiedError if objects of other results are in the way: of a whole, or of parts of it."""
    store, path = open_store(destination)
    with translate_errors(destination, "look at"):
        if not store.has_folder(path):
            return
    try:
        found = io.find(io.sidecar_url(glob.escape(destination), ".*"), hidden=True)
    except ResourceNotFoundError:
        return
    for one in found:
        if one != manifest_url(destination) and not one.endswith(".digests"):
            continue
        try:
            other = Manifest.stored(destination, one)
            if other is None or other.checksum == manifest.checksum:
                continue
            if one == place or _are_in_the_way(other, manifest):
                raise OccupiedError
        except CorruptDataError:
            raise OccupiedError from None


def _are_in_the_way(other: Manifest, manifest: Manifest) -> bool:
    """Whether two hierarchies have different objects under the same key."""
    for key in manifest.keys():  # noqa: SIM118 - it is no dict
        found = other.find(key)
        if found is not None:
            mine = manifest.find(key)
            if mine is None or other.algorithm != manifest.algorithm or found[0][:2] != mine[0][:2]:
                return True
    return False


class _Copying:
    """A copy in progress.

    Args:
        store: reads the objects, verified.
        destination: URL of the copy.
        inside: server-side copies of verified objects; None if the store has none.
    """

    def __init__(self, store: VerifyingStore, destination: str, inside: InsideCopies | None) -> None:
        self._store = store
        self._destination = destination
        self._inside = inside

    async def run(self) -> None:
        """Copy all objects."""
        await self._store.for_all_objects(self._copy, self._holds, _NEAR)

    async def _holds(self, key: str) -> int:
        return _SPAN if len(await self._spans(key)) > 1 else await self._store.getsize(key)

    async def _copy(self, key: str) -> None:
        spans = await self._spans(key)
        if self._inside is not None and not self._inside.are_over:
            md5, data = hashlib.md5(usedforsecurity=False), b""
            for span in spans:
                data = await self._read(key, span)
                await _in_thread(md5.update, data)
            places = (join(self._store.url, key), self._place(key))
            size = await self._store.getsize(key)
            if await _in_thread(self._inside.copy, *places, md5.hexdigest(), size):
                return
            if len(spans) == 1:
                await _in_thread(_put, self._place(key), [data])
                return
        await self._send(key, spans)

    async def _send(self, key: str, spans: list[ByteRequest | None]) -> None:
        url = self._place(key)
        upload = await _in_thread(_begin, url)
        try:
            for span in spans:
                await _in_thread(_send, url, upload, await self._read(key, span))
            await _in_thread(_commit, url, upload)
        except BaseException:
            await _in_thread(upload.abort)
            raise

    def _place(self, key: str) -> str:
        return join(self._destination, key)

    async def _spans(self, key: str) -> list[ByteRequest | None]:
        """The ranges in which an object is read: whole, or, if large, in parts that can be verified alone."""
        size = await self._store.getsize(key)
        if size <= _SPAN or not await self._store.has_blocks(key):
            return [None]
        return [RangeByteRequest(start, min(start + _SPAN, size)) for start in range(0, size, _SPAN)]

    async def _read(self, key: str, span: ByteRequest | None) -> bytes:
        found = await self._store.get_bytes(key, default_buffer_prototype(), span)
        assert found is not None
        return found.to_bytes()


def _in_thread(function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
    """Call a function in its own thread: asyncio's pool has six, which would all be blocked."""
    return asyncio.wrap_future(in_thread(partial(function, *arguments), is_request=False))


def _put(url: str, pieces: list[bytes]) -> None:
    """Write an object without a block digest sidecar: the manifest has its digests."""
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
