"""Stores in which a part of an array looks like an array of its own.

An array's chunks are numbered from its corner. A part is an array of fewer chunks, numbered from the part's
corner. zarr reads and writes it as any array; these stores add the difference to the keys, since the objects
are those of the whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest

from cpr.zarr.stores.copy_unchanged import Earlier
from cpr.zarr.stores.manifest_entries import Entries
from cpr.zarr.stores.recording_store import RecordingStore
from cpr.zarr.stores.url_store import UrlStore
from cpr.zarr.stores.verifying_store import VerifyingStore

__all__ = ["Corner", "PartStore", "VerifyingPartStore"]

Corner = tuple[int, ...]
"""The number of a part's first chunk, or shard, along each axis."""


def _moved(key: str, corners: dict[str, Corner]) -> str:
    """The key in the whole for a key in the part; metadata keys are the same."""
    if not key[-1:].isdigit():
        return key
    for path, corner in corners.items():
        folder = f"{path}/" if path else ""
        if not key.startswith(folder):
            continue
        prefix = f"{folder}c/" if key.startswith(f"{folder}c/") else folder
        numbers = key[len(prefix) :].split("/")
        if len(numbers) == len(corner):
            return prefix + "/".join(str(int(n) + at) for n, at in zip(numbers, corner, strict=True))
    return key


class _Shifted(UrlStore):
    """Base class of both stores: translates keys of the part to keys of the whole."""

    _corners: dict[str, Corner]

    def _state(self) -> tuple[Any, ...]:
        return *super()._state(), self._corners

    async def get_bytes(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        return await super().get_bytes(_moved(key, self._corners), prototype, byte_range)


class PartStore(_Shifted, RecordingStore):
    """Writes a part; records its objects under their keys in the whole.

    Args:
        url: of the whole.
        read_only: refuse to write.
        algorithm: of the digests.
        earlier: result of which equal objects are copied.
        corners: path of each array -> the part's corner in it.
    """

    def __init__(
        self,
        url: str,
        read_only: bool = False,
        algorithm: str | None = None,
        earlier: Earlier | None = None,
        corners: dict[str, Corner] | None = None,
    ) -> None:
        super().__init__(url, read_only, algorithm, earlier)
        self._corners = corners or {}

    async def set(self, key: str, value: Buffer) -> None:
        await super().set(_moved(key, self._corners), value)

    async def delete(self, key: str) -> None:
        await super().delete(_moved(key, self._corners))

    async def exists(self, key: str) -> bool:
        return await super().exists(_moved(key, self._corners))

    async def getsize(self, key: str) -> int:
        return await super().getsize(_moved(key, self._corners))

    async def take_back(self, entries: Entries) -> None:
        """Delete objects that were recorded but belong to no result."""
        for key in list(entries):
            await RecordingStore.delete(self, key)


class VerifyingPartStore(_Shifted, VerifyingStore):
    """Reads a part, verified by the part's manifest.

    Args:
        url: of the whole.
        nbytes: size of the part's manifest.
        checksum: root of the part's manifest.
        data: the manifest, if it is not stored yet.
        place: where the manifest is stored.
        corners: path of each array -> the part's corner in it.
    """

    def __init__(
        self,
        url: str,
        nbytes: int,
        checksum: str,
        data: bytes | None = None,
        place: str | None = None,
        corners: dict[str, Corner] | None = None,
    ) -> None:
        super().__init__(url, nbytes, checksum, data, place)
        self._corners = corners or {}

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **limits: Any,
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        moved = _moved(key, self._corners)
        if await self._find(moved) is None:
            # Asked for with `get`, which moves it.
            parts = UrlStore.get_ranges(self, key, byte_ranges, prototype=prototype, **limits)
        else:
            parts = super().get_ranges(moved, byte_ranges, prototype=prototype, **limits)
        async for some in parts:
            yield some
