"""Compressed TIFF at every level: beside encoding alone plus uploading the encoded bytes alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bench.child import measure, medians
from bench.sections import Row, Size

__all__ = ["TITLE", "report", "run"]

TITLE = "Levels of compression"
_MIB = 128
_LEVELS = {"zlib": range(1, 10), "zstd": (1, 3, 9)}
_INTRODUCTION = """\
Server and client share the cores, so cpr cannot be much faster than encoding alone and uploading alone one
after the other. The last column compares cpr with the sum of these two, with the faster upload; ratios are
medians of the ratios of each turn.
"""


def run(url: str, size: Size) -> list[Row]:
    """For each codec and level the write and its halves, one after another in one process."""
    rows = []
    mib = size.scaled(_MIB)
    for codec, levels in _LEVELS.items():
        for level in levels:
            case = {"codec": codec, "level": level, "mib": mib}
            runs = [
                measure("bench.levels:timed", **case, encode_first=bool(turn % 2), url=f"{url}/{turn}")
                for turn in range(size.rounds)
            ]
            rows.append({**case, **medians(runs)})
            print(f"{codec} {level}: {rows[-1]['cpr']:.2f} s, {rows[-1]['ratio']:.2f} of the sum", flush=True)
    return rows


def timed(codec: str, level: int, mib: int, encode_first: bool, url: str) -> Any:
    """Work: the whole by cpr; then encoding alone, and uploading what was encoded by either engine."""
    import obstore

    import cpr
    from bench.child import imported
    from bench.contenders import Null, s3fs, stack, store_of, warm_up

    for contender in ("cpr", "obstore", "s3fs"):
        warm_up(url, "tiff-zlib", contender)
    imported()
    data = stack(mib)
    target = cpr.ImageTarget.from_path(f"{url}/{codec}{level}.tif", compression=codec, level=level)
    target.set_data(data)
    format = target.format
    fs = s3fs()
    store, prefix = store_of(url)

    def seconds(part: Callable[[], object]) -> float:
        started = time.perf_counter()
        part()
        return time.perf_counter() - started

    def work() -> dict[str, Any]:
        found: dict[str, Any] = {}
        steps = {"cpr": target.persist, "encoding": lambda: format.encode(format.stream(data), Null())}
        for what in sorted(steps, reverse=encode_first):
            found[what] = seconds(steps[what])
        found["nbytes"] = target.nbytes
        ready = fs.cat_file(target.url)
        found["obstore"] = seconds(lambda: obstore.put(store, f"{prefix}/obstore-{codec}{level}", ready))
        found["s3fs"] = seconds(lambda: fs.pipe_file(f"{url}/s3fs-{codec}{level}", ready))
        found["ratio"] = found["cpr"] / (found["encoding"] + min(found["obstore"], found["s3fs"]))
        return found

    return work


def report(rows: list[Row]) -> str:
    lines = [
        _INTRODUCTION,
        "| codec | level | size | cpr, seconds | encoding alone | upload alone, obstore | s3fs | cpr / sum |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['codec']} | {r['level']} | {r['nbytes'] / r['mib'] / 2**20:.3f} | {r['cpr']:.2f} "
        f"| {r['encoding']:.2f} | {r['obstore']:.2f} | {r['s3fs']:.2f} | {r['ratio']:.2f} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"
