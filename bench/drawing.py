"""Drawings as SVG: bars of several contenders, panel by panel, and lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "bars", "lines"]

OURS, OTHERS, FLOOR, INK, QUIET, GRID = "#1f6f8b", "#b4bcc4", "#e3d9c6", "#1c2024", "#667078", "#e9ecef"
SERIES = ("#1f6f8b", "#d1793f", "#7a5aa6", "#5b8c3a")
_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"
 font-family="system-ui, Segoe UI, Helvetica, Arial, sans-serif" font-size="12" fill="{ink}">"""
# Text stays readable where a line passes under it.
_HALO = 'paint-order="stroke" stroke="white" stroke-width="4" stroke-linejoin="round"'
_CUT = 5.0


@dataclass(frozen=True)
class Bar:
    """One contender in a panel: how long it took, relative to ours, and in seconds."""

    name: str
    ratio: float
    seconds: float
    color: str


def bars(title: str, subtitle: str, panels: Sequence[tuple[str, Sequence[Bar]]], columns: int = 2) -> str:
    """Panels of bars in columns, all on one scale; bars longer than five are cut and say so."""
    panel_width, label, row, gap = 520, 168, 19, 34
    scale = (panel_width - label - 110) / _CUT
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    top = 64
    heights = [max(len(found) for _, found in line) * row + gap for line in rows]
    width, height = columns * panel_width + 20, top + sum(heights) + 12
    parts = _begin(width, height, title, subtitle)
    for line, y0 in zip(rows, _offsets(top, heights), strict=True):
        for column, (name, found) in enumerate(line):
            x0 = 16 + column * panel_width
            parts.append(_text(x0, y0 + 12, name, weight=600))
            one = x0 + label + scale
            bottom = y0 + 20 + len(found) * row
            parts.append(
                f'<line x1="{one:.1f}" x2="{one:.1f}" y1="{y0 + 18}" y2="{bottom}" stroke="{QUIET}" '
                'stroke-dasharray="2 3"/>'
            )
            for number, bar in enumerate(found):
                y = y0 + 20 + number * row
                end = min(bar.ratio, _CUT) * scale
                cut = " &#8250;" if bar.ratio > _CUT else ""
                color = INK if number == 0 else QUIET
                parts.append(_text(x0 + label - 8, y + 12, bar.name, anchor="end", color=color))
                parts.append(
                    f'<rect x="{x0 + label}" y="{y + 2}" width="{end:.1f}" height="{row - 6}" rx="2" '
                    f'fill="{bar.color}"/>'
                )
                parts.append(
                    f'<text x="{x0 + label + end + 6:.1f}" y="{y + 12}" {_HALO}>{bar.ratio:.2f}{cut}'
                    f'<tspan fill="{QUIET}">  {bar.seconds:.2f} s</tspan></text>'
                )
    return "\n".join([*parts, "</svg>"]) + "\n"


def lines(
    title: str,
    subtitle: str,
    ticks: Sequence[str],
    series: Sequence[tuple[str, Sequence[float]]],
    unit: str,
    limit: tuple[str, float] | None = None,
) -> str:
    """One line for each series over named ticks, from zero up."""
    width, height, left, right, top, bottom = 660, 340, 64, 210, 84, 40
    highest = max([value for _, values in series for value in values] + ([limit[1]] if limit else []))
    step = _step(highest / 5)
    top_value = step * (int(highest / step) + 1)
    wide, high = width - left - right, height - top - bottom

    def x(index: int) -> float:
        return left + wide * (index / max(1, len(ticks) - 1))

    def y(value: float) -> float:
        return top + high * (1 - value / top_value)

    parts = _begin(width, height, title, subtitle)
    value = 0.0
    while value <= top_value:
        parts.append(
            f'<line x1="{left}" x2="{left + wide}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{GRID}"/>'
        )
        parts.append(_text(left - 8, y(value) + 4, f"{value:g}", anchor="end", color=QUIET))
        value += step
    parts.append(_text(left - 8, top - 10, unit, anchor="end", color=QUIET))
    parts += [_text(x(i), height - 16, tick, anchor="middle", color=QUIET) for i, tick in enumerate(ticks)]
    if limit:
        parts.append(
            f'<line x1="{left}" x2="{left + wide}" y1="{y(limit[1]):.1f}" y2="{y(limit[1]):.1f}" '
            f'stroke="{QUIET}" stroke-dasharray="4 3"/>'
        )
    labels = [(y(values[-1]), name, SERIES[i % len(SERIES)]) for i, (name, values) in enumerate(series)]
    if limit:
        labels.append((y(limit[1]), limit[0], QUIET))
    for (_, values), color in zip(series, SERIES * len(series), strict=False):
        points = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(i):.1f}" cy="{y(v):.1f}" r="3" fill="{color}"/>' for i, v in enumerate(values)
        ]
    at = -100.0
    for place, name, color in sorted(labels):
        at = max(place, at + 15)
        parts.append(_text(left + wide + 10, at + 4, name, color=color))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _begin(width: int, height: float, title: str, subtitle: str) -> list[str]:
    return [
        _HEAD.format(width=width, height=round(height), ink=INK),
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{round(height)}" fill="white"/>',
        f'<text x="16" y="26" font-size="16" font-weight="600">{escape(title)}</text>',
        _text(16, 45, subtitle, color=QUIET),
    ]


def _text(x: float, y: float, text: str, anchor: str = "start", color: str = INK, weight: int = 400) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )


def _offsets(start: float, heights: Sequence[float]) -> list[float]:
    return [start + sum(heights[:i]) for i in range(len(heights))]


def _step(value: float) -> float:
    """The round number above: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** len(str(int(value))) / 10
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value)
