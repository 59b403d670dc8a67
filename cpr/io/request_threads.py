"""Threads for blocking requests, so that a caller that waits for an answer can be interrupted.

A blocking call of a client is interrupted neither by signals nor by exceptions that another thread raises.
Handing it to an existing thread costs some 50 microseconds, a seventh of what an event loop adds to the same
request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

from cpr.io.fork_safe import PerProcess
from cpr.io.timeouts import request_seconds, wait_for

__all__ = ["ClientPanicError", "Watch", "answer_to", "in_thread", "watched"]

T = TypeVar("T")

_here = threading.local()

# Idle threads, each behind the queue that it waits on; the last one used is the next.
_idle: PerProcess[int, SimpleQueue[tuple[Future[Any], Callable[[], Any], bool]]] = PerProcess()


class ClientPanicError(Exception):
    """A client written in Rust has panicked; its own exception would pass every `except Exception`."""


def in_thread(function: Callable[[], T], is_request: bool = True) -> Future[T]:
    """Start a function in a thread immediately; there are as many threads as simultaneous calls.

    It sees the caller's context: time limits, and whether the caller still waits.

    Threads of calls that never return do not keep the process from ending.

    Args:
        function: to be called.
        is_request: whether it is a single request, whose time the caller limits; else each request that it
            makes has its own limit.

    >>> in_thread(lambda: 1 + 1).result()
    2
    """
    future: Future[T] = Future()
    with _idle.lock:
        tasks = _idle.known.popitem()[1] if _idle.known else None
    if tasks is None:
        tasks = SimpleQueue()
        threading.Thread(target=_serve, args=(tasks,), name="cpr-request", daemon=True).start()
    tasks.put((future, partial(copy_context().run, function), is_request))
    return future


class Asked(NamedTuple):
    """A request in progress.

    Attributes:
        since: when it began, by time.monotonic().
        until: when its limit is reached.
        job: what it is for.
    """

    since: float
    until: float
    job: Any


class Watch:
    """What one of these threads is requesting, for a caller that watches the limits of many threads.

    Attributes:
        job: what the thread is about.
        asked: its request; None while there is none.
    """

    def __init__(self) -> None:
        self.job: Any = None
        self.asked: Asked | None = None


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Let a caller watch the requests of this thread for the duration of the block."""
    _here.watch = watch
    try:
        yield
    finally:
        del _here.watch


def answer_to(question: Callable[[], T], nbytes: int = 0) -> T:
    """Call a blocking function of a client in a thread; the wait for its answer can be interrupted.

    Called in one of these threads, it calls the function there: another thread waits for that one already,
    and for no longer than a request may take.

    Args:
        question: is called.
        nbytes: how many it reads.

    Raises NoAnswerError when it takes longer than its limit, and whatever the question raises.
    """
    if not getattr(_here, "is_request", False):
        return wait_for(in_thread(question), nbytes)
    watch: Watch | None = getattr(_here, "watch", None)
    if watch is not None:
        now = time.monotonic()
        watch.asked = Asked(now, now + request_seconds(nbytes), watch.job)
    try:
        return question()
    except BaseException as error:
        if _is_panic(error):
            raise ClientPanicError(type(error).__name__) from None
        raise
    finally:
        if watch is not None:
            watch.asked = None


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException" and type(error).__module__ == "pyo3_runtime"


def _serve(tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any], bool]]) -> None:
    while True:
        future, function, _here.is_request = tasks.get()
        if future.set_running_or_notify_cancel():
            try:
                answer = function()
            except Exception as error:
                future.set_exception(error)
            except BaseException as error:
                future.set_exception(ClientPanicError(type(error).__name__) if _is_panic(error) else error)
            else:
                future.set_result(answer)
                del answer
        # What was asked, and its answer, are not kept while nothing is.
        del future, function
        with _idle.lock:
            _idle.known[id(tasks)] = tasks
