"""Renders the report as one self-contained HTML page.

Everything in a record is shown as text, never as markup. The page may load nothing, and may run only its own
script, which its content security policy names by digest.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from cpr._version import __version__
from cpr.errors import CprError
from cpr.io.humanize import counted, human_size
from cpr.operations.report.gather import Result, when
from cpr.operations.report.graph import draw
from cpr.operations.report.page_data import page_data

__all__ = ["render"]

_MOST_UNREADABLE = 20
_DIALOG = """<dialog id="opened" aria-labelledby="opened-name"><form method="dialog">
<button class="close" aria-label="Close">&times;</button></form><div id="opened-content"></div></dialog>"""


def render(results: Sequence[Result], title: str = "Results", unreadable: Sequence[CprError] = ()) -> str:
    """Render the page: a row for each sample, a column for each task.

    Args:
        results: the results of `gather`.
        title: of the page.
        unreadable: problems of records that cannot be read, shown at the top.

    >>> "<title>Results</title>" in render([])
    True
    """
    script, style = (
        files("cpr.operations.report").joinpath(name).read_text("utf-8") for name in ("page.js", "page.css")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    drawing = draw(results)
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
            f"<header><h1>{_text(title)}</h1><p>{_summary(results)}</p>{_run(results)}",
            f"{_unreadable(unreadable)}</header>",
            graph,
            _controls(results),
            "<noscript><p>The results are shown by the script of this page: allow it to run.</p></noscript>",
            '<div id="rows" role="table" aria-label="Results by sample" tabindex="0"></div>',
            '<p id="nothing" hidden>Nothing matches.</p>',
            _DIALOG,
            f"<footer>{_shown(results)} Written by cpr {_text(__version__)}.</footer>",
            f'<script type="application/json" id="data">{page_data(results, drawing)}</script>',
            f"<script>{script}</script>",
            "</body></html>",
        ]
    )


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _summary(results: Sequence[Result]) -> str:
    states = Counter(result.state for result in results)
    nbytes = sum(result.facts.get("bytes") or 0 for result in results)
    parts = [f"{len(results)} result{'s' if len(results) != 1 else ''}, {human_size(nbytes)}"]
    parts += [f"{states[state]} {state}" for state in ("computed", "cached") if states[state]]
    if damaged := sum(result.problem is not None for result in results):
        parts.append(f"{damaged} with problems")
    return _text(", ".join(parts))


def _unreadable(problems: Sequence[CprError]) -> str:
    if not problems:
        return ""
    lines = "".join(f"<li>{_text(problem)}</li>" for problem in problems[:_MOST_UNREADABLE])
    rest = len(problems) - _MOST_UNREADABLE
    more = f"<li>and {rest:,} more: cpr ls tells of all</li>" if rest > 0 else ""
    said = f"{counted(len(problems), 'record')} cannot be read; what is named there is missing here"
    return f'<details class="unreadable"><summary>{said}</summary><ul>{lines}{more}</ul></details>'


def _run(results: Sequence[Result]) -> str:
    """The header on the run: flow, run, times of its first and last results, version of cpr."""
    made = [one.made for one in results if one.made is not None and one.state == "computed"]
    if not made:
        return ""
    times = sorted(one.at for one in made if one.at is not None)
    ends = {when(one): None for at in (times[:1], times[-1:]) for one in made if at and one.at == at[0]}
    facts = {
        "flow": {one.flow for one in made if one.flow},
        "run": {one.flow_run for one in made if one.flow_run},
        "made": {" to ".join(ends)} - {""},
        "by cpr": {one.cpr for one in made if one.cpr},
    }
    parts = [f"{name} {_text(', '.join(sorted(values)))}" for name, values in facts.items() if values]
    return f'<p class="run">{" · ".join(parts)}</p>'


def _shown(results: Sequence[Result]) -> str:
    """How many pictures and tables the page holds, if not all."""
    held = sum(result.preview is not None for result in results)
    if held == len(results) or not results:
        return ""
    more = f"cpr report --previews {len(results)}"
    return f"{held:,} of {len(results):,} results are shown with a preview; for all: {more}."


def _controls(results: Sequence[Result]) -> str:
    def options(values: set[str]) -> str:
        return "".join(f'<option value="{_text(v)}">{_text(v)}</option>' for v in sorted(values) if v)

    tasks = options({result.task for result in results})
    kinds = options({str(result.facts.get("kind", "")) for result in results})
    states = options({result.state for result in results} | {"problem" for r in results if r.problem})
    return f"""<form class="controls" id="controls" role="search">
<label>Find <input type="search" id="find" placeholder="sample, name, URL, hash"></label>
<label>Task <select id="task"><option value="">all</option>{tasks}</select></label>
<label>Kind <select id="kind"><option value="">all</option>{kinds}</select></label>
<label>State <select id="state"><option value="">all</option>{states}</select></label>
<label>Sort by <select id="sort"><option value="made">problems, newest</option>
<option value="name">sample</option><option value="bytes">size</option></select></label>
<output id="count" aria-live="polite"></output></form>"""
