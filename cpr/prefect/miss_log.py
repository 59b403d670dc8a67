"""Writes the journal of results in the background, and logs why a run was not cached.

All of this happens in one background thread of the process: a run hands over what it knows and continues.
Results are written in batches; a journal is read once for each task of a flow run in a process, when a run of
it is not cached. Errors here are logged at DEBUG and have no other effect.
"""

from __future__ import annotations

import atexit
import inspect
import queue
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect.filesystems import LocalFileSystem, RemoteFileSystem
from prefect.logging import get_logger

from cpr.errors import CprError
from cpr.io.fork_safe import in_children
from cpr.provenance.inputs_journal import (
    Entries,
    FileSystemFolder,
    Folder,
    UrlFolder,
    append,
    folder_of,
    read,
)
from cpr.provenance.provenance_record import Made
from cpr.provenance.why_not_reused import NearestResults, differences, line_digests, render_all

__all__ = ["Run", "drain", "explain", "keep"]

_FIRST_WAIT = 0.3  # seconds that entries wait for others; doubles to
_LAST_WAIT = 10.0
_MOST_ENTRIES = 500  # in one object
_MOST_WAITING = 20_000
_MOST_JOURNALS = 64
_MOST_TEXTS = 4096
_MOST_READS = 30  # a minute: flows may be many, too
_COMPACTS = 16  # of which one puts small objects together; of many workers, few
_PATIENCE = 3.0  # seconds, of a process that ends


@dataclass(frozen=True)
class Run:
    """A task run, as far as needed for the journal.

    Attributes:
        made: the provenance of its result, versions of sources included.
        function: how the user called the task's function.
        source: text of it.
        first_line: where that begins in its file.
        code: of the functions that it uses, by the digests of these.
        storage: where Prefect's records go.
        logger: of the run.
    """

    made: Made
    function: str
    source: str | None
    first_line: int
    code: Mapping[str, Any]
    storage: Any
    logger: Any

    @property
    def journal(self) -> tuple[str, str]:
        """The base of the storage, and the task's journal folder in it."""
        return str(getattr(self.storage, "basepath", None)), folder_of(self.function)


@dataclass
class _Pending:
    """Journal entries of a task that are not written yet."""

    place: Folder
    entries: Entries
    due: float


@dataclass
class _Journal:
    """A task's journal, read for one flow run."""

    earlier: NearestResults = field(default_factory=NearestResults)
    known: Entries = field(default_factory=Entries)


class _JournalWriter:
    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._waits: dict[tuple[str, str], float] = {}
        self._journals: OrderedDict[Any, _Journal] = OrderedDict()
        self._lines: OrderedDict[str, list[str]] = OrderedDict()
        self._reads: deque[float] = deque()

    def hand_in(self, kind: str, what: Any) -> None:
        if self._jobs.qsize() > _MOST_WAITING and kind != "drain":
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="cpr-journal", daemon=True)
                self._thread.start()
        self._jobs.put((kind, what))

    def _work(self) -> None:
        while True:
            due = min((pending.due for pending in self._pending.values()), default=None)
            try:
                kind, what = self._jobs.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
            except queue.Empty:
                kind, what = "write", None
            try:
                if kind == "explain":
                    self._explain(what)
                elif kind == "keep":
                    self._keep(what)
                self._write(everything=kind == "drain")
            except Exception as error:
                # Of a storage block anything may come.
                get_logger("cpr").debug("The journal of results is not available: %s", _said(error))
            if kind == "drain":
                what.set()

    def _explain(self, run: Run) -> None:
        place = folder_of_storage(run.storage)
        if place is None:
            return
        key = (*run.journal, run.made.flow_run)
        if key not in self._journals:
            self._write(everything=True)  # what the run before has made
            self._journals[key] = _Journal()  # if it cannot be read, nobody tries again
            while len(self._journals) > _MOST_JOURNALS:
                self._journals.popitem(last=False)
            if not self._may_read():
                return
            entries = read(place, run.journal[1], compact=secrets.randbelow(_COMPACTS) == 0)
            self._journals[key].known = entries
            for made in entries.made:
                if made.flow_run is None or made.flow_run != run.made.flow_run:
                    self._journals[key].earlier.add(entries.whole(made))
        journal = self._journals[key]
        nearest = journal.earlier.nearest(run.made)
        if nearest is None:
            return
        texts = self._texts_of(run)
        found = differences(nearest, run.made, {**journal.known.lines, **texts.lines}, texts.first)
        run.logger.info("not cached: %s", render_all(found))

    def _may_read(self) -> bool:
        now = time.monotonic()
        while self._reads and self._reads[0] < now - 60:
            self._reads.popleft()
        if len(self._reads) >= _MOST_READS:
            return False
        self._reads.append(now)
        return True

    def _texts_of(self, run: Run) -> Entries:
        """Lines of the task's function and of the functions it uses."""
        found = Entries()
        source = run.made.source
        if run.source is not None and source is not None:
            found.lines[source] = self._lines_of(source, (run.source or "").splitlines)
            found.first[source] = run.first_line
        for digest, code in run.code.items():
            lines = self._lines_of(digest, lambda code=code: inspect.getsourcelines(code)[0])  # type: ignore[misc]
            if lines:
                found.lines[digest], found.first[digest] = lines, code.co_firstlineno
        return found

    def _lines_of(self, digest: str, read_lines: Callable[[], list[str]]) -> list[str]:
        if digest not in self._lines:
            try:
                self._lines[digest] = line_digests("".join(f"{line.rstrip()}\n" for line in read_lines()))
            except (OSError, TypeError, SyntaxError, IndexError):  # typed at a prompt, or come by value
                self._lines[digest] = []
            while len(self._lines) > _MOST_TEXTS:
                self._lines.popitem(last=False)
        return self._lines[digest]

    def _keep(self, run: Run) -> None:
        journal = run.journal
        if journal not in self._pending:
            place = folder_of_storage(run.storage)
            if place is None:
                return
            wait = self._waits.get(journal, _FIRST_WAIT)
            self._waits[journal] = min(2 * wait, _LAST_WAIT)
            entries = Entries(run.made.task or run.function)
            self._pending[journal] = _Pending(place, entries, time.monotonic() + wait)
        pending = self._pending[journal]
        pending.entries.made.append(run.made)
        pending.entries.update(self._texts_of(run))
        if run.made.code is not None:
            pending.entries.uses[run.made.code] = run.made.uses
        if len(pending.entries.made) >= _MOST_ENTRIES:
            pending.due = 0.0
        outside = self._journals.get((*journal, None))
        if outside is not None:
            outside.earlier.add(run.made)

    def _write(self, everything: bool) -> None:
        now = time.monotonic()
        for journal, pending in list(self._pending.items()):
            if everything or pending.due <= now:
                # Whatever comes of it: what cannot be written is not kept for ever.
                del self._pending[journal]
                append(pending.place, journal[1], pending.entries)


def folder_of_storage(storage: Any) -> Folder | None:
    """The folder behind one of Prefect's storage blocks; None for blocks that cannot be listed."""
    if isinstance(storage, LocalFileSystem):
        return UrlFolder(str(Path(storage.basepath or ".").expanduser().resolve()))
    if isinstance(storage, RemoteFileSystem):
        # Its own filesystem: the block's settings are nobody else's.
        return FileSystemFolder(storage.filesystem, storage.basepath)
    get_logger("cpr").debug("Results in a %s are not noted: it cannot be listed", type(storage).__name__)
    return None


def _said(error: Exception) -> str:
    """The text of cpr's errors; other errors may contain storage options."""
    return str(error) if isinstance(error, CprError) else type(error).__name__


_writer = _JournalWriter()


def explain(run: Run) -> None:
    """Log in the run why it was not cached, if there is an earlier result to compare with."""
    _writer.hand_in("explain", run)


def keep(run: Run) -> None:
    """Add what a run's result was made of to the journal."""
    _writer.hand_in("keep", run)


def drain(seconds: float = _PATIENCE) -> None:
    """Wait, up to a time limit, until everything queued is done."""
    if _writer._thread is not None:  # noqa: SLF001
        done = threading.Event()
        _writer.hand_in("drain", done)
        done.wait(seconds)


def _after_fork() -> None:
    global _writer  # noqa: PLW0603 - the thread of the parent is not here
    _writer = _JournalWriter()


atexit.register(drain)
in_children(_after_fork)
