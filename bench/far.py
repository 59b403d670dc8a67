"""Reading and writing far away: cpr beside obstore at several widths, through a network with limits.

Contenders take turns in processes of their own, each with connections that are open and nothing else known.
BENCH_FAR and BENCH_FAR_FORMATS choose networks and formats, with semicolons.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import obstore
import zarr
from zarr.storage import ObjectStore

import cpr
from bench import contenders
from bench.child import imported, measure, medians
from bench.far_network import FarNetwork, far_network
from bench.sections import Row, Size

__all__ = ["TITLE", "report", "run"]

TITLE = "Far stores"
_MIB = 256
NETWORKS = {
    "near": {"delay": "0s", "rate": 0},
    "30 ms, 4 MB/s": {"delay": "30ms", "rate": 4e6},
    "30 ms, 40 MB/s": {"delay": "30ms", "rate": 40e6},
    "100 ms, 40 MB/s": {"delay": "100ms", "rate": 40e6},
}
_FORMATS = ("tiff-none", "tiff-zlib", "npy", "parquet")
_RANGES = {
    f"obstore, {mib} MiB x {width}": (mib, width) for mib, width in ((8, 16), (4, 32), (4, 64), (2, 64))
}
_PUTS = {f"obstore.put, {mib} MiB x {width}": (mib, width) for mib, width in ((5, 12), (5, 32), (5, 64))}
# As a user would do it: the other contenders move bytes that are encoded already, and decode nothing.
_ALL_OF_IT = {"write": ("encode, then obstore.put", (5, 64)), "read": ("obstore, then decode", (2, 64))}
_CHUNKS = {"zarr, 4 MiB chunks": 1448, "zarr, 0.5 MiB chunks": 512}

Work = Callable[[], Any]


def run(url: str, size: Size) -> list[Row]:
    """Medians for each network and contender."""
    rows: list[Row] = []
    mib = size.scaled(_MIB)
    chosen = os.environ.get("BENCH_FAR", ";".join(NETWORKS)).split(";")
    formats = os.environ.get("BENCH_FAR_FORMATS", ";".join((*_FORMATS, *_CHUNKS))).split(";")
    with far_network(os.environ["AWS_ENDPOINT_URL"]) as network:
        for name in chosen:
            network.set(**NETWORKS[name])
            for what in formats:
                rows += _rows(network, name, what, f"{url}/{len(rows)}", mib, size.rounds)
    return rows


def _rows(network: FarNetwork, name: str, what: str, url: str, mib: int, rounds: int) -> list[Row]:
    works = _works(what, mib)
    records: dict[str, Any] = {}
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number in range(rounds):
        for action, contender, function, arguments in works:
            case = {**arguments, "url": f"{url}/{number}"}
            if action == "read":
                case["record"] = records["cpr"] if what not in _CHUNKS else records[contender]
            answer = measure(function, partial(network.set), **case)
            most = network.set()["Most"]
            if "record" in answer:
                records[contender] = answer.pop("record")
            found.setdefault((action, contender), []).append({**answer, "most": most})
    rows = []
    for (action, contender), runs in found.items():
        row = {"network": name, "what": what, "action": action, "contender": contender, "mib": mib}
        rows.append({**row, **medians(runs)})
        print(
            f"{name:16} {what:20} {action:5} {contender:24} {rows[-1]['seconds']:6.2f} s,"
            f" {rows[-1]['most']:3.0f} at once, {rows[-1]['peak']:4.0f} MiB",
            flush=True,
        )
    return rows


def _works(what: str, mib: int) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Action, contender, function and its arguments, in the order in which they take turns."""
    if what in _CHUNKS:
        case = {"edge": _CHUNKS[what], "mib": mib}
        return [
            (action, contender, f"bench.far:zarr_{action}", {**case, "contender": contender})
            for action in ("write", "read")
            for contender in ("cpr", "zarr, obstore, 64")
        ]
    case = {"format": what, "mib": mib}
    encode_put, get_decode = _ALL_OF_IT["write"], _ALL_OF_IT["read"]
    return [
        ("write", "cpr", "bench.contenders:write", {**case, "contender": "cpr"}),
        *(("write", name, "bench.far:put", {**case, "limits": limits}) for name, limits in _PUTS.items()),
        ("write", encode_put[0], "bench.far:put", {**case, "limits": encode_put[1], "encodes": True}),
        ("read", "cpr", "bench.contenders:read", {"format": what, "contender": "cpr"}),
        *(("read", name, "bench.far:ranges", {"limits": limits}) for name, limits in _RANGES.items()),
        ("read", get_decode[0], "bench.far:ranges", {"limits": get_decode[1], "format": what}),
    ]


def put(limits: tuple[int, int], format: str, mib: int, url: str, encodes: bool = False) -> Work:
    """obstore sends bytes that are in memory, or that it waits for until they are encoded."""
    contenders.warm_up(url, format, "upload alone, obstore")
    store, prefix = contenders.store_of(url)
    data = contenders.frame(mib) if format in contenders.TABLES else contenders.stack(mib)
    imported()
    ready = None if encodes else contenders.encoded(format, data)
    part, width = limits

    def work() -> None:
        content = contenders.encoded(format, data) if ready is None else ready
        obstore.put(store, f"{prefix}/put", content, chunk_size=part << 20, max_concurrency=width)

    return work


def ranges(limits: tuple[int, int], record: Any, url: str, format: str | None = None) -> Work:
    """obstore fetches what cpr has written, by so many threads; decoded where a format is given."""
    contenders.warm_up(url, "npy", "upload alone, obstore")
    target = cpr.load(record)
    store, key = contenders.store_of(target.url)
    nbytes = int(target.nbytes)
    part, width = limits
    imported()

    def work() -> None:
        buffer = np.empty(nbytes, np.uint8)

        def fetch(start: int) -> None:
            stop = min(nbytes, start + (part << 20))
            buffer[start:stop] = np.frombuffer(obstore.get_range(store, key, start=start, end=stop), np.uint8)

        with ThreadPoolExecutor(width) as pool:
            list(pool.map(fetch, range(0, nbytes, part << 20)))
        if format is not None:
            contenders.decode(format, io.BytesIO(buffer))

    return work


def _zarr(edge: int, mib: int, url: str, contender: str) -> tuple[Any, dict[str, Any]]:
    contenders.warm_up(url, "npy", "upload alone, obstore" if contender != "cpr" else "cpr")
    data = np.random.default_rng(0).integers(
        0, 1 << 12, (max(2, (mib << 20) // (edge * edge * 2)), edge, edge), dtype="uint16"
    )
    if contender != "cpr":
        zarr.config.set({"async.concurrency": 64})
    imported()
    return data, {"chunks": (1, edge, edge), "compressors": None}


def zarr_write(edge: int, mib: int, url: str, contender: str) -> Work:
    """An array in chunks, by ZarrTarget or by zarr on obstore."""
    data, options = _zarr(edge, mib, url, contender)
    if contender == "cpr":

        def work() -> dict[str, Any]:
            target = cpr.ZarrTarget.from_path(f"{url}/{edge}.zarr", **options)
            target.set_data(data)
            return {"record": target.serialize()}

        return work
    store, prefix = contenders.store_of(url)

    def bare() -> dict[str, Any]:
        array = zarr.create_array(
            ObjectStore(store), name=f"{prefix}/bare-{edge}", shape=data.shape, dtype=data.dtype, **options
        )
        array[...] = data
        return {"record": f"{prefix}/bare-{edge}"}

    return bare


def zarr_read(edge: int, mib: int, url: str, contender: str, record: Any) -> Work:
    """The same, read."""
    _zarr(edge, mib, url, contender)
    if contender == "cpr":
        return lambda: len(cpr.load(record).get_data()[...]) and None
    store, _ = contenders.store_of(url)
    return lambda: len(zarr.open_array(ObjectStore(store), path=record, mode="r")[...]) and None


def report(rows: list[Row]) -> str:
    """A table of cpr beside the best that moves bytes alone, and beside what a user would do."""
    heads = ["network", "", "", "MiB", "cpr, seconds", "at once", "peak MiB", "best other", "seconds"]
    heads += ["cpr : best", "all of it, seconds", "cpr : all of it"]
    sides = ["---" if head in ("network", "", "best other") else "---:" for head in heads]
    lines = [f"| {' | '.join(line)} |" for line in (heads, sides)]
    names = {name for name, _ in _ALL_OF_IT.values()}
    for case in dict.fromkeys((row["network"], row["what"], row["action"]) for row in rows):
        same = [row for row in rows if (row["network"], row["what"], row["action"]) == case]
        ours = next(row for row in same if row["contender"] == "cpr")
        others = [row for row in same if row is not ours and row["contender"] not in names]
        best = min(others, key=lambda row: row["seconds"])
        # zarr encodes and decodes by itself.
        whole = next((row for row in same if row["contender"] in names), best)
        lines.append(
            f"| {' | '.join(case)} | {ours['mib']} | {ours['seconds']:.2f} | {ours['most']:.0f} "
            f"| {ours['peak']:.0f} | {best['contender']} | {best['seconds']:.2f} "
            f"| {best['seconds'] / ours['seconds']:.2f} "
            f"| {whole['seconds']:.2f} | {whole['seconds'] / ours['seconds']:.2f} |"
        )
    speeds = (
        "Speeds of cpr relative to the best of the others; what cpr reads is verified. The best other moves\n"
        "bytes alone, encoded before the clock starts, decoded by nobody. *All of it* is what a user would\n"
        "do: encode into memory and send with obstore; fetch with obstore and decode.\n"
    )
    return "\n".join([speeds, *lines, ""])
