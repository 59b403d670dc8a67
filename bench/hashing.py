"""The share of hashing in a write and in a verified read."""

from __future__ import annotations

import importlib
import time
from typing import Any

from bench.child import measure, medians
from bench.sections import Row, Size

__all__ = ["TITLE", "report", "run"]

TITLE = "Hashing"
_FORMATS = ("tiff-none", "npy", "tiff-zlib")
_INTRODUCTION = """\
Seconds inside the digests: of the content, once when it is set and once while it is written; of the stored
bytes; and of their blocks.
"""


def run(url: str, size: Size) -> list[Row]:
    """A write and a read in which the time inside digests is summed up."""
    rows = []
    mib = size.scaled(512)
    for name in _FORMATS:
        for action in ("write", "read"):
            case = {"format": name, "action": action, "mib": mib}
            found = [
                measure("bench.hashing:timed", **case, url=f"{url}/{turn}") for turn in range(size.rounds)
            ]
            rows.append({"format": name, "what": action, "mib": mib, **medians(found)})
            print(f"{name:10} {action:5} {rows[-1]['hashing'] / rows[-1]['seconds']:.2%}", flush=True)
    return rows


class _Timed:
    """A digest that adds up the seconds it takes."""

    seconds = 0.0

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def update(self, data: Any) -> None:
        started = time.thread_time()
        self._digest.update(data)
        _Timed.seconds += time.thread_time() - started

    def __getattr__(self, name: str) -> Any:
        return getattr(self._digest, name)


def timed(format: str, action: str, mib: int, url: str) -> Any:
    """Work: write or read once; all that cpr hashes is timed: content, checksum, and blocks."""
    import cpr
    from bench.child import imported
    from bench.contenders import stack, target_of, warm_up
    from cpr import arrays
    from cpr.io import hashing

    warm_up(url, format, "cpr")
    target = target_of(format, url)
    imported()
    data = stack(mib)
    if action == "read":
        target.set_data(data)
        record = target.serialize()
    new, content = hashing.new_digest, hashing.content_digest
    for name in ("blocks", "hashing", "reading", "writing"):
        # Not `from cpr.io import reading`: that is the function of this name.
        module = importlib.import_module(f"cpr.io.{name}")
        module.new_digest = lambda algorithm: _Timed(new(algorithm))  # type: ignore[attr-defined]
    arrays.content_digest = lambda: _Timed(content())  # type: ignore[assignment]

    def work() -> dict[str, Any]:
        if action == "read":
            cpr.load(record).get_data()
        else:
            target.set_data(data)
            target.persist()
        if not _Timed.seconds:
            raise RuntimeError("nothing was hashed")
        return {"hashing": _Timed.seconds}

    return work


def report(rows: list[Row]) -> str:
    lines = [
        _INTRODUCTION,
        "| format | | MiB | seconds | hashing | share |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['format']} | {r['what']} | {r['mib']} | {r['seconds']:.2f} | {r['hashing']:.3f} "
        f"| {r['hashing'] / r['seconds']:.1%} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"
