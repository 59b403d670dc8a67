"""A cache that asks once for what several threads of a process need at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from cpr.io.fork_safe import PerProcess
from cpr.io.timeouts import is_interruption, wait_for

__all__ = ["SharedAnswers"]

K = TypeVar("K")
V = TypeVar("V")


class _InterruptedAskerError(Exception):
    """The thread that was asking was interrupted."""


class SharedAnswers(Generic[K, V]):
    """An LRU cache of answers; threads that need an answer which another is fetching wait for it.

    Without it each of a store's 64 threads would fetch the same manifest, or list the same million objects,
    as soon as they begin. A forked child asks anew.

    Args:
        most: number of answers that are kept.

    >>> answers = SharedAnswers(most=2)
    >>> answers.get("a", lambda: 1), answers.get("a", lambda: 2)
    (1, 1)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: PerProcess[K, Future[V]] = PerProcess()

    def get(self, question: K, ask: Callable[[], V]) -> V:
        """The cached or pending answer; otherwise the result of `ask`, called in this thread.

        An error of `ask` is raised in every thread that waits for it, and not kept: the next one asks again.
        If that thread is interrupted, one of those that wait for it asks instead.
        """
        mine: Future[V] = Future()
        with self._answers.lock:
            future = self._answers.known.setdefault(question, mine)
            self._answers.known.move_to_end(question)
            self._trim()
        if future is mine:
            return self._answer(question, mine, ask)
        try:
            # The requests of that thread have limits, all together they may take longer than one.
            return wait_for(future, alive=time.monotonic)
        except _InterruptedAskerError:
            return self.get(question, ask)

    def keep(self, question: K, answer: V) -> None:
        """Cache an answer that was obtained in another way."""
        future: Future[V] = Future()
        future.set_result(answer)
        with self._answers.lock:
            self._answers.known[question] = future
            self._answers.known.move_to_end(question)
            self._trim()

    def clear(self) -> None:
        """Empty the cache."""
        with self._answers.lock:
            self._answers.known.clear()

    def _answer(self, question: K, mine: Future[V], ask: Callable[[], V]) -> V:
        mine.set_running_or_notify_cancel()  # those who stop waiting do not cancel it for the others
        try:
            answer = ask()
        except BaseException as error:
            with self._answers.lock:
                if self._answers.known.get(question) is mine:
                    del self._answers.known[question]
            # What ends this thread's task is no answer for the others.
            alone = not isinstance(error, Exception) or is_interruption(error)
            mine.set_exception(_InterruptedAskerError() if alone else error)
            raise
        mine.set_result(answer)
        return answer

    def _trim(self) -> None:
        while len(self._answers.known) > self._most:
            self._answers.known.popitem(last=False)
