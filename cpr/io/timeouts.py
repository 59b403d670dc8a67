"""Time limits for requests, with waits that can be interrupted at any moment.

Every request has its own limit: `CPR_TIMEOUT` seconds (60 by default), and one more second for each 256 KiB
that it reads. An upload may take longer, as long as it makes progress. Ctrl-C, and the timeouts that Prefect
raises in a thread, take effect within a fraction of a second, because all waits are short and repeated. A
process that is about to end (`end_soon`) stops waiting in all threads.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from cpr.io.variables import TIMEOUT

__all__ = [
    "AbandonedError",
    "NoAnswerError",
    "abandonable",
    "at_most",
    "cleaning_up",
    "end_soon",
    "is_ending",
    "is_interruption",
    "patience",
    "pause",
    "request_seconds",
    "seconds_to_clean_up",
    "wait_for",
    "within_limit",
]

T = TypeVar("T")

VARIABLE = TIMEOUT.name
_SECONDS = 60.0
_BYTES_PER_SECOND = 256 << 10
# An exception for a thread is raised between two of its waits.
_SLICE_SECONDS = 0.2
_INTERRUPTED_SECONDS = 1.0
# After `end_soon`: what is under way, and what cleans up behind it.
_WORK_SECONDS, _CLEANING_SECONDS = 1.0, 3.0

_INTERRUPTION = "_cpr_interruption"

_limit: ContextVar[float | None] = ContextVar("cpr_request_limit", default=None)
_abandoned: ContextVar[threading.Event | None] = ContextVar("cpr_abandoned", default=None)
_cleans: ContextVar[bool] = ContextVar("cpr_cleans", default=False)
_told_to_end: list[float] = []  # once, by time.monotonic()


class NoAnswerError(TimeoutError):
    """The store has not answered within the limit.

    Attributes:
        seconds: how long it was waited for.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:.0f} s")
        self.seconds = seconds


class AbandonedError(Exception):
    """The request was abandoned because nobody waits for its answer any more."""


def request_seconds(nbytes: int = 0) -> float:
    """Time limit of a request that reads so many bytes. Raises ConfigurationError."""
    limit = _limit.get()
    if limit is None:
        limit = TIMEOUT.get() or _SECONDS
    return limit + nbytes / _BYTES_PER_SECOND


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Limit each request in the block to so many seconds."""
    token = _limit.set(min(seconds, request_seconds()))
    try:
        yield
    finally:
        _limit.reset(token)


def end_soon() -> None:
    """End all requests of this process within a second, and those of `cleaning_up` within three.

    For a process that was interrupted and is about to end: whatever its threads, `finally` clauses and exit
    handlers ask a store that does not answer, they do not keep it. There is no way back.
    """
    if not _told_to_end:
        _told_to_end.append(time.monotonic())


def is_ending() -> bool:
    """Whether `end_soon` was called."""
    return bool(_told_to_end)


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Give the block's requests more time than others when the process is to end (`end_soon`)."""
    token = _cleans.set(True)
    try:
        yield
    finally:
        _cleans.reset(token)


def _last_moment() -> float:
    """When requests must end because the process is ending, by time.monotonic()."""
    if not _told_to_end:
        return math.inf
    return _told_to_end[0] + (_CLEANING_SECONDS if _cleans.get() else _WORK_SECONDS)


@contextmanager
def abandonable(event: threading.Event) -> Iterator[None]:
    """Let the requests of the block be abandoned, with AbandonedError, once an event is set."""
    token = _abandoned.set(event)
    try:
        yield
    finally:
        _abandoned.reset(token)


def pause(seconds: float) -> None:
    """Wait before a retry. Raises AbandonedError once the request may be given up."""
    abandoned = _abandoned.get()
    if abandoned is None:
        time.sleep(seconds)
    elif abandoned.wait(seconds):
        raise AbandonedError


def patience(begun: float) -> float:
    """Seconds to wait at a time, for a caller that has waited since `begun` (time.monotonic()).

    Raises NoAnswerError once the process is to end, and AbandonedError once nobody waits for the answer.
    """
    now, abandoned = time.monotonic(), _abandoned.get()
    if now >= (last := _last_moment()):
        raise NoAnswerError(now - begun)
    if abandoned is not None and abandoned.is_set():
        raise AbandonedError
    return min(_SLICE_SECONDS, last - now)


def wait_for(future: Future[T], nbytes: int = 0, alive: Callable[[], float] | None = None) -> T:
    """Wait for the result of a request; the request is cancelled if the wait ends early.

    Args:
        future: of the request.
        nbytes: how many it reads.
        alive: when it was last seen to go on, by time.monotonic(): the limit counts from there.

    Raises NoAnswerError when it takes longer than its limit, and whatever the request raises.
    """
    seconds, begun, abandoned = request_seconds(nbytes), time.monotonic(), _abandoned.get()
    try:
        while True:
            try:
                return future.result(min(_SLICE_SECONDS, max(0.0, _last_moment() - time.monotonic())))
            except TimeoutError as error:
                # One of another class is raised from outside, to end the wait.
                if type(error) is not TimeoutError:
                    raise
                if future.done():
                    return future.result()
            now = time.monotonic()
            if now - max(begun, alive() if alive else begun) >= seconds or now >= _last_moment():
                raise NoAnswerError(now - begun)
            if abandoned is not None and abandoned.is_set():
                raise AbandonedError
    except BaseException as error:
        if not future.done() and not isinstance(error, (NoAnswerError, AbandonedError)):
            error.__dict__[_INTERRUPTION] = True
        future.cancel()
        raise


async def within_limit(
    request: Coroutine[Any, Any, T],
    nbytes: int = 0,
    ask_size: Callable[[], Coroutine[Any, Any, int]] | None = None,
) -> T:
    """As `wait_for`, on the running event loop.

    Args:
        request: to be waited for.
        nbytes: how many it reads.
        ask_size: gives that number where it is not known; asked only when the limit is reached without it.

    Raises NoAnswerError when it takes longer than its limit, and whatever the request raises.
    """
    begun, task = time.monotonic(), asyncio.ensure_future(request)
    try:
        await _wait_until(begun + request_seconds(nbytes), task)
        if not task.done() and ask_size is not None:
            await _wait_until(begun + request_seconds(await within_limit(ask_size())), task)
        if not task.done():
            raise NoAnswerError(time.monotonic() - begun)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def _wait_until(moment: float, task: asyncio.Task[Any]) -> None:
    while not task.done() and (left := min(moment, _last_moment()) - time.monotonic()) > 0:
        await asyncio.wait((task,), timeout=min(left, _SLICE_SECONDS))


def is_interruption(error: BaseException) -> bool:
    """Whether an exception came from outside during a wait, and must be passed on unchanged.

    Prefect raises its timeouts so, in whichever thread runs the task.
    """
    return _INTERRUPTION in error.__dict__


def seconds_to_clean_up(error: BaseException) -> float | None:
    """How long cleaning up may take; short after an interruption or a time limit."""
    interrupted = (
        not isinstance(error, Exception) or isinstance(error, TimeoutError) or is_interruption(error)
    )
    return _INTERRUPTED_SECONDS if interrupted else None
