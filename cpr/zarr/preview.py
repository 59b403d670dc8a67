"""Thumbnails of chunked arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr

from cpr.data.regions import Selection
from cpr.previews.models import Picture
from cpr.previews.thumbnails import sample
from cpr.zarr.reading import chunk_count

__all__ = ["picture_of", "picture_of_array"]

_MOST_CHUNKS = 4096  # of a plane: each is a request


def picture_of(node: Any) -> Picture | None:
    """Make a thumbnail from a few planes of an array; None for a group."""
    if not isinstance(node, zarr.Array):
        return None
    names = getattr(node.metadata, "dimension_names", None) or ()
    axes = "".join(name for name in names if isinstance(name, str) and len(name) == 1)
    return picture_of_array(node, axes if len(axes) == node.ndim else None)


def picture_of_array(array: Any, axes: str | None) -> Picture | None:
    """Make a thumbnail of an array with axes of these letters, if known; None for very many chunks."""

    def read(region: tuple[int | slice, ...]) -> np.ndarray[Any, Any]:
        chosen = tuple(slice(r.start, r.stop) for r in Selection.of(region, array.shape).ranges)
        if chunk_count(array.chunks, chosen) > _MOST_CHUNKS:
            raise _TooManyError
        return np.asarray(array[region])

    if 0 in array.shape:
        return None
    try:
        return sample(array.shape, array.dtype, axes, 2, read)
    except _TooManyError:
        return None


class _TooManyError(Exception):
    pass
