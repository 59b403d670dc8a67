"""The drawing of the layers in docs/architecture.md, made from the imports that there are.

python -m tools.architecture            write it
python -m tools.architecture --check    whether it is as it would be written
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = ROOT / "docs" / "pictures" / "layers.svg"
BEGIN, END = "<!-- layers: python -m tools.architecture -->", "<!-- end of layers -->"

Edges = dict[str, set[str]]

STYLE = 'font-family="system-ui, sans-serif" font-size="14" role="img"'
ALT = "The eight layers, with an arrow for each import that no longer way replaces"
WIDTH, BOX, GAP, HEIGHT, ROW, LABEL = 1100, 128, 22, 34, 88, 90
# Colours of arrows, one for each box that they leave, so that an eye can follow them.
COLOURS = ("#1f5fa8", "#b3541e", "#2e7d4f", "#7a3e9d", "#a8326b", "#5b6b1f", "#0f7c86", "#8a5a00")


def layers() -> list[list[str]]:
    """The layers of the contract in pyproject.toml, from the top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one.get("containers") == ["cpr"])
    return [re.split(r" *[|:] *", line) for line in contract["layers"]]


def imports(rooms: Iterable[str]) -> Edges:
    """Which rooms (packages and modules at the top of cpr) import which, when they run."""
    rooms = list(rooms)
    graph = grimp.build_graph("cpr", exclude_type_checking_imports=True, cache_dir=None)
    for room in rooms:
        if graph.find_children(f"cpr.{room}"):
            graph.squash_module(f"cpr.{room}")
    return {
        room: {
            other
            for other in rooms
            if other != room and graph.direct_import_exists(importer=f"cpr.{room}", imported=f"cpr.{other}")
        }
        for room in rooms
    }


def reduced(edges: Edges) -> Edges:
    """The arrows that no longer way replaces: less ink, the same order."""

    def reached(room: str, seen: set[str]) -> set[str]:
        for other in edges[room] - seen:
            seen.add(other)
            reached(other, seen)
        return seen

    return {
        room: {one for one in others if not any(one in reached(by, {by}) for by in others - {one})}
        for room, others in edges.items()
    }


def svg(rows: list[list[str]], edges: Edges) -> str:
    """The drawing: a row for each layer, an arrow for each import that no longer way replaces."""
    places: dict[str, tuple[float, int]] = {}
    for index, row in enumerate(rows):
        width = len(row) * BOX + (len(row) - 1) * GAP
        left = LABEL + (WIDTH - LABEL - width) / 2
        places |= {room: (left + i * (BOX + GAP) + BOX / 2, 30 + index * ROW) for i, room in enumerate(row)}
    height = 30 + len(rows) * ROW - (ROW - HEIGHT) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {STYLE}>',
        "<title>The layers of cpr; every arrow is an import and points down or sideways</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for index in range(len(rows)):
        top = 30 + index * ROW - 12
        parts.append(
            f'<rect x="{LABEL - 30}" y="{top}" width="{WIDTH - LABEL + 10}" height="{HEIGHT + 24}" rx="8" '
            'fill="#f3f5f8"/>'
            f'<text x="20" y="{top + 34}" fill="#5a6472">{len(rows) - index}</text>'
        )
    for number, (room, others) in enumerate(edges.items()):
        colour = COLOURS[number % len(COLOURS)]
        parts += [_arrow(places[room], places[other], colour) for other in sorted(others)]
    for room, (x, y) in places.items():
        parts.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6" fill="#ffffff" '
            'stroke="#3b4654"/>'
            f'<text x="{x:.0f}" y="{y + 22}" text-anchor="middle" fill="#15191f">{escape(room)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _arrow(start: tuple[float, int], end: tuple[float, int], colour: str) -> str:
    (x1, y1), (x2, y2) = start, end
    y1 += HEIGHT
    if y2 < y1:  # in the same row: an arc below the boxes
        y2 += HEIGHT
        bend, tip = 26, 1
    else:
        bend, tip = 34, -1
    x2 += max(-40, min(40, (x1 - x2) / 8))  # arrows from afar arrive apart from each other
    path = f"M{x1:.0f},{y1} C{x1:.0f},{y1 + bend} {x2:.0f},{y2 + tip * bend} {x2:.0f},{y2 + tip * 6}"
    head = f"M{x2 - 4:.0f},{y2 + tip * 7} L{x2:.0f},{y2} L{x2 + 4:.0f},{y2 + tip * 7} Z"
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.2" opacity="0.75"/>'
        f'<path d="{head}" fill="{colour}"/>'
    )


def table(rows: list[list[str]], edges: Edges) -> str:
    """Every room with what it is for, by its docstring, and everything it imports."""
    lines = ["| layer | in `cpr/` | what it is for | imports |", "| ---: | --- | --- | --- |"]
    for index, row in enumerate(rows):
        for room in row:
            names = ", ".join(f"`{other}`" for other in sorted(edges[room])) or "nothing"
            lines.append(f"| {len(rows) - index} | `{room}` | {_purpose(room)} | {names} |")
    return "\n".join(lines)


def _purpose(room: str) -> str:
    path = ROOT / "cpr" / room / "__init__.py"
    text = (path if path.exists() else ROOT / "cpr" / f"{room}.py").read_text()
    said = ast.get_docstring(ast.parse(text)) or ""
    return said.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def made() -> dict[Path, str]:
    """What the page and the picture should hold."""
    rows = layers()
    edges = imports([room for row in rows for room in row])
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    inside = "\n\n".join([BEGIN, f"![{ALT}](pictures/layers.svg)", table(rows, edges), END])
    return {PAGE: before + inside + after, PICTURE: svg(rows, reduced(edges))}


def main() -> int:
    """Write page and picture, or compare them."""
    files = made()
    if "--check" in sys.argv:
        stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: python -m tools.architecture writes it")
        return 1 if stale else 0
    for path, text in files.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
