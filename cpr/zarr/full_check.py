"""Verifies every object in a manifest, by fetching and hashing, without decoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zarr.abc.store import RangeByteRequest
from zarr.buffer import default_buffer_prototype

from cpr.io.progress_bar import Advance, progress_bar
from cpr.io.temp_names import is_temporary, is_temporary_of_zarr
from cpr.zarr.stores.chunk_verification import corrupt
from cpr.zarr.stores.url_store import UrlStore
from cpr.zarr.stores.verifying_store import CONSOLIDATED, VerifyingStore
from cpr.zarr.zarr_internals import sync

__all__ = ["is_left_behind", "verify_all", "verify_listed", "verify_some"]

_NEAR = 8  # objects
_LARGE = 32 << 20  # shards beyond are checked part by part
_SPAN = 8 << 20


def is_left_behind(key: str) -> bool:
    """Whether an object is only the leftover of a killed writer."""
    name = key.rpartition("/")[2]
    return is_temporary(name) or is_temporary_of_zarr(name)


def verify_all(store: VerifyingStore) -> int:
    """Check every object, in parallel; returns how many there are.

    Raises CorruptDataError for the first that is missing, damaged or not listed, TransferError when the
    store cannot be asked.
    """
    with progress_bar("verifying", store.url, unit="objects") as advance:
        return int(sync(_verify_all(store, advance)))


def verify_listed(store: VerifyingStore) -> int:
    """Check every object in the manifest, ignoring others; returns how many; see `verify_all`."""
    return int(sync(_verify_listed(store)))


def verify_some(store: VerifyingStore, keys: Sequence[str]) -> None:
    """Check some of the objects in the manifest. Raises as `verify_all`."""
    if keys:
        sync(_verify_listed(store, iter(keys)))


async def _verify_all(store: VerifyingStore, advance: Advance | None) -> int:
    await _require_no_others(store)
    return await _verify_listed(store, advance=advance)


async def _verify_listed(
    store: VerifyingStore, keys: Iterator[str] | None = None, advance: Advance | None = None
) -> int:
    prototype = default_buffer_prototype()

    async def in_parts(key: str) -> bool:
        return await store.getsize(key) > _LARGE and await store.has_blocks(key)

    async def holds(key: str) -> int:
        return _SPAN if await in_parts(key) else await store.getsize(key)

    async def check(key: str) -> None:
        if advance is not None:
            advance(1)
        size = await store.getsize(key)
        if not await in_parts(key):
            await store.get_bytes(key, prototype)
            return
        for start in range(0, size, _SPAN):
            await store.get_bytes(key, prototype, RangeByteRequest(start, min(start + _SPAN, size)))
        # Parts do not tell whether there is more behind the last.
        if (actual := await UrlStore.getsize(store, key)) != size:
            raise corrupt(f"{store.url}/{key}", f"{size} bytes", f"{actual} bytes")

    return await store.for_all_objects(check, holds, _NEAR, keys)


async def _require_no_others(store: VerifyingStore) -> None:
    """Raise for an object that is not in the manifest; other readers would take it for data."""
    async for key in UrlStore.list_prefix(store, ""):
        if key.rpartition("/")[2] == CONSOLIDATED:
            store.tell_consolidated()
        elif not await store.exists(key) and not is_left_behind(key):
            raise corrupt(f"{store.url}/{key}", "no object", "an object that is not listed in the manifest")
