"""Regions of an array: which elements a numpy index selects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from cpr.errors import FormatError
from cpr.format import unusable

__all__ = ["MOST_POSITIONS", "Selection", "ends", "part_of"]


MOST_POSITIONS = (1 << 63) - 1
"""Along an axis: what arrays count with."""


@dataclass(frozen=True)
class Selection:
    """A region of an array of known shape, axis by axis.

    Attributes:
        ranges: the selected positions along each axis of the array.
        dropped: whether an axis was selected by an integer and is not in the result.

    >>> Selection.of((2, slice(None, None, 2)), (4, 6)).shape
    (3,)
    """

    ranges: tuple[range, ...]
    dropped: tuple[bool, ...]

    @classmethod
    def of(cls, region: Any, shape: tuple[int, ...]) -> Selection:
        """Parse `array[region]` for an array of this shape: integers, slices and one `...`.

        Raises FormatError for anything else (a bool is a mask to numpy), and for integers beyond the array;
        TypeError for what is no shape, as damaged files have it.
        """
        axes = [range(extent) for extent in shape]
        index = region if isinstance(region, tuple) else (region,)
        if sum(item is Ellipsis for item in index) == 1:
            at = next(i for i, item in enumerate(index) if item is Ellipsis)
            index = (*index[:at], *(slice(None),) * (len(shape) - len(index) + 1), *index[at + 1 :])
        if len(index) > len(shape):
            raise _no_region(region, shape)
        index = (*index, *(slice(None),) * (len(shape) - len(index)))
        ranges = []
        for item, axis in zip(index, axes, strict=True):
            if isinstance(item, bool):
                raise _no_region(region, shape)
            try:
                chosen = axis[item]
                if not isinstance(chosen, range):
                    chosen = range(chosen, chosen + 1)
                count = len(chosen)
            except (IndexError, TypeError, ValueError, OverflowError):
                raise _no_region(region, shape) from None
            # The step of one position may be any number.
            ranges.append(range(chosen.start, chosen.start + 1) if count == 1 else chosen or range(0))
        return cls(tuple(ranges), tuple(not isinstance(item, slice) for item in index))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return tuple(len(r) for r, drop in zip(self.ranges, self.dropped, strict=True) if not drop)

    @property
    def index(self) -> tuple[int | slice, ...]:
        """The region as a basic numpy index, of integers and slices within the array."""
        return tuple(
            along[0] if drop else _slice(along) for along, drop in zip(self.ranges, self.dropped, strict=True)
        )

    def positions(self, axes: int) -> Iterator[tuple[int, ...]]:
        """The selected positions along the first `axes` axes, in the order of the result."""
        return product(*self.ranges[:axes])


def part_of(array: Any, region: Any) -> Any:
    """What a region selects of an array in memory: as of a stored one, or refused as there.

    Raises FormatError. Indexing itself would take a list or a bool for a mask, and raise IndexError.
    """
    return array[Selection.of(region, array.shape).index]


def _slice(along: range) -> slice:
    return slice(along.start, along.stop if along.stop >= 0 else None, along.step) if along else slice(0, 0)


def ends(along: range) -> tuple[int, int]:
    """The smallest and largest of some positions, without iterating over all of them."""
    return (along[0], along[-1]) if along.step > 0 else (along[-1], along[0])


def _no_region(region: Any, shape: tuple[int, ...]) -> FormatError:
    remedy = "write it as numpy's basic indexing does: np.s_[3, 10:20]"
    return unusable("no such region", "region", f"integers and slices within shape {shape}", region, remedy)
