"""Runs async work on many objects, with adaptive parallelism and bounded memory."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterator

from cpr.io.transfer_width import TransferWidth

__all__ = ["for_each"]

_FAR = 64  # objects
_MEMORY_BYTES = 96 << 20  # of all that is under way on one event loop


class _Room:
    """A memory budget for all work on an event loop, granted in order of request."""

    def __init__(self, nbytes: int) -> None:
        self._all = self._left = nbytes
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    async def take(self, nbytes: int) -> int:
        """Wait for so many bytes, at most the whole budget; returns how many were granted."""
        nbytes = min(nbytes, self._all)
        if self._waiting or nbytes > self._left:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((turn, nbytes))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.give(nbytes)  # it was its turn in the same moment
                raise
        else:
            self._left -= nbytes
        return nbytes

    def give(self, nbytes: int) -> None:
        """Return bytes."""
        self._left += nbytes
        while self._waiting and (self._waiting[0][0].done() or self._waiting[0][1] <= self._left):
            turn, wanted = self._waiting.popleft()
            if not turn.done():
                self._left -= wanted
                turn.set_result(None)


_rooms: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Room] = weakref.WeakKeyDictionary()


async def for_each(
    keys: Iterator[str],
    work: Callable[[str], Awaitable[None]],
    holds: Callable[[str], Awaitable[int]],
    near: int,
    width: TransferWidth,
) -> int:
    """Await `work` for every key, in parallel; returns how many there are.

    The first error ends it and is raised.

    Args:
        keys: taken one by one.
        work: the coroutine function to call with each key.
        holds: how many bytes of memory that takes.
        near: how many run in parallel while answers are quick, or their latency is unknown.
        width: what is known of the store.
    """
    room = _rooms.setdefault(asyncio.get_running_loop(), _Room(_MEMORY_BYTES))
    ended = asyncio.get_running_loop().create_future()
    workers: set[asyncio.Task[None]] = set()
    count = 0

    async def run() -> None:
        nonlocal count
        while (key := next(keys, None)) is not None:
            taken = await room.take(await holds(key))
            try:
                await work(key)
            finally:
                room.give(taken)
            count += 1
            if width.is_far and len(workers) < min(_FAR, width.connections):
                start()

    def start() -> None:
        worker = asyncio.ensure_future(run())
        workers.add(worker)
        worker.add_done_callback(end)

    def end(worker: asyncio.Task[None]) -> None:
        workers.discard(worker)
        # Looked at in any case: asyncio prints what nobody has asked for.
        error = None if worker.cancelled() else worker.exception()
        if ended.done():
            return
        if error is not None:
            ended.set_exception(error)
        elif not workers:
            ended.set_result(None)

    for _ in range(near):
        start()
    try:
        await ended
    finally:
        left = list(workers)
        for worker in left:
            worker.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    return count
