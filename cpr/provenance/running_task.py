"""Access to the key of the running task run, under which the progress of a run can be stored."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["nth_of_run", "running_key", "tell_running_key"]

_told_by: list[Callable[[], str | None]] = []
_counted_by: list[Callable[[str], int]] = []


def tell_running_key(told: Callable[[], str | None], counted: Callable[[str], int] | None = None) -> None:
    """Set the functions behind `running_key` and `nth_of_run`; called by the module that runs tasks."""
    if told not in _told_by:
        _told_by.append(told)
    if counted is not None and counted not in _counted_by:
        _counted_by.append(counted)


def running_key() -> str | None:
    """The key of the running task and its inputs, the same when it is retried; None outside of tasks.

    >>> running_key() is None
    True
    """
    return next((key for told in _told_by if (key := told()) is not None), None)


def nth_of_run(name: str) -> int:
    """How often the running task has called this with a name before, since it started or was retried.

    >>> nth_of_run("outside of tasks"), nth_of_run("outside of tasks")
    (0, 0)
    """
    return max((counted(name) for counted in _counted_by), default=0)
