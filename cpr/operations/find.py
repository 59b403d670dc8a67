"""Finds results by URL or name, the same way for all commands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from cpr import io
from cpr.errors import CprError, ResourceNotFoundError
from cpr.io.humanize import counted
from cpr.operations.catalogue import look_at
from cpr.operations.records import Record
from cpr.operations.result import Result, exact, in_order, is_called, problems_of
from cpr.operations.result_filter import ResultFilter
from cpr.operations.scan import find_records
from cpr.provenance.provenance_record import Made

__all__ = [
    "RecordResults",
    "Result",
    "Results",
    "called",
    "find_results",
    "latest",
]


class Results(Protocol):
    """The targets that the records under a URL name.

    What it gives is in the order in which it was made. A target that was made several times is there once for
    each task run; of several records that name the same one, those that tell how it was made come first, then
    cache entries, then the newest.

    Attributes:
        count: how many targets records name, each time one is named.
        problems: the errors of records that cannot be read.
    """

    count: int
    problems: list[CprError]

    def all(self) -> list[Result]:
        """All results."""

    def called(self, wanted: str) -> list[Result]:
        """The results that a URL refers to, or whose file names start with a text."""

    def named(self, names: Collection[str]) -> list[Result]:
        """The results with these file names, in any folder."""

    def beside(self, choice: ResultFilter) -> list[Result]:
        """All results of the records that name a chosen one, record by record, as often as named."""

    def in_records(self, names: Collection[str]) -> list[Result]:
        """All results of the records with these names, in any folder; as `beside`."""

    def near(self, made: Made) -> list[Result]:
        """Candidates for comparison: the task's earlier results from resources at the same places.

        Of very many only the newest.
        """


class RecordResults:
    """`Results` in memory; see there."""

    def __init__(
        self, records: Iterable[Record], on_progress: Callable[..., None], total: int | None = None
    ) -> None:
        self._all: list[Result] = []
        self.problems: list[CprError] = []
        for record in records:
            on_progress(total=total)
            self.problems += problems_of(record)
            self._all += Result.all_in(record)
        self.count = len(self._all)

    def all(self) -> list[Result]:
        """All results."""
        return in_order(self._all)

    def called(self, wanted: str) -> list[Result]:
        """The results that a name or URL refers to."""
        return exact(in_order(one for one in self._all if is_called(one, wanted)), wanted)

    def named(self, names: Collection[str]) -> list[Result]:
        """The results with these file names."""
        return in_order(one for one in self._all if one.reference.file_name in names)

    def beside(self, choice: ResultFilter) -> list[Result]:
        """All results of the records that name a chosen result."""
        records = {one.record for one in self._all if choice.takes(one)}
        return [one for one in self._all if one.record in records]

    def in_records(self, names: Collection[str]) -> list[Result]:
        """All results of the records with these names."""
        return [one for one in self._all if io.split(one.record)[1] in names]

    def near(self, made: Made) -> list[Result]:  # noqa: ARG002
        """Candidates for comparison with a result."""
        return self.all()


def find_results(url: str, on_progress: Callable[..., None] = lambda **_: None) -> Results:
    """Read the records under a URL; returns the targets that they name.

    Args:
        url: a results URL.
        on_progress: called for each record that is read, with their `total`.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the store refused or failed.

    >>> find_results("memory://no-such-folder").all()
    []
    """
    place = look_at(url)
    if place.is_large:
        from cpr.operations.catalogue.catalogue_results import CatalogueResults

        return CatalogueResults(url, on_progress, place.pages)
    return RecordResults(find_records(url, place.pages), on_progress, place.total)


def called(results: Results, wanted: str, url: str) -> list[Result]:
    """As `Results.called`. Raises ResourceNotFoundError for a name that matches nothing.

    Args:
        results: to choose from.
        wanted: URL or file name, or how that begins.
        url: where the results were looked for, for the error.
    """
    found = results.called(wanted)
    if not found:
        raise ResourceNotFoundError(
            "no record here names such a result",
            url=url,
            expected=wanted,
            actual=f"{results.count} other results{_and_unreadable(results)}",
            remedy="cpr ls lists the results; name the place where Prefect's result storage writes",
        )
    return found


def _and_unreadable(results: Results) -> str:
    count = len(results.problems)
    return f", and {counted(count, 'record')} that cannot be read" if count else ""


def latest(results: Iterable[Result]) -> dict[str, Result]:
    """By URL, the latest result there."""
    return {one.url: one for one in results}
