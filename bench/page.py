"""The page of results, from what each section measured last.

benchmarks.json holds the rows of every section with the machine and the versions they were measured
with; benchmarks.md and the drawings are made of it, so that one section can be measured anew.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.sections import SECTIONS, Row, Size, section

__all__ = ["keep"]

PACKAGES = ("numpy", "pandas", "tifffile", "imagecodecs", "zarr", "s3fs", "obstore", "aiobotocore", "prefect")

HEAD = """# Benchmarks

Written by `make bench`. `make bench ARGS="--only growth"` measures a section anew, and
`ARGS="--mib 64 --rounds 1"` is a quick look.

The ways that are compared take turns, each run in a process of its own, with one S3 server on the same
machine, which shares the cores with them. So ratios within a table carry over to other machines, seconds do
not. Numbers are medians. `tiff-none`, `tiff-zlib` and `tiff-zstd` are TIFFs by their compression; *Prefect's
pickles* are results that Prefect stores by itself, without cpr.
"""


def keep(folder: Path, name: str, rows: list[Row], size: Size, server: str) -> None:
    """Put a section's rows into the page in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "benchmarks.json"
    results: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
    results[name] = {"machine": machine(server), "mib": size.mib, "rounds": size.rounds, "rows": rows}
    store.write_text(json.dumps(results, indent=1) + "\n")
    (folder / "benchmarks.md").write_text(_page(folder, results))


def machine(server: str) -> str:
    """What everything ran on, without names or paths."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return (
        f"{datetime.now(UTC):%d %B %Y}, {os.cpu_count()} cores ({_processor()}), {memory} GiB, "
        f"{platform.system()}, Python {platform.python_version()}, {packages}, {server}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine()
    )


def _page(folder: Path, results: dict[str, Any]) -> str:
    measured = [name for name in SECTIONS if name in results]
    runs = list(dict.fromkeys(_run_of(results[name]) for name in measured))
    parts = [HEAD, "\n".join(f"- **Run {number}**: {run}." for number, run in enumerate(runs, 1)) + "\n"]
    for name in measured:
        found = results[name]
        parts.append(f"## {section(name).TITLE}\n")
        parts.append(f"Measured in run {runs.index(_run_of(found)) + 1}.\n")
        for drawing, svg in getattr(section(name), "plots", lambda _: {})(found["rows"]).items():
            (folder / f"benchmarks-{drawing}.svg").write_text(svg)
            parts.append(f"![{drawing.replace('-', ' ')}](benchmarks-{drawing}.svg)\n")
        parts.append(section(name).report(found["rows"]) + "\n")
    return "\n".join(parts)


def _run_of(found: dict[str, Any]) -> str:
    return f"{found['machine']}; {found['rounds']} rounds"
