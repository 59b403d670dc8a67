"""Reads the records under a URL as columns: from files of earlier commands, and from newer records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import tee

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpr import io
from cpr.errors import CprError, RecordError, ResourceNotFoundError
from cpr.io.config import current_table
from cpr.io.stores.base import Entry
from cpr.io.stores.listings import Page
from cpr.operations.catalogue import segments
from cpr.operations.catalogue.arrow_arrays import mask, numbers, values
from cpr.operations.catalogue.find_names import positions
from cpr.operations.catalogue.listing_columns import Listing, give_back
from cpr.operations.catalogue.rows import AWKWARD, NONE, OBJECT, Rows, encoded, kind_of, sound
from cpr.operations.object_names import is_data
from cpr.operations.path_safety import leads_out
from cpr.operations.records import Record
from cpr.operations.scan import read_all, read_record

log = logging.getLogger("cpr")

__all__ = ["Catalogue", "read_catalogue"]

_LEAST_NEW = 64  # objects that are worth a file
_MOST_SEGMENTS = 256
_UNREAD = 255
_HEADS = [name for name in OBJECT.names if name != "cached"]  # which no command asks for


@dataclass
class Catalogue:
    """The objects under a URL, and the rows of their records.

    Attributes:
        listing: all objects.
        kinds: by object, whether it is a record, and of what sort; NONE for data.
        rows: of all resources that records name, in the listing's order.
        index: by row, the object.
        records: records that were read and have something wrong with them, by object.
    """

    listing: Listing
    kinds: npt.NDArray[np.uint8]
    rows: pa.Table
    index: npt.NDArray[np.int64]
    records: dict[int, Record] = field(default_factory=dict)

    def read(self, chosen_rows: npt.NDArray[np.bool_]) -> Iterator[Record]:
        """Read the records that some rows came from, in the order of the listing.

        One that was deleted since it was listed is not among them. One that is no record any more, or cannot
        be read, is, with that problem; it is kept in `records`, and not read again.
        """
        chosen = np.unique(self.index[chosen_rows])
        known = {int(index): self.records[int(index)] for index in chosen if int(index) in self.records}
        unread = chosen[~np.isin(chosen, list(known))]
        entries = (line.entry for line in self.listing.lines(unread))
        found = read_all(self.listing.url, entries, answered=bool(len(self.kinds)))
        for index in map(int, chosen):
            one = known[index] if index in known else _as_record(next(found))
            if one is None:
                continue
            if one.problems:
                self.records[index] = one
            yield one


def _as_record(found: Record | Entry) -> Record | None:
    """What an object is now that was a record when it was listed; None if it was deleted.

    Of what is there by now and no record it is a problem that it is none.
    """
    if isinstance(found, Record):
        return found
    try:
        now = read_record(found.url)
        if now is not None:
            return now
        raise RecordError(
            "this was a record when it was listed, and is none any more",
            url=found.url,
            expected="a record of Prefect or cpr",
            actual="something else, written meanwhile",
            remedy="look again; if it stays so, delete it, so that its task runs again",
        )
    except ResourceNotFoundError:
        return None
    except CprError as problem:
        return Record(found.url, found.modified, found.nbytes, problem=problem)


@dataclass(eq=False)
class _Segment:
    """A file of rows.

    Attributes:
        url: of the file.
        nbytes: its size.
        holds: by row, whether it is of an object that is there in this version.
        table: those that are of resources.
        index: by row of these, the object.
    """

    url: str
    nbytes: int
    holds: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    table: pa.Table | None = None
    index: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def rows(self) -> int:
        return len(self.holds)

    @property
    def useful(self) -> int:
        return int(np.count_nonzero(self.holds))


def read_catalogue(
    url: str,
    columns: Sequence[str],
    on_progress: Callable[..., None] = lambda **_: None,
    listed: Iterable[Page] | None = None,
) -> Catalogue:
    """List the objects under a URL, and read the records that no earlier command has cached.

    What was read is kept for later commands where that is worth a file, and this process may write there.

    Args:
        url: a results URL.
        columns: of `RESOURCE` to read.
        on_progress: called for each record that is read, with their `total`.
        listed: the pages of the listing, where somebody has begun it.

    Raises ResourceNotFoundError and TransferError as `scan`.
    """
    url = io.normalise(url)
    listing = Listing.of(url, listed)
    kinds = _candidates(listing)
    found = _read_segments(listing, kinds, columns)
    writer = segments.Writer(url)
    *new, records = _read_records(listing, kinds, columns, on_progress, writer.add)
    _keep(found, writer)
    tables = [(one.table, one.index) for one in found if one.table is not None] + [tuple(new)]
    catalogue = Catalogue(listing, kinds, *_merged(tables), records)
    del tables, new, found
    give_back()
    return catalogue


def _candidates(listing: Listing) -> npt.NDArray[np.uint8]:
    """For each object `_UNREAD` if it may be a record; else NONE, or AWKWARD for an unsafe name."""
    kinds = np.full(len(listing), _UNREAD, np.uint8)
    odd = np.flatnonzero(~listing.plain())
    kinds[odd[listing.where(is_data, odd)]] = NONE
    kinds[odd[listing.where(lambda place: leads_out(place, listing.url) is not None, odd)]] = AWKWARD
    return kinds


def _read_segments(listing: Listing, kinds: npt.NDArray[np.uint8], columns: Sequence[str]) -> list[_Segment]:
    """Read the cached rows that are still valid, and set the kinds of their objects."""
    # Which records may be believed is a matter of this machine's own table: all of them are asked.
    if current_table().records is not None:
        return []
    names = [*_HEADS, *dict.fromkeys(["type", "location", "file", "size", *columns])]
    data = np.flatnonzero(kinds == NONE)
    there = [index for index in data if segments.is_segment(listing.url, listing.names[int(index)].as_py())]
    there.sort(key=lambda index: (listing.modified[index], listing.nbytes[index]), reverse=True)
    found = []
    for index in there[:_MOST_SEGMENTS]:
        segment = _Segment(listing.url_of(index), int(listing.nbytes[index]))
        table = segments.read(segment.url, segment.nbytes, names)
        if table is not None and table.num_rows:
            _take(segment, table, listing, kinds, columns)
        found.append(segment)
        del table
        give_back()
    return found


def _take(
    segment: _Segment, table: pa.Table, listing: Listing, kinds: npt.NDArray[np.uint8], columns: Sequence[str]
) -> None:
    """Take the rows of objects that exist in this version and are not known from another file."""
    segment.holds = np.zeros(table.num_rows, np.bool_)
    first = values(pc.is_valid(table["name"]))
    owner = np.cumsum(first) - 1
    if owner[0] < 0:
        return
    heads = _chosen(table.select(_HEADS), first)
    if any(heads[name].null_count for name in _HEADS):
        return
    at = positions(listing.names, heads["name"].combine_chunks())
    kind = values(heads["kind"])
    usable = (at >= 0) & (kind < AWKWARD)
    where = np.where(usable, at, 0)
    usable &= kinds[where] == _UNREAD
    usable &= listing.nbytes[where] == values(heads["nbytes"])
    same = pc.equal(heads["version"], listing.versions.texts(where))
    usable &= values(same) & (values(pc.binary_length(heads["version"])) > 0)
    resources = values(pc.is_valid(table["type"]))
    # A row that no record could have, or resources of what is no record: the object itself is asked.
    wrong = resources & (~sound(table) | (kind != 1)[owner])
    usable &= np.bincount(owner[wrong], minlength=len(at)) == 0
    kinds[at[usable]] = kind[usable]
    segment.holds = usable[owner]
    chosen = segment.holds & resources
    segment.table = _chosen(table.select(columns), chosen)
    segment.index = at[owner[chosen]]


def _chosen(table: pa.Table, rows: npt.NDArray[np.bool_]) -> pa.Table:
    """Some rows of a table, usually almost all."""
    return table if rows.all() else table.filter(mask(rows))


def _read_records(
    listing: Listing,
    kinds: npt.NDArray[np.uint8],
    columns: Sequence[str],
    on_progress: Callable[..., None],
    keep: Callable[[pa.Table], None],
) -> tuple[pa.Table, npt.NDArray[np.int64], dict[int, Record]]:
    """Read uncached records: rows of all resources, and awkward records; `keep` takes cacheable rows."""
    unread = np.flatnonzero((kinds == _UNREAD) | (kinds == AWKWARD))
    rows, changed, records = Rows(columns, keep), set[str](), {}
    ahead, lines = tee(listing.lines(unread))
    entries = (line.entry for line in ahead)
    answered = bool(len(listing) - len(unread))
    for line, one in zip(lines, read_all(listing.url, entries, answered, changed), strict=True):
        kind = kinds[line.number] = kind_of(one)
        lasting = line.version != "" and one.url not in changed and kind != AWKWARD
        if isinstance(one, Record):
            on_progress(total=len(unread))
            if one.problems:
                records[line.number] = one
        rows.add(line, one, kind, lasting)
    return *rows.table(), records


def _merged(
    tables: Sequence[tuple[pa.Table, npt.NDArray[np.int64]]],
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Merge all rows in the order of the listing; most files are consecutive."""
    tables = sorted(tables, key=lambda one: one[1][0] if len(one[1]) else -1)
    table = pa.concat_tables([encoded(one) for one, _ in tables]).unify_dictionaries()
    index = np.concatenate([at for _, at in tables])
    if (np.diff(index) < 0).any():
        order = np.argsort(index, kind="stable")
        table, index = table.take(numbers(order)), index[order]
    return table, index


def _keep(found: Sequence[_Segment], writer: segments.Writer) -> None:
    """Cache what was read, merged with files that are small or mostly outdated."""
    stale = [one for one in found if one.useful * 2 <= one.rows]
    if writer.rows < _LEAST_NEW and not stale:
        return
    absorbed, count = [], writer.rows
    for one in sorted(found, key=lambda one: one.useful):
        # A full one would not grow.
        if one in stale or (one.useful <= 2 * count and one.rows < segments.FULL_ROWS):
            absorbed.append(one.url)
            count += one.useful
            start = 0
            try:
                for part in segments.read_parts(one.url, one.nbytes) if one.useful else ():
                    writer.add(part.filter(mask(one.holds[start : start + part.num_rows])))
                    start += part.num_rows
            except segments.FAILURES as error:
                # Part of it was taken in: published now, it would pass for all. Nothing is, or is removed.
                log.debug("catalogues stay as they are, after %s", type(error).__name__)
                return
    writer.finish(absorbed)
