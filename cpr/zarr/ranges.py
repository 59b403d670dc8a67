"""Parts of shards, every block of them checked before any of it is given."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial

from cpr.zarr.entries import BLOCK_BYTES, Entry, require_blocks

__all__ = ["BlockReader"]

_KEEP = 256  # blocks: 32 MiB
_MOST = 64  # blocks in one request

Fetch = Callable[[str, int, int], Awaitable[memoryview]]


class BlockReader:
    """Reads whole blocks, keeps some of them, and never asks twice for one that is under way.

    The chunks of a shard lie side by side and are asked for side by side: neighbours share blocks.

    Args:
        fetch: the bytes of an object from start to stop.
        place: the URL of a key.
        algorithm: of the digests.
    """

    def __init__(self, fetch: Fetch, place: Callable[[str], str], algorithm: str) -> None:
        self._fetch = fetch
        self._place = place
        self._algorithm = algorithm
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._under_way: dict[tuple[int, str, int], asyncio.Task[dict[int, bytes]]] = {}
        self._lock = threading.Lock()

    async def read(self, key: str, entry: Entry, start: int, stop: int) -> bytes:
        """The bytes of an object from start to stop, which lie inside it.

        Raises CorruptDataError for a block that is not the one that was written.
        """
        wanted = range(start // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES + 1)
        blocks: dict[int, bytes] = {}
        tasks: set[asyncio.Task[dict[int, bytes]]] = set()
        missing: list[int] = []
        loop = id(asyncio.get_running_loop())
        for number in wanted:
            with self._lock:
                kept = self._kept.get((key, number))
            if kept is not None:
                blocks[number] = kept
            elif (task := self._under_way.get((loop, key, number))) is not None:
                tasks.add(task)
            else:
                missing.append(number)
        for first, last in _runs(missing):
            task = asyncio.ensure_future(self._get(key, entry, first, last))
            names = [(loop, key, number) for number in range(first, last + 1)]
            self._under_way.update(dict.fromkeys(names, task))
            task.add_done_callback(partial(self._arrived, names))
            tasks.add(task)
        if tasks:
            # Not gather: it would cancel what others wait for as well.
            await asyncio.wait(tasks)
            for task in tasks:
                blocks.update(task.result())
        data = b"".join(blocks[number] for number in wanted)
        offset = wanted.start * BLOCK_BYTES
        return data[start - offset : stop - offset]

    def _arrived(self, names: list[tuple[int, str, int]], _: object) -> None:
        for name in names:
            self._under_way.pop(name, None)

    async def _get(self, key: str, entry: Entry, first: int, last: int) -> dict[int, bytes]:
        start, stop = first * BLOCK_BYTES, min((last + 1) * BLOCK_BYTES, entry.size)
        url = self._place(key)
        data = await self._fetch(key, start, stop)
        try:
            require_blocks(url, data, first, stop - start, entry, self._algorithm)
        except ValueError:
            # What the wire did to it, a second answer has not.
            data = await self._fetch(key, start, stop)
            require_blocks(url, data, first, stop - start, entry, self._algorithm)
        blocks = {
            number: bytes(data[(number - first) * BLOCK_BYTES : (number - first + 1) * BLOCK_BYTES])
            for number in range(first, last + 1)
        }
        with self._lock:
            for number, block in blocks.items():
                self._kept[key, number] = block
            while len(self._kept) > _KEEP:
                self._kept.popitem(last=False)
        return blocks


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Consecutive numbers as (first, last).

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
