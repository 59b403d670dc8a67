"""TIFF files as input."""

from __future__ import annotations

from cpr.image.image import Image
from cpr.records.registry import register
from cpr.Source import Source

__all__ = ["ImageSource"]


@register
class ImageSource(Image, Source):
    """A TIFF that somebody else wrote: one page or many, ImageJ or OME; its first image.

    `metadata` and `resolution` of `from_path` replace what the file says.

    >>> cpr.ImageSource.from_path("s3://bucket/raw/embryo.ome.tif").get_name()
    'embryo'
    """

    def _known(self) -> bool:
        return False
