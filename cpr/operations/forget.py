"""Deletes the cache entries of results, so that the next run computes them again; the data stays.

Prefect looks for the record named by a run's cache key. Without it the task runs; if it computes equal
content again, tasks that used the result stay cached.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from cpr import io
from cpr.errors import CprError
from cpr.io.confinement import writing_only_below
from cpr.io.objects import remove_many
from cpr.operations.find import find_results
from cpr.operations.result import Result
from cpr.operations.result_filter import ResultFilter

__all__ = ["Forgetting", "Forgotten", "forget"]

_AT_ONCE = 500  # records that are deleted between two looks at an interruption


@dataclass(frozen=True)
class Forgotten:
    """A cache entry that was deleted, or would be.

    Attributes:
        record: its URL.
        task: name of the task that the next run computes again; None where records do not tell.
        results: URLs of the targets that it names.
        nbytes: of all of these.
    """

    record: str
    task: str | None
    results: tuple[str, ...]
    nbytes: int


@dataclass
class Forgetting:
    """The outcome of `forget`.

    Attributes:
        dry: whether nothing was touched.
        entries: the cache entries.
        kept: how many other records name such results: results of flows, or of tasks that only pass them on.
        problems: the errors of records that cannot be read, and so were not looked into.
    """

    dry: bool = True
    entries: list[Forgotten] = field(default_factory=list)
    kept: int = 0
    problems: list[CprError] = field(default_factory=list)


def forget(
    url: str,
    choice: ResultFilter,
    delete: bool = False,
    on_progress: Callable[..., None] = lambda **_: None,
    done: Forgetting | None = None,
) -> Forgetting:
    """Delete the cache entries of results, so that the next run computes these again.

    Only records are deleted, and of these only the one that was stored by the task that made the results. The
    data stays until `collect` finds that nothing refers to it.

    Args:
        url: where Prefect keeps records.
        choice: of results.
        delete: without it nothing is touched.
        on_progress: called for each record that is read, with their `total`.
        done: filled step by step and returned, so that it is there after an interruption.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the store refused or failed.

    >>> forget("memory://no-such-folder", ResultFilter(task="denoise")).entries
    []
    """
    url = io.normalise(url)
    done = done if done is not None else Forgetting()
    done.dry = not delete
    results = find_results(url, on_progress)
    done.problems = results.problems
    entries = []
    by_record = itertools.groupby(results.beside(choice), lambda one: one.record)
    for record, group in by_record:
        named = list(group)
        if not _is_entry_of_its_task(record, named, choice):
            done.kept += 1
            continue
        made = named[0].reference.made
        nbytes = sum(one.reference.nbytes or 0 for one in named)
        urls = tuple(dict.fromkeys(one.url for one in named))
        entries.append(Forgotten(record, made.task if made is not None else None, urls, nbytes))
    for start in range(0, len(entries), _AT_ONCE):
        batch = entries[start : start + _AT_ONCE]
        if delete:
            with writing_only_below(url):
                remove_many(one.record for one in batch)
        done.entries += batch
    return done


def _is_entry_of_its_task(record: str, named: list[Result], choice: ResultFilter) -> bool:
    """Whether the record is the cache entry of the task that made the results.

    The result of a flow, and of a task that passes on what another has made, is a record as well.
    """
    if not named[0].is_cached:
        return False
    name = io.split(record)[1]
    makers = set()
    for one in named:
        if not choice.takes(one):
            continue
        made = one.whole_made()
        if made is not None and made.key is not None:
            return re.split(r"[/\\]", made.key)[-1] == name
        makers.add(None if made is None else made.task_run)
    # Where there was no room for the key: a record of one task run alone is that of its task.
    others = {None if one.reference.made is None else one.reference.made.task_run for one in named}
    return len(makers | others) == 1
