"""Several large targets at once: what one to eight threads of a process bring."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.child import measure, medians
from bench.sections import Row, Size

__all__ = ["TITLE", "report", "run"]

TITLE = "Threads"
_TARGETS = 8
_MIB = 16
_FORMATS = ("tiff-none", "tiff-zlib")


def run(url: str, size: Size) -> list[Row]:
    """Eight targets, written and then read by 1, 2, 4 and 8 threads."""
    rows = []
    mib = size.scaled(_MIB)
    for name in _FORMATS:
        runs: dict[int, list[dict[str, Any]]] = {}
        for turn in range(size.rounds):
            for threads in (1, 2, 4, 8):
                case = {"format": name, "threads": threads, "mib": mib, "url": f"{url}/{turn}/{threads}"}
                runs.setdefault(threads, []).append(measure("bench.threads:write_and_read", **case))
        for threads, found in runs.items():
            rows.append({"format": name, "threads": threads, "mib": mib, **medians(found)})
            print(f"{name:10} {threads} threads: {rows[-1]['seconds']:.2f} s", flush=True)
    return rows


def write_and_read(format: str, threads: int, mib: int, url: str) -> Any:
    """Work: all of them, that many at a time."""
    import cpr
    from bench.child import imported
    from bench.contenders import stack, target_of, warm_up

    warm_up(url, format, "cpr")
    imported()
    data = stack(mib)

    def one(number: int) -> None:
        target = target_of(format, f"{url}/{number}")
        target.set_data(data)
        cpr.load(target.serialize()).get_data()

    def work() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(_TARGETS)))

    return work


def report(rows: list[Row]) -> str:
    lines = [
        f"{_TARGETS} targets of the given size, each written and read back, verified, in one process.\n",
        "| format | MiB | threads | seconds | MB/s, there and back | CPU seconds | peak MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['format']} | {r['mib']} | {r['threads']} | {r['seconds']:.2f} "
        f"| {2 * _TARGETS * r['mib'] * 1.048576 / r['seconds']:.0f} | {r['cpu']:.2f} | {r['peak']:.0f} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"
