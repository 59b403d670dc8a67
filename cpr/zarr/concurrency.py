"""Reads and writes more chunks in parallel if the store's latency is high; zarr's default is 10."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import zarr

from cpr.io.transfer_width import width_of
from cpr.zarr.zarr_internals import stores_as_it_is, wrap_codecs

__all__ = ["WideCodecs", "widen"]

_ZARRS_OWN = 10
_AT_ONCE = 64
# Of chunks under way, as they are in the array.
_MEMORY_BYTES = {"read": 80 << 20, "write": 128 << 20}


class WideCodecs:
    """The codecs of an array, with parallelism adapted to the store's latency.

    If the user has set zarr's `async.concurrency`, that setting is used.

    Args:
        url: of the array.
        chunk_bytes: of a chunk, or shard.
        codecs: zarr's.
    """

    def __init__(self, url: str, chunk_bytes: int, codecs: Any) -> None:
        self._url = url
        self._chunk_bytes = chunk_bytes
        self._codecs = codecs

    async def read(self, batch_info: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        """As zarr's method."""
        await self._wide("read", self._codecs.read, list(batch_info), *args, **kwargs)

    async def write(self, batch_info: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        """As zarr's method."""
        await self._wide("write", self._codecs.write, list(batch_info), *args, **kwargs)

    async def _wide(
        self,
        direction: Literal["read", "write"],
        transfer: Callable[..., Awaitable[Any]],
        batch: list[Any],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        own = int(zarr.config.get("async.concurrency"))
        width = width_of(self._url, direction)
        is_ours = own == _ZARRS_OWN and len(batch) > own and width.is_far
        # Those that are written are copied once; what they become is beside the copy until the store has it.
        copies = 1 if direction == "read" or stores_as_it_is(self._codecs) else 2
        in_memory = _MEMORY_BYTES[direction] // max(1, copies * self._chunk_bytes)
        # Only where it is ours: others on this machine are counted for it.
        if not is_ours or (at_once := min(_AT_ONCE, in_memory, width.connections)) <= own:
            await transfer(batch, *args, **kwargs)
            return
        waiting = deque(batch)

        async def one_after_another() -> None:
            while waiting:
                try:
                    await transfer([waiting.popleft()], *args, **kwargs)
                except BaseException:
                    waiting.clear()  # nobody wants the others any more
                    raise

        with width.waiting():
            await asyncio.gather(*(one_after_another() for _ in range(at_once)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._codecs, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._codecs)

    def __eq__(self, other: object) -> bool:
        return bool(self._codecs == (other._codecs if isinstance(other, WideCodecs) else other))

    def __hash__(self) -> int:
        return hash(self._codecs)


def widen(
    array: zarr.Array[Any] | zarr.AsyncArray[Any], codecs: Callable[..., WideCodecs] = WideCodecs
) -> None:
    """Make an array request as many chunks in parallel as suits its store."""
    chunk_bytes = math.prod(array.shards or array.chunks) * array.dtype.itemsize
    wrap_codecs(array, partial(codecs, str(array.store_path), chunk_bytes))
