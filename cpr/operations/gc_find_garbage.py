"""Surveys some URLs for a garbage collection: what records refer to, and what nothing refers to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cpr import io
from cpr.errors import ResourceNotFoundError, TransferError
from cpr.io.gc_mark_lists import read_names
from cpr.io.parallel_map import parallel_map
from cpr.io.stores.base import Entry
from cpr.operations.gc_mentions import (
    UnsearchableError,
    keys_in_object,
    keys_in_record,
    keys_in_value,
)
from cpr.operations.object_names import is_data, number_of, owner_of
from cpr.operations.path_safety import is_below, leads_out
from cpr.operations.records import Record
from cpr.operations.scan import read_all, walk, with_total

__all__ = ["Candidate", "Mark", "OldRecord", "Survey", "survey"]

_AT_ONCE = 8  # objects that are searched
_MARKS = re.compile(r"[/\\]\.cpr[/\\]marked[/\\][0-9a-f]{32}(\.swept)?\.json$")


@dataclass
class Candidate:
    """A target that no record refers to.

    Attributes:
        url: of the target.
        nbytes: of all its objects.
        modified: when the last of them was written.
        objects: their URLs: the file, what is inside the folder, what lies beside.
    """

    url: str
    nbytes: int
    modified: datetime
    objects: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Mark:
    """A stored list of marked names.

    Attributes:
        url: of the list.
        modified: when it was written, by the store's clock.
        urls: the targets it marks.
        is_swept: whether they have been deleted already, and only stay marked.
    """

    url: str
    modified: datetime
    urls: tuple[str, ...]
    is_swept: bool


@dataclass(frozen=True)
class OldRecord:
    """A record that is too old to count as a reference.

    Attributes:
        url: of the record.
        modified: when it was written.
        targets: URLs of the targets that it names.
    """

    url: str
    modified: datetime
    targets: tuple[str, ...]


@dataclass
class Survey:
    """The outcome of a survey: what is in use, and the targets that nothing refers to.

    Attributes:
        records: how many records there are that count.
        live: numbers of the URLs that they refer to.
        keys: numbers of keys that records, other results and texts name: what has such a key is in use.
        searched: how many objects besides records were searched for keys.
        opaque: URLs of objects whose references cannot be found out.
        old: the records that are too old to count.
        garbage: by URL, the targets that nothing refers to.
        marks: lists of earlier collections.
        elsewhere: folders outside that records refer to, with the number of targets.
        there: numbers of the URLs of all targets that were found.
    """

    records: int = 0
    live: set[int] = field(default_factory=set)
    keys: set[int] = field(default_factory=set)
    searched: int = 0
    opaque: list[str] = field(default_factory=list)
    old: list[OldRecord] = field(default_factory=list)
    garbage: dict[str, Candidate] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    elsewhere: Counter[str] = field(default_factory=Counter)
    there: set[int] = field(default_factory=set)

    def is_there(self, url: str) -> bool:
        """Whether any object of a target was found."""
        return number_of(url) in self.there

    def is_live(self, url: str) -> bool:
        """Whether something refers to a target, or may do so."""
        key = re.search(r"-([0-9a-f]{16})\.[^/\\]*$", url)
        return number_of(url) in self.live or (key is not None and int(key[1], 16) in self.keys)


def survey(
    places: list[str], now: datetime, older_than: timedelta | None, on_progress: Callable[..., None]
) -> Survey:
    """Read all records, then list all objects.

    In memory are 8 bytes, in a set, for each target that is in use, and the names of what is not.
    """
    found = Survey()
    for number, place in enumerate(places, 1):
        stage = "reading records" + (f", place {number} of {len(places)}" if len(places) > 1 else "")
        others: list[Entry] = []
        entries, total = with_total(walk(place))
        for one in read_all(place, entries):
            if isinstance(one, Record):
                _take_record(found, one, places, now, older_than)
                on_progress(total=total, stage=stage)
            elif one.nbytes and not is_data(one.url):
                others.append(one)
        _take_others(found, others)
    # After the records: what was written since is in no danger, for it is young.
    for place in places:
        for entry in walk(place):
            if leads_out(entry.url, place) is None:
                _take_object(found, entry)
    return found


def _take_record(
    found: Survey, record: Record, places: list[str], now: datetime, older_than: timedelta | None
) -> None:
    if older_than is not None and now - record.modified >= older_than and _is_readable(record):
        found.old.append(OldRecord(record.url, record.modified, tuple(one.url for one in record.targets)))
        _look_elsewhere(found, record, places)
        return
    found.records += 1
    found.live.update(number_of(one.url) for one in record.resources)
    _look_elsewhere(found, record, places)
    try:
        found.keys |= _keys_named(record)
    except UnsearchableError:
        found.opaque.append(record.url)


def _look_elsewhere(found: Survey, record: Record, places: list[str]) -> None:
    for one in record.targets:
        if not any(is_below(one.url, place) for place in places):
            found.elsewhere[one.fields["location"]] += 1


def _is_readable(record: Record) -> bool:
    return not record.is_foreign and not record.problems


def _keys_named(record: Record) -> set[int]:
    """Keys of targets that a record may contain, besides the targets that it names explicitly."""
    if record.is_foreign:
        return keys_in_record(record.url, record.nbytes, record.blob, record.serializer)
    if record.problem is None and not record.problems:
        return keys_in_value(record.value)
    if record.problem is None or 0 < len(record.blob) < record.nbytes:
        return keys_in_object(record.url, record.nbytes)  # something is unknown in it, or it is too large
    raise UnsearchableError("it cannot be read")


def _take_others(found: Survey, entries: list[Entry]) -> None:
    """Search objects that are neither records nor data: results of flows, JSON and other texts."""

    def search(entry: Entry) -> set[int] | None:
        try:
            return keys_in_object(entry.url, entry.nbytes)
        except ResourceNotFoundError:
            return set()  # deleted since it was listed
        except (UnsearchableError, TransferError):
            return None

    for entry, keys in zip(entries, parallel_map(search, entries, _AT_ONCE), strict=True):
        if keys is None:
            found.opaque.append(entry.url)
        else:
            found.searched += 1
            found.keys |= keys


def _take_object(found: Survey, entry: Entry) -> None:
    if _MARKS.search(entry.url):
        _take_mark(found, entry)
        return
    owner = owner_of(entry.url)
    if owner is None:
        return
    found.there.add(number_of(owner.target))
    if found.is_live(owner.target):
        return
    one = found.garbage.setdefault(owner.target, Candidate(owner.target, 0, entry.modified))
    one.nbytes += entry.nbytes
    one.modified = max(one.modified, entry.modified)
    one.objects.append(entry.url)


def _take_mark(found: Survey, entry: Entry) -> None:
    location = re.split(r"[/\\]\.cpr[/\\]marked[/\\]", entry.url)[0]
    try:
        names = read_names(entry.url)
    except ResourceNotFoundError:
        return  # another collection has ended it
    except ValueError:
        names = []  # nobody's: it marks nothing, and goes when it is due
    urls = tuple(
        io.join(location, name)
        for name in names
        if not re.search(r"[/\\]", name) and owner_of(io.join(location, name)) is not None
    )
    found.marks.append(Mark(entry.url, entry.modified, urls, entry.url.endswith(".swept.json")))
