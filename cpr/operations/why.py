"""Explains why results were computed although earlier ones existed, from records alone.

A result is compared with the most similar earlier one of the same task: the differences in arguments, sources
or code are the reason why Prefect did not reuse that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cpr import io
from cpr.errors import RecordError
from cpr.io.parallel_map import parallel_map
from cpr.operations.find import Result, Results, called, find_results, latest
from cpr.provenance.inputs_journal import Entries, read_journal
from cpr.provenance.provenance_record import Made
from cpr.provenance.why_not_reused import Difference, NearestResults, differences

__all__ = ["Explanation", "between", "compare", "explain", "is_before", "read_texts"]

_AT_ONCE = 16


@dataclass(frozen=True)
class Explanation:
    """The reason why a result was computed.

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


def explain(url: str, result: str, on_progress: Callable[..., None] = lambda **_: None) -> list[Explanation]:
    """Explain why results were computed although there were earlier ones of the same task.

    Args:
        url: a results URL; where Prefect's records are, more is known (which line of a task was changed).
        result: URL or file name of results, or how that begins.
        on_progress: called for each record that is read, with their `total`.

    Raises:
        ResourceNotFoundError: no record here names such a result.
        RecordError: the records of these results do not tell how they were made.
        TransferError: the store refused or failed.
    """
    known = find_results(url, on_progress)
    texts, journal = read_texts(url)
    asked = [(one, one.whole_made()) for one in latest(called(known, result, url)).values()]
    explanations = [_explained(one, made, known, journal, texts) for one, made in asked if made is not None]
    if not explanations:
        raise _untold(url)
    return explanations


def compare(url: str, result: str, other: str) -> Explanation:
    """List the differences between how two results were made.

    Args:
        url: a results URL.
        result: URL or file name of the newer one, or how that begins.
        other: of the one to compare it with.

    Raises as `explain`.
    """
    known = find_results(url)
    texts, _ = read_texts(url)
    new, old = (called(known, one, url)[-1] for one in (result, other))
    made, before = new.whole_made(), old.whole_made()
    if made is None or before is None:
        raise _untold(new.url if made is None else old.url)
    return Explanation(new.url, made, before, old.url, between(before, made, texts))


def _untold(url: str) -> RecordError:
    return RecordError(
        "the record does not tell how this result was made",
        url=url,
        field="made",
        expected="a result that a task of cpr has made",
        remedy="run its flow again: records have told this since cpr wrote it down",
    )


def read_texts(url: str) -> tuple[Entries, dict[str, list[Made]]]:
    """Read the journal: source texts and code, and results whose records may be gone, by task."""
    texts = Entries()
    made: dict[str, list[Made]] = {}
    for entries in read_journal(io.normalise(url)):
        texts.update(entries)
        made.setdefault(entries.task, []).extend(map(entries.whole, entries.made))
    return texts, made


def _explained(
    one: Result,
    made: Made,
    known: Results,
    journal: Mapping[str, Sequence[Made]],
    texts: Entries,
) -> Explanation:
    candidates = NearestResults()
    urls: dict[int, str] = {}
    for kept in journal.get(made.task or "", ()):
        if is_before(kept, made):
            candidates.add(kept)
    earlier = [
        other
        for other in known.near(made)
        if (how := other.reference.made) is not None and how.task == made.task and is_before(how, made)
    ]
    for other, whole in zip(earlier, parallel_map(Result.whole_made, earlier, _AT_ONCE), strict=True):
        if whole is not None:
            candidates.add(whole)
            urls[id(whole)] = other.url
    before = candidates.nearest(made)
    if before is None:
        return Explanation(one.url, made)
    return Explanation(one.url, made, before, urls.get(id(before)), between(before, made, texts))


def is_before(one: Made, made: Made) -> bool:
    """Whether a result was made earlier and in another run, so that it could have been reused."""
    same_run = one.flow_run == made.flow_run if made.flow_run else one.task_run == made.task_run
    return not same_run and (one.at or 0) <= (made.at or 0)


def between(old: Made, new: Made, texts: Entries) -> list[Difference]:
    """The differences between how two results were made, with changed lines of code if known."""
    return differences(texts.whole(old), texts.whole(new), texts.lines, texts.first)
