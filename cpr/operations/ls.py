"""What a run has produced: the targets under a URL, with what their records say, newest first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from cpr.errors import CprError
from cpr.operations.object_names import number_of, owner_of
from cpr.operations.records import Record
from cpr.operations.scan import scan
from cpr.provenance.made import Made

__all__ = ["Listed", "Listing", "Run", "list_results"]


@dataclass(frozen=True)
class Listed:
    """One target.

    Attributes:
        url: where it is.
        type: its record type, or None for an object that no record here names.
        nbytes: its size.
        when: it was made, as its record tells; else when its record, or itself, was written.
        task: name of the task that made it, where the record tells.
        flow: name of the flow.
        flow_run: id of the flow's run.
        record: URL of the record that names it.
    """

    url: str
    type: str | None
    nbytes: int
    when: datetime
    task: str | None = None
    flow: str | None = None
    flow_run: str | None = None
    record: str | None = None


@dataclass
class Run:
    """One run of a flow, as far as records tell.

    Attributes:
        flow_run: its id.
        flow: the flow's name.
        first, last: when the first and the last of its targets were made.
        tasks: names of the tasks.
        targets: how many targets it made.
        nbytes: of all of them.
    """

    flow_run: str | None
    flow: str | None
    first: datetime
    last: datetime
    tasks: set[str] = field(default_factory=set)
    targets: int = 0
    nbytes: int = 0

    def add(self, one: Listed) -> None:
        """Count a target in."""
        self.first, self.last = min(self.first, one.when), max(self.last, one.when)
        self.targets += 1
        self.nbytes += one.nbytes
        if one.task is not None:
            self.tasks.add(one.task)


@dataclass
class Listing:
    """What was found.

    Attributes:
        newest: the targets made last, as many as were asked for, newest first.
        runs: of flows, newest first.
        records: how many records there are, those of other serializers among them.
        foreign: how many of these were written by other serializers.
        targets: how many targets records name, each counted once.
        nbytes: of all of these.
        unrecorded: how many targets lie here that no record here names.
        unrecorded_nbytes: of all of these.
        problems: what is wrong with records that cannot be read, or not wholly.
    """

    newest: list[Listed] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    records: int = 0
    foreign: int = 0
    targets: int = 0
    nbytes: int = 0
    unrecorded: int = 0
    unrecorded_nbytes: int = 0
    problems: list[CprError] = field(default_factory=list)


def list_results(
    url: str, limit: int | None = None, on_progress: Callable[[], None] = lambda: None
) -> Listing:
    """The targets under a results URL; reads records and listings, no data.

    Args:
        url: where records are, targets, or both.
        limit: keep no more than so many of the newest targets; the sums are of all.
        on_progress: is called for each record.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the store refused or failed.

    >>> list_results("memory://no-such-folder").targets
    0
    """
    listing = Listing()
    newest = _Newest(limit)
    runs: dict[str | None, Run] = {}
    recorded: set[int] = set()
    others: dict[int, Listed] = {}
    for found in scan(url):
        if not isinstance(found, Record):
            _add_object(others, found.url, found.nbytes, found.modified)
            continue
        on_progress()
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


def _add_object(others: dict[int, Listed], url: str, nbytes: int, modified: datetime) -> None:
    """Count an object in: a target, or a part of one."""
    found = owner_of(url)
    if found is None:
        return
    number = number_of(found.target)
    known = others.get(number)
    if known is None:
        others[number] = Listed(found.target, None, nbytes, modified)
    else:
        others[number] = Listed(found.target, None, known.nbytes + nbytes, max(known.when, modified))


class _Newest:
    """The newest of all that is added, no more than so many in memory."""

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
