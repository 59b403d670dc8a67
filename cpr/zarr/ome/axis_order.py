"""Reorders the axes of data into the stored order while it streams."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cpr.data.arrays import Planes
from cpr.data.memory import require_memory
from cpr.zarr.dask import is_dask

__all__ = ["transposed"]

Array = np.ndarray[Any, Any]


def transposed(source: Any, order: Sequence[int]) -> Any:
    """A source with its axes in another order, like `numpy.transpose`.

    Nothing is read now. Of planes that pass once, those are in memory that lie behind the first axis that
    moves: of TZCYX to TCZYX those of one time.

    Args:
        source: numpy, dask, a lazy array, or planes.
        order: the axes of the source, in the order that is wanted.
    """
    if list(order) == list(range(len(order))):
        return source
    if isinstance(source, Planes):
        return _transposed_planes(source, order)
    if isinstance(source, np.ndarray) or is_dask(source):
        return source.transpose(tuple(order))
    return _Transposed(source, order)


class _Transposed:
    """A lazy array with its axes in another order."""

    def __init__(self, source: Any, order: Sequence[int]) -> None:
        self._source = source
        self._order = tuple(order)
        self.shape = tuple(source.shape[axis] for axis in order)
        self.dtype = np.dtype(source.dtype)
        objects = getattr(source, "shards", None) or source.chunks
        self.chunks = None if objects is None else tuple(objects[axis] for axis in order)

    def __getitem__(self, region: tuple[slice, ...]) -> Array:
        turned: list[Any] = [slice(None)] * len(region)
        for axis, part in zip(self._order, region, strict=True):
            turned[axis] = part
        found: Array = np.asanyarray(self._source[tuple(turned)]).transpose(self._order)
        return found


def _transposed_planes(planes: Planes, order: Sequence[int]) -> Planes:
    shape, leading = planes.shape, len(planes.shape) - len(planes.plane_shape)
    moved = min(leading, next(axis for axis, other in enumerate(order) if axis != other))
    held = shape[moved:]
    count = math.prod(shape[moved:leading])
    require_memory(math.prod(held) * planes.dtype.itemsize, "what has to be turned at once")

    def slabs() -> Iterator[Array]:
        passing = iter(planes)
        for _ in range(math.prod(shape[:moved])):
            slab = np.empty((count, *planes.plane_shape), planes.dtype)
            for index, plane in zip(range(count), passing, strict=False):
                slab[index] = plane
            yield slab.reshape(held).transpose([axis - moved for axis in order[moved:]])
        for _ in passing:  # its end checks the number of planes
            pass

    return Planes(slabs(), tuple(shape[axis] for axis in order), planes.dtype)
