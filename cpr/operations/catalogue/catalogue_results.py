"""Finds results by name in the catalogue, and reads only the records that name them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpr.io.stores.listings import Page
from cpr.operations.catalogue.arrow_arrays import column, numbers, scalar, values
from cpr.operations.catalogue.catalogue import read_catalogue
from cpr.operations.catalogue.rows import number_of_places
from cpr.operations.result import Result, exact, in_order, is_called, problems_of
from cpr.operations.result_filter import ResultFilter
from cpr.provenance.provenance_record import Made

__all__ = ["CatalogueResults"]

_COLUMNS = ("file", "size", "at", "task", "places", "flow", "flow_run")
# A task may have made a hundred thousand results of one file, and each costs a request.
_MOST_NEAR = 1000


class CatalogueResults:
    """`cpr.operations.find.Results`; see there."""

    def __init__(
        self, url: str, on_progress: Callable[..., None], listed: Iterable[Page] | None = None
    ) -> None:
        self._catalogue = read_catalogue(url, _COLUMNS, on_progress, listed)
        rows = self._catalogue.rows
        self._is_target = values(pc.is_valid(rows["size"]))
        self.count = int(np.count_nonzero(self._is_target))
        known = [record for _, record in sorted(self._catalogue.records.items())]
        self.problems = [problem for record in known for problem in problems_of(record)]
        self._told = set(map(id, known))

    def all(self) -> list[Result]:
        """All results."""
        return in_order(self._read(self._is_target))

    def called(self, wanted: str) -> list[Result]:
        """The results that a name or URL refers to."""
        mask = self._called(wanted)
        return exact(in_order(one for one in self._read(mask) if is_called(one, wanted)), wanted)

    def named(self, names: Collection[str]) -> list[Result]:
        """The results with these file names."""
        mask = self._named(column(list(names), pa.string()))
        return in_order(one for one in self._read(mask) if one.reference.file_name in names)

    def beside(self, choice: ResultFilter) -> list[Result]:
        """All results of the records that name a chosen result."""
        rows, mask = self._catalogue.rows, np.ones(len(self._is_target), np.bool_)
        for name, value in (("task", choice.task), ("flow", choice.flow)):
            if value is not None:
                mask &= values(pc.equal(rows[name], scalar(value)))
        if choice.run_digits is not None:
            run = pc.starts_with(rows["flow_run"].cast(pa.string()), choice.run_digits)
            mask &= values(run, choice.run_digits == "")
        if choice.name is not None:
            mask &= self._called(choice.name)
        results = self._read(mask)
        by_record = itertools.groupby(results, lambda one: one.record)
        groups = (list(group) for _, group in by_record)
        return [one for group in groups if any(map(choice.takes, group)) for one in group]

    def in_records(self, names: Collection[str]) -> list[Result]:
        """All results of the records with these names."""
        chosen = self._catalogue.listing.called(names)
        return list(self._read(chosen[self._catalogue.index]))

    def near(self, made: Made) -> list[Result]:
        """Candidates for comparison with a result: the newest thousand of what was made before it."""
        rows, task = self._catalogue.rows, self._catalogue.rows["task"]
        at = values(rows["at"])
        chosen = at <= (made.at or 0)
        chosen &= values(pc.is_null(task) if made.task is None else pc.equal(task, scalar(made.task)))
        untold = values(pc.is_null(rows["places"]))
        chosen &= untold | (values(rows["places"]) == number_of_places(made))
        if made.flow_run is not None:
            chosen &= values(pc.not_equal(rows["flow_run"], scalar(made.flow_run)), True)
        found = np.flatnonzero(chosen)
        newest = found[np.argsort(-at[found], kind="stable")[:_MOST_NEAR]]
        # All records that name the same, for the best of them counts.
        return in_order(self._read(self._named(rows["file"].take(numbers(newest)))))

    def _called(self, wanted: str) -> npt.NDArray[np.bool_]:
        name = re.split(r"[/\\]", wanted)[-1]
        # A URL that ends in a slash is that of no file.
        if not name:
            return np.zeros(len(self._is_target), np.bool_)
        return np.array(values(pc.starts_with(self._catalogue.rows["file"], name)))

    def _named(self, names: pa.Array) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = values(pc.is_in(self._catalogue.rows["file"], names))
        return found

    def _read(self, mask: npt.NDArray[np.bool_]) -> Iterator[Result]:
        """Read the records of these rows; problems that occurred since are reported once."""
        for record in self._catalogue.read(mask & self._is_target):
            if record.problems and id(record) not in self._told:
                self._told.add(id(record))
                self.problems += problems_of(record)
            yield from Result.all_in(record)
