"""Thumbnails of multiscale images."""

from __future__ import annotations

from cpr.previews.models import Picture
from cpr.zarr.ome.multiscale import Level
from cpr.zarr.preview import picture_of_array

__all__ = ["picture_of_levels"]

_ENOUGH = 256  # rows or columns: a larger level shows nothing more


def picture_of_levels(levels: tuple[Level, ...]) -> Picture | None:
    """Make a thumbnail from the smallest level that is large enough."""
    enough = [level for level in levels if max(level.shape[-2:]) >= _ENOUGH]
    level = enough[-1] if enough else levels[0]
    return picture_of_array(level.data, "".join(level.axes))
