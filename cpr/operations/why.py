"""Why results were made, where an earlier one could have been used again: told from records alone.

A result is compared with the nearest that the same task had made before: what differs in their arguments,
their sources or the task's code is why Prefect did not use that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cpr import io
from cpr.errors import CprError, RecordError, ResourceNotFoundError
from cpr.io.parallel import side_by_side
from cpr.operations.records import Reference, find_records
from cpr.provenance.diff import Difference, Relatives, differences
from cpr.provenance.journal import read_journal
from cpr.provenance.made import Made, read_whole

__all__ = ["Explanation", "compare", "explain"]

_AT_ONCE = 16


@dataclass(frozen=True)
class Explanation:
    """Why a result was made.

    Attributes:
        url: of the result.
        made: how it came to be.
        before: how the earlier result came to be that it was compared with; None where there is none near.
        before_url: of that result; None where its record is gone.
        differences: between the two.
    """

    url: str
    made: Made
    before: Made | None = None
    before_url: str | None = None
    differences: list[Difference] = field(default_factory=list)


def explain(url: str, result: str, on_progress: Callable[[], None] = lambda: None) -> list[Explanation]:
    """Why results were made although there were earlier ones of the same task.

    Args:
        url: a results URL; where Prefect's records are, more is known (which line of a task was changed).
        result: URL or file name of results, or how that begins.
        on_progress: is called for each record.

    Raises:
        ResourceNotFoundError: no record here names such a result.
        RecordError: the records of these results do not tell how they were made.
        TransferError: the store refused or failed.
    """
    known = _known(url, on_progress)
    lines, journal = _journal(url)
    explanations = []
    # Of a result that was made several times, the last.
    for one in {one.url: one for one in _asked(known, url, result)}.values():
        made = _whole(one)
        if made is None:
            continue
        explanations.append(_explained(one, made, known, journal, lines))
    if not explanations:
        raise RecordError(
            "the record does not tell how this result was made",
            url=url,
            field="made",
            expected="a result that a task of cpr has made",
            remedy="run its flow again: records have told this since cpr wrote it down",
        )
    return explanations


def compare(url: str, result: str, other: str) -> Explanation:
    """What differs between how two results were made.

    Args:
        url: a results URL.
        result: URL or file name of the newer one, or how that begins.
        other: of the one to compare it with.

    Raises as `explain`.
    """
    known = _known(url, lambda: None)
    lines, _ = _journal(url)
    new, old = (_asked(known, url, one)[-1] for one in (result, other))
    pair = [_whole(new), _whole(old)]
    if pair[0] is None or pair[1] is None:
        raise RecordError(
            "the record does not tell how this result was made",
            url=new.url if pair[0] is None else old.url,
            field="made",
            expected="a result that a task of cpr has made",
            remedy="run its flow again: records have told this since cpr wrote it down",
        )
    return Explanation(new.url, pair[0], pair[1], old.url, _differences(pair[1], pair[0], lines))


def _known(url: str, on_progress: Callable[[], None]) -> list[Reference]:
    """All targets that records name, the latest last."""
    known: dict[str, Reference] = {}
    for record in find_records(url):
        on_progress()
        for one in record.targets:
            # The same object may have been made twice, from other arguments.
            known[f"{one.url} {one.made.task_run if one.made else None}"] = one
    return sorted(known.values(), key=lambda one: (one.made.at or 0) if one.made else 0)


def _asked(known: Sequence[Reference], url: str, result: str) -> list[Reference]:
    name = result.replace("\\", "/").rpartition("/")[2]
    exact = [one for one in known if one.url == result]
    found = exact or [one for one in known if one.file_name.startswith(name)]
    if not found:
        raise ResourceNotFoundError(
            "no record here names such a result",
            url=url,
            expected=result,
            actual=f"{len(known)} other results",
            remedy="cpr ls lists the results; name the place where Prefect's result storage writes",
        )
    return found


def _journal(url: str) -> tuple[Mapping[str, Sequence[str]], dict[str, list[Made]]]:
    """Digests of the lines of tasks' sources, and results whose records may be gone, by task."""
    lines: dict[str, Sequence[str]] = {}
    made: dict[str, list[Made]] = {}
    for entries in read_journal(io.normalise(url)):
        lines.update(entries.lines)
        made.setdefault(entries.task, []).extend(entries.made)
    return lines, made


def _whole(one: Reference) -> Made | None:
    made = one.made
    try:
        return None if made is None else read_whole(made, one.url)
    except CprError:
        # The arguments are not to be had; task, run and source are.
        return made


def _explained(
    one: Reference,
    made: Made,
    known: Sequence[Reference],
    journal: Mapping[str, Sequence[Made]],
    lines: Mapping[str, Sequence[str]],
) -> Explanation:
    earlier = [
        other
        for other in known
        if other.made is not None and other.made.task == made.task and _is_before(other.made, made)
    ]
    relatives = Relatives()
    urls: dict[int, str] = {}
    for kept in journal.get(made.task or "", ()):
        if _is_before(kept, made):
            relatives.add(kept)
    for other, whole in zip(earlier, side_by_side(_whole, earlier, _AT_ONCE), strict=True):
        if whole is not None:
            relatives.add(whole)
            urls[id(whole)] = other.url
    before = relatives.nearest(made)
    if before is None:
        return Explanation(one.url, made)
    return Explanation(one.url, made, before, urls.get(id(before)), _differences(before, made, lines))


def _is_before(one: Made, made: Made) -> bool:
    """Whether it could have been used again; what the same run made for another image could not."""
    same_run = one.flow_run == made.flow_run if made.flow_run else one.task_run == made.task_run
    return not same_run and (one.at or 0) <= (made.at or 0)


def _differences(old: Made, new: Made, lines: Mapping[str, Sequence[str]]) -> list[Difference]:
    return differences(old, new, lines.get(old.source or "", ()), lines.get(new.source or "", ()))
