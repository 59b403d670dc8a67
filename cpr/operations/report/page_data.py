"""The data of the page: results by sample, as JSON with shared texts.

For a hundred thousand results it is some 50 MB. The page's script (`page.js`) makes table rows only for what
is in view.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cpr.io.humanize import human_size
from cpr.operations.report.gather import Result, when
from cpr.operations.report.graph import Drawing
from cpr.previews.models import Picture, Preview
from cpr.provenance.group_by_source import sample_name, samples
from cpr.provenance.provenance_record import Input

__all__ = ["page_data"]

_UNKNOWN = "task not known"


class _Texts:
    """Stores every text once, by number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, value: Any) -> int:
        return self._numbers.setdefault(str(value), len(self._numbers))

    def all(self) -> list[str]:
        return list(self._numbers)


def page_data(results: Sequence[Result], drawing: Drawing) -> str:
    """The JSON text, escaped so that it cannot end its HTML element."""
    texts = _Texts()
    sample_of = samples({result.url: [one.url or "" for _, one in result.inputs] for result in results})
    rows: dict[tuple[str, ...], list[int]] = {}
    for at, result in enumerate(results):
        rows.setdefault(sample_of[result.url], []).append(at)
    # From left to right as they stand in the drawing.
    tasks = [box.label for box in drawing.boxes if not box.is_source]
    tasks += sorted({result.task or _UNKNOWN for result in results} - set(tasks))
    numbers = {task: number for number, task in enumerate(tasks)}
    data = {
        "tasks": tasks,
        # Name, results, and whether they are of several samples.
        "samples": [[sample_name(sources), held, int(not sources)] for sources, held in rows.items()],
        "results": [_row(result, numbers[result.task or _UNKNOWN], texts) for result in results],
        "texts": texts.all(),
    }
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _row(result: Result, task: int, texts: _Texts) -> list[Any]:
    """The fields of a result in the script's order; facts and inputs as alternating names and values."""
    folder, _, file = result.url.rpartition("/")
    made = result.made
    inputs = made.inputs if made is not None else {}
    return [
        texts(result.name),
        texts(folder),
        file,
        task,
        texts(result.facts.get("kind", "")),
        "problem" if result.problem is not None else result.state,
        (made.at if made is not None else None) or 0,
        result.facts.get("bytes") or 0,
        [texts(part) for fact in _facts(result).items() if fact[1] for part in fact],
        [part for name, one in inputs.items() for part in (texts(name), _input(one, texts))],
        _preview(result.preview, result),
        result.problem or 0,
        [*result.scale_bar] if result.scale_bar is not None else 0,
        texts(result.record) if result.record else -1,
    ]


def _facts(result: Result) -> Mapping[str, Any]:
    hidden = {"name", "url"}
    facts = {
        name: human_size(value) if name == "bytes" else value
        for name, value in result.facts.items()
        if name not in hidden
    }
    made = result.made
    if made is not None:
        facts |= {"task": made.task, "flow": made.flow, "flow run": made.flow_run, "task run": made.task_run}
        facts |= {"made": when(made), "cache key": made.key, "by cpr": made.cpr}
    facts["record"] = result.record
    if isinstance(result.preview, Picture) and result.preview.caption:
        facts["shown"] = result.preview.caption
    return facts


def _input(one: Input, texts: _Texts) -> Any:
    """An input: a text's number; [folder, file] for a resource; {held, more} for a container."""
    if one.holds:
        return {"held": [_input(held, texts) for held in one.holds], "more": one.left_out}
    if one.url is not None:
        folder, _, file = one.url.rpartition("/")
        return [texts(folder), file]
    if one.digest is not None and one.value is None:
        return texts(f"{one.type}, {one.digest}")
    return texts(one.value if isinstance(one.value, str) else json.dumps(one.value))


def _preview(preview: Preview | None, result: Result) -> Any:
    if preview is None:
        return 0
    if isinstance(preview, Picture):
        described = ", ".join(_described(result, preview))
        return [f"data:{preview.mime};base64,{base64.b64encode(preview.png).decode()}", described]
    return {"columns": preview.columns, "rows": preview.rows, "more": preview.more_columns}


def _described(result: Result, picture: Picture) -> Iterable[str]:
    """Alternative text for a picture."""
    yield f"{result.name} of {result.task}" if result.task else result.name
    for name in ("shape", "pixel size", "channels"):
        if result.facts.get(name):
            yield f"{name} {result.facts[name]}" if name != "shape" else str(result.facts[name])
    if picture.caption:
        yield picture.caption
