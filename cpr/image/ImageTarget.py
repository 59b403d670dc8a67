"""Arrays as TIFF files."""

from __future__ import annotations

from typing import Any

from cpr.arrays import held_or_streamed
from cpr.image.image import Image
from cpr.registry import register
from cpr.Target import Target

__all__ = ["ImageTarget"]


@register
class ImageTarget(Image, Target):
    """An array stored as a TIFF: an ImageJ hyperstack where ImageJ can hold it, else OME-TIFF.

    A bool mask is stored as 0 and 255; it comes back bool, as every array comes back in the shape and
    dtype in which it was set. Options of `from_path`: see `cpr.image.tiff.Tiff`.

    >>> target = cpr.ImageTarget.from_path("memory://doc/cells.tif", resolution=(4, 4))
    >>> target.set_data(np.arange(12, dtype="uint16").reshape(1, 3, 4))
    >>> cpr.load(target.serialize()).get_data(region=np.s_[0, 1])
    array([4, 5, 6, 7], dtype=uint16)
    """

    def _known(self) -> bool:
        return True

    def set_data(self, data: Any, shape: tuple[int, ...] | None = None, dtype: Any = None) -> None:
        """Fill the target with an array, or stream one to it.

        Args:
            data: an array (held until it is persisted), or, written at once and never held: a dask or
                zarr array, a memmap, or an iterable of planes in C order.
            shape: of the whole array, with an iterable.
            dtype: of every element, with an iterable.

        Raises:
            EncodeError: a dtype that TIFF cannot hold, metadata that does not fit the array, planes that
                do not fit shape and dtype.
            TransferError, ResourceNotFoundError: a stream could not be written; nothing is visible.
        """
        super().set_data(held_or_streamed(data, shape, dtype))
