"""A Prefect lock manager on the bucket, so that simultaneous equal tasks are computed once."""

from __future__ import annotations

import asyncio
import hashlib
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from prefect.context import TaskRunContext
from prefect.locking.protocol import LockManager
from prefect.transactions import get_transaction

from cpr import io
from cpr.errors import CprError
from cpr.io.locks.leases import LEASE_SECONDS, Lease, Steps, acquiring, lease_here, release, waiting
from cpr.prefect.prefect_internals import has_left

__all__ = ["BucketLocks"]

T = TypeVar("T")

_SHORTEST_SECONDS = 1.0
_LONGEST_SECONDS = 86400.0


@dataclass(frozen=True)
class BucketLocks(LockManager):
    """A Prefect lock manager that needs only a writable place: S3, MinIO, GCS, Azure or a folder.

    With it, a task that is asked for by many processes at the same time is computed by one of them; the
    others wait and take its result. A lock is a small object that its holder renews. When the holder is
    killed, another takes over when the lock has not been renewed for `lease_seconds`; when it was only
    delayed for so long, both compute the same result. See `cpr.io.locks.leases`.

    Holds no connection, and pickles as its two attributes.

    Args:
        url: of the folder for the locks; they stay there, one small object for each key, until
            `cpr.io.remove_orphans(url)` or a lifecycle rule removes those over a day old.
        lease_seconds: how long a lock lasts without being renewed, from a second to a day.

    Raises CprError for a URL or a time that cannot be used. The first use raises UnsupportedStoreError
    where the store has no conditional writes.

    >>> locks = BucketLocks("s3://my-bucket/locks")
    >>> once = (TargetInputs() + TASK_SOURCE).configure(lock_manager=locks, isolation_level="SERIALIZABLE")
    """

    url: str
    lease_seconds: float = LEASE_SECONDS

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", io.normalise(self.url))
        if not _SHORTEST_SECONDS <= self.lease_seconds <= _LONGEST_SECONDS:
            raise CprError(
                "a lock cannot last so long",
                field="lease_seconds",
                expected=f"{_SHORTEST_SECONDS:.0f} to {_LONGEST_SECONDS:.0f} seconds",
                actual=self.lease_seconds,
                remedy="leave it out: 30 seconds are right for most stores",
            )

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Acquire a lock; False if `acquire_timeout` seconds were not enough."""
        return _run(self._acquiring(key, holder, acquire_timeout, hold_timeout)) is not None

    async def aacquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """As `acquire_lock`, for an event loop: requests run in threads, waits on the loop."""
        return await _arun(self._acquiring(key, holder, acquire_timeout, hold_timeout)) is not None

    def release_lock(self, key: str, holder: str) -> None:
        """Release a lock; an expired one is no error. ValueError if it was never held."""
        release(self._url(key), holder)

    def is_locked(self, key: str) -> bool:
        """Whether any holder has the lock, judged by one look."""
        url = self._url(key)
        return lease_here(url) is not None or not _run(waiting(url, 0))

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether this holder still has the lock; asks the store only if a renewal is overdue."""
        lease = lease_here(self._url(key), holder)
        return lease is not None and lease.confirm()

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until a lock is free; False if `timeout` seconds were not enough."""
        return _run(waiting(self._url(key), timeout))

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - Prefect's
        """As `wait_for_lock`, for callers on an event loop."""
        return await _arun(waiting(self._url(key), timeout))

    def _acquiring(
        self, key: str, holder: str, acquire_timeout: float | None, hold_timeout: float | None
    ) -> Steps[Lease | None]:
        return acquiring(
            self._url(key),
            holder,
            seconds=self.lease_seconds,
            timeout=acquire_timeout,
            hold=hold_timeout,
            goes_on=_while_running(),
        )

    def _url(self, key: str) -> str:
        # Keys may be of any length, and hold slashes.
        return io.join(self.url, f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.cpr-lease")


def _while_running() -> Callable[[], bool]:
    """A test of whether the run or transaction that takes a lock now is still active.

    Prefect does not give a lock back when a hit turns out to be unreadable, and would wait for itself when
    the task is retried. It leaves the context of the run in any case, or of the transaction around it.
    """
    context: Any = get_transaction() or TaskRunContext.get()
    if context is None:
        return lambda: True
    around = weakref.ref(context)

    def goes_on() -> bool:
        alive = around()
        return alive is not None and not has_left(alive)

    return goes_on


def _run(steps: Steps[T]) -> T:
    try:
        while True:
            time.sleep(next(steps))
    except StopIteration as end:
        return cast(T, end.value)
    finally:
        steps.close()


async def _arun(steps: Steps[T]) -> T:
    while True:
        step = asyncio.ensure_future(asyncio.to_thread(_next, steps))
        try:
            pause, result = await asyncio.shield(step)
        except asyncio.CancelledError:
            step.add_done_callback(lambda done: _give_up(steps, done))
            raise
        if pause is None:
            return cast(T, result)
        try:
            await asyncio.sleep(pause)
        except asyncio.CancelledError:
            steps.close()
            raise


def _next(steps: Steps[T]) -> tuple[float | None, Any]:
    try:
        return next(steps), None
    except StopIteration as end:
        return None, end.value


def _give_up(steps: Steps[Any], step: asyncio.Future[tuple[float | None, Any]]) -> None:
    """Release the lock after a caller was cancelled while a thread was acquiring it."""
    if step.cancelled() or step.exception() is not None:
        return
    steps.close()
    lease = step.result()[1]
    if isinstance(lease, Lease):
        lease.goes_on = lambda: False
