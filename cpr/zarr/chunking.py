"""Interprets the argument of `set_data`, and chooses chunks and shards for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import zarr

from cpr.data.arrays import held_or_streamed
from cpr.data.lazy_arrays import is_lazy_array
from cpr.errors import CprError, EncodeError
from cpr.zarr.dask import is_dask, require_known
from cpr.zarr.options import ZarrOptions, default_chunks, dividing_chunks, fitting_chunks

__all__ = [
    "Declared",
    "as_declared",
    "as_encode_errors",
    "chunks_for",
    "declared_source",
    "objects_of",
    "source_of",
]


def source_of(data: Any, shape: tuple[int, ...] | None, dtype: Any) -> Any:
    """Classify data: an array in memory, a lazy one, or a stream of planes. Raises EncodeError for others."""
    if is_dask(data):
        require_known(data)
    elif not is_lazy_array(data):
        return held_or_streamed(data, shape, dtype)
    if (shape is not None and tuple(shape) != tuple(data.shape)) or (
        dtype is not None and np.dtype(dtype) != data.dtype
    ):
        raise EncodeError(
            "the array is another one than announced",
            field="shape, dtype",
            expected=f"{shape} {dtype}",
            actual=f"{tuple(data.shape)} {data.dtype}",
            remedy="leave shape= and dtype= out: an array tells them",
        )
    return data


class Declared(NamedTuple):
    """An array of which only shape and dtype are known.

    Attributes:
        shape: of the array.
        dtype: of its elements.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def as_declared(options: Any, source: Any) -> Any:
    """What to derive the chunks from: the shape in the options if given, else the data."""
    return source if options.shape is None else Declared(tuple(source.shape), np.dtype(source.dtype))


def declared_source(options: Any, data: Any, shape: tuple[int, ...] | None, dtype: Any) -> Any:
    """As `source_of`, with the shape and dtype of the options if given.

    Raises EncodeError for data of others.
    """
    expected = options.shape, None if options.dtype is None else np.dtype(options.dtype)
    if not hasattr(data, "shape"):
        shape = expected[0] if shape is None else shape
        dtype = expected[1] if dtype is None else dtype
    source = source_of(data, shape, dtype)
    found = tuple(source.shape), np.dtype(source.dtype).newbyteorder("=")
    if any(want is not None and want != got for want, got in zip(expected, found, strict=True)):
        raise EncodeError(
            "the data are others than the array was declared for",
            field="data",
            expected=" ".join(str(want) for want in expected if want is not None),
            actual=" ".join(map(str, found)),
            remedy="give from_path the shape and dtype of the data, or convert it: data.astype(dtype)",
        )
    return source


def chunks_for(
    options: ZarrOptions, source: Any, dtype: np.dtype[Any]
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Choose chunks and shards: as requested, or those of the source, or planes."""
    if options.chunks is not None:
        return options.chunks, options.shards
    shape = tuple(source.shape)
    if options.shards is not None:
        return dividing_chunks(options.shards, dtype.itemsize), options.shards
    if is_dask(source):
        return fitting_chunks(tuple(max(sizes, default=1) for sizes in source.chunks), dtype.itemsize), None
    if isinstance(source, zarr.Array):
        shards = source.shards if options.zarr_format == 3 else None
        return tuple(source.chunks), None if shards is None else tuple(shards)
    return default_chunks(shape, dtype.itemsize), None


def objects_of(source: Any) -> tuple[int, ...] | None:
    """Shape of the objects (chunks or shards) of a lazy array; None if they have no common shape."""
    chunks = getattr(source, "shards", None) or getattr(source, "chunks", None)
    if not isinstance(chunks, tuple) or not all(isinstance(n, int) and n > 0 for n in chunks):
        return None
    return chunks


@contextmanager
def as_encode_errors() -> Iterator[None]:
    """Convert zarr's errors for invalid options to EncodeError."""
    try:
        yield
    except CprError:
        raise
    except (ValueError, TypeError, NotImplementedError) as error:
        raise EncodeError(
            "zarr cannot make this array",
            expected="options that fit shape and dtype",
            actual=f"{type(error).__name__}: {error}"[:500],
            remedy="change the option that it names",
        ) from error
