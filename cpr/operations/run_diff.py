"""Compares two runs of a flow: which results differ, why, and by how much."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cpr.errors import CprError
from cpr.operations.data_difference import Change, change_between
from cpr.operations.find import Result, find_results
from cpr.operations.run_results import results_of_run
from cpr.operations.why import between, read_texts
from cpr.provenance.inputs_journal import Entries
from cpr.provenance.why_not_reused import Difference
from cpr.records.content_digest import same_content
from cpr.records.record_fields import RESERVED

__all__ = ["ChangedResult", "RunDiff", "diff_runs"]


@dataclass(frozen=True)
class ChangedResult:
    """A result of one run, and its counterpart in the other.

    Attributes:
        name: its file name, without the key.
        task: name of the task that made it.
        old, new: URLs.
        causes: the differences in how they were made.
        options: names of options that differ: resolution, compression ...
        change: by how much the data differs; None where its type does not tell, or it was not looked at.
        problem: why the data could not be looked at.
    """

    name: str
    task: str | None
    old: str
    new: str
    causes: list[Difference] = field(default_factory=list)
    options: tuple[str, ...] = ()
    change: Change | None = None
    problem: CprError | None = None


@dataclass
class RunDiff:
    """The differences between the results of two runs.

    Attributes:
        old_run, new_run: ids of the runs.
        same: how many results are the same.
        changed: results that both have, and that differ.
        only_old, only_new: URLs of results that only one of the runs has.
        problems: the errors of records that cannot be read, and may be of these runs.
    """

    old_run: str
    new_run: str
    same: int = 0
    changed: list[ChangedResult] = field(default_factory=list)
    only_old: list[str] = field(default_factory=list)
    only_new: list[str] = field(default_factory=list)
    problems: list[CprError] = field(default_factory=list)


def diff_runs(
    url: str,
    old_run: str,
    new_run: str,
    data: bool = True,
    on_progress: Callable[..., None] = lambda **_: None,
) -> RunDiff:
    """Compare the results of two runs.

    Results are counterparts if the same task has made them under the same name; of several in the order in
    which they were made, equal ones first.

    Args:
        url: where records are.
        old_run: id of a flow run, or how that begins.
        new_run: id of the other.
        data: read the data of results that differ, to tell by how much: two of them at a time.
        on_progress: called for each record that is read, with their `total`; then, with a `stage`, for
            each pair of results that was compared.

    Raises:
        ResourceNotFoundError: no record here mentions such a run, or the beginning of an id is ambiguous.
        TransferError: the store refused or failed.
    """
    results = find_results(url, on_progress)
    (old_id, old), (new_id, new) = (results_of_run(results, run, url) for run in (old_run, new_run))
    texts, _ = read_texts(url)
    found = RunDiff(old_id, new_id, problems=results.problems)
    groups: dict[tuple[str | None, str], tuple[list[Result], list[Result]]] = defaultdict(lambda: ([], []))
    for side, several in enumerate((old, new)):
        for one in several:
            groups[_place(one)][side].append(one)
    for (task, name), (before, now) in groups.items():
        _take_same(found, before, now)
        for one, other in zip(before, now, strict=False):
            found.changed.append(_compared(name, task, one, other, texts, data))
            on_progress(stage="comparing results")
        found.only_old += [one.url for one in before[len(now) :]]
        found.only_new += [one.url for one in now[len(before) :]]
    return found


def _place(one: Result) -> tuple[str | None, str]:
    made = one.reference.made
    fields = one.reference.fields
    return made.task if made is not None else None, f"{fields['name']}{fields['ext']}"


def _take_same(found: RunDiff, before: list[Result], now: list[Result]) -> None:
    """Count the results that are in both lists, and remove them."""
    named: dict[str, list[Result]] = defaultdict(list)
    for one in now:
        named[_content(one)].append(one)
    kept, taken = [], set()
    for one in before:
        several = named[_content(one)]
        fields = one.reference.fields
        twin = next((n for n, two in enumerate(several) if same_content(fields, two.reference.fields)), None)
        if twin is None:
            kept.append(one)
        else:
            taken.add(id(several.pop(twin)))
    found.same += len(taken)
    before[:], now[:] = kept, [one for one in now if id(one) not in taken]


def _content(one: Result) -> str:
    """What equal results have in common besides the content digest, wherever they are."""
    fields = one.reference.fields
    options = {name: value for name, value in fields.items() if name not in RESERVED}
    return json.dumps([fields.get("data_hash") or one.url, options], sort_keys=True)


def _options(one: Result, other: Result) -> Iterable[str]:
    a, b = (each.reference.fields for each in (one, other))
    names = sorted({*a, *b} - RESERVED)
    return [name for name in names if a.get(name) != b.get(name)]


def _compared(
    name: str, task: str | None, old: Result, new: Result, texts: Entries, data: bool
) -> ChangedResult:
    before, now = old.whole_made(), new.whole_made()
    causes = between(before, now, texts) if before is not None and now is not None else []
    change, problem = None, None
    if data and not same_content(old.reference.fields, new.reference.fields):
        try:
            change = change_between(old.reference.load().get_data(), new.reference.load().get_data())
        except CprError as error:
            problem = error
    options = tuple(_options(old, new))
    return ChangedResult(name, task, old.url, new.url, causes, options, change, problem)
