"""docs/interoperability.md, of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.foreign.limits import Limit

_HEAD = """# Other programs

What other programs find in files that cpr writes. `make test-foreign` writes the files, opens each in each
program, compares what it says with what is in them, and writes this page. A program that cannot be had on a
machine is skipped there, and the run says so. A difference whose reason is not listed below fails the run.

In the table: how many files are right in all that the program tells (pixels; axes; physical size with its
unit; frame interval; channel names; values of tables), of how many. The notes say what the others lack.
"""


_IN_TURN = """## Files of other programs

In turn, cpr reads {} TIFFs that tifffile, Pillow, GDAL, libvips, OpenCV and Bio-Formats write: combinations
of data types, codecs, tiles, planar colours, byte orders, series and pyramids. Pixels, axes and sizes are
those of the writer or of its own reader, several images are told, and where a file is refused, the remedy
that the error names reads it.
"""


@dataclass
class Cell:
    """What a program finds in files of a kind."""

    count: int = 0
    right: int = 0
    wrong: int = 0
    told: set[str] = field(default_factory=set)
    limits: list[Limit] = field(default_factory=list)


_ORDER = ["pixels", "axes", "size", "interval", "names", "values", "valid"]


def page(table: Mapping[tuple[str, str], Cell], skipped: Mapping[str, str], read: int) -> str:
    """The page."""
    lines = [_HEAD]
    lines += [
        "| program | files | right | compared | the program cannot | ours to mend |",
        "| --- " * 6 + "|",
    ]
    for (reader, kind), cell in table.items():
        told = ", ".join(what for what in _ORDER if what in cell.told) or "its own validation"
        reasons = Counter(limit.reason for limit in cell.limits)
        cannot = "; ".join(f"{reason} ({n})" for reason, n in reasons.items())
        lines.append(
            f"| {reader} | {kind} | {cell.right} of {cell.count} | {told} | {cannot} | {cell.wrong or ''} |"
        )
    if skipped:
        lines += ["", "Skipped in this run: " + ", ".join(skipped) + "."]
    lines += ["", _IN_TURN.format(read)]
    return "\n".join(lines)
