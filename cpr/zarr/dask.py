"""Writes dask arrays into zarr arrays: every block by the worker that has computed it.

A block is made of whole objects (chunks or shards), which no other block writes. Of a pyramid, the worker
hands on only the halves of what it has written. What comes back is sizes and digests of objects, merged
sixteen at a time on the workers.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import zarr
from zarr.storage import StorePath

from cpr.data.array_memory import require_unmasked
from cpr.data.lazy_arrays import require_block
from cpr.errors import EncodeError
from cpr.zarr.dask_blocks import BlockWriter, Shape, array_of_one_object, is_on_worker
from cpr.zarr.ome.downsample import Method, halve
from cpr.zarr.ome.extremes import Extremes
from cpr.zarr.options import unit_of
from cpr.zarr.stores.recording_store import RecordingStore, Written
from cpr.zarr.writing_behind import WritingBehind

__all__ = [
    "aligned",
    "as_declared_by",
    "collected",
    "computed",
    "fill_from_dask",
    "is_dask",
    "map_to_objects",
    "require_known",
    "starts_of",
]

_SPLIT = 16  # pieces of the manifest merged at a time


def is_dask(data: Any) -> bool:
    """Whether data is a dask array."""
    return hasattr(data, "__dask_graph__") and hasattr(data, "to_delayed") and hasattr(data, "rechunk")


def require_known(data: Any) -> None:
    """Raise EncodeError for a dask array with blocks of unknown size, and for one of masked arrays."""
    require_unmasked(data)
    if any(math.isnan(n) for sizes in data.chunks for n in sizes):
        raise EncodeError(
            "the blocks of this dask array are of unknown size",
            field="data",
            expected="known chunks",
            actual=f"{data.chunks}"[:200],
            remedy="call compute_chunk_sizes() first, or give the sizes where the array is made",
        )


def fill_from_dask(
    arrays: Sequence[zarr.Array[Any]],
    data: Any,
    axes: Sequence[int],
    method: Method,
    extremes: Extremes | None,
) -> None:
    """Let the workers of a dask array write it, and its smaller levels; see `cpr.zarr.writing.fill`."""
    store = arrays[0].store
    assert isinstance(store, RecordingStore)
    if not arrays[0].size:
        return
    level = as_declared_by(data)
    if level.dtype != arrays[0].dtype:
        level = level.astype(arrays[0].dtype)
    graphs: list[Any] = []
    behind = WritingBehind()
    for array in arrays:
        if graphs:
            level = _halved(level, [axis for axis in axes if level.shape[axis] > 1], method)
        # Blocks of whole objects, and of whole pairs.
        unit = (math.lcm(u, 2) if axis in axes else u for axis, u in enumerate(unit_of(array)))
        level = aligned(level, tuple(unit))
        graphs.append(_written_graph(array, level, behind))
    ends = [] if extremes is None else [map_to_objects(partial(_ends_of_block, extremes), level)]
    with behind:
        found = computed(*graphs, *ends)
        later = behind.all()
    for written in found[: len(graphs)]:
        store.written.add(written.item() if isinstance(written, np.ndarray) else written)
    for written in later:
        store.written.add(written)
    if extremes is not None:
        starts = starts_of(level)
        for index in np.ndindex(*level.numblocks):
            region = tuple(slice(s[i], s[i + 1]) for s, i in zip(starts, index, strict=True))
            extremes.take(found[-1][index], extremes.along(region))


def as_declared_by(data: Any) -> Any:
    """The array, every block of which is compared with what the array says before anything is made of it."""
    import dask.array as da

    check = _RequireBlock(data.dtype, data.chunks)
    return da.map_blocks(  # type: ignore[no-untyped-call]
        check, data, dtype=data.dtype, chunks=data.chunks, meta=np.empty((0,) * data.ndim, data.dtype)
    )


class _RequireBlock:
    """Gives a block back if it has the declared shape and dtype; raises EncodeError if not."""

    def __init__(self, dtype: np.dtype[Any], chunks: tuple[Shape, ...]) -> None:
        self._dtype, self._chunks = dtype, chunks

    def __call__(self, block: Any, block_id: Shape = ()) -> Any:
        shape = tuple(sizes[i] for sizes, i in zip(self._chunks, block_id, strict=True))
        return require_block(block, shape, self._dtype, f"block {block_id}")


def _halved(level: Any, axes: Sequence[int], method: Method) -> Any:
    import dask.array as da

    return da.map_blocks(  # type: ignore[no-untyped-call]
        halve,
        level,
        axes=axes,
        method=method,
        dtype=level.dtype,
        chunks=tuple(
            tuple(-(-n // 2) for n in sizes) if axis in axes else sizes
            for axis, sizes in enumerate(level.chunks)
        ),
        meta=np.empty((0,) * level.ndim, level.dtype),
    )


def aligned(data: Any, unit: Shape) -> Any:
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


def map_to_objects(function: Any, data: Any, name: str | None = None) -> Any:
    """One Python object of every block, as a lazy array of a name; each made in one task with its block."""
    import dask.array as da

    return da.map_blocks(  # type: ignore[no-untyped-call]
        function,
        data,
        name=name,
        dtype=object,
        chunks=tuple((1,) * n for n in data.numblocks),
        meta=np.empty((0,) * data.ndim, object),
    )


def _written_graph(array: zarr.Array[Any], data: Any, behind: WritingBehind) -> Any:
    """What writes a dask array in blocks of whole units, as a lazy value: all that was written.

    It leaves out what is written behind, which the caller has to wait for.
    """
    import dask.array as da

    return da.reduction(  # type: ignore[no-untyped-call]
        map_to_objects(_WriteBlock(array, starts_of(data), behind), data),
        chunk=_as_they_are,
        combine=_merge,
        aggregate=_merge,
        axis=tuple(range(data.ndim)),
        split_every=_SPLIT,
        concatenate=False,
        dtype=object,
        meta=np.empty((), object),
    )


def starts_of(data: Any) -> list[list[int]]:
    """Where the blocks begin along each axis, and the end."""
    return [np.cumsum((0, *sizes)).tolist() for sizes in data.chunks]


class _WriteBlock(BlockWriter):
    def __init__(self, array: zarr.Array[Any], starts: list[list[int]], behind: WritingBehind) -> None:
        store = array.store
        assert isinstance(store, RecordingStore)
        super().__init__(store.url, behind)
        self._store, self._path = store.fresh(), array.path
        self._metadata = array.metadata.to_dict()
        self._sharded = array.shards is not None
        self._starts = starts

    def write(self, block: Any, index: Shape) -> Any:
        if not np.size(block):
            return Written()
        store = self._store.fresh()
        if self._sharded:
            store.shards_below(self._path)
        array = zarr.Array(zarr.AsyncArray.from_dict(StorePath(store, self._path), self._metadata))
        where = tuple(slice(s[i], s[i + 1]) for s, i in zip(self._starts, index, strict=True))
        array[where] = np.asarray(block, array.dtype)
        return store.written

    def __dask_tokenize__(self) -> Any:
        return self._store.token, self._path


def _ends_of_block(extremes: Extremes, block: Any) -> Any:
    return array_of_one_object(extremes.of(block), block.ndim)


def _as_they_are(piece: Any, axis: Any, keepdims: Any) -> Any:  # noqa: ARG001
    return piece


def _merge(pieces: Any, axis: Any, keepdims: Any) -> Any:  # noqa: ARG001
    """Pieces, in lists nested as deep as there are axes, as one."""
    merged = Written()
    waiting = [pieces]
    while waiting:
        item = waiting.pop()
        if item is None:
            continue
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, Written):
            merged.add(item)
        else:
            waiting += list(np.asarray(item).flat)
    return array_of_one_object(merged, 0)


def computed(*lazy: Any) -> list[Any]:
    """Lazy values, computed together where the caller's dask runs: its cluster, also within a task of it."""
    import dask

    with _cluster_client() as client:
        if client is None:
            return list(dask.compute(*lazy))  # type: ignore[attr-defined, no-untyped-call]
        found: list[Any] = client.gather(client.compute(list(lazy)))
        return found


def collected(lazy: Sequence[Any]) -> list[Any]:
    """As `computed`, of values that are fetched one by one as soon as they are there.

    What waits in the memory of a worker for the others to be done is made again when that worker dies.
    """
    with _cluster_client() as client:
        if client is None:
            return computed(*lazy)
        from distributed import as_completed

        futures = client.compute(list(lazy))
        numbers = {future.key: number for number, future in enumerate(futures)}
        found: list[Any] = [None] * len(futures)
        try:
            for future, value in as_completed(futures, with_results=True):  # type: ignore[no-untyped-call]
                if future.cancelled():  # the scheduler is gone
                    raise value
                found[numbers[future.key]] = value
                # The cluster forgets what nobody holds.
                futures[numbers[future.key]] = None
                del future
        except BaseException:
            client.cancel([future for future in futures if future is not None])
            raise
        return found


@contextmanager
def _cluster_client() -> Iterator[Any]:
    """The client of the cluster on which the caller's dask runs, if it runs on one."""
    import dask

    if is_on_worker():
        from distributed import worker_client

        with worker_client() as client:
            yield client
        return
    scheduler = getattr(dask.base.get_scheduler(), "__self__", None)  # type: ignore[no-untyped-call]
    client_class = getattr(sys.modules.get("distributed"), "Client", None)
    yield scheduler if client_class is not None and isinstance(scheduler, client_class) else None
