"""Data into a zarr array, piece by piece, every piece made of whole objects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import zarr
from zarr.core.array import AsyncArray
from zarr.storage import StorePath

from cpr.data.arrays import Planes
from cpr.errors import EncodeError
from cpr.zarr.options import unit_of
from cpr.zarr.stores.entries import Entries
from cpr.zarr.stores.recording import RecordingStore

__all__ = [
    "aligned",
    "chunks_of",
    "computed",
    "entries_graph",
    "fill",
    "is_dask",
    "known_blocks",
    "merged",
    "store_dask",
]

_PIECE_BYTES = 64 << 20  # of elements, copied at a time
_SPLIT = 16  # pieces of the manifest merged at a time

Slices = tuple[slice, ...]


def is_dask(data: Any) -> bool:
    """Whether data is a dask array."""
    return hasattr(data, "__dask_graph__") and hasattr(data, "to_delayed") and hasattr(data, "rechunk")


def fill(array: zarr.Array[Any], data: Any) -> None:
    """Write data into a zarr array of the same shape on a recording store.

    Args:
        array: to be filled.
        data: numpy; an array elsewhere that slices to numpy; planes that pass once; or dask, which its
            workers write.
    """
    if is_dask(data):
        store_dask(array, data)
    elif isinstance(data, Planes):
        _fill_from_planes(array, data)
    elif type(data) is np.ndarray:
        array[...] = data.astype(array.dtype, copy=False)
    else:
        for part in pieces(array.shape, unit_of(array), chunks_of(data), array.dtype.itemsize):
            array[part] = np.asarray(data[part], array.dtype)


def chunks_of(source: Any) -> tuple[int, ...] | None:
    """Shape of the objects (chunks or shards) of an array elsewhere; None where it has none of one shape."""
    chunks = getattr(source, "shards", None) or getattr(source, "chunks", None)
    if not isinstance(chunks, tuple) or not all(isinstance(n, int) for n in chunks):
        return None
    return chunks


def pieces(
    shape: tuple[int, ...], unit: tuple[int, ...], source: tuple[int, ...] | None, itemsize: int
) -> Iterator[Slices]:
    """Regions that make up an array: of whole units, and of whole chunks of the source if it has some."""
    step = list(unit)
    if source is not None:
        step = [-(-s // u) * u for s, u in zip(source, unit, strict=True)]
    for axis in reversed(range(len(shape))):
        row = max(1, math.prod(step) * itemsize)
        step[axis] = min(
            step[axis] * max(1, _PIECE_BYTES // row), -(-max(1, shape[axis]) // unit[axis]) * unit[axis]
        )
    ranges = [range(0, n, s) for n, s in zip(shape, step, strict=True)]
    for starts in product(*ranges):
        yield tuple(slice(a, min(a + s, n)) for a, s, n in zip(starts, step, shape, strict=True))


def _fill_from_planes(array: zarr.Array[Any], planes: Planes) -> None:
    """Collect the planes of a row of units, then write it: one unit's depth of planes is in memory."""
    shape, unit = array.shape, unit_of(array)
    leading = len(shape) - len(planes.plane_shape)
    if not leading or not planes.nbytes:
        for plane in planes:
            array[...] = plane.reshape(shape)
        return
    # Along this axis units are deeper than one; all of the axes behind it must be at hand.
    deep = next((axis for axis in range(leading) if unit[axis] > 1), leading - 1)
    below = math.prod(shape[deep + 1 : leading])
    arriving = iter(planes)
    for outer in np.ndindex(*shape[:deep]):
        for start in range(0, shape[deep], unit[deep]):
            stop = min(start + unit[deep], shape[deep])
            slab = np.empty(((stop - start) * below, *planes.plane_shape), planes.dtype)
            for index, plane in zip(range(len(slab)), arriving, strict=False):
                slab[index] = plane
            array[(*outer, slice(start, stop))] = slab.reshape((stop - start, *shape[deep + 1 :]))
    for _ in arriving:  # its end checks the number of planes
        pass


def store_dask(array: zarr.Array[Any], data: Any) -> None:
    """Let the workers of a dask array write its blocks, and take back what they recorded.

    Every block is written by the worker that has it, to whole objects that no other block writes. What
    comes back is sizes and digests, merged sixteen at a time on the workers.
    """
    store = array.store
    assert isinstance(store, RecordingStore)
    data = aligned(data, unit_of(array))
    if array.size:
        store.entries.update(merged(computed(entries_graph(array, data))))


def known_blocks(data: Any) -> tuple[tuple[int, ...], ...]:
    """The sizes of a dask array's blocks along each axis. Raises EncodeError where they are unknown."""
    chunks: tuple[tuple[int, ...], ...] = data.chunks
    if any(math.isnan(n) for sizes in chunks for n in sizes):
        raise EncodeError(
            "the blocks of this dask array are of unknown size",
            field="data",
            expected="known chunks",
            actual=f"{chunks}"[:200],
            remedy="call compute_chunk_sizes() first, or give the sizes where the array is made",
        )
    return chunks


def aligned(data: Any, unit: tuple[int, ...]) -> Any:
    """The dask array in blocks of whole units; it is rechunked where it is not."""
    wanted = []
    for sizes, u in zip(data.chunks, unit, strict=True):
        if all(n % u == 0 for n in sizes[:-1]):
            wanted.append(sizes)
            continue
        depth = max(1, round(max(sizes) / u)) * u
        whole, rest = divmod(sum(sizes), depth)
        wanted.append((depth,) * whole + ((rest,) if rest else ()))
    return data if tuple(wanted) == data.chunks else data.rechunk(tuple(wanted))


def entries_graph(array: zarr.Array[Any], data: Any) -> Any:
    """What writes a dask array in blocks of whole units, as a lazy value: the entries of all objects."""
    import dask.array as da

    store = array.store
    assert isinstance(store, RecordingStore)
    task = _WriteBlock(
        store.url,
        store.algorithm,
        array.path,
        array.metadata.to_dict(),
        array.shards is not None,
        tuple(tuple(np.cumsum((0, *sizes)).tolist()) for sizes in data.chunks),
    )
    empty = np.empty((0,) * data.ndim, object)
    written = da.map_blocks(  # type: ignore[no-untyped-call]
        task, data, dtype=object, chunks=tuple((1,) * n for n in data.numblocks), meta=empty
    )
    return da.reduction(  # type: ignore[no-untyped-call]
        written,
        chunk=_as_they_are,
        combine=_merge,
        aggregate=_merge,
        axis=tuple(range(data.ndim)),
        split_every=_SPLIT,
        concatenate=False,
        dtype=object,
        meta=np.empty((), object),
    )


class _WriteBlock:
    """Writes one block on the worker that has it."""

    def __init__(
        self,
        url: str,
        algorithm: str,
        path: str,
        metadata: dict[str, Any],
        sharded: bool,
        starts: tuple[tuple[int, ...], ...],
    ) -> None:
        self._place = (url, algorithm, path)
        self._metadata = metadata
        self._sharded = sharded
        self._starts = starts

    def __call__(self, block: Any, block_id: tuple[int, ...] = ()) -> Any:
        piece = np.empty((1,) * len(block_id), object)
        piece[...] = {}
        if np.size(block):
            url, algorithm, path = self._place
            store = RecordingStore(url, algorithm=algorithm)
            if self._sharded:
                store.shards_below(path)
            array = zarr.Array(AsyncArray.from_dict(StorePath(store, path), self._metadata))
            where = tuple(
                slice(starts[i], starts[i + 1]) for starts, i in zip(self._starts, block_id, strict=True)
            )
            array[where] = np.asarray(block, array.dtype)
            piece.fill(store.entries)
        return piece

    def __dask_tokenize__(self) -> Any:
        return self._place


def _as_they_are(piece: Any, axis: Any, keepdims: Any) -> Any:  # noqa: ARG001
    return piece


def _merge(pieces: Any, axis: Any, keepdims: Any) -> Any:  # noqa: ARG001
    """Pieces, in lists nested as deep as there are axes, as one."""
    merged: Entries = {}
    waiting = [pieces]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            merged |= item
        else:
            waiting += list(np.asarray(item).flat)
    result = np.empty((), object)
    result[()] = merged
    return result


def computed(*lazy: Any) -> list[Any]:
    """Lazy values, computed together where the caller's dask runs: its cluster, also within a task of it."""
    import dask

    try:
        from distributed import get_worker, worker_client

        get_worker()
    except (ImportError, ValueError):
        return list(dask.compute(*lazy))  # type: ignore[attr-defined, no-untyped-call]
    with worker_client() as client:
        found: list[Any] = client.gather(client.compute(list(lazy)))
        return found


def merged(graphs: list[Any]) -> Entries:
    """The entries that computed graphs gave."""
    entries: Entries = {}
    for found in graphs:
        entries |= found.item() if isinstance(found, np.ndarray) else found
    return entries
