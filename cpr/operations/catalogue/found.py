"""Results by their names, from columns: only the records that name them are read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpr.io.stores.base import Line
from cpr.operations.catalogue.catalogue import read_catalogue
from cpr.operations.catalogue.rows import number_of_places
from cpr.operations.choice import Choice
from cpr.operations.result import Result, exact, in_order, is_called, problems_of
from cpr.provenance.made import Made

__all__ = ["CatalogueResults"]

_COLUMNS = ("file", "size", "at", "task", "places", "flow", "flow_run")
# A task may have made a hundred thousand results of one file, and each costs a request.
_MOST_NEAR = 1000


class CatalogueResults:
    """`cpr.operations.find.Results`; see there."""

    def __init__(
        self, url: str, on_progress: Callable[..., None], listed: Iterable[Line] | None = None
    ) -> None:
        self._catalogue = read_catalogue(url, _COLUMNS, on_progress, listed)
        rows = self._catalogue.rows
        self._is_target = pc.is_valid(rows["size"]).to_numpy()
        self.count = int(np.count_nonzero(self._is_target))
        known = sorted(self._catalogue.records.items())
        self.problems = [problem for _, record in known for problem in problems_of(record)]

    def all(self) -> list[Result]:
        """All of them."""
        return in_order(self._read(self._is_target))

    def called(self, wanted: str) -> list[Result]:
        """Those that are called so."""
        mask = self._called(wanted)
        return exact(in_order(one for one in self._read(mask) if is_called(one, wanted)), wanted)

    def named(self, names: Collection[str]) -> list[Result]:
        """Those with these file names."""
        mask = self._named(pa.array(names, pa.string()))
        return in_order(one for one in self._read(mask) if one.reference.file_name in names)

    def beside(self, choice: Choice) -> list[Result]:
        """All results of the records that name a chosen one."""
        rows, mask = self._catalogue.rows, np.ones(len(self._is_target), np.bool_)
        for name, value in (("task", choice.task), ("flow", choice.flow)):
            if value is not None:
                mask &= pc.equal(rows[name], value).fill_null(False).to_numpy()
        if choice.run_digits is not None:
            run = pc.starts_with(rows["flow_run"].cast(pa.string()), choice.run_digits)
            mask &= run.fill_null(choice.run_digits == "").to_numpy()
        if choice.name is not None:
            mask &= self._called(choice.name)
        results = self._read(mask)
        by_record = itertools.groupby(results, lambda one: one.record)
        groups = (list(group) for _, group in by_record)
        return [one for group in groups if any(map(choice.takes, group)) for one in group]

    def in_records(self, names: Collection[str]) -> list[Result]:
        """All results of the records that have these names."""
        chosen = self._catalogue.listing.called(names)
        return list(self._read(chosen[self._catalogue.index]))

    def near(self, made: Made) -> list[Result]:
        """Those that may be near: of what was made before, the newest thousand."""
        rows = self._catalogue.rows
        places = pc.or_kleene(pc.equal(rows["places"], number_of_places(made)), pc.is_null(rows["places"]))
        task = rows["task"]
        same = pc.is_null(task) if made.task is None else pc.equal(task, made.task)
        at = rows["at"].fill_null(0)
        chosen = pc.and_kleene(pc.and_kleene(same, places), pc.less_equal(at, made.at or 0))
        if made.flow_run is not None:
            other = pc.not_equal(rows["flow_run"], made.flow_run).fill_null(True)
            chosen = pc.and_kleene(chosen, other)
        found = np.flatnonzero(chosen.fill_null(False).to_numpy())
        newest = found[np.argsort(-at.to_numpy()[found], kind="stable")[:_MOST_NEAR]]
        # All records that name the same, for the best of them counts.
        return in_order(self._read(self._named(rows["file"].take(pa.array(newest)))))

    def _called(self, wanted: str) -> npt.NDArray[np.bool_]:
        name = re.split(r"[/\\]", wanted)[-1]
        # A URL that ends in a slash is that of no file.
        found = pc.and_(pc.starts_with(self._catalogue.rows["file"], name), name != "")
        return np.array(found.to_numpy())

    def _named(self, names: pa.Array) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = pc.is_in(self._catalogue.rows["file"], names).to_numpy()
        return found

    def _read(self, mask: npt.NDArray[np.bool_]) -> Iterable[Result]:
        records = self._catalogue.read(mask & self._is_target)
        return (one for record in records for one in Result.all_in(record))
