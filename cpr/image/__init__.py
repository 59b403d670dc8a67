"""TIFF files: images with axes, pixel size, unit and channel names, as ImageJ TIFF or OME-TIFF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpr._lazy import make_lazy

if TYPE_CHECKING:
    from cpr.image.ImageSource import ImageSource
    from cpr.image.ImageTarget import ImageTarget

__all__ = ["ImageSource", "ImageTarget"]

make_lazy(
    __name__,
    {"ImageSource": "cpr.image.ImageSource", "ImageTarget": "cpr.image.ImageTarget"},
)
