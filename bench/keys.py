"""Cache keys of a task that uses a hundred functions of ten modules."""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

from bench.child import measure
from bench.sections import Row, Size

__all__ = ["TITLE", "report", "run"]

TITLE = "Cache keys"
_KEYS = 1000
_OBJECTS = 20_000
_MODULE = """
import numpy as np
{imports}
LIMIT = {number}
CONFIG = {{"a": [1, 2, 3], "b": {number}}}
"""
_FUNCTION = """
def function{index}(x, k={index}):
    y = np.asarray(x) * LIMIT + CONFIG["b"]
    for j in range(3):
        if j > {index}:
            y = y + np.sin(j) * k
    return y + {calls}
"""
_FLOW = """
import cpr
from module9 import function9
@cpr.task
def run(x, sigma=1.5):
    return function9(x) * sigma
"""


def run(url: str, size: Size) -> list[Row]:  # noqa: ARG001 - nothing is stored
    """In a process for each round: the first key, and those of a thousand runs after it."""
    return [measure("bench.keys:timed", keys=_KEYS) for _ in range(size.rounds)]


def timed(keys: int) -> Any:
    """Work: keys of so many runs of one task, with other arguments each."""
    import cpr

    folder = Path(tempfile.mkdtemp())
    for number in range(10):
        text = _MODULE.format(number=number, imports=f"import module{number - 1}" if number else "")
        for index in range(10):
            before = f"module{number - 1}.function9(x)" if number else "0"
            text += _FUNCTION.format(index=index, calls=f"function{index - 1}(x)" if index else before)
        (folder / f"module{number}.py").write_text(text)
    (folder / "flow.py").write_text(_FLOW)
    sys.path.insert(0, str(folder))
    task = importlib.import_module("flow").run
    context: Any = types.SimpleNamespace(task=task, task_run=None)
    cpr.hash_objects(1)  # what is imported for the first key of any task

    def work() -> dict[str, float]:
        seconds: list[float] = []
        for x in range(keys):
            began = time.process_time()
            task.cache_policy.compute_key(context, {"x": x, "sigma": 2.5}, {})
            seconds.append(time.process_time() - began)
        after = seconds[1:]
        objects = [types.SimpleNamespace(index=index, name=str(index)) for index in range(_OBJECTS)]
        began = time.process_time()
        cpr.hash_objects(objects)
        return {
            "objects": time.process_time() - began,
            "first": seconds[0],
            "median": statistics.median(after),
            "slowest_of_100": sorted(after)[-len(after) // 100],
        }

    return work


def report(rows: list[Row]) -> str:
    """A table of medians."""
    names = {
        "first": "the first key",
        "median": "each after it, median",
        "slowest_of_100": "each after it, slowest of 100",
        "objects": "`hash_objects` of 20,000 small objects",
    }
    lines = [
        "Keys of 1,000 runs of a task that uses 100 functions, 10 constants and 10 dicts of 10 modules of",
        "the user's own, on a machine that does other things as well.",
        "",
        "| | ms of CPU |",
        "| --- | --- |",
    ]
    for name, text in names.items():
        seconds = statistics.median(row[name] for row in rows)
        lines.append(f"| {text} | {seconds * 1000:.2f} |")
    return "\n".join(lines) + "\n"
