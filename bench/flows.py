"""What a cached target costs beside a cached integer.

The same flow twice, side by side in turns and into one bucket: once its tasks return small targets, stored
by cpr, once plain integers, stored by Prefect's own serializer. First everything is computed; then the
time of the same flow with all of its tasks cached is measured, and what it asks the store for is counted
by a proxy. Prefect's server is a process of its own.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.child import measure
from bench.sections import Row, Size

__all__ = ["TITLE", "report", "run"]

TITLE = "Cached tasks"
THREADS = 8
TASKS = 1000


def _flows(url: str) -> dict[str, Any]:
    """The contenders: flows of (number of tasks)."""
    import numpy as np
    from prefect import flow, task
    from prefect.cache_policies import INPUTS, TASK_SOURCE
    from prefect.task_runners import ThreadPoolTaskRunner

    import cpr

    storage = _storage(url)
    options: Any = {
        "task_runner": ThreadPoolTaskRunner(max_workers=THREADS),
        "result_storage": storage,
        "persist_result": True,
    }

    @task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
    def integer(index: int) -> int:
        return index

    @cpr.task
    def small(index: int) -> cpr.NumpyTarget:
        target = cpr.NumpyTarget.from_path(f"{url}/targets/{index}.npy")
        target.set_data(np.full(480, index))
        return target

    locked = small.with_options(lock=f"{url}/locks")

    def of(one: Any) -> Any:
        @flow(**options)
        def run(tasks: int) -> int:
            return len([future.result() for future in one.map(range(tasks))])

        return run

    return {"integers": of(integer), "targets": of(small), "targets, locked": of(locked)}


def _storage(url: str) -> str:
    from prefect.filesystems import RemoteFileSystem

    RemoteFileSystem(basepath=f"{url}/records").save("bench-records", overwrite=True)
    return "remote-file-system/bench-records"


def _timed(run: Any, tasks: int) -> tuple[float, float]:
    """Seconds and CPU seconds of one flow run."""
    _settle()
    started, cpu = time.perf_counter(), time.process_time()
    if run(tasks) != tasks:
        raise RuntimeError("a task is missing")
    return time.perf_counter() - started, time.process_time() - cpu


def _settle() -> None:
    """Wait until Prefect's server has recorded what it was told: it answers 503 while it is behind."""
    import psutil

    servers = psutil.Process().children(recursive=True)
    for one in servers:
        one.cpu_percent()
    quiet = 0
    while quiet < 3:
        time.sleep(0.5)
        quiet = quiet + 1 if sum(one.cpu_percent() for one in servers) < 15 else 0


def run(url: str, size: Size) -> list[Row]:
    """Rows of {contender, what, tasks, seconds, cpu, requests}; `what` is computed, cached or counted."""
    # Prefect takes its settings when it is imported, so it is in a process of its own.
    tasks = max(20, TASKS * size.mib // 1024)
    found = measure("bench.flows:contend", url=url, tasks=tasks, rounds=size.rounds)
    return list(found["rows"])


def contend(url: str, tasks: int, rounds: int) -> Callable[[], dict[str, Any]]:
    """All contenders, in turns."""
    return lambda: {"rows": list(_rows(url, tasks, rounds))}


def _rows(url: str, tasks: int, rounds: int) -> Iterator[Row]:
    with _prefect_server():
        for row in _measured(url, tasks, rounds):
            print(row, file=sys.stderr, flush=True)
            yield row


def _measured(url: str, tasks: int, rounds: int) -> Iterator[Row]:
    from s3fs import S3FileSystem

    from tests.faults.proxy import FaultProxy

    flows = _flows(url)
    counts: dict[str, Counter[str]] = {}
    for contender, each in flows.items():
        seconds, cpu = _timed(each, tasks)
        yield {"contender": contender, "what": "computed", "tasks": tasks, "seconds": seconds, "cpu": cpu}
    for number in range(rounds):
        # Each begins once: what comes second finds a warmer server.
        order = list(flows) if number % 2 == 0 else list(reversed(flows))
        for contender in order:
            seconds, cpu = _timed(flows[contender], tasks)
            yield {"contender": contender, "what": "cached", "tasks": tasks, "seconds": seconds, "cpu": cpu}
    some = min(tasks, 100)
    with FaultProxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        before = {name: os.environ.get(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")}
        os.environ.update(dict.fromkeys(before, proxy.endpoint))
        # Prefect's storage finds its filesystem there, with the endpoint that it was made for.
        S3FileSystem.clear_instance_cache()
        try:
            for contender, each in flows.items():
                proxy.clear()
                _timed(each, some)
                counts[contender] = Counter(proxy.kinds)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
    for contender, count in counts.items():
        requests = {kind: number / some for kind, number in sorted(count.items())}
        yield {"contender": contender, "what": "counted", "tasks": some, "requests": requests}


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        f"A flow of {rows[0]['tasks']} tasks on {THREADS} threads, run again with every task cached: medians",
        "of runs in turns. Requests are those of one cached task, for Prefect's record among them.\n",
        "| tasks return | first, ms a task | cached, ms a task | CPU | beside integers | requests a task |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    cached = {
        name: statistics.median(row["seconds"] for row in rows if _is(row, name, "cached"))
        for name in dict.fromkeys(row["contender"] for row in rows)
    }
    for name, seconds in cached.items():
        first = next(row for row in rows if _is(row, name, "computed"))
        cpu = statistics.median(row["cpu"] for row in rows if _is(row, name, "cached"))
        counted = next(row for row in rows if _is(row, name, "counted"))
        requests = ", ".join(f"{number:.1f} {kind}" for kind, number in counted["requests"].items())
        lines.append(
            f"| {name} | {1000 * first['seconds'] / first['tasks']:.1f} "
            f"| {1000 * seconds / first['tasks']:.1f} | {1000 * cpu / first['tasks']:.1f} "
            f"| {seconds / cached['integers']:.2f} | {requests} |"
        )
    return "\n".join(lines) + "\n"


def _is(row: dict[str, Any], contender: str, what: str) -> bool:
    return (row["contender"], row["what"]) == (contender, what)


@contextmanager
def _prefect_server() -> Iterator[None]:
    """A Prefect server of its own process and database, for this process."""
    from prefect.settings import (
        PREFECT_HOME,
        PREFECT_LOGGING_TO_API_ENABLED,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    with tempfile.TemporaryDirectory() as home:
        settings = {
            PREFECT_HOME: home,
            PREFECT_LOGGING_TO_API_ENABLED: False,
            PREFECT_SERVER_ANALYTICS_ENABLED: False,
        }
        with temporary_settings(settings), prefect_test_harness(server_startup_timeout=120):
            yield
