"""A task run, as far as it tells what the cache was good for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TaskRun"]


@dataclass(frozen=True)
class TaskRun:
    """One run of a task that has completed.

    Attributes:
        task: the task's name, as far as the run tells.
        key: name of the record of its result, which is the cache key.
        seconds: how long it took.
        cached: whether its result was found in the cache.
    """

    task: str
    key: str
    seconds: float
    cached: bool
