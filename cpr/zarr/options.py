"""The options of `ZarrTarget`, and the default chunks."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from cpr.errors import EncodeError, spelled
from cpr.format import unusable
from cpr.io.urls import normalise
from cpr.records.registry import load_record

__all__ = [
    "ZarrOptions",
    "array_arguments",
    "declared",
    "default_chunks",
    "dividing_chunks",
    "fitting_chunks",
    "option_error",
    "path_inside",
    "unit_of",
    "url_of_base",
]

Shape = tuple[int, ...]

option_error = partial(unusable, "not acceptable as an option of a Zarr")

_NOT_IN_KEYS = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]|::")
_BUDGET = 2 << 20  # bytes of elements in a chunk of several planes, before compression
_TILE = 4 << 20  # in one of part of a plane
_EDGE = 1024  # of a tile
_LEVEL = 3
_NONE_IN_2 = "None, for zarr_format=2 has none"


@dataclass(frozen=True)
class ZarrOptions:
    """Options for writing a Zarr. They are stored in its own metadata, so records omit them.

    Attributes:
        chunks: shape of a chunk; by default those of a zarr or dask array, else tiles of planes of up to
            1024 x 1024 (see `default_chunks`).
        shards: shape of a shard, in whole chunks; None for one object per chunk.
        compressors: "zstd" (default, with a checksum in every chunk, but for format 2), "blosc" (zstd after
            shuffling bits), "gzip", None, or codecs as `zarr.create_array` takes them.
        level: of compression; None for 3.
        fill_value: of chunks that are not stored since nothing else is in them; 0 by default.
        attributes: of the array, JSON values.
        dimension_names: one for each axis; format 3 only.
        zarr_format: 3, or 2 for older readers.
        shape: of the array, where it is known beforehand, as for one that is written in parts.
        dtype: of its elements, likewise.
        base: an earlier result, in the same store, of which equal chunks are copied by the store instead of
            uploaded: a target, its record or its URL. By default the newest of the target's name, for arrays
            of 1 MiB and more; False for none. Results stay whole without each other.
    """

    extensions: ClassVar[tuple[str, ...]] = (".zarr", ".ome.zarr")
    recorded: ClassVar[tuple[str, ...]] = ()  # Zarr's own metadata tell the rest

    chunks: Shape | None = None
    shards: Shape | None = None
    compressors: Any = "zstd"
    level: int | None = None
    fill_value: Any = None
    attributes: Mapping[str, Any] | None = None
    dimension_names: tuple[str | None, ...] | None = None
    zarr_format: Literal[2, 3] = 3
    shape: Shape | None = None
    dtype: Any = None
    base: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", url_of_base(self.base))
        for name in ("chunks", "shards"):
            value = getattr(self, name)
            if value is None:
                continue
            shape = tuple(value) if isinstance(value, (tuple, list)) else ()
            if not shape or any(type(n) is not int or n < 1 for n in shape):
                raise option_error(name, "positive integers, one for each axis", value)
            object.__setattr__(self, name, shape)
        for name, value in zip(("shape", "dtype"), declared(self.shape, self.dtype), strict=True):
            object.__setattr__(self, name, value)
        if self.zarr_format not in (2, 3):
            raise option_error("zarr_format", "2 or 3", self.zarr_format)
        if isinstance(self.compressors, str) and self.compressors not in ("zstd", "blosc", "gzip"):
            raise option_error("compressors", '"zstd", "blosc", "gzip", None or codecs', self.compressors)
        if self.zarr_format == 2:
            if self.shards is not None:
                raise option_error("shards", _NONE_IN_2, self.shards)
            if self.dimension_names is not None:
                raise option_error("dimension_names", _NONE_IN_2, self.dimension_names)


def url_of_base(base: Any) -> str | Literal[False] | None:
    """URL of an earlier result; False and None as they are. Raises FormatError and RecordError."""
    if base is None or base is False:
        return base
    if isinstance(base, Mapping):
        base = load_record(base)
    if isinstance(base, (str, os.PathLike)):
        return normalise(base)
    if not isinstance(getattr(base, "url", None), str):
        raise option_error("base", "a ZarrTarget, its record or its URL, or False", base)
    return str(base.url)


def declared(shape: Any, dtype: Any) -> tuple[Shape | None, str | None]:
    """Validate shape and dtype given beforehand. Raises FormatError."""
    if shape is not None:
        whole = isinstance(shape, (tuple, list)) and all(
            isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 0 for n in shape
        )
        if not whole:
            raise option_error("shape", "integers, one for each axis", shape)
        shape = tuple(int(n) for n in shape)
    if dtype is not None:
        try:
            dtype = np.dtype(dtype).newbyteorder("=").name
        except (TypeError, ValueError, SyntaxError):
            raise option_error("dtype", "a dtype of numpy", dtype) from None
    return shape, dtype


def path_inside(name: str, path: Any, remedy: str) -> str:
    """Normalise the path of a node in a hierarchy, without outer slashes; a number becomes a name.

    Raises FormatError for one outside, and for what is no path.
    """
    if isinstance(path, (int, np.integer)) and not isinstance(path, bool):
        path = str(path)  # as zarr 2 took it
    if not isinstance(path, (str, os.PathLike)) or not isinstance(text := os.fspath(path), str):
        raise option_error(name, "a path inside the Zarr", path, remedy)
    inside = text.strip("/")
    if inside and ({"", ".", ".."} & set(inside.split("/")) or _NOT_IN_KEYS.search(inside)):
        raise option_error(name, "a path inside the Zarr", path, remedy)
    return inside


def array_arguments(
    options: ZarrOptions, shape: Shape, dtype: np.dtype[Any], chunks: Shape, shards: Shape | None
) -> dict[str, Any]:
    """The arguments for `zarr.create_array`. Raises EncodeError for arrays that Zarr cannot hold."""
    require_storable(dtype)
    for name, value in (("chunks", chunks), ("shards", shards), ("dimension_names", options.dimension_names)):
        if value is not None and len(value) != len(shape):
            raise EncodeError(
                "this option does not fit the array",
                field=name,
                expected=f"{len(shape)} values for shape {shape}",
                actual=spelled(value),
                remedy="give one value for each axis",
            )
    arguments: dict[str, Any] = {
        "shape": shape,
        "dtype": dtype,
        "chunks": chunks,
        "compressors": _compressors(options),
        "zarr_format": options.zarr_format,
    }
    if options.fill_value is not None:
        arguments["fill_value"] = options.fill_value
    if options.attributes is not None:
        arguments["attributes"] = dict(options.attributes)
    if options.zarr_format == 3:
        arguments |= {"shards": shards, "dimension_names": options.dimension_names}
    else:
        # In folders: a hundred thousand files in one are no pleasure.
        arguments["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    return arguments


def require_storable(dtype: np.dtype[Any]) -> None:
    """Raise EncodeError for a dtype that not every reader of Zarr knows."""
    if dtype.kind not in "biufc":
        raise EncodeError(
            "Zarr has no type that all its readers share for these elements",
            field="dtype",
            expected="booleans, integers, floats or complex numbers",
            actual=str(dtype),
            remedy='convert it first: dates with array.view("int64"), and say so in the attributes',
        )


def _compressors(options: ZarrOptions) -> Any:
    level = _LEVEL if options.level is None else options.level
    if not isinstance(options.compressors, str):
        return options.compressors
    if options.zarr_format == 2:
        import numcodecs

        if options.compressors == "zstd":
            # Readers of format 2 may refuse its checksum (tensorstore, zarr 2): the option is left out.
            return numcodecs.Zstd(level=level)
        if options.compressors == "blosc":
            return numcodecs.Blosc("zstd", level, numcodecs.Blosc.BITSHUFFLE)
        return numcodecs.GZip(level)
    from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

    if options.compressors == "zstd":
        return ZstdCodec(level=level, checksum=True)
    if options.compressors == "blosc":
        return BloscCodec(cname="zstd", clevel=level, shuffle="bitshuffle")
    return GzipCodec(level=level)


def default_chunks(shape: Shape, itemsize: int) -> Shape:
    """One plane in tiles of up to 1024 x 1024 and 4 MiB; small planes several together, up to 2 MiB.

    A last axis of 3 or 4 is colour, which is not cut.

    >>> default_chunks((200, 2048, 2048), 2)
    (1, 1024, 1024)
    >>> default_chunks((1000, 64, 64), 2)
    (256, 64, 64)
    >>> default_chunks((80000, 100000, 3), 1)
    (1024, 1024, 3)
    """
    chunks = [1] * len(shape)
    colour = len(shape) > 2 and shape[-1] in (3, 4)
    tile = range(max(0, len(shape) - 2 - colour), len(shape) - colour)
    for axis in range(tile.start, len(shape)):
        chunks[axis] = max(1, min(shape[axis], _EDGE) if axis in tile and len(shape) > 1 else shape[axis])
    while math.prod(chunks) * itemsize > _TILE:
        axis = max(tile, key=chunks.__getitem__)
        chunks[axis] = -(-chunks[axis] // 2)
    for axis in reversed(range(tile.start)):
        together = _BUDGET // (itemsize * math.prod(chunks))
        chunks[axis] = max(1, min(shape[axis], together))
    return tuple(chunks)


def dividing_chunks(shards: Shape, itemsize: int) -> Shape:
    """The default chunks, adjusted to divide the shards."""
    chunks = default_chunks(shards, itemsize)
    return tuple(max(d for d in range(1, c + 1) if n % d == 0) for n, c in zip(shards, chunks, strict=True))


def unit_of(array: Any) -> Shape:
    """Shape of one stored object of a zarr array; writers of different objects do not conflict."""
    return tuple(array.shards or array.chunks)


def fitting_chunks(block: Shape, itemsize: int) -> Shape:
    """Chunks that divide a block of another array, halved until they are small enough."""
    chunks = [max(1, n) for n in block]
    while math.prod(chunks) * itemsize > 8 * _BUDGET:
        axis = max(range(len(chunks)), key=lambda i: (chunks[i] % 2 == 0, chunks[i]))
        chunks[axis] = -(-chunks[axis] // 2)
    return tuple(chunks)
