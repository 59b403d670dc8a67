"""Compressed TIFF at every level: beside encoding alone plus uploading the encoded bytes alone."""

from __future__ import annotations

from typing import Any

from bench.child import measure, medians
from bench.sections import Row, Size

__all__ = ["TITLE", "report", "run"]

TITLE = "Levels of compression"
_MIB = 128
_LEVELS = {"zlib": range(1, 10), "zstd": (1, 3, 9)}
# Uploads of bytes that are there: the faster one counts.
_PARTS = ("encoding", "obstore", "s3fs")
_INTRODUCTION = """\
Server and client share the cores, so that encoding and then uploading is the floor: doing both at once gains
only what would have waited. Ratios are medians of those of each turn.
"""


def run(url: str, size: Size) -> list[Row]:
    """For each codec and level the write, and its two halves, in turns."""
    rows = []
    mib = size.scaled(_MIB)
    for codec, levels in _LEVELS.items():
        for level in levels:
            runs: dict[str, list[dict[str, Any]]] = {}
            for turn in range(size.rounds):
                for what in ("cpr", *_PARTS):
                    case = {"codec": codec, "level": level, "what": what, "mib": mib, "url": f"{url}/{turn}"}
                    runs.setdefault(what, []).append(measure("bench.levels:write", **case))
            found = {what: medians(all_of_them) for what, all_of_them in runs.items()}
            row: Row = {"codec": codec, "level": level, "mib": mib, "nbytes": found["encoding"]["nbytes"]}
            row |= {what: one["seconds"] for what, one in found.items()}
            row["ratio"] = _median_ratio(runs)
            rows.append(row)
            print(f"{codec} {level}: {row['cpr']:.2f} s, {row['ratio']:.2f} of the sum", flush=True)
    return rows


def _median_ratio(runs: dict[str, list[dict[str, Any]]]) -> float:
    """Of the runs of one turn, which see the same machine."""
    ratios = []
    for turn in range(len(runs["cpr"])):
        seconds = {what: found[turn]["seconds"] for what, found in runs.items()}
        ratios.append(seconds["cpr"] / (seconds["encoding"] + min(seconds["obstore"], seconds["s3fs"])))
    return float(medians({"ratio": ratio} for ratio in ratios)["ratio"])


def write(codec: str, level: int, what: str, mib: int, url: str) -> Any:
    """Work: the whole write by cpr, or one of its halves."""
    import cpr
    from bench.child import imported
    from bench.contenders import Null, s3fs, stack, store_of, warm_up

    warm_up(url, "tiff-zlib", {"encoding": "cpr"}.get(what, what))
    imported()
    data = stack(mib)
    target = cpr.ImageTarget.from_path(f"{url}/{codec}{level}.tif", compression=codec, level=level)
    target.set_data(data)
    if what == "cpr":

        def persisted() -> dict[str, Any]:
            return {"nbytes": target.persist().nbytes}

        return persisted
    format = target.format
    if what == "encoding":

        def encoded() -> dict[str, Any]:
            file = Null()
            format.encode(format.stream(data), file)
            return {"nbytes": file.nbytes}

        return encoded
    import io

    import obstore

    file = io.BytesIO()
    format.encode(format.stream(data), file)
    ready = file.getvalue()
    if what == "s3fs":
        fs = s3fs()
        return lambda: fs.pipe_file(f"{url}/s3fs-{codec}{level}", ready)
    store, prefix = store_of(url)
    return lambda: {"put": bool(obstore.put(store, f"{prefix}/obstore-{codec}{level}", ready))}


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
