"""Examines whether a store is fit for results, by trying everything that cpr relies on.

All of it happens in a scratch folder that is removed again; nothing else is modified.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLong
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import timedelta

from cpr import io
from cpr.errors import CprError
from cpr.io.confinement import writing_only_below
from cpr.operations.doctor.checks import CHECKS, check_delete, check_speed
from cpr.operations.doctor.findings import Finding, Status, diagnosed
from cpr.operations.doctor.scratch import Scratch, scratch

__all__ = ["Examination", "Finding", "Status", "examine"]

_ANSWER_SECONDS = 40.0
_A_DAY = timedelta(days=1)


@dataclass
class Examination:
    """The outcome of `examine`.

    Attributes:
        url: of the place that was examined.
        findings: one for each check, in their order.
        orphans: leftovers of killed processes there, older than a day.
        removed: whether these were removed.
    """

    url: str
    findings: list[Finding] = field(default_factory=list)
    orphans: list[io.Orphan] = field(default_factory=list)
    removed: bool = False

    @property
    def is_fit(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.status != "wrong" for finding in self.findings)


def examine(
    url: str,
    mib: int = 32,
    remove_orphans: bool = False,
    on_progress: Callable[[Finding], None] = lambda _: None,
) -> Examination:
    """Try out on a bucket or folder what cpr relies on. Raises none of the store's errors.

    Args:
        url: of the place where results are to be.
        mib: size of the object that speed is measured with; 0 measures none.
        remove_orphans: remove what killed processes have left there more than a day ago.
        on_progress: called with each finding as soon as it is known.

    >>> examine("memory://doc", mib=1).is_fit
    True
    """
    result = Examination(io.normalise(url))

    def add(finding: Finding) -> bool:
        result.findings.append(finding)
        on_progress(finding)
        return finding.status != "wrong"

    try:
        with writing_only_below(result.url), scratch(result.url) as place:
            for number, check in enumerate(CHECKS):
                if not add(_in_time(check, place)) and number < 2:
                    return result
            add(check_speed(place, mib))
            add(check_delete(place))
        add(_leftovers(result, remove_orphans))
    except CprError as error:
        add(diagnosed("reach", error))
    return result


def _in_time(function: Callable[[Scratch], Finding], place: Scratch) -> Finding:
    """Run a check with a time limit; a store that does not answer has failed it."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="cpr-doctor")
    waiting = pool.submit(copy_context().run, function, place)
    pool.shutdown(wait=False)
    try:
        return waiting.result(_ANSWER_SECONDS)
    except TooLong:
        return Finding(
            function.check,  # type: ignore[attr-defined]
            "wrong",
            f"no answer within {_ANSWER_SECONDS:.0f} s",
            "check the endpoint (for S3 AWS_ENDPOINT_URL), and that no proxy or firewall swallows requests",
        )


def _leftovers(result: Examination, remove: bool) -> Finding:
    name = "leftovers"
    try:
        find = io.remove_orphans if remove else io.find_orphans
        result.orphans = find(result.url, _A_DAY)
    except CprError as error:
        found = diagnosed(name, error)
        return replace(found, status="poor", text=f"leftovers cannot be listed: {found.text}")
    result.removed = remove
    if not result.orphans:
        return Finding(name, "good", "killed processes have left nothing that is over a day old")
    nbytes = sum(orphan.nbytes for orphan in result.orphans)
    text = f"{len(result.orphans)} leftovers of killed processes, {nbytes / 1e6:.1f} MB"
    figures = {"leftovers": len(result.orphans), "nbytes": nbytes}
    if remove:
        return Finding(name, "good", f"{text}, were removed", None, figures)
    return Finding(name, "poor", text, "cpr doctor --remove-leftovers removes them", figures)
