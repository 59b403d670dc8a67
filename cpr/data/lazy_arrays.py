"""Reads lazy arrays (dask, zarr, h5py, memmap) piece by piece along their chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cpr.data.array_memory import canonical, require_unmasked
from cpr.errors import EncodeError, MissingDependencyError

__all__ = ["compute", "dask_array", "is_lazy_array", "require_block", "slabs", "split"]


def is_lazy_array(data: object) -> bool:
    """Whether data is a lazy array: dask, zarr, h5py, numpy.memmap."""
    if isinstance(data, np.memmap):
        return True
    return not isinstance(data, (np.ndarray, np.generic)) and all(
        hasattr(data, a) for a in ("shape", "dtype", "chunks", "__getitem__")
    )


def dask_array(url: str) -> Any:
    """Import dask.array, for reading the object at a URL lazily. Raises MissingDependencyError."""
    try:
        import dask.array
    except ImportError:
        raise MissingDependencyError(
            "get_dask needs dask",
            url=url,
            expected="the package dask",
            actual="it is not installed",
            remedy='pip install "prefect-cpr[dask]"',
        ) from None
    return dask.array


def require_block(block: Any, shape: tuple[int, ...], dtype: Any, which: str) -> np.ndarray[Any, Any]:
    """Convert a computed block to numpy, and check that it has the announced shape and dtype.

    Args:
        block: what was computed or read.
        shape: the expected shape.
        dtype: the expected dtype; byte order makes no difference.
        which: names the part in errors.

    Raises EncodeError for another shape or dtype, and for a masked array.
    """
    require_unmasked(block)
    array = np.asarray(block)
    for field, expected, actual in (
        ("shape", shape, array.shape),
        ("dtype", np.dtype(dtype).newbyteorder("="), array.dtype.newbyteorder("=")),
    ):
        if actual != expected:
            raise EncodeError(
                f"{which} of the array has another {field} than the array declares",
                field=field,
                expected=str(expected),
                actual=str(actual),
                remedy="declare what the blocks are: map_blocks(..., dtype=, chunks=); or convert them: "
                "block.astype(dtype)",
            )
    return canonical(array) if array.dtype == np.bool_ else array


def split(slab: np.ndarray[Any, Any], plane_ndim: int) -> Iterator[np.ndarray[Any, Any]]:
    """Split a slab into planes in C order, as views."""
    for index in np.ndindex(*slab.shape[: slab.ndim - plane_ndim]):
        yield slab[(*index, ...)]  # with the dots always an array, of the same dtype


def slabs(data: Any, leading: int) -> Iterator[Any]:
    """Slabs of data in C order, as small as possible without computing a chunk twice."""
    if isinstance(data, np.ndarray):
        yield from split(data, data.ndim - leading)
    elif is_lazy_array(data):
        for index in _chunk_rows(_chunk_sizes(data), data.shape, leading):
            block = compute(data[index])
            expected = tuple(part.stop - part.start for part in index) + tuple(data.shape[len(index) :])
            if getattr(block, "shape", expected) != expected:
                raise EncodeError(
                    "a block has another shape than its array says",
                    field="shape",
                    expected=str(expected),
                    actual=str(block.shape),
                    remedy="say the truth where the array is made: map_blocks(..., chunks=...)",
                )
            yield block
    else:
        yield from data


def _chunk_sizes(data: Any) -> list[tuple[int, ...]]:
    """The chunk sizes of each axis in dask's notation, whatever the library."""
    chunks = data.chunks if data.chunks is not None else tuple(1 for _ in data.shape)
    sizes = []
    for extent, chunk in zip(data.shape, chunks, strict=True):
        if isinstance(chunk, tuple):
            sizes.append(chunk)
        else:
            whole, rest = divmod(extent, max(chunk, 1))
            sizes.append((chunk,) * whole + ((rest,) if rest else ()))
    return sizes


def _chunk_rows(
    chunks: list[tuple[int, ...]], shape: tuple[int, ...], leading: int
) -> Iterator[tuple[slice, ...]]:
    """Indices of consecutive slabs: descends through axes with chunks of one element."""

    def descend(axis: int, prefix: tuple[slice, ...]) -> Iterator[tuple[slice, ...]]:
        if axis == leading:
            yield prefix
            return
        start = 0
        for size in chunks[axis]:
            part = slice(start, start + size)
            if size == 1:
                yield from descend(axis + 1, (*prefix, part))
            elif size:
                yield (*prefix, part)
            start += size

    if math.prod(shape):
        yield from descend(0, ())


def compute(block: Any) -> Any:
    """Compute a lazy block with threads of this process."""
    if hasattr(block, "compute"):
        return block.compute(scheduler="threads")
    return block
