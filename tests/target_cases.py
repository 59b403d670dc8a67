"""One of each kind of target, for tests of what all of them promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

import cpr

PLANES, ROWS, COLUMNS = 64, 256, 512


def plane(index: int) -> np.ndarray:
    """A plane that no other index has; half noise, so that compression neither fails nor wins."""
    noise = np.random.default_rng(index).integers(0, 256, (ROWS, COLUMNS), dtype=np.uint16)
    noise[:, : COLUMNS // 2] = index
    return noise


def frame(index: int) -> pd.DataFrame:
    """Some rows of a table, continuing those before."""
    count = 500
    random = np.random.default_rng(index)
    return pd.DataFrame(
        {
            "label": np.arange(count) + index * count,
            "area": random.normal(size=count),
            "name": [f"cell {index}-{i}" for i in range(count)],
            "when": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(count), unit="s"),
        },
        index=pd.RangeIndex(index * count, (index + 1) * count),
    )


@dataclass(frozen=True)
class TargetCase:
    """How to make a target of a kind and data for it.

    Attributes:
        data: some data in memory.
        piece: the i-th of PLANES pieces of a stream.
        announce: what set_data wants to know about a stream.
    """

    name: str
    cls: Callable[[], Any]
    ext: str
    data: Callable[[], Any]
    piece: Callable[[int], Any]
    announce: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    def target(self, base: str) -> Any:
        return self.cls().from_path(f"{base}/result{self.ext}", **self.options)

    def pieces(self, count: int = PLANES, fail_at: int | None = None) -> Iterator[Any]:
        for index in range(count):
            if index == fail_at:
                raise OSError(f"the microscope went away at piece {index}")
            yield self.piece(index)

    def equal(self, a: Any, b: Any) -> bool:
        if isinstance(a, pd.DataFrame):
            try:
                pd.testing.assert_frame_equal(a, b, check_exact=True)
            except AssertionError:
                return False
            return True
        return a.dtype == b.dtype and np.array_equal(a, b)


def stack() -> np.ndarray:
    return np.stack([plane(i) for i in range(6)])


def table() -> pd.DataFrame:
    return pd.concat([frame(i) for i in range(3)])


_STACK = {"shape": (PLANES, ROWS, COLUMNS), "dtype": "uint16"}

TARGET_CASES = [
    TargetCase("tiff-zlib", lambda: cpr.ImageTarget, ".tif", stack, plane, _STACK),
    TargetCase("tiff-none", lambda: cpr.ImageTarget, ".tif", stack, plane, _STACK, {"compression": None}),
    TargetCase("tiff-zstd", lambda: cpr.ImageTarget, ".tif", stack, plane, _STACK, {"compression": "zstd"}),
    TargetCase("ome-tiff", lambda: cpr.ImageTarget, ".ome.tif", stack, plane, _STACK),
    TargetCase("npy", lambda: cpr.NumpyTarget, ".npy", stack, plane, _STACK),
    TargetCase("csv", lambda: cpr.CSVTarget, ".csv", table, frame, {}),
    TargetCase("csv.gz", lambda: cpr.CSVTarget, ".csv.gz", table, frame, {}),
    TargetCase("parquet", lambda: cpr.ParquetTarget, ".parquet", table, frame, {}),
]
