"""Whether other machines can read what Prefect records of a flow whose targets they can read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from prefect.context import FlowRunContext, TaskRunContext
from prefect.filesystems import LocalFileSystem
from prefect.logging import get_run_logger

from cpr.records.pack import resources_in
from cpr.Target import Target

__all__ = ["warn_of_local_records"]

_MOST = 1024
_warned: OrderedDict[Any, None] = OrderedDict()
_lock = threading.Lock()


def warn_of_local_records(result: Any) -> None:
    """Warn, once per flow run in each process, if targets go to a bucket and their records to a local folder.

    Only in processes other than the flow's own (Dask's workers, say): where one machine does everything a
    local folder serves as well.
    """
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if (
        task is None
        or flow is None
        or not flow.detached
        or not isinstance(task.result_store.result_storage, LocalFileSystem)
    ):
        return
    run = task.task_run.flow_run_id
    if run in _warned:
        return
    remote = next(
        (one.location for one in resources_in(result) if isinstance(one, Target) and _is_remote(one)), None
    )
    if remote is None:
        return
    with _lock:
        if run in _warned:
            return
        _warned[run] = None
        while len(_warned) > _MOST:
            _warned.popitem(last=False)
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
