"""The base class of targets for arrays."""

from __future__ import annotations

from typing import Any

from cpr.data.argument_types import ArrayData
from cpr.data.array_layout import ArrayLayout
from cpr.data.arrays import held_or_streamed
from cpr.Target import Target

__all__ = ["ArrayTarget"]


class ArrayTarget(Target):
    """A target for an array in memory, a lazy array, or a stream of planes."""

    array_layout: ArrayLayout | None = None

    def set_data(self, data: ArrayData, shape: tuple[int, ...] | None = None, dtype: Any = None) -> None:
        """Fill the target with an array, or stream one to it.

        Args:
            data: an array (held until it is persisted), or, written at once and never held: a dask or
                zarr array, a memmap, or an iterable of planes in C order.
            shape: of the whole array, with an iterable.
            dtype: of every element, with an iterable.

        Raises:
            EncodeError: a dtype that the format cannot hold, options that do not fit the array, or planes
                that do not fit shape and dtype.
            TransferError, ResourceNotFoundError: a stream could not be written; nothing is visible.
        """
        array = held_or_streamed(data, shape, dtype)
        super().set_data(array)
        self.array_layout = ArrayLayout.of(array)

    @property
    def held_bytes(self) -> int:
        """Bytes of data in memory that `persist` will write."""
        return 0 if self._data is None else int(self._data.nbytes)
