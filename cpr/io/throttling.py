"""Retries of requests that a store refuses with 429 or 503 (slow down): how long, after which pauses.

The rule for all clients. It is applied where each client's requests are made: `cpr.io.clients.s3_retries`
(botocore), `cpr.io.stores.s3_obstore` and `cpr.zarr.stores.s3` (obstore), `cpr.io.clients.gcsfs` and
`cpr.io.stores.gcs_upload` (GCS), `cpr.io.clients.adlfs` (Azure).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

__all__ = ["MOST_REFUSALS", "SLOW_DOWN", "counted_pauses", "pause_after", "pauses"]

#: Statuses of HTTP by which stores refuse a request because there are too many.
SLOW_DOWN = frozenset({429, 503})
#: So many pauses are as long as a store is asked again.
MOST_REFUSALS = 22
_SLOWED_SECONDS = 20.0
# Clients' own pauses, up to 32 s, leave unused what a store could have taken that takes so many a second.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 1.0


def pauses() -> Iterator[float]:
    """Seconds to wait after each refusal, until retries end."""
    end = time.monotonic() + _SLOWED_SECONDS
    refusals = 1
    while time.monotonic() + (seconds := pause_after(refusals)) <= end:
        yield seconds
        refusals += 1


def counted_pauses() -> Iterator[float]:
    """The same where something else may take long between two refusals, a part that is sent for one."""
    return (pause_after(refusals) for refusals in range(1, MOST_REFUSALS + 1))


def pause_after(refusals: int) -> float:
    """Seconds to wait after refusal number `refusals` (from 1).

    >>> 0.05 <= pause_after(1) <= 0.1 and 0.5 <= pause_after(20) <= 1.0
    True
    """
    longest = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(refusals - 1, 10), _LONGEST_PAUSE_SECONDS)
    # Not all of those that were refused at once shall come back at once.
    return longest * random.uniform(0.5, 1.0)  # noqa: S311
