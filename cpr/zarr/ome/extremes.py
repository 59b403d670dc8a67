"""The value range of every channel, which viewers use for the default contrast."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Extremes"]

Array = np.ndarray[Any, Any]
Slices = tuple[slice, ...]


class Extremes:
    """Collects the lowest and highest finite value of every channel.

    Args:
        axis: of the channels, or None.
        count: how many there are.
    """

    def __init__(self, axis: int | None, count: int) -> None:
        self._axis = axis
        self.lowest = np.full(count, np.inf)
        self.highest = np.full(count, -np.inf)

    def of(self, block: Array) -> Array:
        """Two rows: the lowest and the highest value of every channel of a block."""
        values = np.abs(block) if block.dtype.kind == "c" else block
        if values.dtype.kind == "f":
            lowest, highest = (np.where(np.isfinite(values), values, end) for end in (np.inf, -np.inf))
        else:
            lowest = highest = values
        others = tuple(axis for axis in range(block.ndim) if axis != self._axis)
        found = (lowest.min(axis=others), highest.max(axis=others))
        return np.stack([np.atleast_1d(end).astype(float) for end in found])

    def take(self, found: Array, channels: slice) -> None:
        """Merge a result of `of` for a block of these channels."""
        channels = channels if self._axis is not None else slice(None)
        self.lowest[channels] = np.minimum(self.lowest[channels], found[0])
        self.highest[channels] = np.maximum(self.highest[channels], found[1])

    @property
    def ranges(self) -> tuple[tuple[float, float] | None, ...]:
        """(lowest, highest) of each channel; None for one without finite values."""
        ends = zip(self.lowest.tolist(), self.highest.tolist(), strict=True)
        return tuple((low, high) if low <= high else None for low, high in ends)

    def take_ranges(self, ranges: tuple[tuple[float, float] | None, ...], channels: slice) -> None:
        """Merge a result of `ranges` for these channels."""
        found = np.array([(np.inf, -np.inf) if one is None else one for one in ranges]).T
        self.take(found, channels)

    def along(self, region: Slices) -> slice:
        """The channels of a region."""
        return region[self._axis] if self._axis is not None else slice(None)
