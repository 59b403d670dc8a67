"""Lists a bucket in order of keys through obstore; evenly spread names are listed in parallel ranges.

A page has a thousand keys, and each page starts where the previous one ended, so that listing a million
records with 30 ms latency means half a minute of waiting. But Prefect names its records by hexadecimal
digests: a page shows how many of them lie between two such names, and so, approximately, where every few
pages another one starts. These ranges are listed in parallel. Even spreading of names is only a guess, which
costs requests if it is wrong; the result is complete, whatever the names.

Some servers walk through all names of a folder to start in its middle: MinIO takes a minute to start among a
million, and milliseconds to continue, so that ranges take several times as long. A server known to do so is
listed page by page; for others one request measures how long it takes to start.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from cpr.io.answer_checks import MOST_BYTES, BadAnswerError
from cpr.io.parallel_map import parallel_map
from cpr.io.request_threads import in_thread
from cpr.io.timeouts import wait_for

__all__ = ["PAGE", "Found", "list_keys"]

PAGE = 1000
"""Keys that a store puts into a page."""

_AT_ONCE = 16  # ranges
_RANGE_PAGES = (4, 16)  # of a range where the guess is right, by how much there is
_LEAST_PAGES = 8  # for which it is worth it
_MOST = 64 * PAGE  # of a range, in memory
_PAGES_FIRST = 4  # one by one; the quickest tells how long a page takes
_SLOW_BEGINNING = 2  # times as long as a page
_LEAST_SECONDS = 0.01  # of a page: less is noise
_NAMES = 1 << 32  # what eight hexadecimal digits can tell apart
_DIGEST = re.compile("[0-9a-f]{16}")
_AFTER_DIGESTS = "g"


class Found(NamedTuple):
    """An object in a bucket.

    Attributes:
        key: in the bucket.
        nbytes: its size.
        modified: when it was written.
        etag: None where the store tells none.
    """

    key: str
    nbytes: int
    modified: datetime
    etag: str | None


def list_keys(store: Any, folder: str, may_begin_anywhere: Callable[[], bool]) -> Iterator[Found]:
    """The objects in a folder and below, in order of keys; "" is the whole bucket.

    Args:
        store: obstore's, of the bucket.
        folder: without a slash at its end.
        may_begin_anywhere: False for a server known to take long for it; asked where there is much to list.

    Raises what obstore raises, and BadAnswerError for a listing that is not in order, or repeats itself.
    """
    prefix = f"{folder}/" if folder else ""
    pages = _pages(store, folder, "")
    page: list[Found] = []
    seconds = math.inf
    for _ in range(_PAGES_FIRST):
        begun = time.monotonic()
        if not (page := next(pages, [])):
            return
        seconds = min(seconds, time.monotonic() - begun)
        yield from page
    ranges = _Ranges.guessed(page, len(prefix)) if len(page) == PAGE else None
    if (
        ranges is None
        or not may_begin_anywhere()
        or _begins_slowly(store, folder, prefix + ranges.last(), seconds)
    ):
        yield from chain.from_iterable(pages)
        return

    def look(part: tuple[str, str]) -> tuple[str, list[Found]]:
        after, stop = (prefix + name for name in part)
        return stop, _some(store, folder, after, stop)

    for stop, found in parallel_map(look, ranges, _AT_ONCE):
        yield from found
        ranges.adapt(len(found))
        if len(found) >= _MOST:
            yield from chain.from_iterable(_between(store, folder, found[-1].key, stop))
    yield from chain.from_iterable(_pages(store, folder, prefix + _AFTER_DIGESTS))


def _begins_slowly(store: Any, folder: str, after: str, page_seconds: float) -> bool:
    """Whether the server takes much longer to start after a key than to continue a listing."""
    begun = time.monotonic()
    next(_pages(store, folder, after), [])
    return time.monotonic() - begun > _SLOW_BEGINNING * max(page_seconds, _LEAST_SECONDS)


def _some(store: Any, folder: str, after: str, stop: str) -> list[Found]:
    """As `_between`; if that is too much for memory, the first part of it."""
    found: list[Found] = []
    for page in _between(store, folder, after, stop):
        found += page
        if len(found) >= _MOST:
            break
    return found


def _between(store: Any, folder: str, after: str, stop: str) -> Iterator[list[Found]]:
    """Pages of the objects after a key, up to and including another."""
    for page in _pages(store, folder, after):
        if page[-1].key > stop:
            yield [one for one in page if one.key <= stop]
            return
        yield page


def _pages(store: Any, folder: str, after: str) -> Iterator[list[Found]]:
    import obstore

    pages = obstore.list(store, folder or None, offset=after or None, chunk_size=PAGE)
    last = after
    while page := wait_for(in_thread(lambda: next(pages, None))):
        found = [Found(one["path"], int(one["size"]), one["last_modified"], one["e_tag"]) for one in page]
        if max(one.nbytes for one in found) > MOST_BYTES:
            raise BadAnswerError("NotAnObject")
        keys = [one.key for one in found]
        # A server that gives the same page again and again would be listed for ever.
        if keys[0] <= last or keys != sorted(keys):
            raise BadAnswerError("ListingRepeats")
        last = keys[-1]
        yield found


class _Ranges:
    """Generates ranges of names; the width of each is adapted to how many names the previous ones held.

    Args:
        first: name that was listed last.
        at: what its first eight digits say.
        page: how far a page goes, in such numbers.
    """

    def __init__(self, first: str, at: int, page: int) -> None:
        self._first = first
        self._at = at
        self._page = page
        least, most = _RANGE_PAGES
        self._pages = min(max((_NAMES - at) // page // _AT_ONCE, least), most)
        self._width = page * self._pages

    @classmethod
    def guessed(cls, page: list[Found], cut: int) -> _Ranges | None:
        """Guess ranges from a page of a listing; None if the names are not digests, or few are left."""
        names = [one.key[cut:] for one in page if _DIGEST.match(one.key, cut)]
        if len(names) < len(page) // 2 or page[-1].key[cut:] != names[-1]:
            return None
        begin, end = int(names[0][:8], 16), int(names[-1][:8], 16)
        width = (end - begin) * PAGE // len(names)
        return cls(names[-1], end, width) if 0 < width * _LEAST_PAGES < _NAMES - end else None

    def last(self) -> str:
        """A name so near the end that about half a page of names follows it."""
        return f"{_NAMES - 1 - self._page // 2:08x}"

    def adapt(self, count: int) -> None:
        """Adjust the width of the next ranges, after one that held so many names."""
        if count < self._pages * PAGE // 4:
            self._width *= 16
        elif count > self._pages * PAGE * 2:
            self._width = max(1, self._width // 2)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        after = self._first
        while self._at < _NAMES:
            self._at += self._width
            stop = f"{self._at:08x}" if self._at < _NAMES else _AFTER_DIGESTS
            yield after, stop
            after = stop
