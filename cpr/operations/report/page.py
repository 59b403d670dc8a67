"""The page: everything in one file, which no network is needed to read.

Whatever a record says is text here, never markup. The page may load nothing and run nothing but the one
script that it brings along, which its own policy names by digest.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from cpr._version import __version__
from cpr.io.humanize import human_size
from cpr.operations.report.gather import Result, when
from cpr.operations.report.graph import draw
from cpr.previews.models import Picture
from cpr.provenance.made import Input

__all__ = ["render"]


_DIALOG = """<dialog id="opened" aria-labelledby="opened-name"><form method="dialog">
<button class="close" aria-label="Close">&times;</button></form><div id="opened-content"></div></dialog>"""


def render(results: Sequence[Result], title: str = "Results") -> str:
    """The page for some results, in their order.

    >>> "<title>Results</title>" in render([])
    True
    """
    script, style = (
        files("cpr.operations.report").joinpath(name).read_text("utf-8") for name in ("page.js", "page.css")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    places = {result.url: at for at, result in enumerate(results)}
    drawing = draw(results)
    cards = "".join(_card(at, result, places) for at, result in enumerate(results))
    graph = ""
    if drawing.lines:
        graph = (
            f'<section><h2>From sources to results</h2><div class="graph">{drawing.to_svg()}</div></section>'
        )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title>",
            f"<style>{style}</style></head><body>",
            f"<header><h1>{_text(title)}</h1><p>{_summary(results)}</p></header>",
            graph,
            _controls(results),
            f'<ul class="gallery" id="gallery">{cards}</ul>',
            '<p id="nothing" hidden>Nothing matches.</p>',
            _DIALOG,
            f"<footer>Written by cpr {_text(__version__)}.</footer>",
            f"<script>{script}</script>",
            "</body></html>",
        ]
    )


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _size(result: Result) -> str:
    nbytes = result.facts.get("bytes")
    return "" if nbytes is None else human_size(nbytes)


def _summary(results: Sequence[Result]) -> str:
    states = Counter(result.state for result in results)
    nbytes = sum(result.facts.get("bytes") or 0 for result in results)
    parts = [f"{len(results)} result{'s' if len(results) != 1 else ''}, {human_size(nbytes)}"]
    parts += [f"{states[state]} {state}" for state in ("computed", "cached") if states[state]]
    if damaged := sum(result.problem is not None for result in results):
        parts.append(f"{damaged} with problems")
    return _text(", ".join(parts))


def _controls(results: Sequence[Result]) -> str:
    def options(values: set[str]) -> str:
        return "".join(f'<option value="{_text(v)}">{_text(v)}</option>' for v in sorted(values) if v)

    tasks = options({result.task for result in results})
    kinds = options({str(result.facts.get("kind", "")) for result in results})
    states = options({result.state for result in results} | {"problem" for r in results if r.problem})
    return f"""<form class="controls" id="controls" role="search">
<label>Find <input type="search" id="find" placeholder="name, URL, hash, task"></label>
<label>Task <select id="task"><option value="">all</option>{tasks}</select></label>
<label>Kind <select id="kind"><option value="">all</option>{kinds}</select></label>
<label>State <select id="state"><option value="">all</option>{states}</select></label>
<label>Sort by <select id="sort"><option value="made">newest first</option><option value="name">name</option>
<option value="task">task</option><option value="bytes">size</option></select></label>
<output id="count" aria-live="polite">{len(results)} shown</output></form>"""


def _card(at: int, result: Result, places: dict[str, int]) -> str:
    kind = str(result.facts.get("kind", ""))
    found = " ".join(
        str(part).lower()
        for part in (result.name, result.url, result.task, kind, result.facts.get("data_hash", ""))
    )
    state = "problem" if result.problem is not None else result.state
    badge = f'<span class="badge {state}">{state}</span>' if state else ""
    small = " · ".join(
        _text(part) for part in (result.facts.get("shape"), _size(result), result.task) if part
    )
    made = (result.made.at if result.made is not None else None) or 0
    return (
        f'<li class="card" id="result-{at}" data-find="{_text(found)}" data-name="{_text(result.name)}" '
        f'data-task="{_text(result.task)}" data-kind="{_text(kind)}" data-state="{state}" data-made="{made}" '
        f'data-bytes="{result.facts.get("bytes") or 0}">'
        f'<button class="open" aria-haspopup="dialog"><span class="preview">{_preview(result)}</span>'
        f'<span class="name">{_text(result.name)}{badge}</span><span class="small">{small}</span></button>'
        f"<template>{_details(result, places)}</template></li>"
    )


def _preview(result: Result) -> str:
    if result.preview is None:
        return f'<span class="none">{"not readable" if result.problem else "no preview"}</span>'
    return result.preview.to_html()


def _details(result: Result, places: dict[str, int]) -> str:
    facts = {
        name: human_size(value) if name == "bytes" else value
        for name, value in result.facts.items()
        if name != "name"
    }
    made = result.made
    if made is not None:
        facts |= {"task": made.task, "flow": made.flow, "flow run": made.flow_run, "task run": made.task_run}
        facts |= {"made": when(made), "cache key": made.key, "by cpr": made.cpr}
    facts["record"] = result.record
    if isinstance(result.preview, Picture) and result.preview.caption:
        facts["shown"] = result.preview.caption
    lines = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items() if value
    )
    problem = f'<p class="problem" role="alert">{_text(result.problem)}</p>' if result.problem else ""
    inputs = ""
    if made is not None and made.inputs:
        rows = "".join(
            f"<tr><th>{_text(name)}</th><td>{_input(one, places)}</td></tr>"
            for name, one in made.inputs.items()
        )
        inputs = f"<h3>Made from</h3><table>{rows}</table>"
    head = f'<h2 id="opened-name">{_text(result.name)}</h2>{problem}'
    return f'{head}<div class="preview">{_preview(result)}</div><table>{lines}</table>{inputs}'


def _input(one: Input, places: dict[str, int]) -> str:
    if one.holds:
        more = f"<li>and {one.left_out} more</li>" if one.left_out else ""
        return f"<ul>{''.join(f'<li>{_input(held, places)}</li>' for held in one.holds)}{more}</ul>"
    if one.url is not None:
        at = places.get(one.url)
        # A link only to what is on this page: a URL from a record may be anything.
        return _text(one.url) if at is None else f'<a href="#result-{at}" data-open>{_text(one.url)}</a>'
    if one.digest is not None and one.value is None:
        return f"{_text(one.type)}, {_text(one.digest)}"
    return _text(one.value if isinstance(one.value, str) else json.dumps(one.value))
