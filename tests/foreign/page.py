"""docs/interoperability.md, of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.foreign.limits import Limit

_HEAD = """# Other programs

What other programs read in files that cpr writes. `make test-foreign` writes the files, opens each in each
program, compares what the program reads with what is in the file, and writes this page. A program that cannot
be installed on a machine is skipped there, and the run says so. A difference whose reason is not in the table
fails the run.

*Right* counts the files of which everything that the program can report is as it was written (*compared*:
pixels; axes; physical size with its unit; frame interval; channel names; values of tables). The fifth column
says what the program cannot do in the other files, and in how many of them.
"""


_IN_TURN = """## Files of other programs

The other way round, cpr reads {} TIFFs that tifffile, Pillow, GDAL, libvips, OpenCV and Bio-Formats write:
combinations of data types, codecs, tiles, planar colours, byte orders, series and pyramids. Pixels, axes and
sizes are as the writer or its own reader has them, a warning tells of further images in a file, and where cpr
refuses a file, the remedy in the error reads it.
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
        "| program | files | right | compared | what the program cannot do | to fix in cpr |",
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
