"""Copies results: records with their targets, verified on the way.

A record is written at the new place when all its targets are there, and says where they are now. Run again,
it goes on where it was: what is there already is compared, not copied.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

from cpr import io
from cpr.errors import CprError, TransferError
from cpr.io.confinement import writing_only_below
from cpr.io.parallel_map import ByteBudget, parallel_map
from cpr.io.stores.base import OccupiedError
from cpr.io.transfer_width import side_by_side, transfer_budget
from cpr.operations.object_names import number_of
from cpr.operations.path_safety import is_below, moved, require_inside
from cpr.operations.record_spool import RecordSpool
from cpr.operations.records import Record, Reference, distinct_targets
from cpr.operations.scan import find_records, walk
from cpr.records.registry import RECORD_KEY
from cpr.storing import taken
from cpr.Target import Target

__all__ = ["Copied", "Copy", "copy_results"]

_NEAR = 4  # targets, or records, at once; more where answers take long
_RECORD_BYTES = 16 << 20  # of records that are in memory, of which each takes some times as much


@dataclass(frozen=True)
class Copied:
    """A target or record that was to be copied.

    Attributes:
        kind: "target" or "record".
        source: its URL.
        url: where it is to be; None where it cannot be anywhere.
        nbytes: its size.
        error: why it was not copied; None if it was, or was there already.
    """

    kind: Literal["target", "record"]
    source: str
    url: str | None
    nbytes: int
    error: CprError | None = None


@dataclass
class Copy:
    """The outcome of a copy.

    Attributes:
        targets: how many targets are at the new place.
        records: how many records are.
        nbytes: of the targets.
        seconds: how long it took.
        foreign: how many records of other serializers were left out.
        failed: the targets and records that were not copied.
    """

    targets: int = 0
    records: int = 0
    nbytes: int = 0
    seconds: float = 0.0
    foreign: int = 0
    failed: list[Copied] = field(default_factory=list)


def copy_results(
    source: str,
    destination: str,
    data: str | None = None,
    flow_run: str | None = None,
    on_progress: Callable[..., None] = lambda **_: None,
    result: Copy | None = None,
) -> Copy:
    """Copy the records under a URL, and the targets that they name, wherever these are.

    What lies below `source` keeps its path below `destination`; targets elsewhere come below `data`, with
    the path they have below the folder that all of them share.

    Args:
        source: a results URL.
        destination: URL of the folder or prefix for it.
        data: for targets that do not lie below `source`; `destination/data` unless given.
        flow_run: copy only what this run of a flow has made: its id, or how that begins.
        on_progress: called for each record that is read; then, with a `stage`, for each target and record
            that is done, with its `nbytes` and the `total` of both.
        result: filled step by step and returned, so that it is there after an interruption.

    Raises:
        ResourceNotFoundError, TransferError: the records cannot be listed or read. What becomes of a single
            target or record is in the result.

    >>> copy_results("memory://no-such-folder", "memory://other").targets
    0
    """
    started = time.monotonic()
    source, destination = io.normalise(source).rstrip("/"), io.normalise(destination).rstrip("/")
    if is_below(destination, source):
        raise TransferError(
            "results cannot be copied into their own place",
            url=destination,
            expected="a place outside",
            actual=source,
            remedy="choose another destination",
        )
    result = result if result is not None else Copy()

    def count(copied: Copied) -> bool:
        if copied.error is not None:
            result.failed.append(copied)
        on_progress(nbytes=copied.nbytes, total=total, stage="copying")
        return copied.error is None

    data = io.normalise(data or io.join(destination, "data"))
    numbers: set[int] = set()
    locations: set[str] = set()
    total = 0

    def looked_at() -> Iterator[Record]:
        nonlocal total
        for one in find_records(source):
            on_progress()
            if not _is_of_run(one, flow_run):
                continue
            total += not one.is_foreign
            numbers.update(target.number for target in one.targets)
            locations.update(t.fields["location"] for t in one.targets if not is_below(t.url, source))
            yield one

    spool = RecordSpool(looked_at())
    total += len(numbers)
    numbers.clear()
    with closing(spool), writing_only_below(destination, data):
        elsewhere = _common(locations)
        places = _Places(source, destination, elsewhere, data)
        there = _ExistingObjects(places)
        targets = (target for target, _ in distinct_targets(spool))
        at_once = side_by_side(_NEAR, source, destination)
        room, records = transfer_budget(), ByteBudget(_RECORD_BYTES)
        for copied in parallel_map(lambda one: _copy_target(one, places, there, room), targets, at_once):
            if count(copied):
                result.targets += 1
                result.nbytes += copied.nbytes
        failed = {one.source for one in result.failed}
        own = _held(_own(spool, result), records)
        for copied in parallel_map(
            lambda one: _copy_record(one, places, there, failed, records), own, at_once
        ):
            result.records += count(copied)
    result.seconds = time.monotonic() - started
    return result


@dataclass(frozen=True)
class _Places:
    """Maps places to their new places.

    Attributes:
        source, destination: everything below `source` is copied below `destination`.
        elsewhere: the folder that all targets share which are not below `source`; they come below `data`.
    """

    source: str
    destination: str
    elsewhere: str
    data: str

    def of(self, url: str) -> str:
        """The new place of a URL. Raises RecordError and TransferError if it would be outside."""
        if is_below(url, self.source):
            old, new = self.source, self.destination
        else:
            old, new = self.elsewhere, self.data
            url = url if old else url.replace("://", "/", 1)  # of several kinds of stores
        place = moved(url, old, new)
        require_inside(place, new)
        return place


class _ExistingObjects:
    """The objects that were at the destination before."""

    def __init__(self, places: _Places) -> None:
        self._folders = {places.destination, places.data}
        if is_below(places.data, places.destination):
            self._folders.discard(places.data)
        self._numbers = {number_of(entry.url) for folder in self._folders for entry in walk(folder)}
        self._promised: dict[int, str | None] | None = None
        self._lock = threading.Lock()

    def lacks(self, url: str) -> bool:
        """Whether a URL is known to be free, so that the store need not be asked."""
        return number_of(url) not in self._numbers

    def promises(self, url: str, checksum: str | None) -> bool:
        """Whether all records there agree on this checksum for a URL: any other object is damaged.

        They are read once, and only where a target finds something else in its place. Those that this copy
        writes come after all targets.
        """
        with self._lock:
            if self._promised is None:
                self._promised = {}
                for record in (one for folder in self._folders for one in find_records(folder)):
                    for one in record.targets:
                        said = self._promised.setdefault(number_of(one.url), one.checksum)
                        if said != one.checksum:
                            self._promised[number_of(one.url)] = None
            return checksum is not None and self._promised.get(number_of(url)) == checksum


def _common(locations: set[str]) -> str:
    """The common parent folder of some locations."""
    if not locations:
        return ""
    steps = [location.split("/") for location in locations]
    shared = []
    for parts in zip(*steps, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)


def _is_of_run(record: Record, flow_run: str | None) -> bool:
    if flow_run is None:
        return True
    wanted = flow_run.replace("-", "").lower()
    made = (one.made for one in record.targets)
    return any(one is not None and (one.flow_run or "").startswith(wanted) for one in made)


def _own(records: Iterable[Record], result: Copy) -> Iterator[Record]:
    for record in records:
        result.foreign += record.is_foreign
        if not record.is_foreign:
            yield record


def _copy_target(reference: Reference, places: _Places, there: _ExistingObjects, room: ByteBudget) -> Copied:
    url, nbytes = reference.url, reference.nbytes or 0
    try:
        place = places.of(url)
        target = reference.load()
        assert isinstance(target, Target)
        with room.holding(nbytes):
            target.copy_to(
                io.split(place)[0], there.lacks(place), lambda: there.promises(place, target.checksum)
            )
    except CprError as error:
        return Copied("target", url, None, 0, error)
    return Copied("target", url, place, nbytes)


def _held(records: Iterable[Record], room: ByteBudget) -> Iterator[Record]:
    """Records, as many as fit in memory; the memory is released after each is copied."""
    for record in records:
        room.take(record.nbytes)
        yield record


def _copy_record(
    record: Record, places: _Places, there: _ExistingObjects, failed: set[str], room: ByteBudget
) -> Copied:
    try:
        for problem in record.problems:
            raise problem
        for one in record.targets:
            if one.url in failed:
                raise TransferError(
                    "a target of this record was not copied",
                    url=record.url,
                    expected="all of its targets at the new place",
                    actual=one.url,
                    remedy="verify and heal it, then copy again",
                )
        url = places.of(record.url)
        _write(url, _rewritten(record, url, places), there.lacks(url))
    except CprError as error:
        return Copied("record", record.url, None, 0, error)
    finally:
        room.give(record.nbytes)
    return Copied("record", record.url, url, record.nbytes)


def _write(url: str, content: bytes, is_new: bool) -> None:
    """Write a record; replaces one that was there before, but not one that appeared meanwhile.

    On a disk that takes two names for one, that is another record of this copy.
    """
    try:
        with io.writing(url, create=is_new) as file:
            file.write(content)
    except OccupiedError:
        with io.reading(url) as file:
            if file.read() == content:
                return  # it is ours: the store's first answer was lost
        raise taken(url, "this record") from None


def _rewritten(record: Record, url: str, places: _Places) -> bytes:
    """The record with the places of the copy."""
    value = _relocated(record.value, places)
    if not (isinstance(value, dict) and RECORD_KEY in value):
        value = {RECORD_KEY: ["value", value]}
    result = json.dumps(value, separators=(",", ":"), allow_nan=False)
    if record.metadata is None:
        return result.encode()
    metadata = {**record.metadata, "storage_block_id": None}
    key = metadata.get("storage_key")
    if isinstance(key, str) and re.search(r"[/\\]", key):
        metadata["storage_key"] = url
    return json.dumps({"metadata": metadata, "result": result}, separators=(",", ":")).encode()


def _relocated(value: Any, places: _Places) -> Any:
    if isinstance(value, list):
        return [_relocated(item, places) for item in value]
    if not isinstance(value, Mapping):
        return value
    inner = value.get(RECORD_KEY)
    if isinstance(inner, Mapping):
        if "key" not in inner:
            return value  # a source stays where it is
        return {RECORD_KEY: {**inner, "location": io.split(places.of(Reference(inner).url))[0]}}
    return {key: _relocated(item, places) for key, item in value.items()}
