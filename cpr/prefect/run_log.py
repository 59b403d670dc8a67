"""Messages of cpr in the log of a Prefect run, each warning once."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any

from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.filesystems import LocalFileSystem
from prefect.logging import get_logger, get_run_logger

from cpr.errors import CprError
from cpr.io.progress_bar import quiet_when
from cpr.prefect.prefect_internals import is_detached
from cpr.records.pack import resources_in
from cpr.Target import Target

__all__ = ["first_time", "log", "uncached", "warn_of_local_records", "warn_of_opaque", "warn_of_unseen_code"]

_LIMIT = 4096
_said: OrderedDict[Hashable, None] = OrderedDict()
_lock = threading.Lock()

# Runs have a log, and progress artifacts.
quiet_when(lambda: FlowRunContext.get() is not None or TaskRunContext.get() is not None)


def first_time(about: Hashable) -> bool:
    """Whether this is the first call in this process for something.

    >>> first_time("example"), first_time("example")
    (True, False)
    """
    with _lock:
        first = about not in _said
        _said[about] = None
        while len(_said) > _LIMIT:
            _said.popitem(last=False)
    return first


def log(level: int, message: str, *args: Any) -> None:
    """Log to the run's logger, or to cpr's outside of runs."""
    try:
        get_run_logger().log(level, message, *args)
    except MissingContextError:
        get_logger("cpr").log(level, message, *args)


def uncached(context: TaskRunContext, error: CprError, alone: bool) -> None:
    """Warn that a run is not cached, and why: once per task in a flow run, then at DEBUG.

    Args:
        context: of the task run.
        error: says what cannot take part in its key.
        alone: whether this is all there is of the key. A part of a sum that gives None is passed over by
            Prefect, and the rest of the key would find another run's result: there the error is raised.
    """
    run = getattr(context, "task_run", None)
    name = getattr(context.task, "name", "")
    about = (getattr(run, "flow_run_id", None), name, error.problem, error.field, error.url)
    if run is not None:
        log(
            logging.WARNING if first_time(about) else logging.DEBUG,
            "Task %r runs, but its result is not cached: %s",
            name,
            error,
        )
    if not alone:
        raise error


_HELD_BY_THREADS = frozenset({"_thread", "threading", "asyncio", "queue", "concurrent", "multiprocessing"})


def warn_of_opaque(context: TaskRunContext, places: Iterable[str]) -> None:
    """Warn, once per task in a process, of things that its code uses and that cannot be hashed.

    Args:
        context: of the task run.
        places: with the type of each in brackets.
    """
    told = [
        one
        for one in places
        if one.partition("(")[2].partition(":")[0].partition(".")[0] not in _HELD_BY_THREADS
    ]
    name = getattr(context.task, "name", "")
    if told and first_time(("opaque", name, *told)):
        log(
            logging.WARNING,
            "The cache key of task %r does not see what is in %s: results stay cached when that changes. "
            "Remedy: pass what it is made of as an argument",
            name,
            ", ".join(dict.fromkeys(told)),
        )


def warn_of_unseen_code(context: TaskRunContext, places: Iterable[str]) -> None:
    """Warn, once per task in a process, of code that is used by a computed name.

    Args:
        context: of the task run.
        places: functions and lines, with what they call.
    """
    told = list(dict.fromkeys(places))
    name = getattr(context.task, "name", "")
    if first_time(("unseen code", name, *told)):
        log(
            logging.WARNING,
            "The cache key of task %r does not see which code is brought in by name in %s: results stay "
            "cached when that code is edited. Remedy: name its modules, @cpr.task(uses=[the_module])",
            name,
            "; ".join(told),
        )


def warn_of_local_records(result: Any) -> None:
    """Warn, once per flow run and process, of targets in a bucket with records in a local folder.

    Only in processes other than the flow's own (Dask's workers, say): where one machine does everything a
    local folder serves as well.
    """
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if (
        task is None
        or flow is None
        or not is_detached(flow)
        or not isinstance(task.result_store.result_storage, LocalFileSystem)
    ):
        return
    remote = next(
        (one.location for one in resources_in(result) if isinstance(one, Target) and _is_remote(one)), None
    )
    if remote is None or not first_time(("local records", task.task_run.flow_run_id)):
        return
    root = "/".join(remote.split("/")[:3])
    get_run_logger().warning(
        "The targets of this flow go to %s, but Prefect's own records of them to a local folder: a worker "
        "that does not see that folder computes everything again. Remedy: save "
        'RemoteFileSystem(basepath="%s/records").save("results") once, and give the flow '
        'result_storage="remote-file-system/results"',
        root,
        root,
    )


def _is_remote(target: Target) -> bool:
    return "://" in target.location and not target.location.startswith("memory:")
