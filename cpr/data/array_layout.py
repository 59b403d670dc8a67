"""Shape and dtype of an array, kept after the array itself was released."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

__all__ = ["ArrayLayout"]


@dataclass(frozen=True)
class ArrayLayout:
    """Shape and dtype of a target's array, known in the process that set it.

    Attributes:
        dtype: of numpy's, in native byte order, as a text.
        shape: how many elements there are along each axis.
    """

    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: Any) -> Self:
        """The layout of an array, or of a stream of planes.

        >>> ArrayLayout.of(np.zeros((3, 4), ">u2"))
        ArrayLayout(dtype='uint16', shape=(3, 4))
        """
        return cls(str(np.dtype(array.dtype).newbyteorder("=")), tuple(int(length) for length in array.shape))
