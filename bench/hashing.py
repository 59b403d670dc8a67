"""The share of hashing in a write and in a verified read."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.child import measure
from bench.sections import Row, Size

__all__ = ["TITLE", "report", "run"]

TITLE = "Hashing"
_FORMATS = ("tiff-none", "npy", "tiff-zlib")
_INTRODUCTION = """\
*Saved* is the time that the same transfer saves when nothing is hashed, measured in turns. *Inside the
digests* are the seconds spent in hashing the content (once when it is set, once while it is written), the
stored bytes, and their blocks. Less than that is saved, because hashing also brings the data into the cache
of the processor for the copy that follows.
"""


def run(url: str, size: Size) -> list[Row]:
    """Writes and reads in one process, in turns with hashing and without."""
    rows = []
    mib = size.scaled(512)
    for name in _FORMATS:
        for action in ("write", "read"):
            case = {"format": name, "action": action, "mib": mib, "turns": 3 * size.rounds}
            rows.append({"what": action, **case, **measure("bench.hashing:timed", **case, url=url)})
            row = rows[-1]
            print(f"{name:10} {action:5} {row['hashing'] / row['with']:.1%}, {row['saved']:.1%}", flush=True)
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


class _None:
    """A digest that looks at nothing, and is always what was to be found."""

    def __init__(self, expected: str) -> None:
        self._expected = expected

    def update(self, data: Any) -> None:
        pass

    def digest(self) -> bytes:
        return bytes(16)

    def hexdigest(self) -> str:
        return self._expected


@contextmanager
def _digests(of_bytes: Callable[[Any], Any], of_content: Callable[[Any], Any]) -> Iterator[None]:
    """Others in the place of all digests that are begun in a transfer."""
    names = ("cpr.io.block_digests", "cpr.io.hashing", "cpr.io.reading", "cpr.io.publishing")
    # Not `from cpr.io import reading`: that is the function of this name.
    modules = [importlib.import_module(name) for name in names]
    arrays = importlib.import_module("cpr.data.arrays")
    new, content = modules[1].new_digest, arrays.content_digest
    try:
        for module in modules:
            module.new_digest = lambda algorithm: of_bytes(new(algorithm))
        arrays.content_digest = lambda: of_content(content())
        yield
    finally:
        for module in modules:
            module.new_digest = new
        arrays.content_digest = content


def timed(format: str, action: str, mib: int, turns: int, url: str) -> Any:
    """Work: write or read in turns; all that cpr hashes is timed, or left out."""
    import cpr
    from bench.child import imported
    from bench.contenders import stack, target_of, warm_up

    warm_up(url, format, "cpr")
    imported()
    data = stack(mib)
    stored = target_of(format, f"{url}/{action}/stored")
    stored.set_data(data)
    record = stored.serialize()
    checksum, content = str(stored.checksum).partition(":")[2], str(stored.data_hash)

    def once(place: str) -> float:
        started = time.perf_counter()
        if action == "read":
            cpr.load(record).get_data()
        else:
            target = target_of(format, f"{url}/{place}")
            target.set_data(data)
            target.persist()
        seconds = time.perf_counter() - started
        if action == "write":
            cpr.io.remove(target.url)
        return seconds

    def work() -> dict[str, Any]:
        runs: dict[str, list[float]] = {"with": [], "without": [], "hashing": []}
        for turn in range(turns):
            with _digests(_Timed, _Timed):
                _Timed.seconds = 0.0
                runs["with"].append(once(f"with/{turn}"))
                runs["hashing"].append(_Timed.seconds)
            with _digests(lambda _: _None(checksum), lambda _: _None(content)):
                runs["without"].append(once(f"without/{turn}"))
        if not all(runs["hashing"]):
            raise RuntimeError("nothing was hashed")
        ratios = [b / a for a, b in zip(runs["with"], runs["without"], strict=True)]
        found = {name: statistics.median(values) for name, values in runs.items()}
        return {**found, "saved": 1 - statistics.median(ratios)}

    return work


def report(rows: list[Row]) -> str:
    lines = [
        _INTRODUCTION,
        "| format | | MiB | seconds | without hashing | saved | inside the digests | share |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['format']} | {r['what']} | {r['mib']} | {r['with']:.2f} | {r['without']:.2f} "
        f"| {r['saved']:.1%} | {r['hashing']:.3f} | {r['hashing'] / r['with']:.1%} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"
