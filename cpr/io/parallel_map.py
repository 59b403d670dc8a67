"""Many requests side by side, with no more of them in memory than are under way."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

__all__ = ["ByteBudget", "parallel_map"]

T = TypeVar("T")
R = TypeVar("R")


def parallel_map(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """What a function makes of each item, in their order, `workers` at a time in threads.

    They see the caller's context: limits of time, and where may be written.

    Items are taken as results are asked for, so that neither has to fit into memory. What the function
    raises is raised in its place; what was not begun by then never is.

    >>> list(parallel_map(abs, iter([-1, 2, -3]), workers=2))
    [1, 2, 3]
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="cpr-many")
    try:
        for item in items:
            # Twice as many as can run: one slow item shall not idle the other threads.
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
            waiting.append(pool.submit(copy_context().run, function, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class ByteBudget:
    """A number of bytes that threads share; who wants more waits for others to give theirs back.

    Args:
        nbytes: of all together.
        most: that one of them has, however many it asks for; by default all.
    """

    def __init__(self, nbytes: int, most: int | None = None) -> None:
        self._left = nbytes
        self._most = nbytes if most is None else most
        self._changed = threading.Condition()

    def take(self, nbytes: int) -> None:
        """Have so many bytes, or the most if that is less; somebody gives them back."""
        wanted = min(nbytes, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= wanted)
            self._left -= wanted

    def give(self, nbytes: int) -> None:
        """Give back what `take` was asked for."""
        with self._changed:
            self._left += min(nbytes, self._most)
            self._changed.notify_all()

    @contextmanager
    def holding(self, nbytes: int) -> Iterator[None]:
        """Have so many bytes, or the most if that is less, until the block is left."""
        self.take(nbytes)
        try:
            yield
        finally:
            self.give(nbytes)
