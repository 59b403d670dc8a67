"""Fixtures: one Prefect server and one Dask cluster of processes for all tests of a process."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Counts = dict[str, Counter[str]]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory) -> Iterator[str]:
    """The API URL of a server of this test process, also in os.environ for its Dask workers."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_HOME,
        PREFECT_LOCAL_STORAGE_PATH,
        PREFECT_LOGGING_TO_API_ENABLED,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    home = tmp_path_factory.mktemp("prefect")
    settings = {
        PREFECT_HOME: home,
        PREFECT_LOCAL_STORAGE_PATH: home / "storage",
        PREFECT_LOGGING_TO_API_ENABLED: False,
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    before = dict(os.environ)
    with temporary_settings(settings), prefect_test_harness(server_startup_timeout=120):
        url = PREFECT_API_URL.value()
        os.environ.update({"PREFECT_API_URL": url, "PREFECT_HOME": str(home)})
        try:
            yield url
        finally:
            for name in ("PREFECT_API_URL", "PREFECT_HOME"):
                os.environ.pop(name, None)
                if name in before:
                    os.environ[name] = before[name]


@pytest.fixture(scope="session")
def dask_cluster(prefect_server, tmp_path_factory) -> Iterator[Any]:
    """Two worker processes that share nothing with this one but the server and the S3 variables."""
    import dask
    from distributed import LocalCluster

    dask.config.set({"temporary-directory": str(tmp_path_factory.mktemp("dask"))})
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture
def results(tmp_path) -> Path:
    """A folder for Prefect's own records, new for each test."""
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


@pytest.fixture
def counted(prefect_server) -> Callable[..., tuple[Any, Counts]]:
    """counted(flow, *args): the flow's result, and how many runs of each task ended in which state."""

    def run(flow: Any, *args: Any, **kwargs: Any) -> tuple[Any, Counts]:
        state = flow(*args, **kwargs, return_state=True)
        result = state.result()
        return result, _task_runs(state.state_details.flow_run_id)

    return run


def _task_runs(flow_run_id: Any) -> Counts:
    """States by task name, once the server has heard of every run's end."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.client.schemas.sorting import TaskRunSort

    only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    deadline = time.monotonic() + 60
    last, since = None, time.monotonic()
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            runs = client.read_task_runs(flow_run_filter=only, sort=TaskRunSort.NAME_ASC, limit=200)
            now = sorted((run.id, run.state_name) for run in runs)
            if now != last or not all(run.state is not None and run.state.is_final() for run in runs):
                last, since = now, time.monotonic()
            elif time.monotonic() - since > 1:  # runs are reported by events, in the background
                counts: Counts = {}
                for run in runs:
                    counts.setdefault(run.name.rsplit("-", 1)[0], Counter())[run.state_name] += 1
                return counts
            time.sleep(0.2)
    raise TimeoutError(f"task runs did not come to an end: {last}")
