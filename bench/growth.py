"""Memory and speed of streams of growing length, and of arrays in memory."""

from __future__ import annotations

from bench.child import measure
from bench.drawing import lines
from bench.sections import Row, Size

__all__ = ["TITLE", "plots", "report", "run"]

TITLE = "Growth"
_FORMATS = ("tiff-none", "tiff-zlib", "npy")


def run(url: str, size: Size) -> list[Row]:
    """Streams and arrays of a quarter, one and four times the size, written and read."""
    rows = []
    for name in _FORMATS:
        for mib in (size.mib // 4, size.mib, size.mib * 4):
            place = f"{url}/{mib}"
            written = measure("bench.contenders:stream", format=name, mib=mib, url=place)
            record = written.pop("record")
            rows.append({"format": name, "what": "stream written", "mib": mib, **written})
            parts = measure("bench.contenders:read_planes", record=record, mib=mib, url=place)
            rows.append({"format": name, "what": "read plane by plane", "mib": mib, **parts})
            whole = measure("bench.contenders:read", format=name, contender="cpr", record=record, url=place)
            rows.append({"format": name, "what": "array read", "mib": mib, **whole})
            for row in rows[-3:]:
                print(
                    f"{name:10} {row['what']:20} {mib:5} MiB {row['seconds']:6.1f} s {row['peak']:5.0f} MiB",
                    flush=True,
                )
    return rows


def report(rows: list[Row]) -> str:
    lines = [
        "Of *array read*, the array itself is part of the peak.\n",
        "| format | | MiB | seconds | MB/s | peak MiB over imports |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['format']} | {r['what']} | {r['mib']} | {r['seconds']:.1f} "
        f"| {r['mib'] * 1.048576 / r['seconds']:.0f} | {r['peak']:.0f} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def plots(rows: list[Row]) -> dict[str, str]:
    """Peak memory of streams of growing length."""
    ticks = list(dict.fromkeys(row["mib"] for row in rows))
    series = [
        (
            f"{name}, {what.removeprefix('stream ')}",
            [r["peak"] for r in rows if (r["format"], r["what"]) == (name, what)],
        )
        for name, what in dict.fromkeys((row["format"], row["what"]) for row in rows)
        if what != "array read" and name != "npy"
    ]
    return {
        "growth": lines(
            "Peak memory over the imports",
            "However long the stream.",
            [f"{mib} MiB" for mib in ticks],
            series,
            "MiB",
            ("limit: 200 MiB", 200.0),
        )
    }
