"""Leases: their holder may assume, for some seconds, that no other process holds the same one.

A lease is a small object that is only ever written conditionally (`cpr.io.locks.compare_and_swap`): created,
taken over, renewed and released only by a process that knows its present version. Its holder renews it in
the background and releases it at the end; the lease of a killed holder expires because nobody renews it.

No two machines' clocks are compared. A watcher takes a lease over when its version has not changed
for its length on the watcher's own monotonic clock, or when it is that old by the clock of the store,
which stamps the object and the answer alike. A holder counts the length of its lease from the moment before
its request, so that it stops before another process may begin.

A process that is stopped for longer (SIGSTOP, a virtual machine that is moved) finds its lease taken
over when it continues: the next renewal is refused, a warning says so, and `is_valid` is False. Its work
may then have been done twice. So leases must only guard work that is harmless to do twice.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from cpr.errors import CprError
from cpr.io.fork_safe import PerProcess
from cpr.io.locks.claims import LEASE_SECONDS, Claim, Watch
from cpr.io.locks.compare_and_swap import Versioned, read, require_conditional, swap
from cpr.io.urls import split

__all__ = ["LEASE_SECONDS", "Lease", "Steps", "acquiring", "lease_here", "release", "waiting"]

T = TypeVar("T")
Steps: TypeAlias = Generator[float, None, T]

log = logging.getLogger("cpr")

_RENEWALS_PER_LEASE = 3
# Of what is held by this process nobody asks the store.
_LOCAL_POLL_SECONDS = 0.05
_LONGEST_TICK_SECONDS = 1.0


def _always() -> bool:
    return True


def _here() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass
class Lease:
    """A lease that this process holds.

    Attributes:
        url: of its object.
        holder: who holds it here; only for this process to tell its own apart.
        seconds: how long it lasts without being renewed.
        ends: when it is given back in any case, by time.monotonic().
        goes_on: whether what it guards still goes on; when it does not, the lease is given back.
    """

    url: str
    holder: str
    seconds: float
    ends: float | None = None
    goes_on: Callable[[], bool] = _always
    _token: str = field(default_factory=lambda: secrets.token_hex(16))
    _count: int = 0
    _version: str = ""
    _renewed: float = 0.0
    _state: Literal["new", "held", "lost", "released"] = "new"
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_valid(self) -> bool:
        """Whether no other process can hold it; False when the last renewal was too long ago."""
        return self._state == "held" and time.monotonic() < self._renewed + self.seconds

    @property
    def is_due(self) -> bool:
        """Whether it is time to renew it."""
        return time.monotonic() >= self._renewed + self.seconds / _RENEWALS_PER_LEASE

    @property
    def is_lost(self) -> bool:
        """Whether another process was seen to have taken it over."""
        return self._state == "lost"

    def take(self, version: str | None) -> tuple[bool, Versioned | None]:
        """Try to take the lease in place of a version (None: of nothing); also returns what is there now."""
        with self._lock:
            taken, now = self._swap(version)
            if taken:
                self._state = "held"
        return taken, now

    def confirm(self) -> bool:
        """Whether it is held now: by the clock, else by a renewal, which raises the store's errors."""
        if not self.is_valid:
            self.renew()
        return self.is_valid

    def renew(self) -> None:
        """Renew it for its full length; warns if another process has taken it over."""
        with self._lock:
            if self._state != "held":
                return
            _, now = self._swap(self._version)
            self._notice(now)

    def release(self) -> None:
        """Give it back. Another holder's is left alone; if the store refuses, it expires by itself."""
        with self._lock:
            if self._state != "held":
                return
            try:
                written, now = self._swap(self._version, released=True)
            except CprError as error:
                log.warning("a lock could not be given back and ends in %.0f s: %s", self.seconds, error)
            else:
                if not written:
                    self._notice(now)
            self._state = "released"

    def _swap(self, version: str | None, released: bool = False) -> tuple[bool, Versioned | None]:
        started = time.monotonic()
        claim = Claim(self._token, self._count + 1, self.seconds, _here(), released)
        written, now = swap(self.url, claim.encode(), version)
        if written:
            assert now is not None
            self._count, self._version, self._renewed = claim.count, now.version, started
        return written, now

    def _notice(self, now: Versioned | None) -> None:
        claim = None if now is None else Claim.parse(now.content)
        if claim is not None and claim.token == self._token:
            return
        self._state = "lost"
        log.warning(
            "%s: this process was held up for more than %.0f s, and its lock is %s; what it guarded may be "
            "done twice, which makes no difference to the result",
            self.url,
            self.seconds,
            "gone" if claim is None else f"held by {claim.holder}",
        )


class _Asking:
    """Marks in the table that a thread of this process is asking the store for a lease."""


_table: PerProcess[str, Lease | _Asking] = PerProcess()
# Those that ended before their holders gave them back.
_ended: PerProcess[tuple[str, str], None] = PerProcess()
_renewer: PerProcess[str, threading.Thread] = PerProcess()
# What the last first look of this process has found is expected of the next one: one request less.
_expect_nothing = True


def acquiring(
    url: str,
    holder: str,
    *,
    seconds: float = LEASE_SECONDS,
    timeout: float | None = None,
    hold: float | None = None,
    goes_on: Callable[[], bool] = _always,
) -> Steps[Lease | None]:
    """Acquire a lease step by step: yields the seconds to wait before the next step, returns the lease.

    Returns None when the time is over. A step takes a few requests at most, of which a process has one
    going for each lease, however many of its threads wait. To be closed when given up.

    Args:
        url: of the lease's object.
        holder: distinguishes holders within this process; the same holder gets the same lease again.
        seconds: how long it lasts without being renewed; it is renewed three times as often.
        timeout: how long to wait; None without end, 0 not at all.
        hold: seconds after which it is released in any case.
        goes_on: called repeatedly while it is held; the lease is released when it returns False.

    Raises:
        UnsupportedStoreError: the store has no conditional writes.
        ResourceNotFoundError, TransferError: the store failed or refused.
    """
    started = time.monotonic()
    require_conditional(split(url)[0])
    lease = Lease(url, holder, seconds if hold is None else min(seconds, hold), goes_on=goes_on)
    watch, me = Watch(), _Asking()
    try:
        while True:
            with _table.lock:
                found = _table.known.setdefault(url, me)
            if isinstance(found, Lease) and found.holder == holder:
                return found
            if found is not me:
                pause = _LOCAL_POLL_SECONDS
            elif _attempt(lease, watch):
                lease.ends = None if hold is None else time.monotonic() + hold
                _keep(lease)
                return lease
            else:
                pause = watch.pause
            left = None if timeout is None else started + timeout - time.monotonic()
            if left is not None and left <= 0:
                return None
            yield pause if left is None else min(pause, left)
    finally:
        with _table.lock:
            if _table.known.get(url) is me:
                del _table.known[url]


def _attempt(lease: Lease, watch: Watch) -> bool:
    global _expect_nothing  # noqa: PLW0603
    seen: Versioned | None
    if watch.is_new and _expect_nothing:
        taken, seen = lease.take(None)
        if taken:
            return True
    else:
        seen = read(lease.url)
    if watch.is_new:
        _expect_nothing = seen is None
    if not watch.is_free(lease.url, seen):
        return False
    taken, seen = lease.take(None if seen is None else seen.version)
    if not taken:
        watch.is_free(lease.url, seen)
    return taken


def waiting(url: str, timeout: float | None = None) -> Steps[bool]:
    """Wait until a lease is free, step by step: yields seconds to wait; returns whether it is free.

    Raises as `acquiring`.
    """
    started = time.monotonic()
    watch = Watch()
    while True:
        if lease_here(url) is not None:
            pause = _LOCAL_POLL_SECONDS
        elif watch.is_free(url, read(url)):
            return True
        else:
            pause = watch.pause
        left = None if timeout is None else started + timeout - time.monotonic()
        if left is not None and left <= 0:
            return False
        yield pause if left is None else min(pause, left)


def lease_here(url: str, holder: str | None = None) -> Lease | None:
    """The lease that this process holds at a URL, of this holder or of any."""
    with _table.lock:
        found = _table.known.get(url)
    if not isinstance(found, Lease) or (holder is not None and found.holder != holder):
        return None
    return found


def release(url: str, holder: str) -> None:
    """Release a lease. One that has expired meanwhile is no error; raises ValueError for any other."""
    lease = lease_here(url, holder)
    if lease is not None:
        lease.release()
        _forget(lease)
        return
    with _ended.lock:
        if (url, holder) not in _ended.known:
            raise ValueError(f"{url}: not held by {holder!r}")
        del _ended.known[url, holder]


def _keep(lease: Lease) -> None:
    with _table.lock:
        _table.known[lease.url] = lease
        if "thread" not in _renewer.known:
            thread = threading.Thread(target=_renew_while_held, name="cpr-leases", daemon=True)
            _renewer.known["thread"] = thread
            thread.start()


def _forget(lease: Lease, ended: bool = False) -> None:
    with _table.lock:
        if _table.known.get(lease.url) is lease:
            del _table.known[lease.url]
    if ended:
        with _ended.lock:
            _ended.known[lease.url, lease.holder] = None


def _renew_while_held() -> None:
    while True:
        with _table.lock:
            leases = [found for found in _table.known.values() if isinstance(found, Lease)]
            if not leases:
                del _renewer.known["thread"]
                return
        for lease in leases:
            _look_after(lease)
        time.sleep(min(_LONGEST_TICK_SECONDS, *(lease.seconds / 10 for lease in leases)))


def _look_after(lease: Lease) -> None:
    if not lease.goes_on():
        lease.release()
        _forget(lease)
    elif lease.ends is not None and time.monotonic() >= lease.ends:
        lease.release()
        _forget(lease, ended=True)
    elif lease.is_due:
        try:
            lease.renew()
        except CprError as error:
            log.debug("a lock could not be renewed, and is tried again: %s", error)
        if lease.is_lost:
            _forget(lease, ended=True)
