"""Targets that store arrays as TIFF files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, Unpack

from cpr.data.argument_types import Array, ImageTargetArguments, Path
from cpr.data.ArrayTarget import ArrayTarget
from cpr.format import Region
from cpr.image.image import Image
from cpr.records.registry import register

__all__ = ["ImageTarget"]


@register
class ImageTarget(Image, ArrayTarget):
    """An array stored as a TIFF: an ImageJ hyperstack where ImageJ can hold it, else OME-TIFF.

    A bool mask is stored as 0 and 255; it comes back bool, as every array comes back in the shape and
    dtype in which it was set. Options of `from_path`: see `cpr.image.tiff.Tiff`.

    >>> target = cpr.ImageTarget.from_path("memory://doc/cells.tif", pixel_size=0.25, unit="micron")
    >>> target.set_data(np.arange(12, dtype="uint16").reshape(1, 3, 4))
    >>> cpr.load(target.serialize()).get_data(region=np.s_[0, 1])
    array([4, 5, 6, 7], dtype=uint16)
    """

    def _known(self) -> bool:
        return True

    if TYPE_CHECKING:

        @classmethod
        def from_path(cls, path: Path, **options: Unpack[ImageTargetArguments]) -> Self: ...

        def get_data(self, cache: bool = False, region: Region | None = None) -> Array: ...
