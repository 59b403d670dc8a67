"""The content of a lease's object, and how waiting processes find out that a lease has ended.

No two machines' clocks are compared: a lease has ended when its version has not changed for its length on the
watcher's own monotonic clock, or when it is that old by the clock of the store, which stamps the object and
the answer alike.
"""

from __future__ import annotations

import json
import logging
import random
import time
from dataclasses import asdict, dataclass

from cpr.io.locks.compare_and_swap import Versioned
from cpr.io.outside_json import read_json

__all__ = ["LEASE_SECONDS", "Claim", "Watch"]

log = logging.getLogger("cpr")

LEASE_SECONDS = 30.0
# Clocks differ in rate, and answers are stamped in whole seconds by servers that may differ a little.
_DRIFT = 1.1
_STORE_CLOCK_SECONDS = 3.0
# The longer somebody has held a lease, the rarer it is looked at: a quarter of that time, within these.
_POLL_SHARE = 0.25
_POLL_SECONDS = (0.2, 5.0)
_LONGEST_SECONDS = 86400.0
_TELL_AFTER_SECONDS = 10.0


@dataclass(frozen=True)
class Claim:
    """The content of a lease's object: its holder, and how long it is valid without renewal."""

    token: str
    count: int
    seconds: float
    holder: str
    released: bool = False

    def encode(self) -> bytes:
        """Encode the claim as the bytes of the object."""
        return json.dumps({"cpr-lease": 1, **asdict(self)}).encode()

    @classmethod
    def parse(cls, content: bytes) -> Claim | None:
        """Parse a claim; None if it is malformed, though its writer may still hold the lease."""
        try:
            fields = read_json(content)
            token, count, seconds, holder, released = (
                fields[name] for name in ("token", "count", "seconds", "holder", "released")
            )
        except (ValueError, KeyError, TypeError):
            return None
        kinds = isinstance(token, str) and type(count) is int and isinstance(released, bool)
        if not (kinds and isinstance(holder, str) and type(seconds) in (int, float)):
            return None
        if not 0 < seconds <= _LONGEST_SECONDS:
            return None
        return cls(token, count, float(seconds), ascii(holder)[1:-1][:100], released)


class Watch:
    """Observes a lease of another process, to find out when it has ended."""

    def __init__(self) -> None:
        self._version: str | None = None
        self._token: str | None = None
        self._seen = self._begun = time.monotonic()
        self._told = False

    def is_free(self, url: str, seen: Versioned | None) -> bool:
        """Whether it may be taken: missing, released, or not renewed in time."""
        if seen is None:
            return True
        claim = Claim.parse(seen.content)
        if claim is not None and claim.released:
            return True
        now = time.monotonic()
        token = None if claim is None else claim.token
        if token != self._token:
            self._token, self._begun = token, now
        if seen.version != self._version:
            self._version, self._seen = seen.version, now
        seconds = LEASE_SECONDS if claim is None else claim.seconds
        if now - self._seen > seconds * _DRIFT:
            return True
        if seen.age is not None and seen.age > seconds * _DRIFT + _STORE_CLOCK_SECONDS:
            return True
        if now - self._begun > _TELL_AFTER_SECONDS and not self._told:
            self._told = True
            log.info("%s: waiting for %s", url, "an unknown holder" if claim is None else claim.holder)
        return False

    @property
    def is_new(self) -> bool:
        """Whether no held lease was observed yet."""
        return self._version is None

    @property
    def pause(self) -> float:
        """Seconds until the next check."""
        least, most = _POLL_SECONDS
        held = time.monotonic() - self._begun
        return min(max(held * _POLL_SHARE, least), most) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
