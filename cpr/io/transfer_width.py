"""Adapts the number of parallel requests to each store, by measuring them.

A connection to a distant store transfers 4 to 100 MB/s, and more connections transfer more; a near store is
saturated by a few, and more of them only compete. So each request is compared with the fastest recent one: as
long as parallel requests are as fast as single ones, their number is doubled; once they share the bandwidth,
only as many are used as keep it busy. A store that says "slow down" gets half as many requests of twice the
size. Their memory is bounded, whatever their number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

from cpr.io.fork_safe import PerProcess
from cpr.io.parallel_map import ByteBudget
from cpr.io.transferring_processes import HostShare
from cpr.io.urls import protocol_of
from cpr.io.variables import CONNECTIONS

__all__ = ["TransferWidth", "connections", "side_by_side", "still_silent", "transfer_budget", "width_of"]

VARIABLE = CONNECTIONS.name
_CONNECTIONS = 96  # of a machine, whose processes share them
# Of the bytes under way, what any transfer may have, however many share them.
_LEAST_MEMORY_BYTES = 16 << 20
# So many times as many as the fastest request says are enough: where a connection gives little, too many cost
# less than too few, and a busy machine makes requests look slow.
_NEAR_GAIN, _FAR_GAIN = 2.0, 3.0
_NEAR_SPEED = 50e6
_FAR_SPEED = 10e6
_SMOOTHED = 4  # requests
# A request shall carry what passes in the first time, for it waits before it does; above this size no more
# than what passes in the second, for memory shall hold many.
_LONG_SECONDS = 0.25
_SHORT_SECONDS = 0.15
_WAITS = 4  # of them, besides
_SMALL_BYTES = 1 << 20
# A network changes: after this time the fastest request counts for half.
_HALF_LIFE_SECONDS = 20.0
# Of so little the time says more of the way there than of what passes on it.
_TELLING_BYTES = 256 << 10
# The fewest for once in so many rounds: requests that share may look as if none had ever been faster.
_ROUNDS_BETWEEN_PROBES = 8
_PROBE = 0.6
_NEAR_SECONDS = 0.005
_FAR_TASKS = 32
_WHOLE_TRANSFERS = 4  # that have as much in memory as any may have
_NEAR_BLOCK_BYTES = 2 << 20
_THROTTLED_SECONDS = 0.2  # refusals of so long are one
# How long a first answer is waited for before more is asked of an unknown place, and how much.
_PATIENCE_SECONDS = 0.015
_PATIENT_REQUESTS = 64


class TransferWidth:
    """What is known of one store in one direction; shared by all transfers of this process.

    Args:
        least: requests that any transfer may have under way, and what it begins with.
        block_bytes: the least and the most that one of them carries.
        memory_bytes: what all transfers together may have under way.
        host: the processes of this machine that share the place; None for one that has it to itself.
    """

    def __init__(
        self, least: int, block_bytes: tuple[int, int], memory_bytes: int, host: HostShare | None = None
    ) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._least = least
        self._block_bytes = block_bytes
        self._memory_bytes = memory_bytes
        self._width = float(least)
        self._speed = self._fastest = 0.0  # bytes a second of a request: now, and lately
        self._fastest_at = 0.0
        self._answer_seconds = float("inf")
        self._under_way = 0
        self._transfers = 0
        self._since_probe = 0
        self._throttled_at = 0.0
        self._refused_bytes = 0  # what a request should carry at least where the store refuses so many

    @contextmanager
    def transfer(self) -> Iterator[None]:
        """Register a transfer, which shares the limits with others for the duration of the block."""
        self.announce()
        with self._lock:
            self._transfers += 1
        try:
            yield
        finally:
            with self._lock:
                self._transfers -= 1

    @contextmanager
    def request(self, nbytes: int) -> Iterator[None]:
        """Measure a request of a transfer, unless it raises."""
        with self._lock:
            self._under_way += 1
            beside, started = self._under_way, time.monotonic()
        try:
            with self.waiting():
                yield
            self.learn(nbytes, time.monotonic() - started, beside)
        finally:
            with self._lock:
                self._under_way -= 1

    def announce(self) -> None:
        """Tell the other processes of this machine that a transfer is about to start."""
        if self._host is not None and connections() is None:
            self._host.processes()

    def waiting(self) -> AbstractContextManager[None]:
        """Be counted by other processes during the block, however long it waits for the store."""
        return nullcontext() if self._host is None else self._host.waiting()

    def learn(self, nbytes: int, seconds: float, beside: int) -> None:
        """Record how long a request took, with how many in progress at once, itself included."""
        if nbytes < _TELLING_BYTES:
            return
        with self._lock:
            speed, now = nbytes / max(seconds, 1e-6), time.monotonic()
            # One request among many may be fast or slow by chance.
            self._speed = speed if not self._speed else self._speed + (speed - self._speed) / _SMOOTHED
            self._fastest *= 0.5 ** ((now - self._fastest_at) / _HALF_LIFE_SECONDS)
            self._fastest, self._fastest_at = max(self._fastest, self._speed), now
            gain = _NEAR_GAIN if self._fastest > _NEAR_SPEED else _FAR_GAIN
            enough = gain * max(beside, self._under_way) * self._speed / self._fastest
            # After as many requests as there are at once the new number is reached.
            self._set(self._width + (enough - self._width) / self._width)
            if now - self._throttled_at > _HALF_LIFE_SECONDS:
                self._refused_bytes = 0
            self._since_probe += 1
            if self._since_probe > _ROUNDS_BETWEEN_PROBES * self._width:
                self._since_probe = 0
                self._set(self._width * _PROBE)

    def _set(self, width: float) -> None:
        self._width = min(max(width, self._least), float(self.connections))

    def answered(self, seconds: float) -> None:
        """Record the latency of an answer that carries almost no data."""
        if seconds >= self._answer_seconds:
            return
        with self._lock:
            self._answer_seconds = min(self._answer_seconds, seconds)

    def waited(self) -> None:
        """Allow more requests, as long as nothing has arrived that shows how many are enough."""
        with self._lock:
            if self.is_unknown:
                self._set(2 * self._width)

    def throttled(self) -> None:
        """Halve the number of requests and double their size: the store is throttling."""
        with self._lock:
            now = time.monotonic()
            if now - self._throttled_at > _THROTTLED_SECONDS:
                self._throttled_at = now
                self._refused_bytes = min(2 * self.block_bytes, self._block_bytes[1])
                self._set(self._width / 2)

    @property
    def is_unknown(self) -> bool:
        """Whether there are no measurements yet that tell a far store from a near one."""
        return self._fastest == 0 and self._answer_seconds > _NEAR_SECONDS

    @property
    def is_far(self) -> bool:
        """Whether latency is high or a connection is slow."""
        takes_long = _NEAR_SECONDS < self._answer_seconds < float("inf")
        return takes_long or 0 < self._fastest < _FAR_SPEED

    @property
    def requests(self) -> int:
        """How many requests one transfer may have in progress now."""
        return max(2, min(int(self._width), self.connections) // max(1, self._transfers))

    @property
    def connections(self) -> int:
        """Upper limit of requests: as configured, or this process's share of the machine's limit."""
        if (chosen := connections()) is not None:
            return chosen
        return max(1, _CONNECTIONS // (self._host.processes() if self._host is not None else 1))

    @property
    def memory_bytes(self) -> int:
        """How many bytes one transfer may have in progress now."""
        return max(self._memory_bytes // max(1, self._transfers), _LEAST_MEMORY_BYTES)

    @property
    def block_bytes(self) -> int:
        """Size of a request: small on slow connections, so that many fit into memory."""
        size, most = self._block_bytes
        # What was refused may be larger as far as all that may be under way fit into memory.
        size = max(size, min(self._refused_bytes, self._memory_bytes // self.requests))
        if not self._fastest and self._answer_seconds <= _NEAR_SECONDS:
            return min(most, max(size, _NEAR_BLOCK_BYTES))
        # What a request waits for says nothing of how much passes.
        waits = 0.0 if self._answer_seconds == float("inf") else self._answer_seconds
        seconds = _LONG_SECONDS + _WAITS * waits
        while size < most and size < self._fastest * (seconds if size < _SMALL_BYTES else _SHORT_SECONDS):
            size = min(most, 2 * size)
        return size


def still_silent(request: Future[Any], width: TransferWidth) -> bool:
    """Wait briefly for a request to an unknown store; True if more requests are allowed now."""
    before = width.requests
    if not width.is_unknown or before >= _PATIENT_REQUESTS:
        return False
    if wait([request], _PATIENCE_SECONDS).not_done:
        width.waited()
    # Where there may be no more, whoever asks waits as for any request, and no longer.
    return width.requests > before


def connections() -> int | None:
    """The configured number of parallel requests of this process to one store.

    Raises ConfigurationError.
    """
    return CONNECTIONS.get()


_widths: PerProcess[tuple[str, str], TransferWidth] = PerProcess()
_DIRECTIONS = {
    "read": (4, (256 << 10, 8 << 20), 96 << 20),
    # 5 MiB is the least that S3 takes. Parts are held until the store has them, and their maker holds more.
    "write": (10, (5 << 20, 8 << 20), 80 << 20),
}


def width_of(url: str, direction: Literal["read", "write"]) -> TransferWidth:
    """What is known of the bucket or host of a URL, for "read" or "write"."""
    key = f"{protocol_of(url)}://{url.partition('://')[2].partition('/')[0]}", direction
    with _widths.lock:
        if key not in _widths.known:
            _widths.known[key] = TransferWidth(*_DIRECTIONS[direction], HostShare(" ".join(key)))
        return _widths.known[key]


def side_by_side(near: int, *urls: str) -> int:
    """How many tasks of several requests each to run in parallel.

    Where answers take long such work mostly waits, whatever it does in between. What it holds in memory is
    for the caller to bound (`transfer_budget`).

    Args:
        near: how many where answers are quick.
        urls: of the places.
    """
    widths = [width_of(url, direction) for url in urls for direction in ("read", "write")]
    return max(near, *(min(_FAR_TASKS, width.connections) for width in widths if width.is_far), near)


def transfer_budget() -> ByteBudget:
    """Memory budget for objects that are transferred whole in parallel: four large, or many small ones."""
    return ByteBudget(_WHOLE_TRANSFERS * _LEAST_MEMORY_BYTES, _LEAST_MEMORY_BYTES)
