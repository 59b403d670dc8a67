"""The key of the task run in which this code runs: what a run has done so far is noted under it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["nth_of_run", "running_key", "tell_running_key"]

_told_by: list[Callable[[], str | None]] = []
_counted_by: list[Callable[[str], int]] = []


def tell_running_key(told: Callable[[], str | None], counted: Callable[[str], int] | None = None) -> None:
    """Let `running_key` and `nth_of_run` ask these; whoever runs tasks calls it when it is imported."""
    if told not in _told_by:
        _told_by.append(told)
    if counted is not None and counted not in _counted_by:
        _counted_by.append(counted)


def running_key() -> str | None:
    """What names the running task and its inputs, the same when it runs again; None outside of tasks.

    >>> running_key() is None
    True
    """
    return next((key for told in _told_by if (key := told()) is not None), None)


def nth_of_run(name: str) -> int:
    """How many times the running task, since it began or was tried again, has asked this for a name before.

    >>> nth_of_run("outside of tasks"), nth_of_run("outside of tasks")
    (0, 0)
    """
    return max((counted(name) for counted in _counted_by), default=0)
