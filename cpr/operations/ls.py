"""Lists the targets under a URL, with what their records say, newest first.

Of many records by the catalogue (`cpr.operations.catalogue.ls_columns`), with equal results.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from cpr.io.stores.listings import Page
from cpr.operations.catalogue import look_at
from cpr.operations.ls_model import Listed, Listing, Run, add_object
from cpr.operations.object_names import number_of
from cpr.operations.records import Record
from cpr.operations.scan import scan
from cpr.provenance.provenance_record import Made

__all__ = ["Listed", "Listing", "Run", "list_records", "list_results"]


def list_results(
    url: str, limit: int | None = None, on_progress: Callable[..., None] = lambda **_: None
) -> Listing:
    """List the targets under a results URL; reads records and listings, no data.

    Args:
        url: where records are, targets, or both.
        limit: keep no more than so many of the newest targets; the sums are of all.
        on_progress: called for each record that is read, with their `total`.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the store refused or failed.

    >>> list_results("memory://no-such-folder").targets
    0
    """
    place = look_at(url)
    if place.is_large:
        from cpr.operations.catalogue.ls_columns import list_columns

        return list_columns(url, limit, on_progress, place.pages)
    return list_records(url, limit, on_progress, place.pages, place.total)


def list_records(
    url: str,
    limit: int | None,
    on_progress: Callable[..., None],
    listed: Iterable[Page] | None = None,
    total: int | None = None,
) -> Listing:
    """As `list_results`, reading every record."""
    listing = Listing()
    newest = _Newest(limit)
    runs: dict[str | None, Run] = {}
    recorded: set[int] = set()
    others: dict[int, Listed] = {}
    for found in scan(url, listed):
        if not isinstance(found, Record):
            add_object(others, found.url, found.nbytes, found.modified)
            continue
        on_progress(total=total)
        listing.records += 1
        listing.foreign += found.is_foreign
        for problem in found.problems:
            problem.url = found.url
            listing.problems.append(problem)
        for one in _named_by(found):
            if (known := number_of(one.url)) in recorded:
                continue
            recorded.add(known)
            listing.targets += 1
            listing.nbytes += one.nbytes
            newest.add(one)
            if one.flow_run is not None:
                runs.setdefault(one.flow_run, Run(one.flow_run, one.flow, one.when, one.when)).add(one)
    for number, one in others.items():
        if number not in recorded:
            listing.unrecorded += 1
            listing.unrecorded_nbytes += one.nbytes
            newest.add(one)
    listing.newest = newest.sorted()
    listing.runs = sorted(runs.values(), key=lambda run: run.last, reverse=True)
    return listing


def _named_by(record: Record) -> Iterator[Listed]:
    for target in record.targets:
        made = target.made or Made()
        when = made.when or record.modified
        nbytes = target.nbytes or 0
        yield Listed(target.url, target.type, nbytes, when, made.task, made.flow, made.flow_run, record.url)


class _Newest:
    """Keeps only the newest of the items added."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._kept: list[tuple[datetime, int, Listed]] = []
        self._count = 0

    def add(self, one: Listed) -> None:
        self._count += 1
        item = (one.when, -self._count, one)
        if self._limit is None or len(self._kept) < self._limit:
            heapq.heappush(self._kept, item)
        elif self._kept:
            heapq.heappushpop(self._kept, item)

    def sorted(self) -> list[Listed]:
        return [one for _, _, one in sorted(self._kept, key=lambda item: item[:2], reverse=True)]
