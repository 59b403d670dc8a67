"""`cpr lineage`: shows what results were made from."""

from __future__ import annotations

import re
from collections import deque
from typing import Annotated

import typer

from cpr.cli.output import (
    Json,
    ResultsUrl,
    as_json,
    ended,
    print_json,
    progress,
    results_url,
    say,
    say_unreadable,
    time_of,
)
from cpr.io.humanize import counted
from cpr.operations.lineage import Lineage, Node, trace

__all__ = ["EXAMPLES", "lineage"]

EXAMPLES = (("cpr lineage s3://my-bucket/records summary", "down to the raw images"),)


_DEEPEST = 60  # characters before a name


def lineage(
    url: ResultsUrl = None,
    result: Annotated[
        str | None,
        typer.Argument(
            metavar="RESULT", help="A result's URL or file name, or how that begins; else all final results."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show what results were made from, and by which tasks, from the records alone: no server is asked.

    Each line is a source or a target; the indented lines below it are what its task was given. Results of
    versions of cpr that did not record this have no lines below them.
    """
    url = results_url(url)
    with progress("reading records") as advance:
        found = trace(url, result, advance)
    if json:
        nodes = [
            {**as_json(node), "made": None if node.made is None else node.made.to_json()}
            for node in found.nodes.values()
        ]
        print_json({"roots": found.roots, "nodes": nodes, "problems": found.problems})
        ended(bool(found.problems), not found.nodes)
    _print_trees(found)
    say(f"{counted(len(found.nodes), 'resource')}, {counted(len(found.roots), 'last result')}.")
    if found.nodes and all(node.made is None for node in found.nodes.values()):
        say("No record here tells how its result was made.")
    say_unreadable(found.problems)
    ended(bool(found.problems), not found.nodes)


def _print_trees(found: Lineage) -> None:
    """Print each resource with its inputs, once, so that output grows with results, not with paths.

    A chain that is longer than a screen is wide goes on in a tree of its own.
    """
    shown: set[str] = set()
    roots = deque(found.roots)
    while roots:
        # An own stack: chains of results may be longer than Python's.
        waiting: list[tuple[str, str, str, str]] = [(roots.popleft(), "", "", "")]
        while waiting:
            url, name, lead, below = waiting.pop()
            node = found.nodes[url]
            again = url in shown and bool(node.parents)
            later = not again and bool(node.parents) and len(below) >= _DEEPEST
            note = "  (see above)" if again else "  (see below)" if later else ""
            label = f"{name}: " if name else ""
            say(f"{lead}{label}{url}{note}")
            if later and url not in roots:
                roots.append(url)
            if again or later:
                continue
            shown.add(url)
            if told := _told(node):
                bar = "│ " if node.parents else "  "
                say(f"{below}{bar}  {told}")
            children = [(parent, name) for name, urls in node.inputs.items() for parent in urls]
            last = len(children) - 1
            for index, (parent, argument) in reversed(list(enumerate(children))):
                end = index == last
                lead, indent = (f"{below}└─ ", f"{below}   ") if end else (f"{below}├─ ", f"{below}│  ")
                waiting.append((parent, argument, lead, indent))


def _told(node: Node) -> str:
    """How a resource was made, in one line."""
    if node.made is None:
        return ""
    settings = ", ".join(f"{name}={_plain(value)}" for name, value in node.settings.items())
    parts = [f"by {node.made.task}({settings})" if node.made.task else ""]
    if node.made.flow:
        run = f" {node.made.flow_run[:8]}" if node.made.flow_run else ""
        parts.append(f"in {node.made.flow}{run}")
    if node.made.when is not None:
        parts.append(time_of(node.made.when))
    if node.problem is not None:
        parts.append(f"not all is known: {node.problem.problem}")
    return ", ".join(filter(None, parts))


def _plain(value: object) -> str:
    """The value kept of an argument, without details for programs."""
    if not isinstance(value, str):
        return str(value)
    return re.sub(r"^[^\s=]+=", "", re.sub(r" ([0-9a-f]{6})[0-9a-f]{10}$", r" \1…", value))
