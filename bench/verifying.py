"""Verifying: `cpr.verifying.verify` over many targets, beside the fastest plain downloads of the same bytes.

    python -m bench.verifying [--count 10000] [--kib 256] [--rounds 3]

Contenders take turns, each in a process of its own. A plain download fetches the same objects, whose names it
is told, and forgets them: no record is read, nothing is hashed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.child import memory

ROOT = Path(__file__).parents[1]
THREADS = 8


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
    from cpr.verifying import verify as run

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
    "obstore, 8 threads, records too": lambda url: obstore_threads(url, 8, "records", "data"),
}


def measure(contender: str, url: str) -> dict[str, Any]:
    """In a process of its own: MB/s, and the peak of its memory, imports and all."""
    run = CONTENDERS[contender](url)
    started = time.perf_counter()
    nbytes = run()
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "nbytes": nbytes,
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": memory("VmHWM"),
    }


def run(url: str, count: int = 10_000, kib: int = 256, rounds: int = 3) -> list[dict[str, Any]]:
    """Rows: contender, targets, KiB each, MB/s, CPU seconds and peak MiB; medians of rounds in turns."""
    fill(url, count, kib)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, found in runs.items():
            done = subprocess.run(
                [sys.executable, "-m", "bench.verifying", "--measure", name, "--url", url],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{name:32} {found[-1]['nbytes'] / found[-1]['seconds'] / 1e6:7.0f} MB/s", flush=True)
    return [
        {
            "contender": name,
            "count": count,
            "kib": kib,
            "speed": statistics.median(one["nbytes"] / one["seconds"] / 1e6 for one in found),
            "cpu": statistics.median(one["cpu"] for one in found),
            "peak": max(one["peak"] for one in found),
        }
        for name, found in runs.items()
    ]


def report(rows: list[dict[str, Any]]) -> str:
    """Markdown: each contender beside the fastest plain download."""
    best = max(row["speed"] for row in rows if not row["contender"].startswith("cpr"))
    first = rows[0]
    return "\n".join(
        [
            f"{first['count']:,} targets of {first['kib']} KiB. Peak memory is the whole process's.\n",
            "| | MB/s | of the fastest download | CPU seconds | peak MiB |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(
                f"| {row['contender']} | {row['speed']:.0f} | {row['speed'] / best:.2f} | {row['cpu']:.1f} "
                f"| {row['peak']:.0f} |"
                for row in rows
            ),
        ]
    )


def main() -> int:
    from tests.minio.process import Unavailable
    from tests.minio.server import running_server

    parser = argparse.ArgumentParser(prog="python -m bench.verifying")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--kib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure, chosen.url)))
        return 0
    os.environ.setdefault("CPR_TEST_S3", "container,binary")
    try:
        with running_server(build=True, say=print) as server, server.exported():
            rows = run(f"s3://{server.bucket}/verifying", chosen.count, chosen.kib, chosen.rounds)
    except Unavailable as error:
        print(f"No MinIO is to be had: {error}")
        return 1
    print(report(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
