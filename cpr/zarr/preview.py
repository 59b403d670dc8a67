"""Small pictures of arrays that are stored in chunks."""

from __future__ import annotations

from typing import Any

import zarr

from cpr.previews.models import Picture
from cpr.previews.thumbnails import sample
from cpr.zarr.ome.multiscale import Level

__all__ = ["picture_of", "picture_of_levels"]

_ENOUGH = 256  # rows or columns: a larger level shows nothing more


def picture_of(node: Any) -> Picture | None:
    """A picture of an array, of which a few planes are read; None for a group."""
    if not isinstance(node, zarr.Array):
        return None
    names = getattr(node.metadata, "dimension_names", None) or ()
    axes = "".join(name for name in names if isinstance(name, str) and len(name) == 1)
    return _picture(node, axes if len(axes) == node.ndim else None)


def picture_of_levels(levels: tuple[Level, ...]) -> Picture | None:
    """A picture of an image in several resolutions, from the smallest that is large enough."""
    enough = [level for level in levels if max(level.shape[-2:]) >= _ENOUGH]
    level = enough[-1] if enough else levels[0]
    return _picture(level.data, "".join(level.axes))


def _picture(array: Any, axes: str | None) -> Picture | None:
    def read(region: tuple[int | slice, ...]) -> Any:
        return array[region]

    return sample(array.shape, array.dtype, axes, 2, read)
