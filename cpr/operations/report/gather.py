"""Gathers the results of runs and their previews for a report, from the store alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cpr.data.CalibratedImage import CalibratedImage
from cpr.errors import CprError
from cpr.io.parallel_map import parallel_map
from cpr.operations import find
from cpr.previews.models import Picture, Preview
from cpr.provenance.provenance_record import Input, Made
from cpr.provenance.storage import read_whole
from cpr.Resource import Resource
from cpr.Target import Target

__all__ = ["Result", "gather", "newest_run"]

_AT_ONCE = 16


@dataclass(frozen=True)
class Result:
    """A target, with everything that the page shows of it.

    Attributes:
        url: of the object.
        facts: what is known of it, for people: shape, dtype, size, hashes, pixel size.
        made: how it came to be; None where the record does not say.
        record: URL of the record that names it; None for one that was handed over.
        preview: a picture or the first rows; None where there is none.
        problem: what is wrong with it, such as that the object is gone; None for a good one.
        state: "computed" in the run that is reported, "cached" from an earlier one, or "" if unknown.
        scale_bar: its part of the preview's width, and the length that it stands for; None where unknown.
    """

    url: str
    facts: Mapping[str, Any]
    made: Made | None = None
    record: str | None = None
    preview: Preview | None = None
    problem: str | None = None
    state: str = ""
    scale_bar: tuple[float, str] | None = None

    @property
    def name(self) -> str:
        """The target's name."""
        return str(self.facts.get("name", self.url))

    @property
    def task(self) -> str:
        """Name of the task that made it; empty if unknown."""
        return (self.made.task if self.made is not None else None) or ""

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        """The resources that it was made from, by argument; those in containers one by one."""
        if self.made is not None:
            yield from self.made.resources

    @classmethod
    def of(cls, target: Target, record: str | None = None, with_preview: bool = True) -> Result:
        """Describe a target, with its preview read now. Errors become its `problem`."""
        facts, made, problem, preview = target.facts(), target.made, None, None
        try:
            if made is not None:
                made = read_whole(made, target.url)
        except CprError as error:
            problem = str(error)
        try:
            if with_preview:
                preview = target.preview()
                facts = target.details()
            else:
                target.check()
        except CprError as error:
            problem = str(error)
        return cls(target.url, facts, made, record, preview, problem, scale_bar=_scale_bar(target, preview))


def _scale_bar(target: Target, preview: Preview | None) -> tuple[float, str] | None:
    """A round length, about a quarter of the picture's width, for an image with a known pixel size."""
    if not isinstance(preview, Picture) or not isinstance(target, CalibratedImage):
        return None
    try:
        resolution, unit = target.get_resolution(), target.get_metadata().get("unit")
        shape = tuple(int(n) for n in str(target.details()["shape"]).split(",")[0].split(" x "))
    except (CprError, KeyError, ValueError):
        return None
    # Colours may lie behind X.
    columns = shape[-2] if len(shape) > 2 and shape[-1] in (3, 4) and shape[-2] > 4 else shape[-1]
    if resolution is None or not resolution[0] or unit is None or columns < 1:
        return None
    width = columns / resolution[0]
    length = 10.0 ** math.floor(math.log10(width / 4))
    # The logarithm may be rounded up.
    length *= max((step for step in (1, 2, 5) if step * length <= width / 4), default=1)
    return round(length / width, 4), f"{length:g} {unit}"


def gather(
    url: str,
    run: str | None = None,
    preview_limit: int = 1000,
    on_progress: Callable[[Result, int], None] = lambda *_: None,
) -> tuple[list[Result], list[CprError]]:
    """Gather the targets that the records under a URL name, newest first, and problems of records.

    The second list says what is wrong with records that cannot be read: the results that these name are not
    among the first.

    Args:
        url: where Prefect's result storage writes, or any folder with records.
        run: 32 hex digits of the flow run to report: what another one made is "cached". None for the
            newest.
        preview_limit: how many of the newest targets are looked at; of the others only what the records say
            is shown.
        on_progress: called with each result once it was read, and with their total.

    Raises ResourceNotFoundError when the bucket does not exist, TransferError when the store cannot be asked.
    """
    known = find.find_results(url)
    named = find.latest(known.all()).values()
    ordered = sorted(named, key=lambda one: (-one.recorded.timestamp(), one.url))
    jobs = [(one, at < preview_limit) for at, one in enumerate(ordered)]
    results = []
    for result in parallel_map(lambda job: _result(*job), iter(jobs), _AT_ONCE):
        on_progress(result, len(ordered))
        results.append(result)
    run = run or newest_run(results)
    return [replace(result, state=_state(result, run)) for result in results], known.problems


def _result(named: find.Result, with_preview: bool) -> Result:
    reference = named.reference
    try:
        resource: Resource = reference.load()
    except CprError as error:
        return Result(reference.url, {"name": reference.file_name}, None, named.record, None, str(error))
    assert isinstance(resource, Target)
    return Result.of(resource, named.record, with_preview)


def newest_run(results: Iterable[Result]) -> str | None:
    """The flow run that made the newest result."""
    made = [result.made for result in results if result.made is not None and result.made.flow_run]
    return max(made, key=lambda one: one.at or 0).flow_run if made else None


def _state(result: Result, run: str | None) -> str:
    if result.made is None or result.made.flow_run is None or run is None:
        return ""
    return "computed" if result.made.flow_run == run else "cached"


def when(made: Made | None) -> str:
    """When a result was made, as `2026-11-24 08:31:05 UTC`; empty if unknown."""
    at = None if made is None else made.when
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"
