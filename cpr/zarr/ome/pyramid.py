"""All levels of a pyramid in one pass over the data: nothing is read back, and no level is ever in memory.

Level n + 1 is made of level n (see `cpr.zarr.ome.downsample`) while that is at hand. An array elsewhere, or
in memory, is taken in cells, in the order in which a tree is walked depth first: eight or four cells of a
level, halved, are one of the next, so that one cell for each level is in memory. For planes that pass a
cell is all of some consecutive planes, which are then asked for in their order. Dask's workers write the
blocks that they have, and hand on only their halves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import zarr

from cpr.data.arrays import Planes
from cpr.zarr.ome.downsample import Method, halve
from cpr.zarr.options import unit_of
from cpr.zarr.stores.recording import RecordingStore
from cpr.zarr.writing import aligned, chunks_of, computed, entries_graph, is_dask, merged

__all__ = ["Extremes", "fill_levels", "halved_shapes"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Slices = tuple[slice, ...]

_CELL_BYTES = 16 << 20  # of a cell, where its shape is ours to choose


def halved_shapes(shape: Shape, axes: Sequence[int], levels: int | None, small: int) -> list[Shape]:
    """Shapes of all levels, the largest first.

    Args:
        shape: of the image.
        axes: that are halved, rounded up, from level to level.
        levels: how many at most; None for until the last two axes are no longer than `small`.
        small: see `levels`.

    >>> halved_shapes((3, 300, 1), (1, 2), None, 100)
    [(3, 300, 1), (3, 150, 1), (3, 75, 1)]
    """
    shapes = [shape]
    while any(shape[axis] > 1 for axis in axes):
        if len(shapes) == levels or (levels is None and max(shape[-2:]) <= small):
            break
        shape = tuple(-(-n // 2) if axis in axes else n for axis, n in enumerate(shape))
        shapes.append(shape)
    return shapes


class Extremes:
    """The lowest and the highest finite value of every channel of what it is shown.

    Args:
        axis: of the channels, or None.
        count: how many there are.
    """

    def __init__(self, axis: int | None, count: int) -> None:
        self._axis = axis
        self.lowest = np.full(count, np.inf)
        self.highest = np.full(count, -np.inf)

    def of(self, block: Array) -> Array:
        """Two rows: the lowest, and the highest, of every channel of a block."""
        values = np.abs(block) if block.dtype.kind == "c" else block
        if values.dtype.kind == "f":
            lowest, highest = (np.where(np.isfinite(values), values, end) for end in (np.inf, -np.inf))
        else:
            lowest = highest = values
        others = tuple(axis for axis in range(block.ndim) if axis != self._axis)
        found = (lowest.min(axis=others), highest.max(axis=others))
        return np.stack([np.atleast_1d(end).astype(float) for end in found])

    def take(self, found: Array, channels: slice) -> None:
        """Take in what `of` gave of a block of these channels."""
        channels = channels if self._axis is not None else slice(None)
        self.lowest[channels] = np.minimum(self.lowest[channels], found[0])
        self.highest[channels] = np.maximum(self.highest[channels], found[1])

    def along(self, region: Slices) -> slice:
        """The channels of a region."""
        return region[self._axis] if self._axis is not None else slice(None)


def fill_levels(
    arrays: Sequence[zarr.Array[Any]],
    data: Any,
    axes: Sequence[int],
    method: Method,
    extremes: Extremes | None,
) -> None:
    """Write an image and its smaller levels, piece by piece.

    Args:
        arrays: of all levels, on one recording store, each of the same chunks but where it is smaller.
        data: numpy; an array elsewhere that slices to numpy; planes that pass once; or dask, which its
            workers write.
        axes: that are halved from level to level.
        method: of halving.
        extremes: is shown the last level, if it is wanted.
    """
    if is_dask(data):
        _fill_from_dask(arrays, data, axes, method, extremes)
        return
    planes = iter(data) if isinstance(data, Planes) else None
    tree = _Tree(arrays, axes, method, extremes, _cell(arrays[0], data, axes))
    tree.fill(_reader(data, planes, arrays[0].dtype))
    for _ in planes or ():  # its end checks the number of planes
        pass


def _cell(array: zarr.Array[Any], data: Any, axes: Sequence[int]) -> Shape:
    """Shape of the cells: whole chunks, also after halving."""
    shape = array.shape
    cell = [math.lcm(u, 2) if axis in axes else u for axis, u in enumerate(unit_of(array))]
    last = len(shape) - 1
    if isinstance(data, Planes):
        leading = len(shape) - len(data.plane_shape)
        # Along this axis cells are deeper than one; all of the axes behind it must be at hand.
        last = next((axis for axis in range(leading) if cell[axis] > 1), leading - 1)
        cell[last + 1 :] = [-(-n // c) * c for n, c in zip(shape[last + 1 :], cell[last + 1 :], strict=True)]
    elif (source := chunks_of(data)) is not None:
        cell = [-(-s // c) * c for s, c in zip(source, cell, strict=True)]
    # Several objects are written at a time: larger cells are fewer waits.
    for axis in reversed(range(last + 1)):
        row = math.prod(min(c, n) for c, n in zip(cell, shape, strict=True)) * array.dtype.itemsize
        cell[axis] *= max(1, min(_CELL_BYTES // row, -(-shape[axis] // cell[axis])))
        if isinstance(data, Planes) and cell[axis] < shape[axis]:
            break
    return tuple(cell)


def _reader(data: Any, planes: Any, dtype: np.dtype[Any]) -> Callable[[Slices], Array]:
    if planes is None:
        return lambda region: np.asarray(data[region], dtype)

    def next_planes(region: Slices) -> Array:
        shape = tuple(part.stop - part.start for part in region)
        count = math.prod(shape[: len(shape) - len(data.plane_shape)])
        slab = np.empty((count, *data.plane_shape), dtype)
        for index, plane in zip(range(count), planes, strict=False):
            slab[index] = plane
        return slab.reshape(shape)

    return next_planes


class _Tree:
    """Cells of all levels; those of the last are the roots."""

    def __init__(
        self,
        arrays: Sequence[zarr.Array[Any]],
        axes: Sequence[int],
        method: Method,
        extremes: Extremes | None,
        cell: Shape,
    ) -> None:
        self._arrays = arrays
        self._axes = axes
        self._method = method
        self._extremes = extremes
        self._cell = cell

    def fill(self, read: Callable[[Slices], Array]) -> None:
        """Write every level. `read` gives a region of level 0; regions come in C order of their cells."""
        last = len(self._arrays) - 1
        for index in np.ndindex(*self._count(last)):
            self._write(last, index, read)

    def _count(self, level: int) -> Shape:
        return tuple(-(-n // c) for n, c in zip(self._arrays[level].shape, self._cell, strict=True))

    def _region(self, level: int, index: Shape) -> Slices:
        shape = self._arrays[level].shape
        return tuple(
            slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(index, self._cell, shape, strict=True)
        )

    def _write(self, level: int, index: Shape, read: Callable[[Slices], Array]) -> Array:
        region = self._region(level, index)
        block = self._joined(level, index, region, read) if level else read(region)
        self._arrays[level][region] = block
        if self._extremes is not None and level == len(self._arrays) - 1:
            self._extremes.take(self._extremes.of(block), self._extremes.along(region))
        return block

    def _joined(self, level: int, index: Shape, region: Slices, read: Callable[[Slices], Array]) -> Array:
        """A cell of a level, of halved cells of the one before."""
        block = np.empty([part.stop - part.start for part in region], self._arrays[level].dtype)
        shape = self._arrays[level - 1].shape
        halved = [axis for axis in self._axes if shape[axis] > 1]
        below = (
            [n for n in (2 * i, 2 * i + 1) if n < count] if axis in halved else [i]
            for axis, (i, count) in enumerate(zip(index, self._count(level - 1), strict=True))
        )
        for child in product(*below):
            half = halve(self._write(level - 1, child, read), halved, self._method)
            starts = [
                n * c // (2 if axis in halved else 1) - part.start
                for axis, (n, c, part) in enumerate(zip(child, self._cell, region, strict=True))
            ]
            block[tuple(slice(a, a + n) for a, n in zip(starts, half.shape, strict=True))] = half
        return block


def _fill_from_dask(
    arrays: Sequence[zarr.Array[Any]],
    data: Any,
    axes: Sequence[int],
    method: Method,
    extremes: Extremes | None,
) -> None:
    import dask.array as da

    store = arrays[0].store
    assert isinstance(store, RecordingStore)
    level = data if data.dtype == arrays[0].dtype else data.astype(arrays[0].dtype)
    graphs: list[Any] = []
    for array in arrays:
        if graphs:
            halved = [axis for axis in axes if level.shape[axis] > 1]
            level = da.map_blocks(  # type: ignore[no-untyped-call]
                halve,
                level,
                axes=halved,
                method=method,
                dtype=level.dtype,
                chunks=tuple(
                    tuple(-(-n // 2) for n in sizes) if axis in halved else sizes
                    for axis, sizes in enumerate(level.chunks)
                ),
                meta=np.empty((0,) * level.ndim, level.dtype),
            )
        # Blocks of whole units, and of whole pairs.
        unit = (math.lcm(u, 2) if axis in axes else u for axis, u in enumerate(unit_of(array)))
        level = aligned(level, tuple(unit))
        graphs.append(entries_graph(array, level))
    if extremes is None:
        store.entries.update(merged(computed(*graphs)))
        return
    ends = da.map_blocks(  # type: ignore[no-untyped-call]
        _ends_of_block,
        level,
        extremes,
        dtype=object,
        chunks=tuple((1,) * n for n in level.numblocks),
        meta=np.empty((0,) * level.ndim, object),
    )
    *entries, found = computed(*graphs, ends)
    store.entries.update(merged(entries))
    starts = [np.cumsum((0, *sizes)).tolist() for sizes in level.chunks]
    for index in np.ndindex(*level.numblocks):
        region = tuple(slice(s[i], s[i + 1]) for s, i in zip(starts, index, strict=True))
        extremes.take(found[index], extremes.along(region))


def _ends_of_block(block: Array, extremes: Extremes) -> Array:
    ends = np.empty((1,) * block.ndim, object)
    ends[(0,) * block.ndim] = extremes.of(block)
    return ends
