"""Verifies that every target under a URL, or a sample of them, is still what was written.

Targets are read in parallel, and not decoded if their checksum agrees. Memory holds only the targets being
read, a number for each target, and the compressed list of errors.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from cpr import io
from cpr.errors import (
    ConfigurationError,
    CorruptDataError,
    CprError,
    MissingDependencyError,
    RecordError,
    ResourceNotFoundError,
    TransferError,
)
from cpr.io.confinement import writing_only_below
from cpr.io.parallel_map import ByteBudget, parallel_map
from cpr.io.transfer_width import side_by_side
from cpr.operations.compact_list import CompactList
from cpr.operations.object_names import number_of
from cpr.operations.records import Record, Reference, distinct_targets
from cpr.operations.scan import find_records
from cpr.operations.verify_by_store import is_as_stored
from cpr.Target import Target

__all__ = ["Checked", "Report", "State", "check", "check_by_store", "heal", "verify"]

State = Literal["intact", "damaged", "missing", "unreadable record", "not checked"]

_NEAR = 16  # targets at once, more where answers take long
_AHEAD_BYTES = 4 << 20  # of records that are read first, to know how many targets there are
_BUDGET_BYTES = 48 << 20
_BLOCK_BYTES = 8 << 20  # what a large object is read in, several ahead
_LARGE_BYTES = 5 * _BLOCK_BYTES
_OUTAGES_IN_A_ROW = 16


@dataclass(frozen=True)
class Checked:
    """A target, and the outcome of its verification.

    Attributes:
        url: of the target; of the record, where that cannot be read.
        record: URL of a record that names it.
        state: "intact", "damaged", "missing", "unreadable record", or "not checked" where the store could
            not be asked or the class is not installed here.
        nbytes: how much was read.
        by_store: whether the store's checksum confirmed it, so that it was not read.
        error: what is wrong; None if nothing is.
    """

    url: str
    record: str
    state: State
    nbytes: int = 0
    error: CprError | None = None
    by_store: bool = False

    @classmethod
    def unreadable(cls, record: str, error: CprError) -> Checked:
        """The outcome for a record that cannot be used completely."""
        # What only this machine's configuration refuses is no damage, and nothing to be dropped.
        is_open = isinstance(error, (TransferError, ConfigurationError)) or getattr(
            error, "is_refused_here", False
        )
        return cls(record, record, "not checked" if is_open else "unreadable record", error=error)


@dataclass
class Report:
    """The outcome of a verification.

    Attributes:
        records: how many records were read, those of other serializers among them.
        foreign: how many of these were written by other serializers.
        targets: how many targets the records name, each counted once.
        intact: how many of them were read, or vouched for by their store, and are as they were written.
        by_store: how many of these the store has vouched for.
        nbytes: bytes read.
        seconds: how long it took.
        not_checked: how many could not be looked at.
        wrong: all that is not intact.
    """

    records: int = 0
    foreign: int = 0
    targets: int = 0
    checked: int = 0
    intact: int = 0
    by_store: int = 0
    nbytes: int = 0
    seconds: float = 0.0
    not_checked: int = 0
    wrong: CompactList[Checked] = field(default_factory=CompactList)

    def add(self, one: Checked) -> None:
        """Count a target, or a record that cannot be read."""
        self.checked += one.url != one.record
        self.intact += one.state == "intact"
        self.by_store += one.by_store
        self.nbytes += one.nbytes
        self.not_checked += one.state == "not checked"
        if one.state != "intact":
            self.wrong.append(one)

    @property
    def damaged(self) -> int:
        """How many results are certainly damaged or missing."""
        return len(self.wrong) - self.not_checked

    @property
    def damage(self) -> list[Checked]:
        """The results that are certainly damaged or missing."""
        return [one for one in self.wrong if one.state != "not checked"]

    @property
    def unchecked(self) -> list[Checked]:
        """The results that could not be checked."""
        return [one for one in self.wrong if one.state == "not checked"]


def verify(
    url: str,
    sample: float | None = None,
    seed: int | None = None,
    by_store: bool = False,
    on_progress: Callable[..., None] = lambda **_: None,
    report: Report | None = None,
) -> Report:
    """Read every target that the records under a URL name, and compare it with its record.

    Args:
        url: a results URL.
        sample: check only this share of the targets, 0.01 for one in a hundred, chosen at random.
        seed: of the choice; another one each time if it is None.
        by_store: ask the store for the checksum of what it has received, instead of reading what is larger
            than 8 MiB. That finds what was replaced, cut or deleted, not what has decayed on its disks.
        on_progress: called for each target that was checked, with its `nbytes` and, where that is soon
            known, the `total`; for records that are read first to know it with another `stage`.
        report: filled step by step and returned, so that it is there after an interruption.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the records cannot be listed or read, or the store has stopped answering.

    >>> verify("memory://no-such-folder").targets
    0
    """
    report = report or Report()
    started = time.monotonic()
    dice = random.Random(seed)  # noqa: S311 - a choice, no secret
    budget = ByteBudget(_BUDGET_BYTES, _LARGE_BYTES)
    outages = 0
    look = check_by_store if by_store else check
    records, total = _with_total(find_records(url), on_progress)
    total = None if sample is not None else total
    for checked in parallel_map(
        lambda found: found if isinstance(found, Checked) else look(*found, budget),
        _targets(records, report, lambda: sample is None or dice.random() < sample),
        side_by_side(_NEAR, url),
    ):
        report.seconds = time.monotonic() - started
        report.add(checked)
        on_progress(nbytes=checked.nbytes, total=total, stage="verifying")
        outages = outages + 1 if isinstance(checked.error, TransferError) else 0
        if outages >= _OUTAGES_IN_A_ROW:
            assert checked.error is not None
            raise checked.error
    report.seconds = time.monotonic() - started
    return report


def _with_total(
    records: Iterator[Record], on_progress: Callable[..., None]
) -> tuple[Iterator[Record], int | None]:
    """Records, and how many targets they name; None if counting would mean reading many records first."""
    ahead: list[Record] = []
    nbytes = 0
    for record in records:
        ahead.append(record)
        nbytes += record.nbytes
        if nbytes > _AHEAD_BYTES:
            return chain(ahead, records), None
        on_progress(stage="reading records")
    return iter(ahead), sum(1 for _ in distinct_targets(ahead, with_regions=True))


def _targets(
    records: Iterable[Record], report: Report, chosen: Callable[[], bool]
) -> Iterator[Checked | tuple[Reference, str]]:
    """Each target once, with a record that names it; the problems of records come first."""

    def counted() -> Iterator[Record]:
        for record in records:
            report.records += 1
            report.foreign += record.is_foreign
            unreadable.extend(Checked.unreadable(record.url, problem) for problem in record.problems)
            yield record

    unreadable: list[Checked] = []
    for target, record in distinct_targets(counted(), with_regions=True):
        yield from unreadable
        unreadable.clear()
        report.targets += 1
        if chosen():
            yield target, record.url
    yield from unreadable


def check(reference: Reference, record: str, budget: ByteBudget | None = None) -> Checked:
    """Read one target and compare it with its record; raises no error of the store or the target.

    Args:
        reference: the target.
        record: URL of the record that names it.
        budget: of memory, shared with others.
    """
    url, nbytes = reference.url, reference.nbytes or 0
    try:
        target = reference.load()
        assert isinstance(target, Target)
        with (budget or ByteBudget(_BUDGET_BYTES, _LARGE_BYTES)).holding(nbytes):
            target.check(full=True)
        if target.blocks is not None:
            _check_blocks(target)
    except RecordError as error:
        # A class that is not installed here makes no record bad.
        state: State = "not checked" if error.field == "type" else "unreadable record"
        return Checked(url, record, state, 0, error)
    except ResourceNotFoundError as error:
        return Checked(url, record, "missing", 0, error)
    except CorruptDataError as error:
        return Checked(url, record, "damaged", nbytes, error)
    except (TransferError, MissingDependencyError, ConfigurationError) as error:
        return Checked(url, record, "not checked", 0, error)
    except CprError as error:
        return Checked(url, record, "damaged", nbytes, error)
    return Checked(url, record, "intact", nbytes)


def check_by_store(reference: Reference, record: str, budget: ByteBudget | None = None) -> Checked:
    """Ask the store for the checksum of a target, or read it if it is small; otherwise as `check`."""
    try:
        if not is_as_stored(reference):
            return check(reference, record, budget)
    except ResourceNotFoundError as error:
        return Checked(reference.url, record, "missing", 0, error)
    except CorruptDataError as error:
        return Checked(reference.url, record, "damaged", 0, error)
    except CprError as error:
        return Checked(reference.url, record, "not checked", 0, error)
    return Checked(reference.url, record, "intact", by_store=True)


def _check_blocks(target: Target) -> None:
    assert target.nbytes is not None and target.blocks is not None
    with io.verified(target.url, target.nbytes, target.blocks) as file:
        if file is not None:
            file.check_digests()
            return
    raise CorruptDataError(
        "the object is intact, but the digests of its parts, in .cpr beside it, are not",
        url=target.url,
        expected=target.blocks,
        actual="no digests, or others",
        remedy="make its task run again (cpr verify --heal), or go on: parts of it are read whole meanwhile",
    )


def heal(url: str, report: Report) -> list[str]:
    """Delete the cache entries of results that a verification found damaged; returns their URLs.

    The next run then misses them and makes the results again. A record that has changed since, and one
    whose targets are intact by now, stays. So do records that Prefect does not take for cache entries
    (results of flows, records of yours): they are whole again when the objects are.

    Args:
        url: what was verified.
        report: the outcome of that verification.

    Raises ResourceNotFoundError and TransferError.
    """
    damaged = {number_of(one.url) for one in report.wrong if one.state in ("damaged", "missing")}
    unreadable = {one.record for one in report.wrong if one.state == "unreadable record"}
    if not damaged and not unreadable:
        return []
    dropped = []
    for record in find_records(url):
        if not record.is_cache_entry or record.is_foreign:
            continue
        named = [target for target in record.targets if number_of(target.url) in damaged]
        if any(check(target, record.url).state in ("damaged", "missing") for target in named) or (
            record.url in unreadable and record.problems
        ):
            with suppress(ResourceNotFoundError), writing_only_below(io.normalise(url)):
                io.remove(record.url)
            dropped.append(record.url)
    return dropped
