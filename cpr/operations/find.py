"""Results by their URL or name: the one way in which all commands find them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cpr import io
from cpr.errors import CprError, ResourceNotFoundError
from cpr.operations.records import Record, Reference
from cpr.operations.scan import find_records
from cpr.provenance.made import Made
from cpr.provenance.storage import read_whole

__all__ = ["Result", "find_results", "latest", "matching"]


@dataclass(frozen=True)
class Result:
    """A target, and the record that names it.

    Attributes:
        reference: the target as the record names it.
        record: URL of the record.
        recorded: when that was written.
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
        """Of the target."""
        return self.reference.url

    @property
    def at(self) -> int:
        """When it was made, in seconds since 1970 UTC; 0 where its record does not tell."""
        made = self.reference.made
        return (made.at if made is not None else None) or 0

    def whole_made(self) -> Made | None:
        """How it came to be, with all arguments if they can be read; None if the record does not tell."""
        made = self.reference.made
        try:
            return None if made is None else read_whole(made, self.url)
        except CprError:
            return made  # task, run and source are known all the same


def find_results(
    url: str,
    on_progress: Callable[[], None] = lambda: None,
    wanted: str | None = None,
    problems: list[CprError] | None = None,
) -> list[Result]:
    """The targets that the records under a URL name, the latest made last.

    A target that was made several times is there once for each task run. Of several records that name the
    same one, those that tell how it was made come first, then cache entries, then the newest.

    Args:
        url: a results URL.
        on_progress: is called for each record.
        wanted: only results that are called so; see `matching`.
        problems: takes what is wrong with records that cannot be read.

    Raises:
        ResourceNotFoundError: the bucket does not exist, or nothing is called as `wanted`.
        TransferError: the store refused or failed.
    """
    known: dict[tuple[str, str | None], Result] = {}
    count = 0
    for record in find_records(url):
        on_progress()
        for problem in record.problems if problems is not None else ():
            problem.url = record.url
            problems.append(problem)  # type: ignore[union-attr]
        for one in Result.all_in(record):
            count += 1
            if wanted is not None and not _is_called(one, wanted):
                continue
            made = one.reference.made
            place = (one.url, made.task_run if made is not None else None)
            if place not in known or _tells(known[place]) < _tells(one):
                known[place] = one
    found = sorted(known.values(), key=lambda one: (one.at, one.recorded))
    return found if wanted is None else _exact(found, wanted, url, count)


def matching(results: Sequence[Result], wanted: str, url: str) -> list[Result]:
    """Those results that are called so: by their URL, else all whose file names begin so.

    Args:
        results: to choose from.
        wanted: URL or file name, or how that begins.
        url: where the results were looked for, for the error.

    Raises ResourceNotFoundError for a name that nothing has.
    """
    return _exact([one for one in results if _is_called(one, wanted)], wanted, url, len(results))


def latest(results: Iterable[Result]) -> dict[str, Result]:
    """By URL, the last of what was made there."""
    return {one.url: one for one in results}


def _tells(one: Result) -> tuple[bool, bool, datetime]:
    return one.reference.made is not None, one.is_cached, one.recorded


def _is_called(one: Result, wanted: str) -> bool:
    name = re.split(r"[/\\]", wanted)[-1]
    return one.url == _normal(wanted) or (name != "" and one.reference.file_name.startswith(name))


def _exact(found: list[Result], wanted: str, url: str, count: int) -> list[Result]:
    if not found:
        raise ResourceNotFoundError(
            "no record here names such a result",
            url=url,
            expected=wanted,
            actual=f"{count} other results",
            remedy="cpr ls lists the results; name the place where Prefect's result storage writes",
        )
    return [one for one in found if one.url == _normal(wanted)] or found


@functools.lru_cache(8)
def _normal(wanted: str) -> str | None:
    """A URL as records spell it; None for a plain name."""
    try:
        return io.normalise(wanted) if re.search(r"[/\\]", wanted) else None
    except CprError:
        return None
