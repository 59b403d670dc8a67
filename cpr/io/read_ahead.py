"""Prefetches parts of an object that are announced, with an adaptive number of parallel requests."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial

from cpr.io.request_threads import in_thread
from cpr.io.timeouts import abandonable, wait_for
from cpr.io.transfer_width import TransferWidth, still_silent

__all__ = ["STALLED_BYTES", "Fetch", "ReadAhead", "wait_wider"]

Fetch = Callable[[int, int], bytes | memoryview]

# So much is allowed the time of, however much is under way, before it is called a stall.
STALLED_BYTES = 32 << 20
# Of parts that are here, or on their way, and not read yet.
_MEMORY_BYTES = 48 << 20
_MOST_REQUEST_BYTES = 8 << 20


def wait_wider(future: Future[bytes | memoryview], width: TransferWidth, more: Callable[[], None]) -> None:
    """Wait for a request; while nothing is known of the store, allow more and more requests meanwhile."""
    while still_silent(future, width):
        more()


class _Span:
    """Blocks that one request fetches."""

    def __init__(self, first: int, stop: int) -> None:
        self.first, self.stop = first, stop
        self.future: Future[bytes | memoryview] | None = None


class ReadAhead:
    """Prefetches blocks of an object that are announced to be read.

    Args:
        fetch: gives bytes from a start to a stop.
        nbytes: size of the object.
        block_bytes: size of a block; requests are for whole ones.
        width: what is known of the place.
    """

    def __init__(self, fetch: Fetch, nbytes: int, block_bytes: int, width: TransferWidth) -> None:
        self._fetch = fetch
        self._nbytes = nbytes
        self._block_bytes = block_bytes
        self._width = width
        self._spans: dict[int, _Span] = {}
        self._planned: deque[_Span] = deque()
        self._under_way: set[_Span] = set()
        self._bytes = 0
        self._alive = 0.0
        self._closing = threading.Event()
        self._sharing = ExitStack()

    def expect(self, ranges: Iterable[tuple[int, int]], have: Container[int]) -> None:
        """Prefetch byte ranges, in order; replaces earlier announcements.

        Args:
            ranges: of bytes; more is fetched, for blocks are whole.
            have: blocks that need not be.
        """
        before, self._spans = self._spans, {}
        self._planned.clear()
        for first, stop in self._joined(ranges):
            self._plan(first, stop, before, have)
        for span in self._under_way - set(self._spans.values()):
            self._leave(span)
        self._fill()

    def _joined(self, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Join ranges that are less than a block apart."""
        first = stop = 0
        for start, end in ranges:
            if not first <= start <= stop + self._block_bytes:
                if stop > first:
                    yield first, stop
                first = stop = start
            stop = max(stop, end)
        if stop > first:
            yield first, stop

    def _plan(self, start: int, stop: int, before: dict[int, _Span], have: Container[int]) -> None:
        for first, last in self._runs(start, stop, before, have):
            span = before.get(first)
            if span is None:
                span = _Span(first, last)
                self._planned.append(span)
            elif span.future is None:
                self._planned.append(span)
            self._spans.update(dict.fromkeys(range(span.first, span.stop), span))

    def _runs(
        self, start: int, stop: int, before: dict[int, _Span], have: Container[int]
    ) -> Iterator[tuple[int, int]]:
        """Runs of consecutive blocks that are not requested yet, in request sizes, and what is requested."""
        most = max(1, min(self._width.block_bytes, _MOST_REQUEST_BYTES) // self._block_bytes)
        first, end = start // self._block_bytes, -(-min(stop, self._nbytes) // self._block_bytes)
        if stop <= start:
            return
        while first < end:
            if first in have or first in self._spans:
                first += 1
                continue
            last = first + 1
            if first not in before:
                while last < min(end, first + most) and not any(
                    last in known for known in (have, self._spans, before)
                ):
                    last += 1
            yield first, last
            first = last

    def _fill(self) -> None:
        while self._planned:
            span = self._planned[0]
            if span.future is None and span.first in self._spans:
                nbytes = self._size(span)
                if self._under_way and (
                    len(self._under_way) >= self._width.requests
                    or self._bytes + nbytes > min(_MEMORY_BYTES, self._width.memory_bytes)
                ):
                    return
                self._begin(span)
            self._planned.popleft()

    def _size(self, span: _Span) -> int:
        return min(span.stop * self._block_bytes, self._nbytes) - span.first * self._block_bytes

    def _begin(self, span: _Span) -> Future[bytes | memoryview]:
        if not self._alive:
            self._alive = time.monotonic()
            self._sharing.enter_context(self._width.transfer())
        start = span.first * self._block_bytes
        span.future = in_thread(partial(self._fetch_measured, start, start + self._size(span)))
        self._under_way.add(span)
        self._bytes += self._size(span)
        return span.future

    def _fetch_measured(self, start: int, stop: int) -> bytes | memoryview:
        with abandonable(self._closing), self._width.request(stop - start):
            block = self._fetch(start, stop)
        self._alive = time.monotonic()
        return block

    def _leave(self, span: _Span) -> None:
        self._under_way.discard(span)
        self._bytes -= self._size(span)
        assert span.future is not None
        span.future.cancel()

    def add(self, start: int, stop: int, have: Container[int]) -> None:
        """Prefetch the bytes between two positions before everything announced so far."""
        later, self._planned = self._planned, deque()
        self._plan(start, stop, {}, have)
        self._planned.extend(later)
        self._fill()

    def take(self, block: int) -> tuple[int, int, bytes | memoryview] | None:
        """The blocks of the request that covers an announced block: their numbers and bytes; else None.

        Raises what fetching them has raised; they can be asked for again, and will not be here.
        """
        span = self._spans.get(block)
        if span is None:
            return None
        future = span.future or self._begin(span)
        self._fill()
        wait_wider(future, self._width, self._fill)
        others = self._bytes - self._size(span)
        self._under_way.discard(span)
        self._bytes = others
        for index in range(span.first, span.stop):
            self._spans.pop(index, None)
        # Others share what passes: the limit counts from the last that has arrived.
        data = wait_for(future, min(self._size(span) + others, STALLED_BYTES), lambda: self._alive)
        self._fill()
        return span.first, span.stop, data

    def close(self) -> None:
        """Cancel the requests that are in progress."""
        self._closing.set()
        for span in self._under_way:
            assert span.future is not None
            span.future.cancel()
        self._spans.clear()
        self._planned.clear()
        self._under_way.clear()
        self._sharing.close()
