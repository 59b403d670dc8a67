"""`cpr ls` from columns, with the same result as from single records (`cpr.operations.ls`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpr import io
from cpr.io.stores.listings import Page
from cpr.operations.catalogue.arrow_arrays import column, total, values
from cpr.operations.catalogue.catalogue import Catalogue, read_catalogue
from cpr.operations.catalogue.listing_columns import give_back
from cpr.operations.catalogue.rows import FOREIGN, NONE
from cpr.operations.ls_model import Listed, Listing, Run, add_object

__all__ = ["Targets", "list_columns"]

_COLUMNS = ("type", "location", "file", "size", "at", "task", "flow", "flow_run")
_TEXTS = 1 << 16  # at a time
_ODD = np.int64(-7_046_029_254_386_353_131)  # 2**64 / golden ratio: codes are spread over all bits


def list_columns(
    url: str, limit: int | None, on_progress: Callable[..., None], listed: Iterable[Page]
) -> Listing:
    """As `cpr.operations.ls.list_results`, for a listing that was started."""
    catalogue = read_catalogue(url, _COLUMNS, on_progress, listed)
    lines = catalogue.listing
    listing = Listing()
    listing.records = int(np.count_nonzero(catalogue.kinds != NONE))
    listing.foreign = int(np.count_nonzero(catalogue.kinds == FOREIGN))
    for index, record in sorted(catalogue.records.items()):
        listing.foreign += record.is_foreign
        for problem in record.problems:
            problem.url = lines.url_of(index)
            listing.problems.append(problem)
    targets = Targets(catalogue)
    listing.targets, listing.nbytes = len(targets.rows), total(targets.size)
    listing.runs = targets.runs()
    others = _unrecorded(catalogue)
    listing.unrecorded = len(others)
    listing.unrecorded_nbytes = sum(one.nbytes for one in others)
    whens = np.concatenate(
        [targets.when, np.array([_micros(one.when.timestamp()) for one in others], np.int64)]
    )
    newest = np.lexsort((np.arange(len(whens)), -whens))[:limit]
    count = len(targets.rows)
    listing.newest = [targets.listed(n) if n < count else others[n - count] for n in newest]
    return listing


def _distinct_rows(catalogue: Catalogue) -> npt.NDArray[np.int64]:
    """The first row of each target that records name."""
    is_target = pc.is_valid(catalogue.rows["size"])
    rows = np.flatnonzero(values(is_target))
    place = _codes(catalogue.rows["location"]).astype(np.int64) * _ODD ^ _numbers(catalogue.rows["file"])
    place = place[rows]
    # To sort numbers takes a tenth of what it takes to sort their places, and mostly all are there once.
    ordered = np.sort(place)
    if (ordered[1:] == ordered[:-1]).any():
        rows = rows[np.sort(np.unique(place, return_index=True)[1])]
    give_back()
    return rows


class Targets:
    """The targets that records name, each once.

    Attributes:
        rows: by target, the first row of the catalogue that names it.
        index: the object that this is of.
        size: in bytes.
        when: it was made, in millionths of a second since 1970; else when the record was written.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.rows = _distinct_rows(catalogue)
        self.size = self._numbers("size")
        self.index = catalogue.index[self.rows]
        modified = _micros(catalogue.listing.modified[self.index])
        at = self._numbers("at")
        self.when = np.where(at < 0, modified, at * 1_000_000)

    def _numbers(self, name: str) -> npt.NDArray[np.int64]:
        """A column, with -1 for nulls."""
        column = values(self._catalogue.rows[name], -1)
        found: npt.NDArray[np.int64] = column[self.rows]
        return found

    def _time(self, number: int) -> datetime:
        at = self._catalogue.rows["at"][int(self.rows[number])].as_py()
        lines = self._catalogue.listing
        return lines.time_of(self.index[number]) if at is None else _time(at)

    def listed(self, number: int) -> Listed:
        """One of the targets."""
        row = {name: column[int(self.rows[number])].as_py() for name, column in self._columns()}
        return Listed(
            io.join(row["location"], row["file"]),
            row["type"],
            row["size"],
            self._time(number),
            row["task"],
            row["flow"],
            row["flow_run"],
            self._catalogue.listing.url_of(self.index[number]),
        )

    def _columns(self) -> list[tuple[str, Any]]:
        table = self._catalogue.rows
        return [(name, table[name]) for name in _COLUMNS]

    def runs(self) -> list[Run]:
        """Runs of flows, the latest first."""
        table = self._catalogue.rows
        code = _codes(table["flow_run"])[self.rows]
        chosen = np.flatnonzero(code >= 0)
        if not len(chosen):
            return []
        task = _codes(table["task"])
        order = chosen[np.argsort(code[chosen], kind="stable")]
        starts = np.flatnonzero(np.r_[True, np.diff(code[order]) != 0])
        runs = []
        for members in np.split(order, starts[1:]):
            when = self.when[members]
            first, last = members[int(np.argmin(when))], members[int(np.argmax(when))]
            row = int(self.rows[members[0]])
            run = Run(
                table["flow_run"][row].as_py(),
                table["flow"][row].as_py(),
                self._time(first),
                self._time(last),
            )
            named = np.unique(task[self.rows[members]], return_index=True)[1]
            names = {table["task"][int(self.rows[members[one]])].as_py() for one in named}
            run.tasks = names - {None}
            run.targets, run.nbytes = len(members), total(self.size[members])
            runs.append((int(members[0]), run))
        # As they come in the listing, where they ended at the same time.
        runs.sort(key=lambda one: one[0])
        return sorted((run for _, run in runs), key=lambda run: run.last, reverse=True)


def _unrecorded(catalogue: Catalogue) -> list[Listed]:
    """Names of the targets that no record names."""
    lines = catalogue.listing
    others: dict[int, Listed] = {}
    for index in np.flatnonzero(catalogue.kinds == NONE):
        add_object(others, lines.url_of(index), int(lines.nbytes[index]), lines.time_of(index))
    names = column([io.split(one.url)[1] for one in others.values()], pa.string())
    table = catalogue.rows
    mask = pc.and_(pc.is_in(table["file"], names), pc.is_valid(table["size"]))
    named = table.select(["location", "file"]).filter(mask).to_pydict()
    recorded = {io.join(*place) for place in zip(named["location"], named["file"], strict=True)}
    return [one for one in others.values() if one.url not in recorded]


def _codes(texts: Any) -> npt.NDArray[np.int32]:
    """The codes of a dictionary-encoded text column; -1 for nulls."""
    found: npt.NDArray[np.int32] = values(texts.unify_dictionaries().combine_chunks().indices, -1)
    return found


def _numbers(texts: Any) -> npt.NDArray[np.int64]:
    """A number for each text; a dictionary of them would take a hundred megabytes per million."""
    parts = (texts.slice(start, _TEXTS).to_pylist() for start in range(0, len(texts), _TEXTS))
    return np.fromiter(chain.from_iterable(map(hash, part) for part in parts), np.int64, len(texts))


def _micros(seconds: Any) -> Any:
    """Convert to microseconds, rounded as Python's datetime does."""
    whole = np.floor(np.clip(seconds, -62_135_510_400, 253_370_764_800))
    return (whole * 1e6).astype(np.int64) + np.rint((np.asarray(seconds) - whole) * 1e6).astype(np.int64)


def _time(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)
