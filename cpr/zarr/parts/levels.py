"""Completes an assembled image: chunks of smaller levels that span parts, and its metadata."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from zarr.storage import StorePath

from cpr.io.parallel_map import parallel_map
from cpr.io.transfer_width import side_by_side
from cpr.zarr.ome.downsample import halve
from cpr.zarr.ome.extremes import Extremes
from cpr.zarr.ome.pyramid_plan import image_metadata
from cpr.zarr.parts.assembly import Piece
from cpr.zarr.parts.coverage import Mask, owners_of
from cpr.zarr.parts.layout import Layout, Plan, array_on
from cpr.zarr.parts.regions import Bounds, slices_of
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.recording_store import RecordingStore
from cpr.zarr.stores.verifying_store import VerifyingStore

__all__ = ["complete_image"]

_NEAR = 4  # chunks that are made at once, more where answers take long
_MEMORY_BYTES = 96 << 20  # of these, with what they are made of


def complete_image(
    store: RecordingStore, layout: Layout, options: Any, pieces: Sequence[Piece], there: Mask
) -> None:
    """Write what is missing of an image after its parts were written.

    Args:
        store: of the whole, which knows the parts' objects.
        layout: of the whole.
        options: of the image.
        pieces: the parts.
        there: which objects of the full resolution a part has; the others hold the fill value.

    Raises as writing and reading do.
    """
    extremes = layout.extremes()
    assert extremes is not None and layout.description is not None
    last = len(layout.plans) - 1
    shares = [list(layout.shares(piece.part.region)) for piece in pieces]
    for level in range(1, last + 1):
        own = owners_of(
            layout.plans[level], [share[level] if level < len(share) else None for share in shares], store.url
        )
        there = _complete_level(store, layout, level, own >= 0, there, extremes if level == last else None)
    for piece in pieces:
        if piece.part.format.ranges:
            channels = extremes.along(slices_of(piece.part.region))
            extremes.take_ranges(piece.part.format.ranges, channels)
    _take_fill_value(extremes, store, layout.plans[last], there)
    # Written once: another process of the same run may have published it.
    ome = image_metadata(options, layout.description, layout.dtype, extremes)
    zarr.create_group(store, attributes={**(options.attributes or {}), "ome": ome})


def _complete_level(
    store: RecordingStore, layout: Layout, level: int, there: Mask, below: Mask, extremes: Extremes | None
) -> Mask:
    """Make the chunks of a level that no part has, from the level before; returns which it has then.

    Args:
        store: of the whole.
        layout: of the whole.
        level: its number.
        there: which of its objects parts have.
        below: which objects the level before has.
        extremes: collects the value range of what is made.
    """
    plan, before = layout.plans[level], layout.plans[level - 1]
    halved = [axis for axis in layout.halved if before.shape[axis] > 1]
    wanted = []
    for number in np.argwhere(~there).tolist():
        bounds = _bounds(plan, number)
        source = tuple(
            (2 * start, min(2 * stop, extent)) if axis in halved else (start, stop)
            for axis, ((start, stop), extent) in enumerate(zip(bounds, before.shape, strict=True))
        )
        if below[before.cells(source)].any():  # else it holds the fill value
            there[tuple(number)] = True
            wanted.append((bounds, source))
    if not wanted:
        return there
    folder = f"{before.path}/"
    entries = {key: entry for key, entry in store.entries.items() if key.startswith(folder)}
    verified = VerifyingStore.of(Manifest.of(store.url, entries, store.algorithm))
    read: zarr.Array[Any] = zarr.Array(
        zarr.AsyncArray.from_dict(StorePath(verified, before.path), dict(before.metadata))
    )
    write = array_on(store, plan, plan.shape)

    def make(boxes: tuple[Bounds, Bounds]) -> np.ndarray[Any, Any] | None:
        bounds, source = boxes
        block = halve(np.asarray(read[slices_of(source)]), halved, layout.method)
        write[slices_of(bounds)] = block
        return None if extremes is None else extremes.of(block)

    each = math.prod(plan.unit) * layout.dtype.itemsize * (1 + 2 ** len(halved))
    at_once = max(_NEAR, min(side_by_side(_NEAR, store.url), _MEMORY_BYTES // each))
    for (bounds, _), found in zip(wanted, parallel_map(make, wanted, at_once), strict=True):
        if extremes is not None and found is not None:
            extremes.take(found, extremes.along(slices_of(bounds)))
    return there


def _bounds(plan: Plan, number: Sequence[int]) -> Bounds:
    """The region of an object."""
    return tuple((i * u, min((i + 1) * u, n)) for i, u, n in zip(number, plan.unit, plan.shape, strict=True))


def _take_fill_value(extremes: Extremes, store: RecordingStore, plan: Plan, there: Mask) -> None:
    """Include the fill value in the value range if some objects were never written."""
    value = np.full((1,) * len(plan.shape), array_on(store, plan, plan.shape).fill_value)
    for number in np.argwhere(~there).tolist():
        extremes.take(extremes.of(value), extremes.along(slices_of(_bounds(plan, number))))
