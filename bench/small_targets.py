"""Many targets of 4 KiB, written and read, beside bare puts and gets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import obstore

import cpr
from bench.child import imported, measure, medians
from bench.contenders import s3fs, store_of
from bench.sections import Row, Size

__all__ = ["TITLE", "report", "run"]

TITLE = "Small targets"
_THREADS = 8
_BYTES = 4096
_CONTENDERS = ("cpr", "obstore", "s3fs")


def run(url: str, size: Size) -> list[Row]:
    """Counts from 1 to 10,000, then threads from 1 to 8."""
    rows = []
    most = 10_000 * size.mib // 1024
    cases = [(count, _THREADS) for count in (1, 10, 100, 1000, 10_000) if count <= most]
    cases += [(min(500, most), threads) for threads in (1, 2, 4)]
    for number, (count, threads) in enumerate(cases):
        # The slow one has shown by now what it does.
        contenders = _CONTENDERS if count <= 1000 else _CONTENDERS[:2]
        runs: dict[str, list[dict[str, Any]]] = {contender: [] for contender in contenders}
        for turn in range(size.rounds):
            for contender in contenders:
                place = f"{url}/{number}/{turn}/{contender}"
                case = {"contender": contender, "count": count, "threads": threads, "url": place}
                runs[contender].append(measure("bench.small_targets:write_and_read", **case))
        for contender, found in runs.items():
            rows.append({"count": count, "threads": threads, "contender": contender, **medians(found)})
        print(
            f"{count} targets, {threads} threads: ",
            [round(count / r["seconds"]) for r in rows[-len(runs) :]],
            flush=True,
        )
    return rows


def write_and_read(contender: str, count: int, threads: int, url: str) -> Any:
    """Work: put each of them and get it back, `threads` at a time."""
    store, prefix = store_of(url)
    fs = s3fs()

    def through_cpr(number: int | str) -> None:
        target = cpr.NumpyTarget.from_path(f"{url}/{number}.npy")
        target.set_data(np.full((_BYTES - 128) // 8, number if isinstance(number, int) else -1, "int64"))
        cpr.load(target.persist().serialize()).get_data()

    def through_obstore(number: int | str) -> None:
        obstore.put(store, f"{prefix}/{number}", bytes(_BYTES))
        obstore.get(store, f"{prefix}/{number}").bytes()

    def through_s3fs(number: int | str) -> None:
        fs.pipe_file(f"{url}/{number}", bytes(_BYTES))
        fs.cat_file(f"{url}/{number}")

    one = {"cpr": through_cpr, "obstore": through_obstore, "s3fs": through_s3fs}[contender]
    pool = ThreadPoolExecutor(threads)
    list(pool.map(one, (f"warm-{i}" for i in range(threads))))
    imported()

    def work() -> None:
        list(pool.map(one, range(count)))

    return work


def report(rows: list[Row]) -> str:
    lines = [
        f"Targets of {_BYTES} bytes, written and read back (by cpr: verified) per second, by threads.\n",
        "| targets | threads | cpr | obstore, bare | s3fs, bare | cpr / obstore | cpr / s3fs |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for count, threads in dict.fromkeys((row["count"], row["threads"]) for row in rows):
        seconds = {
            r["contender"]: r["seconds"] for r in rows if (r["count"], r["threads"]) == (count, threads)
        }
        rates = " | ".join(f"{count / seconds[one]:.0f}" if one in seconds else "" for one in _CONTENDERS)
        ratios = " | ".join(
            f"{seconds[other] / seconds['cpr']:.2f}" if other in seconds else "" for other in _CONTENDERS[1:]
        )
        lines.append(f"| {count} | {threads} | {rates} | {ratios} |")
    return "\n".join(lines) + "\n"
