"""Verifying many targets, beside the fastest plain downloads of the same bytes.

A plain download fetches the same objects, whose names it is told, and forgets them: no record is read,
nothing is hashed. `cpr verify` lists and reads the records first, so one contender fetches those as well.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.child import measure, medians, memory
from bench.sections import Row, Size

__all__ = ["TITLE", "fill", "report", "run"]

TITLE = "Verifying"
THREADS = 8
COUNT = 10_000
KIB = 256
RECORDS_TOO = "records too"


def fill(url: str, count: int, kib: int) -> None:
    """Targets below `url/data`; a record for each in `url/records`, and one for all in `url/together`."""
    import numpy as np

    import cpr
    from cpr import io

    def store(number: int) -> Any:
        target = cpr.NumpyTarget.from_path(f"{url}/data/{number:05}.npy")
        values = np.random.default_rng(number).integers(0, 1 << 63, kib * 128 - 16, dtype="int64")
        target.set_data(values)
        record = target.persist().serialize()
        put(f"{url}/records/{number:032x}", prefect_record(record))
        return record

    def prefect_record(value: Any) -> bytes:
        metadata = {"storage_key": "k", "serializer": {"type": "cpr"}, "prefect_version": "3.8.8"}
        return json.dumps({"metadata": metadata, "result": json.dumps(value)}).encode()

    def put(place: str, blob: bytes) -> None:
        with io.writing(place) as file:
            file.write(blob)

    with ThreadPoolExecutor(THREADS) as pool:
        records = list(pool.map(store, range(count)))
    put(f"{url}/together/{0:032x}", prefect_record({"__cpr__": ["value", records]}))


def keys_of(url: str, *folders: str) -> tuple[Any, list[str]]:
    import obstore
    from obstore.store import S3Store

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    store = S3Store(bucket, client_options={"allow_http": True})
    keys = [
        one["path"]
        for folder in folders or ("data",)
        for page in obstore.list(store, f"{prefix}/{folder}")
        for one in page
    ]
    return store, keys


def verify(url: str, records: str) -> Callable[[], int]:
    import cpr
    from cpr.operations.verify import verify as run

    # Imported and connected, as the others are before they are measured.
    cpr.NumpyTarget  # noqa: B018
    cpr.io.lookup(f"{url}/data/none")
    first = next(iter(cpr.io.find(f"{url}/data/00000*")))
    cpr.io.read_through(first, "xxh3_128", size_of(first))

    def check() -> int:
        report = run(f"{url}/{records}")
        assert not report.wrong, report.wrong[0]
        return report.nbytes

    return check


def size_of(url: str) -> int:
    import cpr

    return cpr.io.stat(url).nbytes


def obstore_async(url: str, at_once: int) -> Callable[[], int]:
    import obstore

    store, keys = keys_of(url)

    async def fetch_all() -> int:
        waiting = iter(keys)

        async def some() -> int:
            return sum([len(await (await obstore.get_async(store, key)).bytes_async()) for key in waiting])

        return sum(await asyncio.gather(*(some() for _ in range(at_once))))

    return lambda: asyncio.run(fetch_all())


def obstore_threads(url: str, at_once: int, *folders: str) -> Callable[[], int]:
    import obstore

    store, keys = keys_of(url, *folders)

    def fetch_all() -> int:
        with ThreadPoolExecutor(at_once) as pool:
            return sum(pool.map(lambda key: len(obstore.get(store, key).bytes()), keys))

    return fetch_all


CONTENDERS: dict[str, Callable[[str], Callable[[], int]]] = {
    "cpr verify, a record each": lambda url: verify(url, "records"),
    "cpr verify, one record for all": lambda url: verify(url, "together"),
    "obstore, async, 8 at once": lambda url: obstore_async(url, 8),
    "obstore, async, 32 at once": lambda url: obstore_async(url, 32),
    "obstore, 8 threads": lambda url: obstore_threads(url, 8),
    f"obstore, 8 threads, {RECORDS_TOO}": lambda url: obstore_threads(url, 8, "records", "data"),
}


def contend(contender: str, url: str) -> Callable[[], dict[str, Any]]:
    """In a process of its own: bytes, and the peak of its memory, imports and all."""
    work = CONTENDERS[contender](url)
    return lambda: {"nbytes": work(), "whole": memory("VmHWM")}


def run(url: str, size: Size) -> list[Row]:
    """Rows: contender, targets, KiB each, seconds, MB/s, CPU seconds, peak MiB; medians of runs in turns."""
    count = max(100, COUNT * size.mib // 1024)
    fill(url, count, KIB)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(size.rounds):
        for name, found in runs.items():
            found.append(measure("bench.verifying:contend", contender=name, url=url))
            print(f"{name:32} {found[-1]['nbytes'] / found[-1]['seconds'] / 1e6:7.0f} MB/s", flush=True)
    rows = [{"contender": name, "count": count, "kib": KIB, **medians(found)} for name, found in runs.items()]
    return [{**row, "speed": row["nbytes"] / row["seconds"] / 1e6} for row in rows]


def report(rows: list[Row]) -> str:
    """Markdown: each contender beside the fastest plain download, and that of the records as well."""
    plain = [row for row in rows if not row["contender"].startswith("cpr")]
    best = max(row["speed"] for row in plain if not row["contender"].endswith(RECORDS_TOO))
    with_records = next(row["speed"] for row in plain if row["contender"].endswith(RECORDS_TOO))
    first = rows[0]
    return "\n".join(
        [
            f"{first['count']:,} targets of {first['kib']} KiB. Peak memory is the whole process's.\n",
            "| | MB/s | of the fastest download | of that with the records | CPU seconds | peak MiB |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *(
                f"| {row['contender']} | {row['speed']:.0f} | {row['speed'] / best:.2f} "
                f"| {row['speed'] / with_records:.2f} | {row['cpu']:.1f} | {row['whole']:.0f} |"
                for row in rows
            ),
        ]
    )
