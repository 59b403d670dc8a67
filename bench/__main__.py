"""`make bench`: everything side by side, in turns, against one MinIO; writes docs/benchmarks.md and .svg.

python -m bench [--mib 1024] [--rounds 3] [--only tiff-none,npy] [--no-report]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.cases import READERS, WRITERS
from tests.minio.process import Unavailable
from tests.minio.server import running_server

ROOT = Path(__file__).parents[1]
TABLES_MIB = 100
PACKAGES = ("numpy", "pandas", "tifffile", "imagecodecs", "s3fs", "obstore", "botocore", "prefect")


def child(**case: Any) -> dict[str, Any]:
    """One measurement, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.cases", json.dumps(case)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PREFECT_LOGGING_LEVEL": "ERROR"},
    )
    if done.returncode:
        raise RuntimeError(f"{case}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def side_by_side(formats: list[str], mib: int, rounds: int, url: str) -> Iterator[dict[str, Any]]:
    """Medians of writing and reading each format, contenders taking turns."""
    for name in formats:
        size = TABLES_MIB if name in {"csv", "parquet"} else mib
        runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
        record = None
        for _ in range(rounds):
            for contender in WRITERS:
                found = child(format=name, contender=contender, action="write", mib=size, url=url)
                record = found.pop("record", record)
                runs.setdefault(("write", contender), []).append(found)
            for contender in READERS:
                found = child(
                    format=name, contender=contender, action="read", mib=size, url=url, record=record
                )
                runs.setdefault(("read", contender), []).append(found)
        for (action, contender), found in runs.items():
            middle = {key: statistics.median(run[key] for run in found) for key in ("seconds", "cpu", "peak")}
            yield {"format": name, "action": action, "contender": contender, "mib": size, **middle}
            print(f"{name:10} {action:5} {contender:22} {middle['seconds']:7.2f} s", flush=True)


def growth(url: str) -> Iterator[dict[str, Any]]:
    """Peak memory and speed of streams of growing length."""
    for name in ("tiff-none", "tiff-zlib", "npy"):
        for mib in (256, 1024, 4096):
            found = child(format=name, contender="cpr, streamed", action="write", mib=mib, url=url)
            yield {"format": name, "mib": mib, **found}
            print(
                f"{name:10} stream of {mib} MiB: {found['seconds']:.1f} s, {found['peak']:.0f} MiB",
                flush=True,
            )


def small_targets(url: str) -> Iterator[dict[str, Any]]:
    """Targets of 4 KiB, written and read, beside bare puts and gets of the same engine."""
    import fsspec
    import numpy as np

    import cpr

    fs = fsspec.filesystem("s3")

    def through_cpr(number: int) -> None:
        target = cpr.NumpyTarget.from_path(f"{url}/small/{number}.npy")
        target.set_data(np.full(480, number, "int64"))
        cpr.load(target.persist().serialize()).get_data()

    def bare(number: int) -> None:
        fs.pipe_file(f"{url}/bare/{number}", bytes(4096))
        fs.cat_file(f"{url}/bare/{number}")

    for count in (1, 100, 1000, 10_000):
        for threads in (1, 4, 8) if count == 1000 else (8,):
            seconds = {}
            for label, work in (("bare", bare), ("cpr", through_cpr)):
                started = time.perf_counter()
                with ThreadPoolExecutor(threads) as pool:
                    list(pool.map(work, range(count)))
                seconds[label] = time.perf_counter() - started
                fs.rm(f"{url}/small", recursive=True) if label == "cpr" else fs.rm(
                    f"{url}/bare", recursive=True
                )
            yield {"count": count, "threads": threads, **seconds}
            print(f"{count} small targets, {threads} threads: {seconds}", flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for name in dict.fromkeys(row["format"] for row in rows):
        for action in ("write", "read"):
            chosen = [row for row in rows if (row["format"], row["action"]) == (name, action)]
            if not chosen:
                continue
            ours = next(row for row in chosen if row["contender"] == "cpr")
            lines += [
                f"\n### {name}, {action}, {ours['mib']} MiB\n",
                "| | seconds | MB/s | CPU seconds | peak MiB over imports | time relative to cpr |",
                "| --- | ---: | ---: | ---: | ---: | ---: |",
            ]
            for row in chosen:
                speed = row["mib"] * 1.048576 / row["seconds"]
                lines.append(
                    f"| {row['contender']} | {row['seconds']:.2f} | {speed:.0f} | {row['cpu']:.2f} "
                    f"| {row['peak']:.0f} | {row['seconds'] / ours['seconds']:.2f} |"
                )
    return "\n".join(lines)


def report(results: dict[str, Any]) -> str:
    machine = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    parts = [
        "# Benchmarks\n",
        "Written by `make bench`. Every number is the median of runs in turns, each in a process of its own,",
        f"against one MinIO on loopback: {os.cpu_count()} cores that server and client share,",
        f"{platform.machine()}, Python {platform.python_version()}, {machine}.",
        "Compare within a table; ratios carry over, seconds do not.\n",
        "cpr reads verified, the others do not. *Encoding alone* and *decoding alone* are the floor,",
        "*upload alone* sends bytes that were encoded before. Memory includes the array itself, except for",
        "streams.\n",
        "![time relative to cpr](benchmarks.svg)",
        table(results["side by side"]),
        "\n## Streams of growing length\n",
        "| format | MiB | seconds | peak MiB over imports |\n| --- | ---: | ---: | ---: |",
        *(
            f"| {r['format']} | {r['mib']} | {r['seconds']:.1f} | {r['peak']:.0f} |"
            for r in results["growth"]
        ),
        "\n## Small targets\n",
        "4 KiB each, written and read back; bare: put and get of as many bytes through s3fs.\n",
        "| targets | threads | cpr, per second | bare, per second | cpr / bare |",
        "| ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {r['count']} | {r['threads']} | {r['count'] / r['cpr']:.0f} | {r['count'] / r['bare']:.0f} "
            f"| {r['bare'] / r['cpr']:.2f} |"
            for r in results["small targets"]
        ),
    ]
    return "\n".join(parts) + "\n"


def plot(rows: list[dict[str, Any]]) -> str:
    """Bars of time relative to cpr, as SVG."""
    bars = []
    y = 30
    for name in dict.fromkeys(row["format"] for row in rows):
        for action in ("write", "read"):
            chosen = [row for row in rows if (row["format"], row["action"]) == (name, action)]
            ours = next((row["seconds"] for row in chosen if row["contender"] == "cpr"), None)
            if ours is None:
                continue
            bars.append(f'<text x="10" y="{y}" font-weight="bold">{name}, {action}</text>')
            for row in chosen:
                y += 18
                ratio = row["seconds"] / ours
                color = "#2b7bba" if row["contender"] == "cpr" else "#b0b7bf"
                width = min(ratio, 6) * 70
                bars.append(
                    f'<text x="170" y="{y}" text-anchor="end">{row["contender"]}</text>'
                    f'<rect x="180" y="{y - 11}" width="{width:.0f}" height="13" fill="{color}"/>'
                    f'<text x="{186 + width:.0f}" y="{y}">{ratio:.2f}</text>'
                )
            y += 32
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="680" height="{y}" '
        'font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, f'<rect width="680" height="{y}" fill="white"/>', *bars, "</svg>"]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="tiff-none,tiff-zlib,tiff-zlib-6,tiff-zstd,npy,csv,parquet")
    parser.add_argument("--no-report", action="store_true")
    chosen = parser.parse_args()
    os.environ.setdefault("CPR_TEST_S3", "container,binary")
    try:
        with running_server(build=True, say=print) as server, server.exported():
            print(f"S3 server: {server.description}")
            url = f"s3://{server.bucket}/bench"
            results = {
                "side by side": list(side_by_side(chosen.only.split(","), chosen.mib, chosen.rounds, url)),
                "growth": [] if chosen.no_report else list(growth(url)),
                "small targets": [] if chosen.no_report else list(small_targets(url)),
            }
    except Unavailable as error:
        print(f"No MinIO is to be had: {error}")
        return 1
    if chosen.no_report:
        print(table(results["side by side"]))
        return 0
    docs = ROOT / "docs"
    (docs / "benchmarks.md").write_text(report(results))
    (docs / "benchmarks.svg").write_text(plot(results["side by side"]))
    (docs / "benchmarks.json").write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
