"""A zarr store that is pickled as its URL, so that every process uses its own configuration.

Zarr's own stores send the requests (`cpr.zarr.stores.bare_store`). They, and the filesystems in them, are
pickled with their credentials; cpr's are pickled as a URL, and every process uses its own configuration.
"""

from __future__ import annotations

import asyncio
import builtins
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Self

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, RangeByteRequest, Store

from cpr.errors import ResourceNotFoundError
from cpr.io.answer_checks import BadAnswerError
from cpr.io.error_translation import translate_errors
from cpr.io.objects import open_store, remove_folder
from cpr.io.timeouts import within_limit
from cpr.io.transfer_width import width_of
from cpr.io.urls import join
from cpr.zarr.stores.bare_store import bare_store
from cpr.zarr.stores.chunk_verification import missing, require
from cpr.zarr.stores.local import FastLocalStore
from cpr.zarr.stores.manifest_entries import Entry, EntryDigest
from cpr.zarr.stores.metadata_check import is_metadata, require_safe_metadata
from cpr.zarr.stores.vanished import note

__all__ = ["ReadOnlyStore", "UrlStore"]

# Far away: larger objects come in parts of this size, as many at once as whole ones would be in memory.
_FAR_WHOLE_BYTES, _FAR_PART_BYTES = 2 << 20, 1 << 20


class UrlStore(Store):
    """Requests to a URL through zarr's own store for it.

    This is no `WrapperStore`: that delegates every method it knows, and a method that a later zarr adds
    would go past the checks. What is not written here is zarr's default, made of `get` and `set`.
    """

    may_vanish = False  # whether nothing else tells that what is read was deleted meanwhile

    def __init__(self, url: str, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.url = url
        self._folder = join(url, "")
        self._stores: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Store] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def bare(self) -> Store:
        """Zarr's own store, for the running event loop."""
        loop = asyncio.get_running_loop()
        store = self._stores.get(loop)
        if store is None:
            store = self._stores[loop] = bare_store(self.url, self.read_only)
        return store

    def _state(self) -> tuple[Any, ...]:
        """The arguments that make an equal store in any process."""
        return self.url, self.read_only

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._state()

    def with_read_only(self, read_only: bool = False) -> Self:
        return type(self)(self.url, read_only)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash((type(self), self.url))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __str__(self) -> str:
        return self.url

    @property
    def supports_writes(self) -> bool:
        return True

    @property
    def supports_deletes(self) -> bool:
        return True

    @property
    def supports_listing(self) -> bool:
        return True

    def _place(self, key: str) -> str:
        return self._folder + key if key else self.url

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        value = await self.get_bytes(key, prototype, byte_range)
        return self._checked(key, value) if byte_range is None else value

    async def get_bytes(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As `get`, for callers that decode nothing, so metadata may name any codec."""
        try:
            with translate_errors(self._place(key), "read"):
                value = await self._answer(key, prototype, byte_range)
        except ResourceNotFoundError:
            value = None
        if self.may_vanish:
            note(key, value is not None, byte_range is not None)
        return value

    async def _answer(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        bare = self.bare
        request = bare.get(key, prototype, byte_range)
        if isinstance(bare, FastLocalStore):
            return await request
        if not isinstance(byte_range, RangeByteRequest):
            return await within_limit(request, ask_size=lambda: bare.getsize(key))
        nbytes = byte_range.end - byte_range.start
        found = await within_limit(request, nbytes)
        if found is not None and len(found) > nbytes:
            raise BadAnswerError("RangeIgnored")
        return found

    def _checked(self, key: str, value: Buffer | None) -> Buffer | None:
        """The value, after checking that it is not unsafe metadata."""
        if value is not None and is_metadata(key):
            require_safe_metadata(key, value.to_bytes(), self._place(key))
        return value

    async def _get_as_written(
        self, key: str, prototype: BufferPrototype, entry: Entry, algorithm: str
    ) -> Buffer:
        """Read a whole object. Raises CorruptDataError unless it matches the entry.

        Local files are digested while they are read, in that thread: their bytes are in its core's cache.
        """
        bare, url = self.bare, self._place(key)
        digest = EntryDigest(algorithm, bool(entry.blocks))
        if isinstance(bare, FastLocalStore):
            value = await self._read_digested(bare, key, prototype, digest)
        else:
            value = await self._whole_object(key, prototype, entry.size)
            if value is not None:
                digest.update(memoryview(value.as_buffer_like()))
        if value is None:
            raise missing(url, entry)
        require(url, digest.entry(), entry, algorithm)
        return value

    async def _whole_object(self, key: str, prototype: BufferPrototype, nbytes: int) -> Buffer | None:
        """Read an object of known size; a large one from a distant store in parallel ranges.

        There each connection gives little, and whole chunks on as many as it takes would fill the memory.
        """
        if nbytes <= _FAR_WHOLE_BYTES or not width_of(self.url, "read").is_far:
            return await UrlStore.get_bytes(self, key, prototype)
        starts = range(0, nbytes, _FAR_PART_BYTES)
        # One byte more of the last, so that a longer object is noticed.
        stops = [*starts[1:], nbytes + 1]
        asked = (RangeByteRequest(*part) for part in zip(starts, stops, strict=True))
        parts = await asyncio.gather(*(UrlStore.get_bytes(self, key, prototype, part) for part in asked))
        found = [part.as_buffer_like() for part in parts if part is not None]
        return prototype.buffer.from_bytes(b"".join(found)) if len(found) == len(parts) else None

    async def _read_digested(
        self, bare: FastLocalStore, key: str, prototype: BufferPrototype, digest: EntryDigest
    ) -> Buffer | None:
        try:
            with translate_errors(self._place(key), "read"):
                return await asyncio.to_thread(bare.get_sync, key, prototype=prototype, digest=digest)
        except ResourceNotFoundError:  # nothing is left of the whole folder
            return None

    async def _set_digested(self, key: str, value: Buffer, digest: Callable[[], Entry]) -> Entry:
        """Write an object, and return its entry, computed by `digest` in the writing thread."""
        self._check_writable()
        bare = self.bare
        if not isinstance(bare, FastLocalStore):
            entry = digest()
            await UrlStore.set(self, key, value)
            return entry

        def digest_and_write() -> Entry:
            entry = digest()
            bare.set_sync(key, value)
            return entry

        with translate_errors(self._place(key), "write"):
            return await asyncio.to_thread(digest_and_write)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> builtins.list[Buffer | None]:
        return builtins.list(
            await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges))
        )

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **limits: Any,  # noqa: ARG002 - of what zarr's own would fetch in vain between two parts
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        # zarr's own, of 3.2 and later, wraps errors in groups, and fetches what lies between the parts.
        found = await self.get_partial_values(prototype, [(key, part) for part in byte_ranges])
        if any(value is None for value in found):
            # What zarr expects of an object that is not there.
            raise BaseExceptionGroup(key, [FileNotFoundError(key)])
        yield builtins.list(enumerate(found))

    async def exists(self, key: str) -> bool:
        with translate_errors(self._place(key), "look at"):
            return await within_limit(self.bare.exists(key))

    async def getsize(self, key: str) -> int:
        with translate_errors(self._place(key), "look at"):
            return await within_limit(self.bare.getsize(key))

    async def set(self, key: str, value: Buffer) -> None:
        self._check_writable()
        with translate_errors(self._place(key), "write"):
            await within_limit(self.bare.set(key, value), len(value))

    async def delete(self, key: str) -> None:
        self._check_writable()
        with translate_errors(self._place(key), "delete"):
            await within_limit(self.bare.delete(key))

    async def delete_dir(self, prefix: str) -> None:
        self._check_writable()
        bare = self.bare
        if isinstance(bare, FastLocalStore):
            with translate_errors(self._place(prefix), "delete"):
                await bare.delete_dir(prefix)
        else:
            await asyncio.to_thread(remove_folder, self._place(prefix).rstrip("/"))

    async def list(self) -> AsyncIterator[str]:
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        bare, folder = self.bare, prefix.rpartition("/")[0]
        with translate_errors(self._place(prefix), "list"):
            if isinstance(bare, FastLocalStore):
                async for key in bare.list_prefix(prefix):
                    yield key
                return
            # Page by page, each with a limit, and none cut: zarr's would take what is listed until then.
            found = await asyncio.to_thread(_keys_below, self._place(folder))
        for key in found:
            key = f"{folder}/{key}" if folder else key  # noqa: PLW2901
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        bare, prefix = self.bare, prefix.rstrip("/")
        with translate_errors(self._place(prefix), "list"):
            if isinstance(bare, FastLocalStore):
                async for key in bare.list_dir(prefix):
                    yield key
                return
            found = await asyncio.to_thread(_names_in, self._place(prefix))
        for name in found:
            yield name


def _keys_below(url: str) -> builtins.list[str]:
    store, path = open_store(url)
    return [entry.url[len(url) + 1 :] for entry in store.walk(path)]


def _names_in(url: str) -> set[str]:
    store, path = open_store(url)
    return store.names_in(path)


class ReadOnlyStore(UrlStore):
    """A store that refuses to write."""

    may_vanish = True

    def __init__(self, url: str) -> None:
        super().__init__(url, read_only=True)

    def _state(self) -> tuple[Any, ...]:
        return (self.url,)

    def with_read_only(self, read_only: bool = False) -> Self:
        if not read_only:
            raise NotImplementedError(f"with_read_only is not implemented for the {type(self)} store type.")
        return type(self)(*self._state())

    @property
    def supports_writes(self) -> bool:
        return False

    @property
    def supports_deletes(self) -> bool:
        return False
