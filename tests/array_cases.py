"""Arrays for tests, and what it means that two are the same."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest


def same(a, b) -> bool:
    """Equal in shape, in dtype but for the byte order of the second, and to the last bit."""
    b = b.astype(b.dtype.newbyteorder("="))
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def noise(shape, dtype="uint16", seed=0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "b":
        return random.random(shape) > 0.5
    if np.dtype(dtype).kind in "fc":
        return random.normal(size=shape).astype(dtype)
    return random.integers(0, 100, shape).astype(dtype)


def _memmap(array, folder):
    array.tofile(folder / "raw")
    return np.memmap(folder / "raw", array.dtype, "r", shape=array.shape)


# Ways to hand an array of three axes to set_data that are streams: lazy(array, folder).
lazies = pytest.mark.parametrize(
    "lazy",
    [
        lambda array, folder: dask.array.from_array(array, chunks=(3, array.shape[1] // 2, array.shape[2])),
        _memmap,
        lambda array, folder: (plane for plane in array),
        lambda array, folder: (array[i : i + 2] for i in range(0, len(array), 2)),
    ],
    ids=["dask", "memmap", "planes", "slabs"],
)
