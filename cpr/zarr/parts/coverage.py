"""Checks that parts cover the whole exactly: no overlaps, cut objects or gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cpr.errors import PartError
from cpr.zarr.parts.layout import Plan
from cpr.zarr.parts.regions import Bounds, shown

__all__ = ["Mask", "owners_of", "require_no_gap", "require_regions"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]
"""Which objects of an array's grid are there."""

Owners = np.ndarray[Any, np.dtype[np.int32]]
"""For each object in an array's grid the number of the part that has it, -1 where none has."""


def require_regions(plan: Plan, regions: Sequence[Bounds], url: str) -> None:
    """Raise PartError for a region outside the array, or one that cuts an object."""
    for bounds in regions:
        if len(bounds) != len(plan.shape) or any(
            stop > n for (_, stop), n in zip(bounds, plan.shape, strict=True)
        ):
            raise PartError(
                "this part is of another whole",
                url=url,
                field=f"part {shown(bounds)}",
                expected=f"a region of shape {plan.shape}",
                actual=shown(bounds),
                remedy="give assemble() the parts that whole.part() gave",
            )
        if not plan.is_whole(bounds):
            other = _beside(plan, regions, bounds)
            raise PartError(
                "two parts cut one chunk or shard",
                url=url,
                field=f"part {shown(bounds)}",
                expected=f"whole objects of {plan.unit}",
                actual=f"part {shown(other)}" if other else "no part that has the rest of it",
                remedy="cut the whole between its chunks, or shards: whole.regions()",
            )


def _beside(plan: Plan, regions: Sequence[Bounds], bounds: Bounds) -> Bounds | None:
    """Another region that shares an object with this one."""
    own = plan.objects(bounds)
    for other in regions:
        there = plan.objects(other)
        if other != bounds and all(
            a.start < b.stop and b.start < a.stop for a, b in zip(own, there, strict=True)
        ):
            return other
    return None


def owners_of(plan: Plan, shares: Sequence[Bounds | None], url: str) -> Owners:
    """The object grid of an array, with the number of each object's part.

    Args:
        plan: of the array.
        shares: of the parts; None of one that has none.
        url: for errors.

    Raises PartError for parts that overlap.
    """
    owners: Owners = np.full(plan.grid, -1, np.int32)
    for number, share in enumerate(shares):
        if share is None:
            continue
        here = owners[plan.cells(share)]
        if (taken := here[here >= 0]).size:
            other = shares[int(taken[0])]
            assert other is not None
            raise PartError(
                "two parts overlap",
                url=url,
                field=f"part {shown(share)}",
                expected="each element in one part",
                actual=f"part {shown(other)}" + (", the same region twice" if other == share else ""),
                remedy="leave one of them out, or cut the whole anew: whole.regions()",
            )
        here[...] = number
    return owners


def require_no_gap(plan: Plan, there: Mask, regions: Sequence[Bounds], url: str) -> None:
    """Raise PartError if an object belongs to no part."""
    missing = int((~there).sum())
    if not missing:
        return
    first = np.unravel_index(int(np.argmin(there)), there.shape)
    gap = tuple(
        (int(i) * u, min((int(i) + 1) * u, n)) for i, u, n in zip(first, plan.unit, plan.shape, strict=True)
    )
    before = max(
        (bounds for bounds in regions if [a for a, _ in bounds] <= [a for a, _ in gap]), default=None
    )
    after = min((bounds for bounds in regions if [a for a, _ in bounds] > [a for a, _ in gap]), default=None)
    beside = " and ".join(f"part {shown(bounds)}" for bounds in (before, after) if bounds is not None)
    raise PartError(
        "the parts leave a gap",
        url=url,
        field=f"no part has {shown(gap)}",
        expected=f"parts that make up shape {plan.shape}",
        actual=f"{missing} of {there.size} chunks or shards that no part has, the first between {beside}"
        if beside
        else "no parts",
        remedy="give assemble() all parts, or fill=True where the fill value is meant",
    )
