"""One measurement in a process of its own, so that no contender pays for another's memory or caches.

    measure("bench.contenders:write", contender="cpr", url=...)

imports the function there and calls it with the arguments. It gets ready (imports, connections, data)
and returns the work; only the work is measured. What the work returns, if it is a dict, is part of the
answer.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["imported", "measure", "medians", "memory"]

ROOT = Path(__file__).parents[1]
SECONDS = 900
# Not `-m`: contenders import this module too, and have to find the one that runs.
_MAIN = "import json, sys; from bench.child import main; main(sys.argv[1], json.loads(sys.argv[2]))"

_READY = "ready"

_before: list[float] = []


def measure(function: str, ready: Callable[[], None] | None = None, /, **arguments: Any) -> dict[str, Any]:
    """Seconds, CPU seconds, peak memory in MiB over the imports, and what the work itself returned.

    `ready` is called in this process when the other one is ready to work, and waited for.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _MAIN, function, json.dumps(arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PREFECT_LOGGING_LEVEL": "ERROR"},
    ) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() == f"{_READY}\n" and ready is not None:
                ready()
            said, errors = process.communicate("\n", timeout=SECONDS)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise RuntimeError(f"{function} {arguments}: {errors[-2000:]}")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def medians(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Medians of what several runs measured; anything but numbers is that of the last run."""
    runs = list(runs)
    return {
        key: statistics.median(run[key] for run in runs) if type(value) in (int, float) else value
        for key, value in runs[-1].items()
    }


def imported() -> None:
    """Said by a function that gets ready when its imports are done and its data not yet made."""
    with contextlib.suppress(OSError):
        # From here on the kernel counts the peak anew (proc(5)).
        Path("/proc/self/clear_refs").write_text("5")
    _before[:] = [memory("VmRSS")]


def memory(name: str) -> float:
    """The process's VmRSS (now) or VmHWM (at most), in MiB.

    Not ru_maxrss, where it can be helped: that of a new process begins with its parent's.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(function: str, arguments: dict[str, Any]) -> None:
    """Get ready, work, and print what it took."""
    module, _, name = function.partition(":")
    work = getattr(importlib.import_module(module), name)(**arguments)
    if not _before:
        imported()
    print(_READY, flush=True)
    sys.stdin.readline()
    started, used = time.perf_counter(), _cpu()
    found = work()
    seconds, used = time.perf_counter() - started, _cpu() - used
    answer = {"seconds": seconds, "cpu": used, "peak": memory("VmHWM") - _before[0]}
    print(json.dumps(answer | found if isinstance(found, dict) else answer))
