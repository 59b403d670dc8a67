"""The store that reads a result, and returns only bytes that the manifest verifies."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Self

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, RangeByteRequest
from zarr.buffer import default_buffer_prototype

from cpr.errors import CorruptDataError
from cpr.io.fork_safe import PerProcess
from cpr.io.objects import open_store
from cpr.io.request_threads import in_thread
from cpr.io.shared_answers import SharedAnswers
from cpr.io.timeouts import request_seconds
from cpr.io.transfer_width import width_of
from cpr.io.urls import protocol_of
from cpr.zarr.stores.block_reader import BlockReader, bounds_of
from cpr.zarr.stores.chunk_verification import corrupt, is_as_written
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.manifest_entries import BLOCK_BYTES, Entry
from cpr.zarr.stores.many_objects import for_each
from cpr.zarr.stores.metadata_check import without_consolidated
from cpr.zarr.stores.url_store import ReadOnlyStore

__all__ = ["CONSOLIDATED", "VerifyingStore"]

_MANIFESTS_KEPT = 16
_MOST_SHARED_BYTES = 32 << 20
_ROOT, _ROOT_BYTES = "zarr.json", 64 << 10
CONSOLIDATED = ".zmetadata"
"""What `zarr.consolidate_metadata` adds to a group of format 2; into one of format 3 it writes."""

log = logging.getLogger("cpr")

_told: PerProcess[str, None] = PerProcess()


class VerifyingStore(ReadOnlyStore):
    """A read-only store that returns only bytes that the manifest verifies.

    Args:
        url: of the hierarchy.
        nbytes: size of its manifest.
        checksum: root of its manifest.
        data: the manifest, if it is not stored yet.
        place: where the manifest is stored; by default beside the hierarchy.

    Raises CorruptDataError for an object that is listed and missing, or not the one that was written, or
    there and not listed. A chunk that is neither listed nor there holds fill values.
    """

    may_vanish = False

    def __init__(
        self, url: str, nbytes: int, checksum: str, data: bytes | None = None, place: str | None = None
    ) -> None:
        super().__init__(url)
        self._manifest_place = place
        self._nbytes = nbytes
        self._checksum = checksum
        self._data = data
        self._found: Manifest | None = None
        self._root: Future[bytes | memoryview] | None = None
        self._blocks = BlockReader(self._fetch, self._place, checksum.partition(":")[0])

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Make the store from an open manifest."""
        store = cls(manifest.url, manifest.nbytes, manifest.checksum, manifest.data, manifest.place)
        store._found = manifest
        return store

    @classmethod
    def opened(cls, url: str, nbytes: int, checksum: str) -> Self:
        """Make the store, and fetch its manifest and the root's metadata now.

        Raises ResourceNotFoundError or CorruptDataError.
        """
        store = cls(url, nbytes, checksum)
        if protocol_of(url) != "file":
            store._root = in_thread(partial(_begin_of, store._place(_ROOT)))
        store._found = Manifest(url, nbytes, checksum)
        return store

    @staticmethod
    def share(manifest: Manifest) -> None:
        """Let stores of this process use a manifest in memory instead of fetching it."""
        if manifest.nbytes <= _MOST_SHARED_BYTES:
            _manifests.keep((manifest.url, manifest.nbytes, manifest.checksum, None), manifest)

    @property
    def checksum(self) -> str:
        """Root digest of the manifest; it identifies the content of the whole hierarchy."""
        return self._checksum

    def _state(self) -> tuple[Any, ...]:
        return self.url, self._nbytes, self._checksum, self._data, self._manifest_place

    @property
    def manifest(self) -> Manifest:
        """The manifest. Raises ResourceNotFoundError or CorruptDataError."""
        if self._found is None:
            place = self._manifest_place
            self._found = _manifests.get(
                (self.url, self._nbytes, self._checksum, place),
                lambda: Manifest(self.url, self._nbytes, self._checksum, self._data, place),
            )
        return self._found

    async def _manifest(self) -> Manifest:
        return self._found if self._found is not None else await asyncio.to_thread(lambda: self.manifest)

    async def _find(self, key: str) -> tuple[Entry, bool] | None:
        manifest = await self._manifest()
        return manifest.find(key) if manifest.is_near(key) else await asyncio.to_thread(manifest.find, key)

    async def get_bytes(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        found = await self._find(key)
        if found is None:
            await self._require_absent(key)
            return None
        entry, has_blocks = found
        part = bounds_of(byte_range, entry.size)
        if part != (0, entry.size):
            (value,) = await self._parts(key, found, [part], prototype)
            return value
        if has_blocks:
            entry = await asyncio.to_thread((await self._manifest()).with_blocks, key)
        return await self._whole(key, entry, prototype)

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **limits: Any,
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        found = await self._find(key)
        if found is None:
            async for some in super().get_ranges(key, byte_ranges, prototype=prototype, **limits):
                yield some
            return
        bounds = [bounds_of(part, found[0].size) for part in byte_ranges]
        yield builtins.list(enumerate(await self._parts(key, found, bounds, prototype)))

    async def _parts(
        self,
        key: str,
        found: tuple[Entry, bool],
        parts: Sequence[tuple[int, int]],
        prototype: BufferPrototype,
    ) -> builtins.list[Buffer]:
        entry, has_blocks = found
        if has_blocks:
            entry = await asyncio.to_thread((await self._manifest()).with_blocks, key)
        elif entry.size <= BLOCK_BYTES:
            entry = entry._replace(blocks=entry.digest)  # it is its one block
        else:
            whole = await self._whole(key, entry, prototype)
            return [whole[start:stop] for start, stop in parts]
        return [prototype.buffer.from_bytes(part) for part in await self._blocks.read(key, entry, parts)]

    async def _whole(self, key: str, entry: Entry, prototype: BufferPrototype) -> Buffer:
        algorithm = self._checksum.partition(":")[0]
        try:
            return await self._get_as_written(key, prototype, entry, algorithm)
        except CorruptDataError:
            # What the wire did to it, a second answer has not.
            try:
                return await self._get_as_written(key, prototype, entry, algorithm)
            except CorruptDataError as error:
                if key.rpartition("/")[2] != "zarr.json":
                    raise
                return await self._before_consolidation(key, prototype, entry, error)

    async def _get_as_written(
        self, key: str, prototype: BufferPrototype, entry: Entry, algorithm: str
    ) -> Buffer:
        root, self._root = (self._root, None) if key == _ROOT else (None, self._root)
        if root is not None:
            asked = asyncio.wrap_future(root)
            done, _ = await asyncio.wait((asked,), timeout=request_seconds())
            # Whatever has become of it: it is believed where it is what the manifest vouches for.
            if done and not asked.cancelled() and asked.exception() is None:
                data = memoryview(asked.result())
                if is_as_written(data, entry, algorithm):
                    return prototype.buffer.from_bytes(bytes(data))
        return await super()._get_as_written(key, prototype, entry, algorithm)

    async def _before_consolidation(
        self, key: str, prototype: BufferPrototype, entry: Entry, error: CorruptDataError
    ) -> Buffer:
        """The metadata as it was before `zarr.consolidate_metadata` added other documents.

        They are the very bytes that the manifest vouches for; raises the error where they are not.
        """
        found = await super().get_bytes(key, prototype)
        data = b"" if found is None else without_consolidated(found.to_bytes())
        algorithm = self._checksum.partition(":")[0]
        if data is None or not is_as_written(memoryview(data), entry, algorithm):
            raise error
        self.tell_consolidated()
        return prototype.buffer.from_bytes(data)

    def tell_consolidated(self) -> None:
        """Warn once that the metadata was changed, and how."""
        with _told.lock:
            if self.url in _told.known:
                return
            _told.known[self.url] = None
        log.warning(
            "%s: its metadata were consolidated by another program; cpr reads those that it wrote itself, "
            "other programs read what nobody vouches for",
            self.url,
        )

    async def _fetch(self, key: str, start: int, stop: int) -> memoryview:
        value = await super().get_bytes(key, default_buffer_prototype(), RangeByteRequest(start, stop))
        if value is None:
            raise corrupt(self._place(key), f"{stop - start} bytes", "no object")
        return memoryview(value.as_buffer_like())

    async def _require_absent(self, key: str) -> None:
        """Raise for an object that is not in the manifest; other readers would take it for data."""
        if key.rpartition("/")[2] == CONSOLIDATED:
            return  # what others made of the metadata is nothing that a result is read from
        if (
            not key
            or await super().get_bytes(key, default_buffer_prototype(), RangeByteRequest(0, 1)) is None
        ):
            return
        raise corrupt(self._place(key), "no object", "an object that is not listed in the manifest")

    async def for_all_objects(
        self,
        work: Callable[[str], Awaitable[None]],
        holds: Callable[[str], Awaitable[int]],
        near: int,
        some: Iterator[str] | None = None,
    ) -> int:
        """Await `work` for the key of every listed object, or of some; see `for_each`."""
        # One iterator for all workers: a page is parsed when the first of them comes to it.
        keys = (await self._manifest()).keys() if some is None else some
        return await for_each(keys, work, holds, near, width_of(self.url, "read"))

    async def exists(self, key: str) -> bool:
        return await self._find(key) is not None

    async def getsize(self, key: str) -> int:
        found = await self._find(key)
        if found is None:
            raise FileNotFoundError(key)
        return found[0].size

    async def has_blocks(self, key: str) -> bool:
        """Whether parts of an object can be verified alone."""
        found = await self._find(key)
        return found is not None and found[1]

    async def list(self) -> AsyncIterator[str]:
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for key in (await self._manifest()).keys(prefix):
            if not key.startswith(prefix):
                return
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        folder = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        manifest = await self._manifest()
        start, seen = folder, set[str]()
        while (key := next(manifest.keys(start), None)) is not None and key.startswith(folder):
            name = key[len(folder) :].split("/", 1)[0]
            if name not in seen:
                seen.add(name)
                yield name
            # Past all keys below this name: "0" follows "/".
            below = f"{folder}{name}"
            start = f"{below}0" if key != below else f"{below}\0"


#: Shared by all stores of this process that ask for the same.
_manifests: SharedAnswers[tuple[Any, ...], Manifest] = SharedAnswers(_MANIFESTS_KEPT)


def _begin_of(url: str) -> bytes | memoryview:
    store, path = open_store(url)
    return store.fetch(path, 0, _ROOT_BYTES)
