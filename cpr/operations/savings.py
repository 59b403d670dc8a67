"""Computes the time and bytes that the cache has saved, by task.

Prefect's server knows which runs found their result in the cache, and how long those took that made it;
records know how much data that was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cpr import io
from cpr.errors import CprError
from cpr.operations.find import Results, find_results
from cpr.provenance.task_runs import TaskRun

__all__ = ["Savings", "TaskSavings", "savings"]


@dataclass
class TaskSavings:
    """What the cache has saved for one task.

    Attributes:
        task: its name.
        computed: how many runs have computed a result.
        hits: how many have found one.
        seconds: time saved by the hits.
        estimated: for how many of them this is the task's mean, for the run that has made the result is known
            no longer.
        unknown: for how many nothing is known of how long it takes; they count no time.
        nbytes: of the results that were not written again.
    """

    task: str
    computed: int = 0
    hits: int = 0
    seconds: float = 0.0
    estimated: int = 0
    unknown: int = 0
    nbytes: int = 0


@dataclass
class Savings:
    """What the cache has saved, by task.

    Attributes:
        tasks: by task, what saved most first.
        elsewhere: how many hits were of results that no record here names.
        problems: the errors of records that cannot be read; hits of their results count as elsewhere.
    """

    tasks: list[TaskSavings] = field(default_factory=list)
    elsewhere: int = 0
    problems: list[CprError] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds saved over all tasks."""
        return sum(one.seconds for one in self.tasks)

    @property
    def nbytes(self) -> int:
        """Bytes saved over all tasks."""
        return sum(one.nbytes for one in self.tasks)


def savings(
    url: str, runs: Iterable[TaskRun], on_progress: Callable[..., None] = lambda **_: None
) -> Savings:
    """Sum up what the cache has saved on the results under a URL.

    Args:
        url: where Prefect keeps records.
        runs: of tasks that have completed, the latest first.
        on_progress: called for each record that is read, with their `total`; then, with a `stage`, for
            each run.

    Raises ResourceNotFoundError and TransferError.

    >>> savings("memory://no-such-folder", []).tasks
    []
    """
    hits: dict[str, list[TaskRun]] = defaultdict(list)
    computed: dict[str, list[TaskRun]] = defaultdict(list)
    results = find_results(url, on_progress)
    for run in runs:
        on_progress(stage="asking for runs")
        (hits if run.cached else computed)[run.key].append(run)
    records = _records(results, {*hits, *computed})
    tasks: dict[str, TaskSavings] = {}
    seconds: dict[str, list[float]] = defaultdict(list)
    for key in records.keys() & computed.keys():
        task = records[key][0] or computed[key][0].task
        seconds[task] += [run.seconds for run in computed[key]]
    for key, (named, nbytes) in records.items():
        known, found = computed.get(key, []), hits.get(key, [])
        task = named or (known or found)[0].task
        one = tasks.setdefault(task, TaskSavings(task))
        one.computed += len(known)
        one.hits += len(found)
        one.nbytes += nbytes * len(found)
        if not known:
            one.estimated += len(found) if seconds[task] else 0
            one.unknown += 0 if seconds[task] else len(found)
        lasted = known[0].seconds if known else _mean(seconds[task])
        one.seconds += sum(max(0.0, lasted - run.seconds) for run in found)
    elsewhere = sum(len(found) for key, found in hits.items() if key not in records)
    order = sorted(tasks.values(), key=lambda one: (-one.seconds, -one.nbytes, one.task))
    return Savings(order, elsewhere, results.problems)


def _mean(seconds: list[float]) -> float:
    return sum(seconds) / len(seconds) if seconds else 0.0


def _records(results: Results, names: set[str]) -> dict[str, tuple[str | None, int]]:
    """For the records with these names: the task, and the size of the results."""
    found: dict[str, tuple[str | None, int]] = {}
    for one in results.in_records(names):
        name = io.split(one.record)[1]
        made = one.reference.made
        task, nbytes = found.get(name, (None, 0))
        found[name] = task or (made.task if made is not None else None), nbytes + (one.reference.nbytes or 0)
    return found
