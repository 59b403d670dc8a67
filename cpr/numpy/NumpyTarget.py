"""Arrays as NPY files."""

from __future__ import annotations

from typing import Any

from cpr.arrays import held_or_streamed
from cpr.numpy.npy import NPY
from cpr.registry import register
from cpr.Target import Target

__all__ = ["NumpyTarget"]


@register
class NumpyTarget(Target):
    """An array of any shape and plain dtype, stored as an NPY file.

    >>> target = cpr.NumpyTarget.from_path("memory://doc/kernel.npy")
    >>> target.set_data(np.eye(3))
    >>> cpr.load(target.serialize()).get_data(region=1)
    array([0., 1., 0.])
    """

    format_class = NPY

    def set_data(self, data: Any, shape: tuple[int, ...] | None = None, dtype: Any = None) -> None:
        """Fill the target with an array, or stream one to it.

        Args:
            data: an array (held until it is persisted), or, written at once and never held: a dask or
                zarr array, a memmap, or an iterable of planes in C order.
            shape: of the whole array, with an iterable.
            dtype: of every element, with an iterable.

        Raises:
            EncodeError: Python objects, or planes that do not fit shape and dtype.
            TransferError, ResourceNotFoundError: a stream could not be written; nothing is visible.
        """
        super().set_data(held_or_streamed(data, shape, dtype))
