"""Writing and reading one large result, beside what people would use instead."""

from __future__ import annotations

from typing import Any

from bench.child import measure, medians
from bench.contenders import READERS, TABLES, WRITERS
from bench.drawing import FLOOR, OTHERS, OURS, Bar, bars
from bench.sections import Row, Size
from cpr.io.objects import remove_folder

__all__ = ["TITLE", "plots", "report", "run"]

TITLE = "Side by side"
_TABLE_MIB = 100
_PICKLES = "Prefect's pickles"
_FORMATS = ("tiff-none", "tiff-zlib", "tiff-zstd", "npy", "csv")
# The same array whatever the file format: pickled once.
_PICKLED = ("npy", *TABLES)

_INTRODUCTION = """\
cpr verifies what it reads, the others do not. *Encoding alone* and *decoding alone* are the least that any
way takes; *upload alone* sends bytes that were encoded before. Memory is the peak above what the imports
take, with the data itself.
"""


def run(url: str, size: Size) -> list[Row]:
    """Medians of writing and of reading for each format and contender."""
    rows = []
    for name in _FORMATS:
        mib = size.scaled(_TABLE_MIB) if name in TABLES else size.mib
        runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
        records: dict[str, Any] = {}
        for number in range(size.rounds):
            # A place of its own: cpr would not write again what is there.
            place = f"{url}/{name}/{number}"
            for action, contenders in (("write", WRITERS), ("read", READERS)):
                for contender in contenders:
                    if contender == _PICKLES and name not in _PICKLED:
                        continue
                    case = {"format": name, "contender": contender, "url": place}
                    case |= {"mib": mib} if action == "write" else {"record": records.get(contender)}
                    found = measure(f"bench.contenders:{action}", **case)
                    records[contender] = found.pop("record", records.get(contender))
                    runs.setdefault((action, contender), []).append(found)
        remove_folder(f"{url}/{name}")  # a disk of 100 GB would be full before the last
        for (action, contender), found in runs.items():
            row = {"format": name, "action": action, "contender": contender, "mib": mib, **medians(found)}
            rows.append(row)
            print(f"{name:10} {action:5} {contender:22} {row['seconds']:7.2f} s", flush=True)
    return rows


def report(rows: list[Row]) -> str:
    """A table for each format and direction."""
    lines = [_INTRODUCTION]
    for name, action in dict.fromkeys((row["format"], row["action"]) for row in rows):
        chosen = [row for row in rows if (row["format"], row["action"]) == (name, action)]
        ours = next(row for row in chosen if row["contender"] == "cpr")
        lines += [
            f"**{name}, {action}, {ours['mib']} MiB**\n",
            "| | seconds | MB/s | CPU seconds | peak MiB | time relative to cpr |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for row in chosen:
            speed = row["mib"] * 1.048576 / row["seconds"]
            lines.append(
                f"| {row['contender']} | {row['seconds']:.2f} | {speed:.0f} | {row['cpu']:.2f} "
                f"| {row['peak']:.0f} | {row['seconds'] / ours['seconds']:.2f} |"
            )
        lines.append("")
    return "\n".join(lines)


def plots(rows: list[Row]) -> dict[str, str]:
    """Time relative to cpr."""
    panels = []
    for name, action in dict.fromkeys((row["format"], row["action"]) for row in rows):
        chosen = [row for row in rows if (row["format"], row["action"]) == (name, action)]
        ours = chosen[0]["seconds"]
        found = [
            Bar(row["contender"], row["seconds"] / ours, row["seconds"], _color(row["contender"]))
            for row in chosen
        ]
        panels.append((f"{name}, {action}, {chosen[0]['mib']} MiB", found))
    subtitle = "Shorter is faster. cpr reads verified, the others do not; pale bars do only part of the work."
    return {"side-by-side": bars("Time relative to cpr", subtitle, panels)}


def _color(contender: str) -> str:
    return OURS if contender == "cpr" else FLOOR if "alone" in contender else OTHERS
