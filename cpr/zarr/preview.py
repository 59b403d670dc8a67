"""Small pictures of arrays that are stored in chunks."""

from __future__ import annotations

from typing import Any

import zarr

from cpr.previews.models import Picture
from cpr.previews.thumbnails import sample

__all__ = ["picture_of", "picture_of_array"]


def picture_of(node: Any) -> Picture | None:
    """A picture of an array, of which a few planes are read; None for a group."""
    if not isinstance(node, zarr.Array):
        return None
    names = getattr(node.metadata, "dimension_names", None) or ()
    axes = "".join(name for name in names if isinstance(name, str) and len(name) == 1)
    return picture_of_array(node, axes if len(axes) == node.ndim else None)


def picture_of_array(array: Any, axes: str | None) -> Picture | None:
    """A picture of an array whose axes have these letters, if they are known."""
    return sample(array.shape, array.dtype, axes, 2, lambda region: array[region])
