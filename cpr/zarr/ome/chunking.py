"""Computes the shapes of an image's levels and of their chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import zarr

from cpr.zarr.chunking import chunks_for
from cpr.zarr.dask import is_dask
from cpr.zarr.options import Shape, ZarrOptions, default_chunks

__all__ = ["halved_shapes", "kept_axes", "level_chunks"]


def kept_axes(options: ZarrOptions, kept: Sequence[int]) -> dict[str, Shape | None]:
    """Chunks and shards for an array that has only some of the axes."""
    shapes = {"chunks": options.chunks, "shards": options.shards}
    return {key: value and tuple(value[axis] for axis in kept) for key, value in shapes.items()}


def level_chunks(
    options: ZarrOptions, source: Any, dtype: np.dtype[Any], axes: str, shapes: Sequence[Shape]
) -> Iterator[tuple[Shape, Shape | None]]:
    """Choose chunks and shards for every level: as requested, or those of the source, or planes.

    They are the same on all levels, but no larger than the level: chunks of neighbouring levels then
    cover each other.
    """
    if (
        options.chunks is None
        and options.shards is None
        and not (is_dask(source) or isinstance(source, zarr.Array))
    ):
        # Viewers show one time and one channel after another.
        apart = sum(letter in "TC" for letter in axes)
        chunks: Shape = (1,) * apart + default_chunks(shapes[0][apart:], dtype.itemsize)
        shards = None
    else:
        chunks, shards = chunks_for(options, source, dtype)
    for shape in shapes:
        if len(chunks) != len(shape) or (shards is not None and len(shards) != len(shape)):
            yield chunks, shards  # which is refused, in words, where the array is made
        elif shards is None:
            yield tuple(min(c, n) for c, n in zip(chunks, shape, strict=True)), None
        else:
            whole = zip(shards, chunks, shape, strict=True)
            yield chunks, tuple(min(s, -(-n // c) * c) for s, c, n in whole)


def halved_shapes(shape: Shape, axes: Sequence[int], levels: int | None, small: int) -> list[Shape]:
    """Shapes of all levels, the largest first.

    Args:
        shape: of the image.
        axes: the axes that are halved (rounded up) from level to level.
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
