"""Task runs, with what is needed to tell how much time the cache saved."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TaskRun"]


@dataclass(frozen=True)
class TaskRun:
    """A completed run of a task.

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
