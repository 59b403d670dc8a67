"""Writes an array in parts, so that a killed task resumes where it stopped.

Each block of a dask array, or several small ones together, is a part, which is published by the worker that
has it; for another array that can be sliced, a part is a region of about the same size. When the same task
run runs again, it finds the parts by one listing; they, and what they are made of, are not computed again.
Prefect and the scheduler keep no state that could contradict what is stored. Parts of an image contain their
share of the smaller levels; chunks there that span parts are made of the stored parts at the end.
"""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from cpr.data.lazy_arrays import is_lazy_array, require_block
from cpr.provenance.running_task import running_key
from cpr.zarr.chunking import objects_of
from cpr.zarr.dask import aligned, as_declared_by, collected, is_dask, map_to_objects, starts_of
from cpr.zarr.dask_blocks import BlockWriter
from cpr.zarr.parts.assembly import read_pieces
from cpr.zarr.parts.earlier_run import key_of_nth, key_of_run, uncovered
from cpr.zarr.parts.layout import Layout, layout_of
from cpr.zarr.parts.levels import complete_image
from cpr.zarr.parts.regions import Bounds
from cpr.zarr.parts.target_in_parts import TargetInParts
from cpr.zarr.stores.recording_store import RecordingStore
from cpr.zarr.writing_behind import WritingBehind

__all__ = ["can_resume", "write_resumed"]

# A part takes some requests of its own, and of what is only copied less is written anew in that time.
_LEAST_BYTES = 256 << 20
_UNIT_BYTES = 64 << 20  # of a part of such arrays
# What takes how long to compute, its bytes do not tell: smaller dask arrays are written by the block.
_MOST_SMALL_PARTS = 64

Shape = tuple[int, ...]


def can_resume(data: Any, nbytes: int) -> bool:
    """Whether data can be written in parts, and is large enough, in a task run with a cache key."""
    if not is_lazy_array(data) or not data.shape or running_key() is None:
        return False
    return nbytes >= _LEAST_BYTES or (is_dask(data) and data.npartitions > 1)


def write_resumed(target: TargetInParts, data: Any, **declared: Any) -> tuple[RecordingStore, str]:
    """Write the parts that an earlier run of the running task has not written.

    Args:
        target: for whose data the parts are written; it is not changed.
        data: a dask array, or another one that can be sliced, with its axes as they are stored. The name of a
            dask array, which dask makes of all that the array is made of, counts: another array never goes
            on with what was done of this one. Of others it counts how many the run has written to this place
            before.
        declared: chunks and shards, and other options than the target's.

    Returns a store that knows all objects, and the key in its URL. What is written stays if this raises.
    """
    options = dataclasses.replace(target.format, shape=tuple(data.shape), dtype=data.dtype, **declared)
    whole = type(target)(target.location, target.name, target.ext, options)
    layout = layout_of(options, whole.name)
    key = str(running_key())
    if is_dask(data):
        key = key_of_run(whole, layout, f"{key}\0{data.name}")
    else:
        key = key_of_nth(whole, layout, key)
    there = whole._begin_parts(key, layout)  # noqa: SLF001 - of this class
    sent: list[tuple[int, int]] = []
    if is_dask(data):
        there, sent = _write_blocks(whole, data, layout, there)
    else:
        for region in uncovered(layout, _regions(whole, data, layout), there):
            shape = tuple(along.stop - along.start for along in region)
            block = require_block(data[region], shape, data.dtype, f"part {region}")
            whole[region] = block.astype(layout.dtype, copy=False)
            sent.append((there[-1].uploaded or 0, there[-1].copied or 0))
    pieces = read_pieces(there, layout, whole._url(key))  # noqa: SLF001
    store = whole._gather(key, pieces, layout, full=False, is_alone=True)  # noqa: SLF001
    if layout.description is not None:
        complete_image(store, layout, options, pieces, np.ones(layout.full.grid, bool))
    for uploaded, copied in sent:
        store.written.uploaded += uploaded
        store.written.copied += copied
    store.notes += [part.place for part in there]
    return store, key


def _write_blocks(
    whole: TargetInParts, data: Any, layout: Layout, adopted: Sequence[Any]
) -> tuple[list[Any], list[tuple[int, int]]]:
    """All parts: existing ones, and those that workers write now; and how much was sent for these."""
    level = as_declared_by(data)
    if level.dtype != layout.dtype:
        level = level.astype(layout.dtype)
    level = _in_units(aligned(level, _pairs(layout)), layout.halved)
    there = {part.region: part for part in adopted}
    starts = starts_of(level)
    # In the order of the array, as far as dask is free; a name of each attempt, whose results nobody keeps.
    # A block and what writes it are one task: a worker computes none while another waits to be written.
    behind = WritingBehind()
    write = _WriteUnit(whole, starts, behind)
    units = map_to_objects(write, level, f"cpr-part-{uuid.uuid4().hex}").to_delayed()
    parts, waiting = [], []
    for index in np.ndindex(*level.numblocks):
        bounds = _bounds(starts, index)
        if any(start == stop for start, stop in bounds):
            continue
        if bounds in there:
            parts.append(there[bounds])
        else:
            waiting.append(units[index])
    with behind:
        found = [written.item() for written in collected(waiting)] if waiting else []
        found = [one for one in found if one is not None] + behind.all()
    return parts + [part for part, _ in found], [sent for _, sent in found]


class _WriteUnit(BlockWriter):
    """Writes a part and publishes it, on the worker that has its data."""

    def __init__(self, whole: TargetInParts, starts: list[list[int]], behind: WritingBehind) -> None:
        super().__init__(whole.url, behind)
        self._whole, self._starts = whole, starts

    def write(self, block: Any, index: Shape) -> Any:
        part = self._whole.part(tuple(slice(*bounds) for bounds in _bounds(self._starts, index)))
        part.set_data(np.asarray(block))
        part.persist()
        return part, (part.uploaded, part.copied)


def _bounds(starts: list[list[int]], index: Shape) -> Bounds:
    return tuple((s[i], s[i + 1]) for s, i in zip(starts, index, strict=True))


def _pairs(layout: Layout) -> Shape:
    """Shape of whole objects, or of whole pairs if there is a smaller level, which a part then contains."""
    plan = layout.full
    return tuple(
        2 * unit if axis in layout.halved and len(layout.plans) > 1 and extent > unit else unit
        for axis, (unit, extent) in enumerate(zip(plan.unit, plan.shape, strict=True))
    )


def _in_units(level: Any, halved: Sequence[int]) -> Any:
    """Merge neighbouring small blocks up to the size of a part; in a small array only if there are many."""
    biggest = [max(sizes) for sizes in level.chunks]
    least = 1 if level.nbytes >= _LEAST_BYTES else _MOST_SMALL_PARTS
    counts = _together(biggest, level.numblocks, level.dtype.itemsize, halved, least)
    wanted = tuple(
        tuple(sum(sizes[i : i + count]) for i in range(0, len(sizes), count))
        for sizes, count in zip(level.chunks, counts, strict=True)
    )
    return level if wanted == level.chunks else level.rechunk(wanted)


def _together(
    block: Sequence[int], grid: Sequence[int], itemsize: int, halved: Sequence[int], least: int = 1
) -> list[int]:
    """How many blocks along each axis make up a part.

    Along axes that are halved twice as many as long as that goes, for a part has as many of the smaller
    levels as it has whole chunks there; then neighbours, from the last axis on, as long as there are more
    parts than `least`.
    """
    counts = [1] * len(block)

    def room() -> int:
        nbytes = math.prod(n * count for n, count in zip(block, counts, strict=True)) * itemsize
        return _UNIT_BYTES // max(1, nbytes)

    growing = True
    while growing:
        growing = False
        for axis in sorted(halved, reverse=True):
            if counts[axis] < grid[axis] and room() >= 2:
                counts[axis], growing = 2 * counts[axis], True
    for axis in reversed(range(len(block))):
        if axis not in halved:
            parts = math.prod(-(-n // count) for n, count in zip(grid, counts, strict=True))
            counts[axis] = max(1, min(room(), grid[axis], -(-parts // least)))
    return counts


def _regions(whole: TargetInParts, data: Any, layout: Layout) -> list[tuple[slice, ...]]:
    """Regions for an array that can be sliced, of whole objects of source and target."""
    unit, shape = _pairs(layout), layout.full.shape
    source = objects_of(data)
    if source is not None and len(source) == len(unit):
        unit = tuple(-(-n // u) * u for n, u in zip(source, unit, strict=True))
    grid = [-(-n // u) for n, u in zip(shape, unit, strict=True)]
    counts = _together(
        [min(u, n) for u, n in zip(unit, shape, strict=True)], grid, layout.dtype.itemsize, layout.halved
    )
    return whole.regions([u * count for u, count in zip(unit, counts, strict=True)])
