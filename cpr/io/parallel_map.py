"""Runs a function on many items in threads, with bounded memory."""

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
    """Apply a function to each item, in order, with `workers` threads.

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
    """A memory budget shared by threads; a thread that needs more than is left waits for the others.

    Args:
        nbytes: of the whole budget.
        most: upper limit for one thread, however many bytes it asks for; by default the whole budget.
    """

    def __init__(self, nbytes: int, most: int | None = None) -> None:
        self._left = nbytes
        self._most = nbytes if most is None else most
        self._changed = threading.Condition()

    def take(self, nbytes: int) -> None:
        """Take bytes from the budget, at most the limit for one thread; return them with `give`."""
        wanted = min(nbytes, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= wanted)
            self._left -= wanted

    def give(self, nbytes: int) -> None:
        """Return what `take` was asked for."""
        with self._changed:
            self._left += min(nbytes, self._most)
            self._changed.notify_all()

    @contextmanager
    def holding(self, nbytes: int) -> Iterator[None]:
        """Take bytes from the budget for the duration of the block."""
        self.take(nbytes)
        try:
            yield
        finally:
            self.give(nbytes)
