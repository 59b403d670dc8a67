"""The options of a region: its array, and its start and stop along each axis."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cpr.data.regions import MOST_POSITIONS
from cpr.format import unusable
from cpr.zarr.options import path_inside

__all__ = ["EXAMPLE", "RegionOptions"]

EXAMPLE = "image.region(np.s_[:, 1])"
"""How a region is written, for errors."""

_DTYPE = re.compile(r"[<>|][biufcSU]\d{1,9}")


@dataclass(frozen=True)
class RegionOptions:
    """The array and bounds of a region.

    Attributes:
        path: of the array, in the hierarchy.
        region: (start, stop) along each axis of the array.
        dropped: the axes that are not in the data, as the region has them by an integer.
        dtype: of the elements, as numpy writes it; None where its text does not say all of it.
    """

    extensions: ClassVar[tuple[str, ...]] = (".zarr", ".ome.zarr")

    path: str = ""
    region: tuple[tuple[int, int], ...] = ()
    dropped: tuple[bool, ...] = ()
    dtype: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", path_inside("path", self.path, EXAMPLE))
        if any(not 0 <= start < stop <= MOST_POSITIONS for start, stop in self.region):
            raise unusable("no region", "region", "0 <= start < stop along each axis", self.region, EXAMPLE)
        if len(self.dropped) != len(self.region):
            raise unusable("no region", "dropped", "a value for each axis", self.dropped, EXAMPLE)
        try:
            # Of no other text: numpy takes what stands before a letter for Python, and compiles it.
            if self.dtype is not None and not _DTYPE.fullmatch(self.dtype):
                raise ValueError
            np.dtype(self.dtype)
        except (TypeError, ValueError):
            raise unusable("no region", "dtype", "a dtype of numpy", self.dtype, EXAMPLE) from None
