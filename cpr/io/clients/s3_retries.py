"""Retry rules for S3: botocore's own, with four exceptions."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

from cpr.io.answer_checks import code_of
from cpr.io.throttling import MOST_REFUSALS, SLOW_DOWN, pause_after

__all__ = ["ONCE", "ON_THROTTLED", "again_if_damaged", "has_answered", "limit_retries"]

T = TypeVar("T")

# Called for each attempt that the store throttles.
ON_THROTTLED: ContextVar[Callable[[], None] | None] = ContextVar("ON_THROTTLED", default=None)
# Whether a refusal is final.
ONCE: ContextVar[bool] = ContextVar("ONCE", default=False)

# Whether a filesystem's endpoint has answered anything yet.
_ANSWERED = "_cpr_answered"
_NO_CONNECTION = frozenset({"EndpointConnectionError", "SSLError", "ProxyConnectionError"})
# What S3 answers to a body that is not what its checksum says; s3fs, and it alone, sends a signed one again.
_DAMAGED = frozenset({"BadDigest", "XAmzContentChecksumMismatch"})
_TRIES = 4
_FIRST_WAIT_SECONDS = 0.1


def limit_retries(fs: Any) -> None:
    """Apply the exceptions to every botocore client that a filesystem creates, now or later.

    s3fs makes one for each region, and a new one where the connections of the last are closed. All requests,
    its own and ours, take theirs from `get_s3`.
    """
    setattr(fs, _ANSWERED, False)
    # Neither may keep the filesystem, whose connections are closed when it goes.
    of, decide = weakref.ref(fs), partial(_decide, weakref.ref(fs))

    async def get_s3(bucket: str | None = None) -> Any:
        fs: Any = of()
        client = await type(fs).get_s3(fs, bucket)
        # Of several by this id the first counts.
        client.meta.events.register_first("needs-retry.s3", decide, unique_id="cpr-retries")
        return client

    fs.get_s3 = get_s3


def has_answered(fs: Any) -> None:
    """Note that the filesystem's store has answered: from now on failures are worth retrying."""
    setattr(fs, _ANSWERED, True)


async def again_if_damaged(attempt: Callable[[], Awaitable[T]]) -> T:
    """Send a request with a body again if the store reports that it was damaged in transit."""
    for number in range(1, _TRIES):
        try:
            return await attempt()
        except OSError as error:
            if code_of(error) not in _DAMAGED:
                raise
        await asyncio.sleep(_FIRST_WAIT_SECONDS * 2**number)
    return await attempt()


def _decide(
    of: weakref.ref[Any],
    attempts: int,
    response: Any = None,
    caught_exception: Exception | None = None,
    **_: Any,
) -> bool | float | None:
    """Whether botocore retries: False for no, None for its own rule, else seconds to wait.

    Throttled requests are retried as with all clients (`cpr.io.throttling`). What was damaged is
    repeated by `again_if_damaged`: botocore would do so within each of its attempts, for half a minute. A
    connection is repeated no more than once at an endpoint that has never answered, for what is wrong is the
    endpoint and not the moment.
    """
    fs = of()  # whose connections are closed when it goes: nothing of them may have it
    if response is not None:
        if fs is not None:
            has_answered(fs)
        status, code = response[0].status_code, (response[1] or {}).get("Error", {}).get("Code")
        if status in SLOW_DOWN and (throttled := ON_THROTTLED.get()) is not None:
            throttled()
        if code in _DAMAGED or (ONCE.get() and status >= 400):
            return False
        return pause_after(attempts) if status in SLOW_DOWN and attempts <= MOST_REFUSALS else None
    if (
        type(caught_exception).__name__ in _NO_CONNECTION
        and attempts > 1
        and not getattr(fs, _ANSWERED, True)
    ):
        assert caught_exception is not None
        raise caught_exception
    return None
