"""Reads task runs from Prefect's server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterState, TaskRunFilterStateName
from prefect.client.schemas.sorting import TaskRunSort
from prefect.settings import PREFECT_API_URL

from cpr.errors import ConfigurationError
from cpr.io.url_secrets import redact_url
from cpr.provenance.task_runs import TaskRun

__all__ = ["completed_runs"]

_AT_ONCE = 200
_NAMES = ["Completed", "Cached"]


def completed_runs() -> Iterator[TaskRun]:
    """All completed task runs with a computed or cached result, the latest first.

    Asks the server that Prefect is configured for, 200 runs at a time.

    Raises ConfigurationError if it does not answer.
    """
    only = TaskRunFilter(state=TaskRunFilterState(name=TaskRunFilterStateName(any_=_NAMES)))
    known: set[Any] = set()
    try:
        with get_client(sync_client=True) as client:
            for offset in range(0, 1 << 62, _AT_ONCE):
                runs = client.read_task_runs(
                    task_run_filter=only, sort=TaskRunSort.END_TIME_DESC, limit=_AT_ONCE, offset=offset
                )
                # Runs that end meanwhile move the others to later pages.
                yield from (found for run in runs if run.id not in known and (found := _of(run)) is not None)
                known.update(run.id for run in runs)
                if len(runs) < _AT_ONCE:
                    return
    except (httpx.HTTPError, RuntimeError, OSError) as error:
        raise ConfigurationError(
            "Prefect's server could not be asked which runs there were",
            field="PREFECT_API_URL",
            expected="the URL of the server that the flows run with",
            actual=f"{redact_url(str(PREFECT_API_URL.value()))}: {type(error).__name__}",
            remedy="prefect config view shows what is configured; prefect server start starts one",
        ) from None


def _of(run: Any) -> TaskRun | None:
    key = getattr(getattr(run.state, "data", None), "storage_key", None)
    if not isinstance(key, str):
        return None
    task = re.sub("-[0-9a-f]{1,8}$", "", str(run.task_key))
    return TaskRun(
        task, re.split(r"[/\\]", key)[-1], run.total_run_time.total_seconds(), run.state_name == "Cached"
    )
