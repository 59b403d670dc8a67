"""Sends many small requests in parallel and yields their answers in order, with little overhead for each.

`parallel_map` passes an object to a thread, which passes its request to another, so that its wait can be
limited. For small objects that is a third of the work. Here the first thread sends the request itself, and
the thread that collects the answers watches all time limits.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

from cpr.io.request_threads import Watch, in_thread, watched
from cpr.io.timeouts import NoAnswerError, patience

__all__ = ["request_map"]

T = TypeVar("T")
R = TypeVar("R")

_TOGETHER = 16  # answers for which whoever takes them is woken once


def request_map(
    function: Callable[[T], R],
    items: Iterable[T],
    workers: int,
    unanswered: Callable[[T, NoAnswerError], R],
) -> Iterator[R]:
    """Apply a function that asks a store to each item, in order, with `workers` threads.

    As `parallel_map`, for functions that only send requests: no wait is longer than the limit of a request,
    and an interrupted caller does not wait for requests in progress.

    Args:
        function: is called with an item; what it raises is raised in its place.
        items: are taken as results are asked for.
        workers: how many threads.
        unanswered: makes the result of an item whose request got no answer in time.

    >>> list(request_map(abs, iter([-1, 2, -3]), 2, lambda item, error: item))
    [1, 2, 3]
    """
    work = _Work(function, unanswered, workers)
    waiting: deque[_Batch[T, R]] = deque()
    # Three times as many as can run: neither one slow item nor who takes the answers shall idle the threads.
    most = max(2, 3 * workers // _TOGETHER)
    left = iter(items)
    try:
        while some := list(itertools.islice(left, _TOGETHER)):
            if len(waiting) >= most:
                yield from work.answers(waiting.popleft())
            waiting.append(work.begin(some))
        while waiting:
            yield from work.answers(waiting.popleft())
    finally:
        work.end()


class _Failure:
    """An exception that the function raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Batch(Generic[T, R]):
    """Items whose answers are collected together."""

    def __init__(self, items: list[T]) -> None:
        self.items = items
        self.done = threading.Event()
        self.answers: dict[int, R | _Failure] = {}

    def put(self, number: int, answer: R | _Failure) -> None:
        """Set the answer for an item; only the first one counts."""
        self.answers.setdefault(number, answer)
        if len(self.answers) == len(self.items):
            self.done.set()


class _Work(Generic[T, R]):
    """The worker threads and their queue."""

    def __init__(
        self, function: Callable[[T], R], unanswered: Callable[[T, NoAnswerError], R], workers: int
    ) -> None:
        self._function = function
        self._unanswered = unanswered
        self._most = workers
        self._jobs: SimpleQueue[tuple[_Batch[T, R], int] | None] = SimpleQueue()
        self._watches: set[Watch] = set()
        self._is_over = False

    def begin(self, items: list[T]) -> _Batch[T, R]:
        """Queue items for the threads."""
        batch: _Batch[T, R] = _Batch(items)
        for number in range(len(items)):
            self._jobs.put((batch, number))
            if len(self._watches) < self._most:
                self._start()
        return batch

    def answers(self, batch: _Batch[T, R]) -> Iterator[R]:
        """Wait for all answers of a batch; raises what the function raised."""
        begun = time.monotonic()
        while not batch.done.wait(patience(begun)):
            self._give_up(time.monotonic())
        for number in range(len(batch.items)):
            answer = batch.answers.pop(number)
            if isinstance(answer, _Failure):
                raise answer.error
            yield answer

    def end(self) -> None:
        """Start no more requests."""
        self._is_over = True
        for _ in self._watches:
            self._jobs.put(None)

    def _start(self) -> None:
        watch = Watch()
        self._watches.add(watch)
        in_thread(lambda: self._serve(watch))

    def _serve(self, watch: Watch) -> None:
        with watched(watch):
            # A thread that was given up is another's by now, which has its place.
            while watch in self._watches and (job := self._jobs.get()) is not None and not self._is_over:
                watch.job = job
                batch, number = job
                try:
                    answer: R | _Failure = self._function(batch.items[number])
                except BaseException as error:
                    answer = _Failure(error)
                batch.put(number, answer)
                del job, batch, answer
                watch.job = None

    def _give_up(self, now: float) -> None:
        """Set the replacement answer for requests that have exceeded their limit."""
        for watch in list(self._watches):
            asked = watch.asked
            if asked is None or now < asked.until:
                continue
            self._watches.discard(watch)
            batch, number = asked.job
            error = NoAnswerError(now - asked.since)
            batch.put(number, self._unanswered(batch.items[number], error))
            self._start()
