"""What recording and checking cost: zarr on its own stores and on ours, in turns, in one process.

Noise of 12 bits, once as `ZarrTarget` writes it and once not compressed: the less the rest does, the more the
stores weigh. The two runs of a pair follow each other, so that what else the machine does touches both; what
is reported is the medians of their ratios. Local files are in memory where that can be had.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import tempfile
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from bench.sections import Row, Size
from cpr import io
from cpr.io.filesystems import filesystem
from cpr.io.publishing import put_blocks
from cpr.io.stores.s3_obstore import fast_bucket
from cpr.zarr.options import ZarrOptions, array_arguments
from cpr.zarr.stores import bare_store as store_choice
from cpr.zarr.stores.manifest import Manifest, manifest_url
from cpr.zarr.stores.manifest_entries import Entry
from cpr.zarr.stores.recording_store import RecordingStore
from cpr.zarr.stores.verifying_store import VerifyingStore

TITLE = "Zarr, beside the same store bare"
_MIB = 256
_PAIRS = 3  # a round
PLACES = ("local", "s3fs", "obstore")
# Name -> edge of a square chunk of 16-bit pixels, codec.
CHUNKS = {"4 MiB": (1448, None), "0.5 MiB": (512, None), "4 MiB, zstd": (1448, "zstd")}
COUNTS = (1_000, 10_000, 100_000)


def run(url: str, size: Size) -> list[Row]:
    """All rows, those of the stores and those of the manifest, told apart by their "kind"."""
    rows = []
    for place, chunk in itertools.product(PLACES, CHUNKS):
        rows += side_by_side(url, place, chunk, size.scaled(_MIB), _PAIRS * size.rounds)
    return rows + [manifest_of(url, count) for count in COUNTS]


def side_by_side(url: str, place: str, chunk: str, mib: int, rounds: int) -> list[dict[str, Any]]:
    """Writing and reading an array, through ours and bare."""
    edge, codec = CHUNKS[chunk]
    planes = max(2, (mib << 20) // (edge * edge * 2))
    data = np.random.default_rng(0).integers(0, 1 << 12, (planes, edge, edge), dtype="uint16")
    options = array_arguments(
        ZarrOptions(compressors=codec), data.shape, data.dtype, (1, edge, edge), shards=None
    )
    pairs: dict[str, list[tuple[tuple[float, float], tuple[float, float]]]] = {"write": [], "read": []}
    with _folder(url, place) as base:
        for number in range(rounds + 1):
            names = [f"{base}/{number}-{who}" for who in ("bare", "ours")]
            bare, ours = _bare(names[0], place, data, options), _ours(names[1], place, data, options)
            for index, action in enumerate(pairs):
                # Who comes first changes with every round.
                times = {}
                for who, works in [("bare", bare), ("ours", ours)][:: 1 if number % 2 else -1]:
                    times[who] = _timed(works[index])
                if number:  # the first warms up
                    pairs[action].append((times["bare"], times["ours"]))
            for name in names:
                _remove(name)
    return [_row(place, chunk, action, data.nbytes, found) for action, found in pairs.items()]


def _row(place: str, chunk: str, action: str, nbytes: int, pairs: list[Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": "store", "place": place, "chunk": chunk, "action": action}
    for index, name in enumerate(("seconds", "cpu")):
        bare, ours = ([pair[who][index] for pair in pairs] for who in (0, 1))
        row[f"bare {name}"], row[f"ours {name}"] = statistics.median(bare), statistics.median(ours)
        row[f"{name} ratio"] = statistics.median(o / b for b, o in zip(bare, ours, strict=True))
    row["mb_per_s"] = nbytes / 1e6 / row["ours seconds"]
    print(
        f"{place:8} {chunk:12} {action:5} {row['mb_per_s']:6.0f} MB/s,"
        f" ratio of seconds {row['seconds ratio']:.3f}, of CPU {row['cpu ratio']:.3f}",
        flush=True,
    )
    return row


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    started, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - used


Work = tuple[Callable[[], Any], Callable[[], Any]]


def _bare(name: str, place: str, data: np.ndarray[Any, Any], options: dict[str, Any]) -> Work:
    store, path = _bare_store(name, place)

    def write() -> None:
        zarr.create_array(store, name=path, **options)[...] = data

    def read() -> Any:
        _read_into(zarr.open_array(store, path=path, mode="r", zarr_format=3), data)

    return write, read


def _bare_store(name: str, place: str) -> tuple[Any, str | None]:
    """Zarr's own, with the options and connections that ours use."""
    if place == "local":
        return LocalStore(name), None
    fs, path = filesystem(name)
    if place == "obstore":
        bucket, _, key = path.partition("/")
        fast = fast_bucket(fs, bucket)
        assert fast is not None, "obstore cannot reach this bucket"
        return ObjectStore(fast.store), key

    async def on_the_loop() -> FsspecStore:
        with mock.patch.object(store_choice, "fast_bucket", return_value=None):
            store = store_choice.bare_store(name)
        assert type(store) is FsspecStore
        return store

    return sync(on_the_loop()), None


def _ours(name: str, place: str, data: np.ndarray[Any, Any], options: dict[str, Any]) -> Work:
    """As `ZarrTarget` does: the manifest is stored in the time of writing, fetched in that of reading."""
    found: list[Manifest] = []

    def engine() -> Any:
        patched = fast_bucket if place == "obstore" else lambda *_: None
        return mock.patch.object(store_choice, "fast_bucket", patched)

    def write() -> None:
        with engine():
            store = RecordingStore(name)
            zarr.create_array(store, **options)[...] = data
            manifest = Manifest.of(store.url, store.entries, store.algorithm)
            assert manifest.data is not None
            put_blocks(manifest.url, manifest.data)
            found.append(manifest)

    def read() -> Any:
        with engine():
            manifest = found[-1]
            store = VerifyingStore.of(Manifest(name, manifest.nbytes, manifest.checksum))
            _read_into(zarr.open_array(store, mode="r", zarr_format=3), data)

    return write, read


def _read_into(array: Any, data: np.ndarray[Any, Any]) -> None:
    """Over the array that it was made of: new memory, taken from the host or not, is half of the time."""
    array.get_basic_selection(..., out=default_buffer_prototype().nd_buffer.from_numpy_array(data))


def manifest_of(url: str, count: int) -> dict[str, Any]:
    """The manifest of so many chunks of 1 MiB: made, stored, opened, searched."""
    name = f"{url}/{uuid.uuid4().hex}.zarr"
    rng = np.random.default_rng(0)
    entries = {f"c/{i // 1000}/{i % 1000}/0": Entry(1 << 20, rng.bytes(16), b"") for i in range(count)}
    making = _timed(lambda: Manifest.of(name, entries, "xxh3_128"))
    made = Manifest.of(name, entries, "xxh3_128")
    assert made.data is not None
    data = made.data
    storing = _timed(lambda: put_blocks(name, data))
    opened: list[Manifest] = []
    opening = _timed(lambda: opened.append(Manifest(name, made.nbytes, made.checksum)))
    tracemalloc.start()
    again = Manifest(name, made.nbytes, made.checksum)
    memory = tracemalloc.get_traced_memory()[1]
    assert len(list(again.keys())) == count
    all_memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    finding = _timed(lambda: opened[0].find(f"c/{count // 2000}/0/0"))
    searching = _timed(lambda: list(opened[0].keys()))
    io.remove(manifest_url(name))
    row = {
        "kind": "manifest",
        "chunks": count,
        "nbytes": made.nbytes,
        "share": made.nbytes / (count << 20),
        "made": making[0],
        "stored": storing[0],
        "opened": opening[0],
        "one found": finding[0],
        "all read": searching[0],
        "opened MiB": memory / 2**20,
        "all read MiB": all_memory / 2**20,
    }
    print(row, flush=True)
    return row


@contextmanager
def _folder(url: str, place: str) -> Iterator[str]:
    if place != "local":
        yield f"{url}/{uuid.uuid4().hex}"
        return
    # In memory where that can be had: what a disk adds is the same for both, and noise.
    folder = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _remove(name: str) -> None:
    if name.startswith("s3:"):
        fs, path = filesystem(name)
        fs.rm(path, recursive=True)
        io.remove(manifest_url(name))
    else:
        shutil.rmtree(name)


def report(rows: list[dict[str, Any]]) -> str:
    """Two tables."""
    lines = [
        "| store | chunks | | MB/s | seconds, ours : bare | CPU, ours : bare |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['place']} | {row['chunk']} | {row['action']} | {row['mb_per_s']:.0f} |"
        f" {row['seconds ratio']:.2f} | {row['cpu ratio']:.2f} |"
        for row in rows
        if row["kind"] == "store"
    ]
    lines += [
        "",
        "| chunks | manifest | of 1 MiB each | made | stored | opened | memory | all keys read | memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['chunks']:,} | {row['nbytes'] / 1e3:,.0f} kB | {row['share']:.4%} | {_ms(row['made'])} |"
        f" {_ms(row['stored'])} | {_ms(row['opened'])} | {row['opened MiB']:.1f} MiB |"
        f" {_ms(row['all read'])} | {row['all read MiB']:.1f} MiB |"
        for row in rows
        if row["kind"] == "manifest"
    ]
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"
