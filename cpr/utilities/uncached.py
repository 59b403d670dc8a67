"""A run that cannot be cached says so once, in words that name the argument and the remedy."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from cpr.errors import CprError
from cpr.prefect.run_log import log

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

__all__ = ["uncached"]

_MOST = 4096
_said: OrderedDict[tuple[Any, ...], None] = OrderedDict()
_lock = threading.Lock()


def uncached(context: TaskRunContext, error: CprError, alone: bool) -> None:
    """Warn that a run is not cached, and why: once for each task of a flow run, then at DEBUG.

    Args:
        context: of the task run.
        error: says what cannot take part in its key.
        alone: whether this is all there is of the key. A part of a sum that gives None is passed over by
            Prefect, and the rest of the key would find another run's result: there the error is raised.
    """
    run = getattr(context, "task_run", None)
    name = getattr(context.task, "name", "")
    about = (getattr(run, "flow_run_id", None), name, error.problem, error.field, error.url)
    with _lock:
        first = about not in _said
        _said[about] = None
        while len(_said) > _MOST:
            _said.popitem(last=False)
    if run is not None:
        log(
            logging.WARNING if first else logging.DEBUG,
            "Task %r runs, but its result is not cached: %s",
            name,
            error,
        )
    if not alone:
        raise error
