"""Collects garbage in two phases: results that no record refers to, and old records with their results.

    mark     what nothing refers to is written down where writers see it (`cpr.operations.gc_mark`)
    sweep    a grace period later: what was marked then, and nothing refers to now either, is deleted

Each call does both, as far as they are due. One assumption makes this safe: nobody takes longer than half the
grace period, no run from asking for the marks until its record is stored, no collection from reading the
records until it deletes. `docs/decisions/gc.md` has the steps. Times are the store's, never this machine's.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cpr import io
from cpr.errors import CprError
from cpr.io.confinement import writing_only_below
from cpr.io.gc_mark_lists import REMEMBERED_SECONDS, marks_folder
from cpr.io.objects import remove_many
from cpr.io.timeouts import cleaning_up
from cpr.operations.gc_find_garbage import Candidate, Mark, OldRecord, Survey, survey
from cpr.operations.gc_mark import mark, to_mark, write_list

__all__ = ["DEFAULT_GRACE", "Collection", "collect"]

DEFAULT_GRACE = timedelta(days=7)
_AT_ONCE = 500  # objects that are deleted between two looks at the clock


@dataclass
class Collection:
    """The outcome of a garbage collection.

    Attributes:
        dry: whether nothing was touched.
        records: how many records were read.
        referred: how many targets and sources they name, wherever these are.
        targets: how many targets lie under the URLs.
        in_use: how many of them something refers to, or may do so.
        searched: how many other objects (results of flows, JSON, texts) were searched for names of targets.
        old_records: how many records are too old to count; they go with what only they refer to.
        marked: targets that are marked now, to be deleted after the grace period.
        waiting: how many marked ones wait for the end of their grace period.
        next_due: when the first of these is due.
        deleted: the targets that were deleted.
        deleted_records: URLs of the old records that were deleted, with their data or without any.
        acquitted: URLs that were marked, and are kept: something refers to them by now.
        elsewhere: folders that records refer to and that were not looked at, with the number of targets.
    """

    dry: bool
    records: int = 0
    referred: int = 0
    targets: int = 0
    in_use: int = 0
    searched: int = 0
    old_records: int = 0
    marked: list[Candidate] = field(default_factory=list)
    waiting: int = 0
    next_due: datetime | None = None
    deleted: list[Candidate] = field(default_factory=list)
    deleted_records: list[str] = field(default_factory=list)
    acquitted: list[str] = field(default_factory=list)
    elsewhere: dict[str, int] = field(default_factory=dict)

    @property
    def freed(self) -> int:
        """Number of bytes deleted."""
        return sum(one.nbytes for one in self.deleted)


def collect(
    urls: Iterable[str],
    older_than: timedelta | None = None,
    grace: timedelta = DEFAULT_GRACE,
    delete: bool = False,
    without_unreadable: bool = False,
    on_progress: Callable[..., None] = lambda **_: None,
    done: Collection | None = None,
) -> Collection:
    """Mark the garbage under some URLs, and delete what was marked a grace period ago and still is garbage.

    Garbage is a target, by its name, that lies under the URLs and that no record under the URLs refers to.
    Nothing else is ever deleted, whatever a record names.

    Args:
        urls: all places where records are that may refer to the targets there.
        older_than: records that were written longer ago count as none, and go with their data.
        grace: at least twice as long as any run takes.
        delete: without it nothing is written or deleted.
        without_unreadable: go on although some records cannot be read; what only they refer to is garbage.
        on_progress: called for each record that is read, with a `stage` for each place and, where it has
            no more than ten thousand objects, their `total`.
        done: filled step by step and returned, so that it is there after an interruption.

    Raises:
        CprError: no record was found, some cannot be looked into, or the grace period is too short;
            nothing was deleted.
        ResourceNotFoundError: a bucket does not exist.
        TransferError: the store refused or failed; the next collection goes on from there.
    """
    places = _places(urls)
    _require_long(grace)
    clock = _Clock(places, grace, ask=delete)
    found = survey(places, clock.now, older_than, on_progress)
    _require_records(found, places, without_unreadable)
    done = done or Collection(not delete)
    done.records, done.referred, done.searched = found.records, len(found.live), found.searched
    done.targets, done.in_use = len(found.there), len(found.there) - len(found.garbage)
    done.old_records, done.elsewhere = len(found.old), found.elsewhere
    with writing_only_below(*places):
        _Sweep(found, clock, done, grace, older_than).run()
        gone = {one.url for one in done.deleted}
        done.marked = to_mark(found, gone, lambda one: clock.age_of(one) >= grace)
        if delete:
            mark(done.marked, clock.require_time)
    return done


class _Clock:
    """The stores' present time, asked for once; valid for no longer than the grace period."""

    def __init__(self, places: list[str], grace: timedelta, ask: bool) -> None:
        self._started = (time.monotonic(), time.time())
        self._grace = grace.total_seconds()
        self.now = min(map(_store_time, places)) if ask else datetime.now().astimezone()

    def age_of(self, one: Candidate | Mark | OldRecord) -> timedelta:
        """How long ago it was written, limited to a span that can be compared."""
        return self.now - one.modified

    def require_time(self) -> None:
        """Raise if the records were read too long ago to delete by them."""
        elapsed = max(time.monotonic() - self._started[0], time.time() - self._started[1])
        if elapsed > self._grace / 2:
            raise CprError(
                "the collection takes too long to go on",
                expected=f"deletions within {self._grace / 2:.0f} s of reading the records",
                actual=f"{elapsed:.0f} s",
                remedy="run it again: it goes on where it was; or take a longer grace period",
            )


def _store_time(url: str) -> datetime:
    """The store's clock: the modification time of an object written just now."""
    probe = io.join(marks_folder(url), f"{uuid.uuid4().hex}.clock")
    with writing_only_below(url):
        with io.writing(probe) as file:
            file.write(b"now")
        try:
            return io.stat(probe).modified
        finally:
            with cleaning_up():
                io.remove(probe)


class _Sweep:
    """The second phase: deletes what was marked long enough ago and is still garbage."""

    def __init__(
        self,
        found: Survey,
        clock: _Clock,
        done: Collection,
        grace: timedelta,
        older_than: timedelta | None,
    ) -> None:
        self._found = found
        self._clock = clock
        self._done = done
        self._grace = grace
        self._older_than = older_than

    def run(self) -> None:
        due = [mark for mark in self._found.marks if self._clock.age_of(mark) >= self._grace]
        waiting = [mark for mark in self._found.marks if mark not in due]
        lists = [mark for mark in waiting if not mark.is_swept]
        self._done.waiting = len({url for mark in lists for url in mark.urls})
        self._done.next_due = min((_after(mark.modified, self._grace) for mark in lists), default=None)
        garbage = {url: one for mark in due if not mark.is_swept for url, one in self._garbage(mark).items()}
        # First the records: what is left never refers to what is gone.
        self._delete_records(garbage)
        gone = set(self._done.deleted_records)
        kept = {url for record in self._found.old if record.url not in gone for url in record.targets}
        self._delete([one for url, one in garbage.items() if url not in kept])
        if self._done.dry:
            return
        for listed in due:
            if listed.is_swept:
                io.remove(listed.url)
            elif kept.isdisjoint(listed.urls):
                self._leave_behind(listed)
                io.remove(listed.url)

    def _garbage(self, mark: Mark) -> dict[str, Candidate]:
        garbage = {}
        for url in mark.urls:
            one = self._found.garbage.get(url)
            if one is not None and one.modified <= mark.modified:
                garbage[url] = one
            elif self._found.is_there(url):
                self._done.acquitted.append(url)
        return garbage

    def _delete_records(self, garbage: dict[str, Candidate]) -> None:
        """Delete old records whose targets are deleted now, or kept because others refer to them."""
        for record in self._found.old:
            if not all(url in garbage or url not in self._found.garbage for url in record.targets):
                continue
            # With nothing to wait for they wait for themselves.
            assert self._older_than is not None
            if self._clock.age_of(record) - self._older_than < self._grace and not any(
                url in garbage for url in record.targets
            ):
                continue
            if not self._done.dry:
                self._clock.require_time()
                there = io.lookup(record.url)
                if there is None or there.modified != record.modified:
                    continue  # made again meanwhile
                io.remove(record.url)
            self._done.deleted_records.append(record.url)

    def _delete(self, garbage: list[Candidate]) -> None:
        if self._done.dry:
            self._done.deleted += garbage
            return
        for batch in _batches(garbage):
            self._clock.require_time()
            remove_many(url for one in batch for url in one.objects)
            self._done.deleted += batch

    def _leave_behind(self, mark: Mark) -> None:
        """Keep the deleted names marked for another grace period.

        A collection that was held up may still delete them: nobody shall have written them anew by then.
        """
        left = [url for url in mark.urls if url not in self._done.acquitted]
        if left:
            write_list(mark.url.removesuffix(".json") + ".swept.json", left)


def _after(time: datetime, span: timedelta) -> datetime:
    """A span after a time, limited to what a datetime can hold."""
    last = datetime(9999, 1, 1, tzinfo=UTC)
    return time + span if span < last - time else last


def _batches(garbage: list[Candidate]) -> Iterator[list[Candidate]]:
    """Targets on the same bucket or disk, some hundred objects at a time."""
    for _, group in itertools.groupby(garbage, lambda one: one.url.split("/")[:3]):
        batch: list[Candidate] = []
        for one in group:
            batch.append(one)
            if sum(len(other.objects) for other in batch) >= _AT_ONCE:
                yield batch
                batch = []
        if batch:
            yield batch


def _places(urls: Iterable[str]) -> list[str]:
    """The places without duplicates; one inside another is covered by that."""
    normal = sorted({io.normalise(url).rstrip("/") for url in urls})
    return [url for url in normal if not any(url.startswith(f"{other}/") for other in normal if other != url)]


def _require_long(grace: timedelta) -> None:
    if grace.total_seconds() < 10 * REMEMBERED_SECONDS:
        raise CprError(
            "the grace period is too short to be safe",
            field="grace",
            expected=f"at least {10 * REMEMBERED_SECONDS:.0f} s, and longer than any run",
            actual=f"{grace.total_seconds():.0f} s",
            remedy="take a longer one, such as 7d",
        )


def _require_records(found: Survey, places: list[str], without_unreadable: bool) -> None:
    if not found.records and not found.old:
        raise CprError(
            "there is no record here, so that everything would be garbage",
            url=", ".join(places),
            expected="records that say what is in use",
            actual="none",
            remedy="name the place where Prefect's result storage writes as well",
        )
    if found.opaque and not without_unreadable:
        raise CprError(
            "not every record or result can be looked into, so that it is not known what is in use",
            url=found.opaque[0],
            expected="records and results that can be read",
            actual=f"{len(found.opaque)} that cannot",
            remedy="delete them (cpr verify --heal drops damaged ones), or pass --without-unreadable: "
            "what only they refer to is deleted then",
        )
