"""Dask arrays that are written as parts, so that a task which was killed goes on where it was.

Each block, or some small ones together, is a part, published by the worker that has it. The same task run,
run again, finds them by one listing; their blocks, and what these are made of, are not computed. Nothing is
known to Prefect or to the scheduler that could disagree with what is stored.
"""

from __future__ import annotations

import dataclasses
import math
import uuid
from typing import Any

import numpy as np

from cpr.provenance.running import running_key
from cpr.zarr.dask import (
    aligned,
    as_declared_by,
    boxed,
    collected,
    is_dask,
    map_to_objects,
    starts_of,
)
from cpr.zarr.parts.assembly import read_pieces
from cpr.zarr.parts.layout import layout_of
from cpr.zarr.parts.progress import key_of_run, parts_there
from cpr.zarr.parts.regions import Bounds
from cpr.zarr.parts.whole import Whole
from cpr.zarr.stores.recording import RecordingStore

__all__ = ["can_resume", "write_resumed"]

_LEAST_BYTES = 256 << 20  # of an array: less is written anew in the time that parts take
_UNIT_BYTES = 64 << 20  # of a part, which takes some requests of its own

Shape = tuple[int, ...]


def can_resume(data: Any, nbytes: int) -> bool:
    """Whether data are a dask array that is worth it, in a task whose run has a cache key."""
    return is_dask(data) and data.ndim > 0 and nbytes >= _LEAST_BYTES and running_key() is not None


def write_resumed(target: Whole, data: Any, **declared: Any) -> tuple[RecordingStore, str]:
    """Write what an earlier run of the running task has not written.

    Args:
        target: that is filled; it is not changed.
        data: a dask array. Its name, which dask makes of all that the array is made of, counts: another
            array never goes on with what was done of this one.
        declared: chunks and shards.

    Returns a store that knows all objects, and the key in its URL. What is written stays if this raises.
    """
    options = dataclasses.replace(target.format, shape=data.shape, dtype=data.dtype, **declared)
    whole = type(target)(target.location, target.name, target.ext, options)
    layout = layout_of(options, whole.name)
    key = key_of_run(whole, layout, f"{running_key()}\0{data.name}")
    whole._parts_key = key  # noqa: SLF001 - of this class
    level = as_declared_by(data)
    if level.dtype != layout.dtype:
        level = level.astype(layout.dtype)
    level = _in_units(aligned(level, layout.full.unit))
    there = {part.region: part for part in parts_there(whole, layout, key)}
    parts, sent = _write(whole, level, there)
    url = whole._url(key)  # noqa: SLF001
    pieces = read_pieces(parts, layout, url)
    store = whole._gather(key, pieces, layout, full=False)  # noqa: SLF001
    for uploaded, copied in sent:
        store.written.uploaded += uploaded
        store.written.copied += copied
    store.notes += [part.place for part in parts]
    return store, key


def _write(whole: Whole, level: Any, there: dict[Bounds, Any]) -> tuple[list[Any], list[tuple[int, int]]]:
    """All parts, those that are there and those that workers write now; and what was sent for these."""
    starts = starts_of(level)
    # In the order of the array, as far as dask is free; a name of each attempt, whose results nobody keeps.
    # A block and what writes it are one task: a worker computes none while another waits to be written.
    units = map_to_objects(_WriteUnit(whole, starts), level, f"cpr-part-{uuid.uuid4().hex}").to_delayed()
    parts, waiting = [], []
    for index in np.ndindex(*level.numblocks):
        bounds = _bounds(starts, index)
        if any(start == stop for start, stop in bounds):
            continue
        if bounds in there:
            parts.append(there[bounds])
        else:
            waiting.append(units[index])
    found = [written.item() for written in collected(waiting)] if waiting else []
    return parts + [part for part, _ in found], [sent for _, sent in found]


class _WriteUnit:
    """Writes a part and publishes it, on the worker that has its data."""

    def __init__(self, whole: Whole, starts: list[list[int]]) -> None:
        self._whole, self._starts = whole, starts

    def __call__(self, block: Any, block_id: Shape = ()) -> Any:
        region = tuple(slice(*bounds) for bounds in _bounds(self._starts, block_id))
        part = self._whole.part(region)
        part.set_data(np.asarray(block))
        part.persist()
        return boxed((part, (part.uploaded, part.copied)), len(block_id))


def _bounds(starts: list[list[int]], index: Shape) -> Bounds:
    return tuple((s[i], s[i + 1]) for s, i in zip(starts, index, strict=True))


def _in_units(level: Any) -> Any:
    """Neighbouring small blocks together, from the last axis on, up to the size of a part."""
    wanted = list(level.chunks)
    for axis in reversed(range(level.ndim)):
        nbytes = math.prod(max(sizes) for sizes in wanted) * level.dtype.itemsize
        together = min(max(1, _UNIT_BYTES // max(1, nbytes)), len(wanted[axis]))
        sizes = wanted[axis]
        wanted[axis] = tuple(sum(sizes[i : i + together]) for i in range(0, len(sizes), together))
    return level if tuple(wanted) == level.chunks else level.rechunk(tuple(wanted))
