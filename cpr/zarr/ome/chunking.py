"""How the levels of an image are cut into chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import zarr

from cpr.zarr.chunking import chunks_for
from cpr.zarr.options import Shape, ZarrOptions, default_chunks
from cpr.zarr.writing import is_dask

__all__ = ["cut_levels", "kept_axes"]


def kept_axes(options: ZarrOptions, kept: Sequence[int]) -> dict[str, Shape | None]:
    """Chunks and shards of an array that has some of the axes only."""
    shapes = {"chunks": options.chunks, "shards": options.shards}
    return {key: value and tuple(value[axis] for axis in kept) for key, value in shapes.items()}


def cut_levels(
    options: ZarrOptions, source: Any, dtype: np.dtype[Any], axes: str, shapes: Sequence[Shape]
) -> Iterator[tuple[Shape, Shape | None]]:
    """Chunks and shards of every level: those asked for, or those of the source, or planes.

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
