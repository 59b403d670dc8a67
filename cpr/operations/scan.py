"""Reads all records under a results URL.

A results URL is where Prefect's result storage writes, a prefix of targets, or a folder that holds both.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from itertools import chain, islice
from typing import TypeGuard, cast

from cpr import io
from cpr.errors import CprError, ResourceNotFoundError, TransferError
from cpr.io.config import current_table
from cpr.io.error_translation import translate_errors
from cpr.io.objects import open_store
from cpr.io.parallel_requests import request_map
from cpr.io.protocols import kind_of
from cpr.io.seekable_files import fetch_block
from cpr.io.stores.base import ChangedError, Entry, PinningStore, Store
from cpr.io.stores.listings import Line, LineListingStore, Page, PageListingStore
from cpr.io.timeouts import NoAnswerError
from cpr.io.urls import protocol_of
from cpr.operations.object_names import is_data
from cpr.operations.path_safety import leads_out
from cpr.operations.records import LARGEST_BYTES, Record, begins_as_record, parse_record

__all__ = [
    "find_records",
    "lines",
    "list_pages",
    "read_all",
    "read_record",
    "scan",
    "time_from",
    "walk",
    "with_total",
]

_AT_ONCE = 32  # objects
_AHEAD = 10_000  # objects, of which ten pages of a listing tell
_FIRST_BYTES = 64 << 10  # most records are whole with these
_FAILURES_IN_A_ROW = 16
_TRIES = 3  # to read what is replaced again and again
_OPEN_SECONDS = 1.0  # until it is looked again whether the variables of this process are others
_PLAIN = re.compile(r"[\w-]+", re.ASCII)
_FIRST_PAGE, _PAGE = 256, 1 << 13  # lines, so few that the garbage collector has little to look through
_FIRST, _LAST = -62_135_510_400, 253_370_764_800  # seconds of the times that Python knows


def walk(url: str) -> Iterator[Entry]:
    """List everything under a normalised URL. Raises as `scan`."""
    store, path = open_store(url)
    with translate_errors(url, "list"):
        yield from store.walk(path)


def with_total(entries: Iterator[Entry]) -> tuple[Iterator[Entry], int | None]:
    """Entries of a listing, and how many of them may be records; None if counting takes a long listing."""
    ahead = list(islice(entries, _AHEAD + 1))
    total = None if len(ahead) > _AHEAD else sum(not is_data(one.url) for one in ahead)
    return chain(ahead, entries), total


def list_pages(url: str) -> Iterator[Page]:
    """As `walk`, in its order, with versions to which `read_all` can pin its reads. Raises as `scan`.

    The first page is a small one.
    """
    store, path = open_store(url)
    with translate_errors(url, "list"):
        if isinstance(store, PageListingStore):
            yield from store.pages(path)
            return
        found = store.lines(path) if isinstance(store, LineListingStore) else _lines_of(store, path)
        most = _FIRST_PAGE
        while page := list(islice(found, most)):
            urls, sizes, modified, versions = zip(*page, strict=True)
            yield Page("", urls, sizes, modified, versions)
            most = _PAGE


def _lines_of(store: Store, path: str) -> Iterator[Line]:
    pins = isinstance(store, PinningStore)
    for entry in store.walk(path):
        named = next((name for name in ("etag", "generation") if pins and entry.version.get(name)), None)
        version = f"{named}={entry.version[named]}" if named else ""
        yield entry.url, entry.nbytes, entry.modified.timestamp(), version


def lines(found: Iterable[Page]) -> Iterator[Line]:
    """The entries of pages, one by one."""
    return chain.from_iterable(page.lines() for page in found)


def time_from(seconds: float) -> datetime:
    """Convert a line's time to that of an entry."""
    return datetime.fromtimestamp(min(max(seconds, _FIRST), _LAST), UTC)


def scan(url: str, listed: Iterable[Page] | None = None) -> Iterator[Record | Entry]:
    """Everything under a URL, in the order of the listing: records are read, other objects only listed.

    The first bytes of many objects are fetched at a time; larger records are fetched and parsed one by one,
    so that no more than one of them is in memory. An object that cannot be read, or whose name leads out of
    the URL, comes as a record with that problem.

    Args:
        url: a results URL.
        listed: what `list_pages` gives for it, where that is known.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the store refused or failed to list, or to give any of the objects.
    """
    url = io.normalise(url)
    if listed is None:
        return read_all(url, walk(url))
    return read_all(url, map(_entry, lines(listed)))


def _entry(line: Line) -> Entry:
    url, nbytes, when, version = line
    name, _, value = version.partition("=")
    return Entry(url, time_from(when), nbytes, {name: value} if value else {})


def read_all(
    url: str, entries: Iterable[Entry], answered: bool = False, changed: set[str] | None = None
) -> Iterator[Record | Entry]:
    """Read what objects under a normalised URL contain, in order; see `scan`.

    Args:
        url: that they are under.
        entries: the objects.
        answered: whether the store has answered already: then it need not give any of these.
        changed: takes the URLs of those that were not read in the version that their entries have.

    Raises TransferError as `scan`.
    """
    failures, reader = 0, _Reader(url, set() if changed is None else changed)
    for found in request_map(reader.begin, entries, _AT_ONCE, _unanswered):
        one = found if isinstance(found, (Record, Entry)) else reader.finish(*found)
        problem = one.problem if isinstance(one, Record) else None
        failures = failures + 1 if isinstance(problem, TransferError) else 0
        answered = answered or (isinstance(one, Record) and not failures)
        if failures >= _FAILURES_IN_A_ROW:
            assert problem is not None
            raise problem
        yield one
    if failures and not answered:
        assert problem is not None
        raise problem


def find_records(url: str, listed: Iterable[Page] | None = None) -> Iterator[Record]:
    """Find the records under a URL; see `scan`.

    >>> list(find_records("memory://no-such-folder"))
    []
    """
    return (one for one in scan(url, listed) if isinstance(one, Record))


def read_record(url: str) -> Record | None:
    """Read the record at the URL of one object; None if the object is not a record.

    Raises ResourceNotFoundError and TransferError.
    """
    url = io.normalise(url)
    stat = io.stat(url)
    entry = Entry(url, stat.modified, stat.nbytes, stat.version)
    reader = _Reader(url, set())
    found = reader.finish(*reader.fetch(entry))
    if isinstance(found, Record) and isinstance(found.problem, TransferError):
        raise found.problem
    return found if isinstance(found, Record) else None


class _Reader:
    """Reads the objects under a normalised URL.

    Args:
        url: that all is under.
        changed: takes the URLs of those that were not read in the version that their entries have.
    """

    def __init__(self, url: str, changed: set[str]) -> None:
        self._url = url
        self._changed = changed
        self._before = url.rstrip("/") + "/"
        # Below a folder of data there is nothing else.
        self._asks_all = is_data(self._before + "a")
        self._opened: tuple[float, Store, int] | None = None

    def begin(self, entry: Entry) -> Record | Entry | tuple[Entry, bytes]:
        """Fetch the first bytes of an object that may be a record."""
        if not self._is_plain(entry.url):
            if problem := leads_out(entry.url, self._url):
                return Record(entry.url, entry.modified, entry.nbytes, problem=problem)
            if is_data(entry.url):
                return entry
        try:
            return self.fetch(entry)
        except ResourceNotFoundError:
            return entry  # deleted since it was listed
        except CprError as error:
            return Record(entry.url, entry.modified, entry.nbytes, problem=error)

    def finish(self, entry: Entry, blob: bytes) -> Record | Entry:
        """The record that starts with these bytes; the entry of an object that is not a record."""
        if not begins_as_record(blob):
            return entry
        try:
            if len(blob) < entry.nbytes <= LARGEST_BYTES:
                entry, blob = self.fetch(entry, LARGEST_BYTES)
            found = parse_record(entry.url, entry.modified, entry.nbytes, blob)
            if found is not None and found.problem is not None and not entry.version:
                # What was replaced by more was cut where it ended before.
                entry, before = _now(entry), entry
                if entry.nbytes > before.nbytes:
                    entry, blob = self.fetch(entry, LARGEST_BYTES)
                    found = parse_record(entry.url, entry.modified, entry.nbytes, blob)
            return found or entry
        except ResourceNotFoundError:
            return entry
        except CprError as error:
            return Record(entry.url, entry.modified, entry.nbytes, problem=error)

    def _is_plain(self, url: str) -> bool:
        """Whether the characters of a name alone show that it is neither data nor unsafe."""
        return (
            not self._asks_all
            and url.startswith(self._before)
            and _PLAIN.fullmatch(url, len(self._before)) is not None
        )

    def _open(self, url: str) -> tuple[Store, str]:
        """As `open_store`, cached for a while, as most URLs share a store."""
        # What is in a URL that is more than a name, a secret say, is for `open_store` to refuse or to spell.
        if not self._is_plain(url):
            return open_store(url)
        opened, now = self._opened, time.monotonic()
        if opened is not None and now < opened[0]:
            return opened[1], url[opened[2] :]
        store, path = open_store(url)
        # Where a path is what its URL ends with, and nothing is set for some of them alone.
        if url.endswith(path) and kind_of(protocol_of(url)).literal_keys and not current_table().places:
            self._opened = now + _OPEN_SECONDS, store, len(url) - len(path)
        return store, path

    def fetch(self, entry: Entry, nbytes: int = _FIRST_BYTES) -> tuple[Entry, bytes]:
        """Fetch the first bytes of an object, pinned to the version in its entry if the store can.

        The entry that comes with them is another where another object is there by now.
        """
        if not entry.nbytes:
            return entry, b""
        with translate_errors(entry.url, "read"):
            store, path = self._open(entry.url)
            for _ in range(_TRIES):
                if not _pins(store, entry):
                    break
                stop = min(entry.nbytes, nbytes)
                with suppress(ChangedError):
                    block = bytes(store.fetch_version(path, 0, stop, entry.version))
                    if len(block) == stop:
                        return entry, block
                self._changed.add(entry.url)
                entry = _now(entry)
            self._changed.add(entry.url)
            entry = Entry(entry.url, entry.modified, entry.nbytes)
            return entry, bytes(fetch_block(store, path, 0, min(entry.nbytes, nbytes)))


def _unanswered(entry: Entry, error: NoAnswerError) -> Record:
    """The result for an object whose store has not answered in time."""
    try:
        with translate_errors(entry.url, "read"):
            raise error
    except CprError as problem:
        return Record(entry.url, entry.modified, entry.nbytes, problem=problem)


@cache
def _is_pinning(store: type[Store]) -> bool:
    # A question to a protocol's class takes as long as a request's way through it.
    return issubclass(store, PinningStore)


def _pins(store: Store, entry: Entry) -> TypeGuard[PinningStore]:
    """Whether the store can pin the version in an entry."""
    return _is_pinning(type(store)) and cast(PinningStore, store).can_pin(entry.version)


def _now(entry: Entry) -> Entry:
    """The entry of the present object, with the listed time. Raises as `io.stat`."""
    stat = io.stat(entry.url)
    return Entry(entry.url, entry.modified, stat.nbytes, stat.version)
