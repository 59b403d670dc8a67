"""Requests that wait for one another, of every basic operation: counted by what a longer way costs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import obstore

import cpr
from bench import contenders
from bench.far_network import FarNetwork, far_network
from bench.sections import Row, Size

__all__ = ["TITLE", "report", "run"]

TITLE = "Round trips"
_NEAR, _FAR = 0.05, 0.25  # seconds
_TURNS = 3
_TARGETS = 10_000

Work = Callable[[], Any]


def run(url: str, size: Size) -> list[Row]:
    """Requests, round trips and seconds for each operation."""
    rows: list[Row] = []
    works = _works(url, size)
    with far_network(os.environ["AWS_ENDPOINT_URL"]) as network:
        for name, make in works.items():
            rows.append({"what": name, **_measured(network, make)})
            print(rows[-1], flush=True)
    return rows


def _measured(network: FarNetwork, make: Callable[[], Work]) -> dict[str, Any]:
    """The difference that a longer way makes, in units of that way: what else takes time cancels."""
    least: dict[float, float] = {}
    requests: list[int] = []
    for delay in (_NEAR, _FAR, 0.03):
        for _ in range(_TURNS):
            network.set(delay="0s")
            work = make()
            network.set(delay=f"{delay}s")
            started = time.monotonic()
            work()
            least[delay] = min(least.get(delay, 1e9), time.monotonic() - started)
            requests.append(sum(network.set()["Requests"].values()))
    trips = (least[_FAR] - least[_NEAR]) / (_FAR - _NEAR)
    return {"requests": min(requests), "trips": trips, "seconds": least[0.03]}


def _works(url: str, size: Size) -> dict[str, Callable[[], Work]]:
    dice = np.random.default_rng(0)
    planes = dice.integers(0, 1 << 12, (24, 1024, 1024), "uint16")
    small = planes[0, :32, :64]

    def stored(target: Any, data: Any) -> Any:
        target.set_data(data)
        return target.serialize()

    first = stored(cpr.NumpyTarget.from_path(f"{url}/small.npy"), small)
    tiff = stored(cpr.ImageTarget.from_path(f"{url}/a.tif"), planes)
    plain = stored(cpr.ImageTarget.from_path(f"{url}/b.tif", compression=None), planes)
    chunks = stored(cpr.ZarrTarget.from_path(f"{url}/a.zarr", chunks=(1, 1024, 1024)), planes)

    def write_small() -> Work:
        target = cpr.NumpyTarget.from_path(f"{url}/{dice.integers(1 << 60)}.npy")
        target.set_data(small)
        return target.persist

    def write_large() -> Work:
        data = dice.integers(0, 1 << 12, (50, 1024, 1024), "uint16")
        target = cpr.NumpyTarget.from_path(f"{url}/{dice.integers(1 << 60)}.npy")
        target.set_data(data)
        return target.persist

    def bare_put() -> Work:
        store, prefix = contenders.store_of(url)
        return lambda: obstore.put(store, f"{prefix}/{dice.integers(1 << 60)}", small.tobytes())

    def hit() -> Work:
        serializer = cpr.cpr_serializer()
        return lambda: serializer.loads(many)

    def one(number: int) -> Any:
        return stored_target(cpr.NumpyTarget.from_path(f"{url}/many/{number:05}.npy"), small + number)

    def stored_target(target: Any, data: Any) -> Any:
        target.set_data(data)
        return target.persist()

    targets = min(_TARGETS, size.mib * 10)
    with ThreadPoolExecutor(16) as pool:
        many = cpr.cpr_serializer().dumps(list(pool.map(one, range(targets))))
    return {
        "write 4 KiB": write_small,
        "write 4 KiB, obstore": bare_put,
        "read 4 KiB": lambda: lambda: cpr.load(first).get_data(),
        "check that it is there": lambda: lambda: cpr.load(first).check(),
        "one plane of a TIFF, zlib": lambda: lambda: cpr.load(tiff).get_data(region=7),
        "one plane of a TIFF, none": lambda: lambda: cpr.load(plain).get_data(region=7),
        "ten planes of a TIFF, zlib": lambda: lambda: cpr.load(tiff).get_data(region=np.s_[2:22:2]),
        "open a Zarr and read a chunk": lambda: lambda: cpr.load(chunks).get_data()[7],
        "write 100 MiB, beside the parts": write_large,
        f"a hit on {targets} targets": hit,
    }


def report(rows: list[Row]) -> str:
    """A table of the operations."""
    lines = [
        "Each answer is delayed by 0.2 s. Round trips: the time that this adds, over 0.2 s; best of three.\n",
        "| | requests | round trips | seconds at 30 ms |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['what']} | {row['requests']} | {row['trips']:.1f} | {row['seconds']:.2f} |" for row in rows
    ]
    return "\n".join([*lines, ""])
