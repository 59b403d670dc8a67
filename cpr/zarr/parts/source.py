"""Prepares the data of a part: all axes of the array, in stored order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cpr.data.arrays import Planes
from cpr.zarr.chunking import Declared, declared_source
from cpr.zarr.dask import is_dask
from cpr.zarr.ome.axis_order import transposed
from cpr.zarr.options import Shape
from cpr.zarr.parts.layout import Layout
from cpr.zarr.parts.options import PartOptions

__all__ = ["source_of_part", "with_all_axes"]

Array = np.ndarray[Any, Any]


def source_of_part(
    layout: Layout, options: PartOptions, data: Any, shape: tuple[int, ...] | None, dtype: Any
) -> Any:
    """The data of a part, with all axes in stored order. Raises EncodeError if it does not fit.

    Args:
        layout: of the whole.
        options: of the part.
        data: as `ZarrPart.set_data` takes it.
        shape: of an iterable.
        dtype: of an iterable.
    """
    extents = [0] * len(layout.order)
    for axis, (start, stop) in zip(layout.order, options.region, strict=True):
        extents[axis] = stop - start
    kept = tuple(n for n, drop in zip(extents, options.dropped, strict=True) if not drop)
    given = tuple(getattr(data, "shape", kept if shape is None else shape))
    lacking = options.dropped if len(given) != len(extents) else (False,) * len(extents)
    expected = kept if any(lacking) else tuple(extents)
    source = declared_source(Declared(expected, layout.dtype), data, shape, dtype)
    return transposed(with_all_axes(source, lacking), layout.order)


def with_all_axes(source: Any, dropped: Sequence[bool]) -> Any:
    """Insert an axis of length one for each axis that the part's region dropped."""
    if not any(dropped):
        return source
    index = tuple(None if drop else slice(None) for drop in dropped)
    if isinstance(source, Planes):
        return _planes(source, dropped)
    if isinstance(source, np.ndarray) or is_dask(source):
        return source[index]
    return _Expanded(source, dropped)


def _expanded(values: Sequence[Any], dropped: Sequence[bool], new: Any) -> tuple[Any, ...]:
    rest = iter(values)
    return tuple(new if drop else next(rest) for drop in dropped)


def _planes(planes: Planes, dropped: Sequence[bool]) -> Planes:
    shape: Shape = _expanded(planes.shape, dropped, 1)
    # Of these axes a plane has all elements, whichever axes of one are among them.
    plane_ndim, axes = len(planes.plane_shape), 1
    while sum(not drop for drop in dropped[len(shape) - axes :]) < plane_ndim:
        axes += 1
    whole = shape[len(shape) - axes :]

    def slabs() -> Iterator[Array]:
        for plane in planes:
            yield plane.reshape(whole)

    return Planes(slabs(), shape, planes.dtype, plane_ndim=axes)


class _Expanded:
    """A lazy array with inserted axes of length one."""

    def __init__(self, source: Any, dropped: Sequence[bool]) -> None:
        self._source = source
        self._dropped = tuple(dropped)
        self.shape: Shape = _expanded(source.shape, dropped, 1)
        self.dtype = np.dtype(source.dtype)
        objects: Any = getattr(source, "shards", None) or getattr(source, "chunks", None)
        regular = isinstance(objects, tuple) and all(isinstance(n, int) for n in objects)
        self.chunks = _expanded(objects, dropped, 1) if regular else None

    def __getitem__(self, region: tuple[slice, ...]) -> Array:
        rest = tuple(part for part, drop in zip(region, self._dropped, strict=True) if not drop)
        found: Array = np.asanyarray(self._source[rest])
        return found[tuple(None if drop else slice(None) for drop in self._dropped)]
