"""Writes data into a zarr array, or into all levels of a pyramid, in one pass: nothing is read back.

Every piece is made of whole objects (chunks or shards). Level n + 1 is made of level n (see
`cpr.zarr.ome.downsample`) while that is at hand. An array elsewhere, or in memory, is taken in cells, in the
order in which a tree is walked depth first: eight or four cells of a level, halved, are one of the next, so
that one cell for each level is in memory. For planes that pass a cell is all of some consecutive planes,
which are then asked for in their order. Dask's workers write the blocks that they have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import zarr

from cpr.data.arrays import Planes
from cpr.data.lazy_arrays import require_block
from cpr.io.progress_bar import Advance, progress_bar
from cpr.zarr.chunking import objects_of
from cpr.zarr.dask import fill_from_dask, is_dask
from cpr.zarr.ome.downsample import Method, halve
from cpr.zarr.ome.extremes import Extremes
from cpr.zarr.options import unit_of
from cpr.zarr.writing_behind import WritingBehind

__all__ = ["fill"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Slices = tuple[slice, ...]

_CELL_BYTES = 16 << 20  # of a cell, where its shape is ours to choose
_PIECE_BYTES = 64 << 20  # of one that nothing is made of but its objects


def fill(
    arrays: Sequence[zarr.Array[Any]],
    data: Any,
    axes: Sequence[int] = (),
    method: Method = "mean",
    extremes: Extremes | None = None,
) -> None:
    """Write data, piece by piece, and its smaller levels.

    Args:
        arrays: of all levels, on one recording store, each of the same chunks but where it is smaller; the
            first has the shape of the data.
        data: numpy; an array elsewhere that slices to numpy; planes that pass once; or dask, which its
            workers write.
        axes: that are halved from level to level.
        method: of halving.
        extremes: is shown the last level, if it is wanted.

    Raises EncodeError for a part of the data that has another shape or dtype than the data says.
    """
    if is_dask(data):
        fill_from_dask(arrays, data, axes, method, extremes)
        return
    planes = iter(data) if isinstance(data, Planes) else None
    total = math.prod(data.shape) * data.dtype.itemsize
    with WritingBehind() as behind, progress_bar("writing", str(arrays[0].store_path), total) as advance:
        tree = _Tree(arrays, axes, method, extremes, _cell(arrays, data, axes), behind)
        read = _reader(data, planes)
        tree.fill(read if advance is None else _counted(read, advance))
    for _ in planes or ():  # its end checks the number of planes
        pass


def _cell(arrays: Sequence[zarr.Array[Any]], data: Any, axes: Sequence[int]) -> Shape:
    """Shape of the cells: whole objects, also after halving, and whole chunks of the source."""
    array = arrays[0]
    shape = array.shape
    if len(arrays) == 1 and type(data) is np.ndarray:
        return tuple(-(-max(1, n) // u) * u for n, u in zip(shape, unit_of(array), strict=True))
    cell = [math.lcm(u, 2) if axis in axes else u for axis, u in enumerate(unit_of(array))]
    last = len(shape) - 1
    nbytes = _PIECE_BYTES if len(arrays) == 1 else _CELL_BYTES
    if isinstance(data, Planes):
        nbytes = _CELL_BYTES
        leading = len(shape) - len(data.plane_shape)
        # Along this axis cells are deeper than one; all of the axes behind it must be at hand.
        last = next((axis for axis in range(leading) if cell[axis] > 1), leading - 1)
        cell[last + 1 :] = [-(-n // c) * c for n, c in zip(shape[last + 1 :], cell[last + 1 :], strict=True)]
    elif (source := objects_of(data)) is not None:
        cell = [-(-s // c) * c for s, c in zip(source, cell, strict=True)]
    # Several objects are written at a time: larger cells are fewer waits.
    for axis in reversed(range(last + 1)):
        row = math.prod(min(c, max(1, n)) for c, n in zip(cell, shape, strict=True)) * array.dtype.itemsize
        cell[axis] *= max(1, min(nbytes // row, -(-shape[axis] // cell[axis])))
        if isinstance(data, Planes) and cell[axis] < shape[axis]:
            break
    return tuple(cell)


def _reader(data: Any, planes: Any) -> Callable[[Slices], Array]:
    """What gives parts of the data."""

    def read(region: Slices) -> Array:
        shape = tuple(part.stop - part.start for part in region)
        if planes is None:
            block = require_block(data[region], shape, data.dtype, f"part {region}")
            if isinstance(data, np.ndarray):
                return block
            # What gives parts may give the same memory again, while the part before is on its way.
            return block.copy() if block.nbytes <= _CELL_BYTES else block
        count = math.prod(shape[: len(shape) - len(data.plane_shape)])
        slab = np.empty((count, *data.plane_shape), data.dtype)
        for index, plane in zip(range(count), planes, strict=False):
            slab[index] = plane
        return slab.reshape(shape)

    return read


def _counted(read: Callable[[Slices], Array], advance: Advance) -> Callable[[Slices], Array]:
    def counting(region: Slices) -> Array:
        block = read(region)
        advance(block.nbytes)
        return block

    return counting


class _Tree:
    """Cells of all levels; those of the last are the roots."""

    def __init__(
        self,
        arrays: Sequence[zarr.Array[Any]],
        axes: Sequence[int],
        method: Method,
        extremes: Extremes | None,
        cell: Shape,
        behind: WritingBehind,
    ) -> None:
        self._arrays = arrays
        self._behind = behind
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
        array = self._arrays[level]
        block = self._joined(level, index, region, read) if level else read(region)
        block = block.astype(array.dtype, copy=False)
        if block.nbytes > _CELL_BYTES:
            array[region] = block
        else:
            self._behind.begin(partial(array.__setitem__, region, block), block.nbytes)
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
