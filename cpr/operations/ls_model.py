"""The data model of `cpr ls`: listed targets, runs and totals."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cpr.errors import CprError
from cpr.operations.object_names import number_of, owner_of

__all__ = ["Listed", "Listing", "Run", "add_object"]


@dataclass(frozen=True)
class Listed:
    """A target as `cpr ls` lists it.

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
    """A run of a flow, as far as records say.

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
        """Count a target."""
        self.first, self.last = min(self.first, one.when), max(self.last, one.when)
        self.targets += 1
        self.nbytes += one.nbytes
        if one.task is not None:
            self.tasks.add(one.task)


@dataclass
class Listing:
    """The outcome of `cpr ls`: the newest targets, the runs, and totals.

    Attributes:
        newest: the targets made last, as many as were asked for, newest first.
        runs: of flows, newest first.
        records: how many records there are, those of other serializers among them.
        foreign: how many of these were written by other serializers.
        targets: how many targets records name, each counted once.
        nbytes: of all of these.
        unrecorded: how many targets lie here that no record here names.
        unrecorded_nbytes: of all of these.
        problems: the errors of records that cannot be read, or not wholly.
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


def add_object(others: dict[int, Listed], url: str, nbytes: int, modified: datetime) -> None:
    """Count an object: a target, or a part of one."""
    found = owner_of(url)
    if found is None:
        return
    number = number_of(found.target)
    known = others.get(number)
    if known is None:
        others[number] = Listed(found.target, None, nbytes, modified)
    else:
        others[number] = Listed(found.target, None, known.nbytes + nbytes, max(known.when, modified))
