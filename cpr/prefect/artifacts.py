"""Reports a flow's results as one artifact in Prefect's UI."""

from __future__ import annotations

import base64
import logging
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext, TaskRunContext
from prefect.futures import resolve_futures_to_results

from cpr.errors import CprError
from cpr.io.humanize import human_size
from cpr.io.parallel_map import parallel_map
from cpr.prefect.miss_reasons import reasons
from cpr.prefect.redaction import shown_url
from cpr.prefect.run_log import log
from cpr.previews.pixel_size_text import pixel_size
from cpr.previews.thumbnails import within
from cpr.provenance.group_by_source import OF_SEVERAL, sample_name, samples
from cpr.provenance.provenance_record import Made
from cpr.provenance.storage import read_whole
from cpr.records.pack import resources_in
from cpr.Resource import Resource
from cpr.Target import Target

__all__ = ["report_results"]

_MOST_ROWS = 500
_MOST_PICTURES = 50
_MOST_REASONS = 3
_SIDE = 160  # pixels of a picture: what fits beside name, size, shape and pixel size
# Prefect's new pages make pictures as narrow as the head of their column.
_PICTURE = "picture" + "\u00a0" * 30
_MOST_PICTURE_BYTES = 100_000
_AT_ONCE = 16
_SEVERAL = sample_name(OF_SEVERAL)

Thumbnail = Callable[[Resource], bytes | None]


def report_results(results: Any, title: str = "Results", thumbnail: Thumbnail | None = None) -> UUID | None:
    """Report results in Prefect's UI: a table of thumbnails, names, sizes, pixel sizes, tasks and places.

    Results of the same raw data stand together. Above them it says how many results of each task this run has
    computed, why (`sigma: 1.0 -> 2.0`, `myhelpers.gain changed (line 2)`), and how many were in the cache.
    Below them are their places, to be copied for `cpr show` or `from_path`.

    One markdown artifact of the flow run (or task run) that calls it, under one key for each flow, so that
    the UI lists its runs one after another. At most 500 results are listed, the first 50 with pictures.

    Args:
        results: resources and futures of resources, at any depth in lists, dicts ...
        title: heading of the table.
        thumbnail: gives a PNG of up to 100 kB for a result, or None; by default what the result shows in
            Jupyter, at most 160 pixels a side.

    Returns the artifact's id; None, with a warning in the log, if Prefect does not take it: a report does not
    make a flow fail. Raises CprError outside of a run.

    >>> @prefect.flow
    ... def analyse(images: list[ImageSource]) -> list[ImageTarget]:
    ...     results = denoise.map(images).result()
    ...     cpr.report_results(results)
    ...     return results
    """
    flow = FlowRunContext.get()
    if flow is None and TaskRunContext.get() is None:
        raise CprError(
            "no flow is running whose results could be reported",
            expected="a call in a flow or task",
            remedy="call it at the end of the flow's function",
        )
    found = resources_in(resolve_futures_to_results(_as_lists(results)))
    by_place: dict[str, Resource] = {}
    for one in found:
        if isinstance(one, Resource):
            by_place.setdefault(one.get_path(), one)
    resources = list(by_place.values())
    name = getattr(flow.flow, "name", "") if flow is not None and flow.flow is not None else ""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    try:
        # In an event loop Prefect would give a coroutine.
        create: Any = create_markdown_artifact
        artifact: UUID = create(
            _markdown(resources, title, thumbnail or _small_picture),
            key=f"results-{slug}".rstrip("-"),
            description=f"{len(resources)} results",
            _sync=True,
        )
    except Exception as error:
        # Whatever the server or the connection to it has.
        log(logging.WARNING, "The results are not shown in Prefect's UI: %s", type(error).__name__)
        return None
    return artifact


def _as_lists(value: Any) -> Any:
    """Convert the lists that `map` returns to plain lists, which Prefect searches for futures."""
    if isinstance(value, list):
        return [_as_lists(one) for one in value]
    if type(value) is tuple:
        return tuple(map(_as_lists, value))
    return {key: _as_lists(one) for key, one in value.items()} if type(value) is dict else value


def _small_picture(resource: Resource) -> bytes | None:
    """The picture that Jupyter shows for a result, smaller."""
    show = getattr(resource, "_repr_png_", None)
    png = show() if show is not None else None
    return within(png, _SIDE) if isinstance(png, bytes) else None


def _markdown(resources: list[Resource], title: str, thumbnail: Thumbnail) -> str:
    made = dict(parallel_map(_made_of, iter(resources), _AT_ONCE))
    sample_of = _samples(made)
    # By sample, each where its first result was; what is of several of them comes last.
    order = {name: at for at, name in enumerate(dict.fromkeys(sample_of.values()))}
    resources = sorted(
        resources, key=lambda one: ((name := sample_of[one.get_path()]) == _SEVERAL, order[name])
    )
    listed = resources[:_MOST_ROWS]
    pictures = [_picture(one, thumbnail) for one in listed[:_MOST_PICTURES]]
    # Prefect's old pages break no lines in a table: what is long comes last, and places below it.
    columns = ["result", "size", "shape", "pixel size", "made by"]
    if any(pictures):
        columns.insert(0, _PICTURE)
    if len(order) > 1:
        columns.insert(0, "sample")
    lines = [
        f"# {_escaped(title)}",
        "",
        *_by_task(made.values()),
        _row(columns),
        _row("---" for _ in columns),
    ]
    for index, resource in enumerate(listed):
        cells = [_name(resource), _size(resource), _shape(resource), _pixel_size(resource)]
        cells.append(_made_by(resource))
        if any(pictures):
            cells.insert(0, pictures[index] if index < len(pictures) else "")
        if len(order) > 1:
            cells.insert(0, _escaped(sample_of[resource.get_path()]))
        lines.append(_row(cells))
    lines += _places(listed)
    if len(resources) > _MOST_ROWS:
        lines += ["", f"and {len(resources) - _MOST_ROWS} more"]
    return "\n".join(lines) + "\n"


def _samples(made: Mapping[str, Made | None]) -> dict[str, str]:
    """The name of each resource's sample, by its place."""
    made_of = {
        place: [held.url or "" for _, held in one.resources] if one is not None else []
        for place, one in made.items()
    }
    return {place: sample_name(sources) for place, sources in samples(made_of).items()}


def _made_of(resource: Resource) -> tuple[str, Made | None]:
    """The place of a resource, and its provenance."""
    made: Made | None = getattr(resource, "made", None)
    if made is not None:
        with suppress(CprError):  # of which only its sample and why it was computed are not known then
            made = read_whole(made, resource.get_path())
    return resource.get_path(), made


def _by_task(made: Iterable[Made | None]) -> list[str]:
    """For each task: results of this run with the reasons why they were computed, and cached results."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return []
    run = context.flow_run.id.hex
    counts: dict[str, Counter[bool]] = {}
    computed: list[Made] = []
    for one in made:
        if one is not None and one.task and one.flow_run:
            counts.setdefault(one.task, Counter())[one.flow_run == run] += 1
            if one.flow_run == run:
                computed.append(one)
    if not counts:
        return []
    why: dict[str, Counter[str]] = {}
    for task, reason in reasons(computed, context.result_store.result_storage):
        why.setdefault(task, Counter())[reason] += 1
    head = ["task", "computed", "cached", *(["why computed"] if why else [])]
    rows = [
        [_escaped(task), str(count[True]), str(count[False]), *([_why(why.get(task))] if why else [])]
        for task, count in counts.items()
    ]
    return [*map(_row, [head, ["---"] * len(head), *rows]), ""]


def _why(found: Counter[str] | None) -> str:
    """The reasons of a task, the most frequent first, with their numbers of results."""
    told = found.most_common() if found is not None else []
    texts = [_escaped(text if len(told) == 1 or count == 1 else f"{text} ({count})") for text, count in told]
    more = len(texts) - _MOST_REASONS
    return "; ".join([*texts[:_MOST_REASONS], *([f"and {more} other reasons"] if more > 0 else [])])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    """Escape markdown and HTML in a text."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return re.sub(r"([\\`*_{}\[\]<>()#+!|&~])", r"\\\1", plain)


def _places(resources: Iterable[Resource]) -> list[str]:
    """A block of places, one per line, to be copied: browsers cannot open those in buckets."""
    urls = [shown_url(one.get_path()) for one in resources]
    lines = ["".join(c if c.isprintable() else "?" for c in url) for url in urls]
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", "\n".join(lines))), default=0))
    return ["", f"{fence}text", *lines, fence] if lines else []


def _name(resource: Resource) -> str:
    name = _escaped(resource.get_name() + resource.ext)
    url = shown_url(resource.get_path())
    if url.startswith(("http://", "https://")):
        return f"[{name}]({urllib.parse.quote(url, safe=':/@%?=&')})"
    return name


def _size(resource: Resource) -> str:
    nbytes = getattr(resource, "nbytes", None)
    return human_size(nbytes) if isinstance(nbytes, int) else ""


def _shape(resource: Resource) -> str:
    shape = getattr(resource.format, "shape", None)
    return " x ".join(map(str, shape)) if isinstance(shape, tuple) else ""


def _pixel_size(resource: Resource) -> str:
    """Pixel size in x and y, and the Z step, of a target; a source would have to be read."""
    if not isinstance(resource, Target) or not hasattr(resource, "get_resolution"):
        return ""
    metadata = resource.get_metadata() if hasattr(resource, "get_metadata") else {}
    return _escaped(pixel_size(resource.get_resolution(), metadata))


def _made_by(resource: Resource) -> str:
    made = getattr(resource, "made", None)
    if made is None:
        return ""
    at = made.when.strftime("%Y-%m-%d %H:%M:%S") if made.when else ""
    return f"{_escaped(made.task or made.flow or '')} {at}".strip()


def _picture(resource: Resource, thumbnail: Thumbnail) -> str:
    png = None
    with suppress(Exception):  # a picture is a courtesy: no result is unlisted for want of one
        png = thumbnail(resource)
    if png is None or len(png) > _MOST_PICTURE_BYTES:
        return ""
    data = base64.b64encode(png).decode()
    return f"![{_escaped(resource.get_name())}](data:image/png;base64,{data})"
