"""Reads parts of shards, verifying every block."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from cpr.errors import CorruptDataError
from cpr.zarr.stores.chunk_verification import require_blocks
from cpr.zarr.stores.manifest_entries import BLOCK_BYTES, Entry

__all__ = ["BlockReader", "bounds_of"]

_KEEP = 256  # blocks: 32 MiB
_MOST = 64  # blocks in one request
_AT_ONCE = 10  # requests for one object, as many as zarr asks for chunks

Fetch = Callable[[str, int, int], Awaitable[memoryview]]


class BlockReader:
    """Reads whole blocks, caches some, and shares a request that is in progress.

    The chunks of a shard are adjacent and are requested in parallel, so that neighbours share blocks.

    Args:
        fetch: reads the bytes of an object from start to stop.
        place: gives the URL of a key.
        algorithm: of the digests.
    """

    def __init__(self, fetch: Fetch, place: Callable[[str], str], algorithm: str) -> None:
        self._fetch = fetch
        self._place = place
        self._algorithm = algorithm
        # By the digest of the object, which tells what they are the blocks of.
        self._kept: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._under_way: dict[tuple[int, str, bytes, int], asyncio.Task[dict[int, bytes]]] = {}
        self._lock = threading.Lock()

    async def read(self, key: str, entry: Entry, parts: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read parts (start, stop) of an object; adjacent blocks are fetched with one request.

        Args:
            key: of the object.
            entry: its entry, with the digests of its blocks.
            parts: some may be empty.

        Raises CorruptDataError for a block that is not the one that was written.
        """
        wanted = sorted({number for part in parts for number in _blocks_of(part)})
        blocks: dict[int, bytes] = {}
        tasks: set[asyncio.Task[dict[int, bytes]]] = set()
        missing: list[int] = []
        loop = id(asyncio.get_running_loop())
        for number in wanted:
            with self._lock:
                kept = self._kept.get((entry.digest, number))
            if kept is not None:
                blocks[number] = kept
            elif (task := self._under_way.get((loop, key, entry.digest, number))) is not None:
                tasks.add(task)
            else:
                missing.append(number)
        turn = asyncio.Semaphore(_AT_ONCE)
        for first, last in _runs(missing):
            task = asyncio.ensure_future(self._get(key, entry, first, last, turn))
            names = [(loop, key, entry.digest, number) for number in range(first, last + 1)]
            self._under_way.update(dict.fromkeys(names, task))
            task.add_done_callback(partial(self._arrived, names))
            tasks.add(task)
        if tasks:
            # Not gather: it would cancel what others wait for as well.
            await asyncio.wait(tasks)
            for task in tasks:
                blocks.update(task.result())
        return [_cut(blocks, part) for part in parts]

    def _arrived(
        self, names: list[tuple[int, str, bytes, int]], task: asyncio.Task[dict[int, bytes]]
    ) -> None:
        for name in names:
            self._under_way.pop(name, None)
        if not task.cancelled():
            task.exception()  # of several that fail, or when nobody waits any more, one is raised at most

    async def _get(
        self, key: str, entry: Entry, first: int, last: int, turn: asyncio.Semaphore
    ) -> dict[int, bytes]:
        start, stop = first * BLOCK_BYTES, min((last + 1) * BLOCK_BYTES, entry.size)
        # A byte more than there should be: with the index, which is at the end, every reader of a shard
        # learns whether something was added.
        end = stop + (stop == entry.size)
        url = self._place(key)
        async with turn:
            data = await self._fetch(key, start, end)
            try:
                require_blocks(url, data, first, stop - start, entry, self._algorithm)
            except CorruptDataError:
                # What the wire did to it, a second answer has not.
                data = await self._fetch(key, start, end)
                require_blocks(url, data, first, stop - start, entry, self._algorithm)
        blocks = {
            number: bytes(data[(number - first) * BLOCK_BYTES : (number - first + 1) * BLOCK_BYTES])
            for number in range(first, last + 1)
        }
        with self._lock:
            for number, block in blocks.items():
                self._kept[entry.digest, number] = block
            while len(self._kept) > _KEEP:
                self._kept.popitem(last=False)
        return blocks


def bounds_of(part: ByteRequest | None, size: int) -> tuple[int, int]:
    """Start and stop of a request for an object or part of it."""
    match part:
        case None:
            return 0, size
        case RangeByteRequest(start, end):
            return min(start, size), min(end, size)
        case OffsetByteRequest(offset):
            return min(offset, size), size
        case SuffixByteRequest(suffix):
            return max(0, size - suffix), size
    raise ValueError(f"Unexpected byte_range, got {part}.")


def _blocks_of(part: tuple[int, int]) -> range:
    start, stop = part
    return range(start // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES + 1) if start < stop else range(0)


def _cut(blocks: dict[int, bytes], part: tuple[int, int]) -> bytes:
    numbers = _blocks_of(part)
    offset = numbers.start * BLOCK_BYTES
    data = blocks[numbers.start] if len(numbers) == 1 else b"".join(blocks[number] for number in numbers)
    return data[part[0] - offset : part[1] - offset]


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Group numbers into runs of consecutive ones, (first, last).

    >>> _runs([1, 2, 5])
    [(1, 2), (5, 5)]
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1 and number - runs[-1][0] < _MOST:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
