"""Draws the graph from sources to results as SVG: tasks as boxes, data flow as lines.

One box a task, not one a result: ten thousand images through five tasks are five boxes. Boxes stand in
columns, each right of all that it is made of.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cpr import io
from cpr.errors import CprError
from cpr.operations.report.gather import Result

__all__ = ["Box", "Drawing", "draw"]

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 190, 46, 70, 18
_LANE = 8  # between lines that go around
_KEYED = re.compile(r"-[0-9a-f]{16}(\.[^/\\]*)$")


@dataclass(frozen=True)
class Box:
    """A task with its results, or a folder of sources.

    Attributes:
        label: name of the task, or the folder's.
        count: how many results or sources.
        is_source: whether nothing in the report made them.
        column: from the left.
        row: from the top.
    """

    label: str
    count: int
    is_source: bool
    column: int
    row: int


@dataclass(frozen=True)
class Drawing:
    """Boxes, and the lines between them by position in `boxes`, with the number of results along each."""

    boxes: tuple[Box, ...]
    lines: tuple[tuple[int, int, int], ...]

    def to_svg(self) -> str:
        """An `svg` element; boxes of tasks are buttons with the task's name in `data-task`."""
        if not self.boxes:
            return ""
        columns = max(box.column for box in self.boxes) + 1
        rows = max(box.row for box in self.boxes) + 1
        width = columns * (_WIDTH + _GAP_X) - _GAP_X + 4
        bottom = rows * (_HEIGHT + _GAP_Y) - _GAP_Y + 4
        paths, lanes = [], 0
        for start, end, count in self.lines:
            if self.boxes[end].column == self.boxes[start].column + 1:
                path = self._across(start, end)
            else:
                # Below all boxes, for behind one it would not be seen.
                path, lanes = self._around(start, end, bottom, lanes), lanes + 1
            paths.append(f'<path d="{path}"><title>{count} of them</title></path>')
        height = bottom + (lanes * _LANE + 4 if lanes else 0)
        left = -_GAP_X // 2 if lanes else 0
        size = f'viewBox="{left} 0 {width - 2 * left} {height}" width="{width - 2 * left}" height="{height}"'
        boxes = [self._box(at) for at in range(len(self.boxes))]
        group = f'<svg {size} role="group" aria-label="From sources to results">'
        return "".join([group, *paths, *boxes, "</svg>"])

    def _ends(self, start: int, end: int) -> tuple[float, float, float, float]:
        x1, y1 = self._corner(start)
        x2, y2 = self._corner(end)
        return x1 + _WIDTH, y1 + _HEIGHT / 2, x2, y2 + _HEIGHT / 2

    def _across(self, start: int, end: int) -> str:
        x1, y1, x2, y2 = self._ends(start, end)
        bend = (x2 - x1) / 2
        return f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"

    def _around(self, start: int, end: int, bottom: float, number: int) -> str:
        """A line routed through the gaps between columns, on a lane of its own."""
        x1, y1, x2, y2 = self._ends(start, end)
        lane, aside = bottom + number * _LANE, (number % 5 - 2) * _LANE / 2
        down, up = x1 + _GAP_X / 2 - aside, x2 - _GAP_X / 2 + aside
        there = f"M{x1} {y1} H{down - 8} Q{down} {y1} {down} {y1 + 8} V{lane}"
        return f"{there} H{up} V{y2 + 8} Q{up} {y2} {up + 8} {y2} H{x2}"

    def _corner(self, at: int) -> tuple[float, float]:
        box = self.boxes[at]
        return 2 + box.column * (_WIDTH + _GAP_X), 2 + box.row * (_HEIGHT + _GAP_Y)

    def _box(self, at: int) -> str:
        box = self.boxes[at]
        x, y = self._corner(at)
        label = box.label if len(box.label) <= 22 else f"{box.label[:10]}…{box.label[-11:]}"
        count = f"{box.count} {'source' if box.is_source else 'result'}{'s' if box.count != 1 else ''}"
        name = html.escape(box.label, quote=True)
        attributes = (
            'class="source"'
            if box.is_source
            else f'class="task" tabindex="0" role="button" aria-pressed="false" data-task="{name}"'
        )
        return (
            f'<g {attributes}><title>{name}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" '
            f'rx="6"/><text x="{x + 10}" y="{y + 20}">{html.escape(label)}</text>'
            f'<text class="count" x="{x + 10}" y="{y + 36}">{count}</text></g>'
        )


def draw(results: Sequence[Result]) -> Drawing:
    """Draw the graph of some results; inputs that are not among them are sources."""
    box_of = {result.url: result.task or "unknown task" for result in results}
    members: dict[tuple[str, bool], set[str]] = {}
    lines: Counter[tuple[tuple[str, bool], tuple[str, bool]]] = Counter()
    for result in results:
        end = box_of[result.url], False
        members.setdefault(end, set()).add(result.url)
        for _, source in result.inputs:
            assert source.url is not None
            known = box_of.get(source.url)
            start = (known, False) if known is not None else (_folder(source.url), True)
            members.setdefault(start, set()).add(source.url)
            if start != end:
                lines[start, end] += 1
    columns = _columns(list(members), list(lines))
    filled: Counter[int] = Counter()
    boxes: list[Box] = []
    places: dict[tuple[str, bool], int] = {}
    for name in sorted(members, key=lambda one: (columns[one], not one[1], one[0])):
        column = columns[name]
        places[name] = len(boxes)
        boxes.append(Box(name[0], len(members[name]), name[1], column, filled[column]))
        filled[column] += 1
    ordered = sorted((places[start], places[end], count) for (start, end), count in lines.items())
    return Drawing(tuple(boxes), tuple(ordered))


def _folder(url: str) -> str:
    """The common folder of sources that are drawn as one box."""
    name = _KEYED.sub(r"\1", url)
    try:
        return io.split(name)[0]
    except CprError:
        return name


def _columns(
    names: list[tuple[str, bool]], lines: list[tuple[tuple[str, bool], tuple[str, bool]]]
) -> dict[tuple[str, bool], int]:
    """For each box, the length of the longest path to it.

    A task may feed itself by way of others (a loop over rounds): such ways are followed once.
    """
    before: dict[tuple[str, bool], list[tuple[str, bool]]] = {name: [] for name in names}
    for start, end in lines:
        before[end].append(start)
    columns: dict[tuple[str, bool], int] = {}

    for first in names:
        # Depth first without recursion: chains of tasks may be long.
        waiting = [(first, iter(before[first]))]
        under_way = {first}
        while waiting:
            name, others = waiting[-1]
            following = next((o for o in others if o not in columns and o not in under_way), None)
            if following is not None:
                under_way.add(following)
                waiting.append((following, iter(before[following])))
                continue
            columns.setdefault(name, 1 + max((columns[o] for o in before[name] if o in columns), default=-1))
            under_way.discard(name)
            waiting.pop()
    return columns
