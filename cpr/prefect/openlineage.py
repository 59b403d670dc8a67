"""Sends OpenLineage events on stored results in the background, if configured.

`CPR_OPENLINEAGE=1` turns it on. When Prefect stores a task's result, the text of its record goes into a
queue; one thread of the process makes an event of it (see `cpr.prefect.lineage_events`) and sends it with
OpenLineage's own client, which finds its server in the usual way: `OPENLINEAGE_URL`, `openlineage.yml`. No
task waits for it or fails because of it. Errors are logged once.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

from cpr._lazy import missing_package, needs
from cpr.errors import ConfigurationError, CprError
from cpr.io.fork_safe import in_children
from cpr.io.variables import OPENLINEAGE
from cpr.prefect.lineage_facts import Layouts, ReportedResult, Signed
from cpr.prefect.run_log import first_time
from cpr.provenance.provenance_record import Made
from cpr.Target import Target

__all__ = ["VARIABLE", "drain", "is_asked_for", "remember", "tell_lineage"]

VARIABLE = OPENLINEAGE.name

_MOST_WAITING = 1000  # results
_MOST_BYTES = 64 << 20  # of their records
_MOST_SIGNED = 256  # runs whose results are not stored yet
_PATIENCE = 3.0  # seconds, of a process that ends


def is_asked_for() -> bool:
    """Whether events are to be sent."""
    try:
        return OPENLINEAGE.get() or False
    except ConfigurationError as error:  # lineage stops no run
        if first_time((VARIABLE, str(error))):
            get_logger("cpr").warning("no lineage is sent: %s", error)
        return False


class _EventSender:
    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[ReportedResult | _End] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._signed: OrderedDict[str, Signed] = OrderedDict()
        self._waiting = self._nbytes = 0
        self._client: Any = None

    def remember(self, made: Made, layouts: Layouts) -> None:
        if made.task_run is None:
            return
        with self._lock:
            known = self._signed.pop(made.task_run, None)
            self._signed[made.task_run] = (
                Signed(made, layouts) if known is None else Signed(known.made, known.layouts + layouts)
            )
            while len(self._signed) > _MOST_SIGNED:
                self._signed.popitem(last=False)

    def recall(self, run: str | None) -> Signed | None:
        with self._lock:
            return None if run is None else self._signed.pop(run, None)

    def hand_in(self, job: ReportedResult) -> bool:
        """Queue an event; False if too many are queued."""
        with self._lock:
            is_full = self._waiting >= _MOST_WAITING or (
                self._waiting > 0 and self._nbytes + len(job.text) > _MOST_BYTES
            )
            if is_full:
                return False
            self._waiting += 1
            self._nbytes += len(job.text)
            self._start()
        self._jobs.put(job)
        return True

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="cpr-lineage", daemon=True)
            self._thread.start()

    def end(self, seconds: float) -> int:
        """Wait, up to a time limit, until all events are sent; returns how many were not."""
        if self._thread is None:
            return 0
        end = _End(time.monotonic() + seconds)
        self._jobs.put(end)
        end.done.wait(seconds)
        return self._waiting

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if isinstance(job, _End):
                self._close(job.deadline)
                job.done.set()
                continue
            try:
                self._send(job)
            except Exception as error:
                # Of a transport anything may come.
                _tell(job.logger, "not sent", "The lineage of runs is not sent: %s", _said(error))
            finally:
                with self._lock:
                    self._waiting -= 1
                    self._nbytes -= len(job.text)

    def _send(self, job: ReportedResult) -> None:
        try:
            from openlineage.client import OpenLineageClient

            from cpr.prefect.lineage_events import events_of
        except ModuleNotFoundError as error:
            if (package := missing_package(error)) is None:
                raise
            raise needs("OpenLineage events", package) from None
        for event in events_of(job, self.recall):
            if self._client is None:
                self._client = OpenLineageClient()
            self._client.emit(event)

    def _close(self, deadline: float) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # of a transport anything may come
                client.close(max(0.0, deadline - time.monotonic()))


class _End:
    """A request to send everything that is queued."""

    def __init__(self, deadline: float) -> None:
        self.deadline, self.done = deadline, threading.Event()


def _tell(logger: Any, about: str, message: str, *args: Any) -> None:
    """Warn in a run's log, once per process; later at DEBUG."""
    logger.log(logging.WARNING if first_time(("openlineage", about)) else logging.DEBUG, message, *args)


def _said(error: Exception) -> str:
    """The text of cpr's errors; other errors may contain logins and keys of a server."""
    if isinstance(error, CprError):
        return str(error)
    status = getattr(getattr(error, "response", None), "status_code", None)
    answer = f", the server answers {status}" if isinstance(status, int) else ""
    return (
        f"{type(error).__name__}{answer}. Remedy: see that the server runs that OPENLINEAGE_URL or "
        f"openlineage.yml names; without {VARIABLE} nothing is sent"
    )


_sender = _EventSender()


def remember(made: Made, targets: Sequence[Target]) -> None:
    """Keep the provenance of a run's targets until its result is stored."""
    if is_asked_for():
        # What takes the least time for thousands, and holds none of them; the rest is the other thread's.
        layouts = [vars(one).get("array_layout") for one in targets]
        _sender.remember(made, [([one.data_hash for one in targets], layouts)])


def tell_lineage(text: bytes, running: Callable[[], Made | None]) -> None:
    """Queue an event on a stored result.

    Takes a fraction of a millisecond, however large the result is; raises nothing.

    Args:
        text: the record, as it is stored.
        running: tells how results of the running task are made; None for one that another task's end stores.
    """
    if not is_asked_for():
        return
    try:
        logger: Any = get_run_logger()
    except MissingContextError:
        return  # nothing runs
    made = running()
    signed = _sender.recall(made.task_run) if made is not None else None
    job = ReportedResult(text, made, signed, datetime.now(UTC), logger)
    if not _sender.hand_in(job):
        _tell(
            logger,
            "full",
            "The lineage of some runs is not sent: %d results wait for the server that OPENLINEAGE_URL or "
            "openlineage.yml names. Remedy: see why it is slow",
            _MOST_WAITING,
        )


def drain(seconds: float = _PATIENCE) -> None:
    """Wait, up to a time limit, until everything queued is sent."""
    if left := _sender.end(seconds):
        get_logger("cpr").warning("The lineage of %d results was not sent within %.1f s", left, seconds)


def _after_fork() -> None:
    global _sender  # noqa: PLW0603 - the thread of the parent is not here
    _sender = _EventSender()


atexit.register(drain)
in_children(_after_fork)
