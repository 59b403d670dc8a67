"""Regions of an array as parts have them: start and stop along each axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from cpr.data.regions import Selection
from cpr.errors import PartError
from cpr.format import Region, unusable
from cpr.zarr.options import Shape

__all__ = ["Bounds", "bounds_of", "regions_of", "require_whole_objects", "shown", "slices_of"]

Bounds = tuple[tuple[int, int], ...]
"""(start, stop) along each axis."""


def bounds_of(
    region: Region, shape: Shape, example: str = "whole.part(np.s_[0:64])"
) -> tuple[Bounds, tuple[bool, ...]]:
    """Parse a region: its start and stop along each axis, and the axes that integers drop.

    Args:
        region: slices without steps, and integers.
        shape: of the array.
        example: how to write it, for errors.

    Raises FormatError for what is no region of an array of this shape, or an empty one, or one with steps.
    """
    chosen = Selection.of(region, shape)
    if any(along.step != 1 or not along for along in chosen.ranges):
        remedy = f"write it without steps: {example}"
        raise unusable("no such region", "region", "some elements side by side", region, remedy)
    return tuple((along.start, along.stop) for along in chosen.ranges), chosen.dropped


def slices_of(bounds: Bounds) -> tuple[slice, ...]:
    """The region as slices."""
    return tuple(slice(start, stop) for start, stop in bounds)


def shown(bounds: Sequence[tuple[int, int]]) -> str:
    """Format a region for error messages.

    >>> shown(((0, 64), (0, 100)))
    '[0:64, 0:100]'
    """
    return f"[{', '.join(f'{start}:{stop}' for start, stop in bounds)}]"


def require_whole_objects(bounds: Bounds, shape: Shape, unit: Shape, url: str) -> None:
    """Raise PartError for a region that cuts a chunk or shard, which two parts would then write."""
    for axis, ((start, stop), extent, size) in enumerate(zip(bounds, shape, unit, strict=True)):
        for at in (start, stop):
            if at % size and at != extent:
                first = at // size * size
                cut = (*bounds[:axis], (first, min(first + size, extent)), *bounds[axis + 1 :])
                whole = (start // size * size, min(-(-stop // size) * size, extent))
                raise PartError(
                    "this part cuts a chunk or shard, which the part behind the cut would write as well",
                    url=url,
                    field=f"part {shown(bounds)}",
                    expected=f"a begin and end at multiples of {size} along axis {axis}, or at {extent}",
                    actual=f"{at}, inside the chunk or shard {shown(cut)}",
                    remedy=f"take {whole[0]}:{whole[1]} along it, or other chunks, by from_path's chunks=",
                )


def regions_of(shape: Shape, unit: Shape, size: Sequence[int | None] | None) -> Iterator[tuple[slice, ...]]:
    """Regions of whole objects that cover an array, in C order.

    Args:
        shape: of the array.
        unit: of an object.
        size: of a region, at least, each axis rounded up to whole objects; None for all of an axis.

    Raises FormatError for what is no such size.
    """
    if size is not None and not (
        isinstance(size, (tuple, list))
        and len(size) <= len(shape)
        and all(
            one is None or (isinstance(one, (int, np.integer)) and not isinstance(one, bool)) for one in size
        )
    ):
        raise unusable(
            "no size of regions",
            "size",
            f"up to {len(shape)} integers or None",
            size,
            "whole.regions((64, None))",
        )
    wanted = unit if size is None else (*size, *(None,) * (len(shape) - len(size)))
    steps = (
        -(-(extent if want is None else max(1, want)) // one) * one
        for want, extent, one in zip(wanted, shape, unit, strict=True)
    )
    starts = [
        [(n, step) for n in range(0, extent, max(1, step))] for extent, step in zip(shape, steps, strict=True)
    ]
    for corner in product(*starts):
        yield tuple(slice(n, min(n + step, extent)) for (n, step), extent in zip(corner, shape, strict=True))
