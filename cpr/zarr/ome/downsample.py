"""Downsamples a block by two, for the next level of a pyramid.

Two neighbours along each halved axis become one; at an odd end the last one stands for itself, so that no
pixel is lost and none is made up. That is what TensorStore's `downsample` driver does as well
(https://google.github.io/tensorstore/driver/downsample/index.html).

Called for each block by `cpr.zarr.writing` (arrays and planes), `cpr.zarr.dask` (dask arrays) and
`cpr.zarr.parts.levels` (images that many tasks write). `cpr.zarr.ome.chunking` has the levels' shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any, Literal

import numpy as np

__all__ = ["Method", "halve"]

Array = np.ndarray[Any, Any]
Method = Literal["mean", "mode"]

_FINER = {"e": "f4", "f": "f8", "F": "c16"}  # in which sums are made


def halve(block: Array, axes: Sequence[int], method: Method) -> Array:
    """Downsample a block by two (rounded up) along some axes, keeping the dtype.

    Args:
        block: of any dtype that Zarr holds; along `axes` it begins at an even position of its image.
        axes: which; up to three.
        method: "mean" of the neighbours, integers rounded to the nearest, halves to even, so that levels
            grow neither brighter nor darker. "mode", for labels and masks: the value most of them have,
            the first in C order among equals, never a new one. The mean of booleans is their mode.

    >>> halve(np.array([[1, 2, 9], [2, 2, 8]], "uint8"), (0, 1), "mean")
    array([[2, 8]], dtype=uint8)
    """
    if not axes:
        return block
    odd = [(0, block.shape[axis] % 2 if axis in axes else 0) for axis in range(block.ndim)]
    if any(end for _, end in odd):
        # A last element that is alone weighs as much as two of itself.
        block = np.pad(block, odd, mode="edge")
    parts = [block[index] for index in _neighbours(block.ndim, axes)]
    if method == "mode" or block.dtype == np.bool_:
        return _mode(parts)
    if block.dtype.kind in "iu":
        return _rounded_mean(parts, len(axes))
    return _mean(parts)


def _neighbours(ndim: int, axes: Sequence[int]) -> list[tuple[slice, ...]]:
    """Slices that select each of the neighbours to be merged, in C order."""
    steps = [
        (slice(0, None, 2), slice(1, None, 2)) if axis in axes else (slice(None),) for axis in range(ndim)
    ]
    return list(product(*steps))


def _rounded_mean(parts: list[Array], bits: int) -> Array:
    """Exact rounded mean of 2 ** bits integers."""
    dtype = parts[0].dtype
    count = 1 << bits
    whole: Array = np.zeros(parts[0].shape, dtype)
    rest: Array = np.zeros(parts[0].shape, f"{dtype.kind}{min(8, 2 * dtype.itemsize)}")
    for part in parts:
        if dtype.itemsize < 8:
            rest += part
        else:
            # The sum may not fit: quotients and remainders are added apart.
            whole += part >> bits
            rest += part & (count - 1)
    # Half less one, and one more where the quotient is odd: a half then goes to the even neighbour.
    odd = (whole + (rest >> bits)) & 1
    rest += (count >> 1) - 1
    rest += odd.astype(rest.dtype)
    mean: Array = whole + (rest >> bits).astype(dtype)
    return mean


def _mean(parts: list[Array]) -> Array:
    dtype = parts[0].dtype
    finer = np.dtype(_FINER.get(dtype.char, dtype))
    with np.errstate(over="ignore", invalid="ignore"):
        total = parts[0].astype(finer)
        for part in parts[1:]:
            total += part
        mean = total / len(parts)
        if finer == dtype and not (fine := np.isfinite(mean)).all():
            # The sum may be too large where the mean is not.
            mean[~fine] = np.sum([part[~fine] / len(parts) for part in parts], axis=0)
        return np.asarray(mean, dtype)


def _mode(parts: list[Array]) -> Array:
    found = parts[0].copy()
    if all(np.array_equal(part, found) for part in parts[1:]):
        return found
    like = np.zeros((len(parts), *found.shape), np.uint8)  # how many of the others are as this one
    for (i, one), (j, other) in combinations(enumerate(parts), 2):
        equal = one == other
        like[i] += equal
        like[j] += equal
    most = like[0]
    for part, count in zip(parts[1:], like[1:], strict=True):
        np.copyto(found, part, where=count > most)
        np.maximum(most, count, out=most)
    return found
