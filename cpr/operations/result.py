"""A result: a target and the record that names it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cpr import io
from cpr.errors import CprError
from cpr.operations.records import Record, Reference
from cpr.provenance.provenance_record import Made
from cpr.provenance.storage import read_whole

__all__ = ["Result", "exact", "in_order", "is_called", "problems_of"]


@dataclass(frozen=True)
class Result:
    """A target, and the record that names it.

    Attributes:
        reference: the target as the record names it.
        record: URL of the record.
        recorded: when the record was written.
        is_cached: whether Prefect may take the record for the result of a task that is to run.
    """

    reference: Reference
    record: str
    recorded: datetime
    is_cached: bool

    @classmethod
    def all_in(cls, record: Record) -> list[Result]:
        """The targets that a record names."""
        about = (record.url, record.modified, record.is_cache_entry)
        return [cls(one, *about) for one in record.targets]

    @property
    def url(self) -> str:
        """The target's URL."""
        return self.reference.url

    @property
    def at(self) -> int:
        """When it was made, in seconds since 1970 UTC; 0 if its record does not say."""
        made = self.reference.made
        return (made.at if made is not None else None) or 0

    def whole_made(self) -> Made | None:
        """The full provenance, if it can be read; None if the record has none."""
        made = self.reference.made
        try:
            return None if made is None else read_whole(made, self.url)
        except CprError:
            return made  # task, run and source are known all the same


def in_order(found: Iterable[Result]) -> list[Result]:
    """Sort results in the order of `Results`."""
    known: dict[tuple[str, str | None], Result] = {}
    for one in found:
        made = one.reference.made
        place = (one.url, made.task_run if made is not None else None)
        if place not in known or _tells(known[place]) < _tells(one):
            known[place] = one
    return sorted(known.values(), key=lambda one: (one.at, one.recorded))


def problems_of(record: Record) -> tuple[CprError, ...]:
    """The problems of a record, with its URL."""
    for problem in record.problems:
        problem.url = record.url
    return record.problems


def _tells(one: Result) -> tuple[bool, bool, datetime]:
    return one.reference.made is not None, one.is_cached, one.recorded


def is_called(one: Result, wanted: str) -> bool:
    """Whether a name or URL refers to a result."""
    name = re.split(r"[/\\]", wanted)[-1]
    return one.url == _normal(wanted) or (name != "" and one.reference.file_name.startswith(name))


def exact(found: list[Result], wanted: str) -> list[Result]:
    """The results with exactly this URL, if there are any; else all found."""
    return [one for one in found if one.url == _normal(wanted)] or found


@functools.lru_cache(8)
def _normal(wanted: str) -> str | None:
    """A URL as records spell it; None for a plain name."""
    try:
        return io.normalise(wanted) if re.search(r"[/\\]", wanted) else None
    except CprError:
        return None
