"""Opens Zarr hierarchies for users: lazy arrays and groups, regions, dask arrays."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import zarr
from zarr.errors import ArrayNotFoundError, GroupNotFoundError, NodeNotFoundError

from cpr.data.lazy_arrays import dask_array
from cpr.data.memory import require_memory
from cpr.data.regions import Selection, ends
from cpr.errors import DecodeError, FormatError, ResourceNotFoundError, spelled
from cpr.format import Region
from cpr.zarr.stores.url_store import UrlStore
from cpr.zarr.typed_error_nodes import Node, decoding, named_array, with_typed_errors

__all__ = ["array_of", "chunk_count", "open_node", "part_of", "to_dask"]

_MOST_BLOCKS = 10_000_000
_MOST_CHUNKS = 1_000_000


def open_node(
    store: UrlStore, path: str = "", zarr_format: Any = None, mode: Literal["r", "r+"] = "r"
) -> Node:
    """Open the array or group at a path in a store, for reading or also writing; reads only metadata.

    Raises:
        ResourceNotFoundError: there is neither.
        CorruptDataError, TransferError: as the store does.
    """
    url = f"{store.url}/{path}" if path else store.url
    with decoding(url):
        try:
            node = zarr.open(store, path=path or None, mode=mode, zarr_format=zarr_format)
        except (ArrayNotFoundError, GroupNotFoundError, NodeNotFoundError, FileNotFoundError) as error:
            raise ResourceNotFoundError(
                "there is no Zarr array or group here",
                url=url,
                expected="zarr.json, .zarray or .zgroup",
                actual=type(error).__name__,
                remedy="check the URL and the group; a deleted result is made again when its task runs again",
            ) from None
    _require_chunk_memory(node)
    return with_typed_errors(node)  # type: ignore[no-any-return]


def _require_chunk_memory(node: Node) -> None:
    if isinstance(node, zarr.Array):
        for what, extents in (("one chunk", node.chunks), ("one shard", node.shards or ())):
            require_memory(math.prod(extents) * node.dtype.itemsize, what)


def array_of(node: Node, name: str) -> Node:
    """The array of this name in an open group; the node itself if no name is given.

    Raises as `open_node`.
    """
    found = named_array(node, name)
    if found is None:
        return node
    _require_chunk_memory(found)
    return found  # type: ignore[no-any-return]


def part_of(
    node: Any, region: Region, url: str, within: tuple[slice, ...] | None = None
) -> np.ndarray[Any, Any]:
    """Read a region of an array with numpy's basic indexing, including negative steps.

    Args:
        node: a zarr array, or a numpy one.
        region: as a basic numpy index.
        url: for errors.
        within: a region of the array, to which `region` is relative.

    Raises FormatError for a group, and for what is no region of the array.
    """
    if isinstance(node, zarr.Group):
        raise FormatError(
            "a group has no regions",
            url=url,
            field="region",
            expected="None, for this Zarr is a group",
            actual=spelled(region, 200),
            remedy="name the array: from_path(url, group='0') of a source, or get_data()['0'][...]",
        )
    base = Selection.of(within or (), node.shape).ranges
    chosen = Selection.of(region, tuple(len(r) for r in base))
    forward = tuple(_forward(r, b.start) for r, b in zip(chosen.ranges, base, strict=True))
    back = tuple(slice(None, None, -1 if r.step < 0 else None) for r in chosen.ranges)
    require_memory(math.prod(len(r) for r in chosen.ranges) * node.dtype.itemsize, "this part of the array")
    _require_few_chunks(node, forward, url)
    with decoding(url):
        part: np.ndarray[Any, Any] = np.asarray(node[forward])[back]
    part = part.reshape(chosen.shape)
    return part if part.base is None or not isinstance(node, np.ndarray) else part.copy()


def chunk_count(chunks: tuple[int, ...], region: tuple[slice, ...]) -> int:
    """How many chunks a region touches, given its start and stop along each axis."""
    return math.prod(
        max(0, -(-along.stop // chunk) - along.start // chunk) if chunk else 0
        for along, chunk in zip(region, chunks, strict=True)
    )


def _require_few_chunks(node: Any, region: tuple[slice, ...], url: str) -> None:
    """Raise DecodeError for so many chunks that listing them would exhaust memory."""
    count = chunk_count(node.chunks, region) if isinstance(node, zarr.Array) else 0
    if count > _MOST_CHUNKS:
        raise DecodeError(
            "too many chunks for one read",
            url=url,
            field="region",
            expected=f"at most {_MOST_CHUNKS}",
            actual=f"{count}, of shape {node.chunks}",
            remedy="read it in parts: get_data(region=...)",
        )


def _forward(along: range, offset: int) -> slice:
    if not along:
        return slice(0, 0)
    low, high = ends(along)
    return slice(offset + low, offset + high + 1, abs(along.step))


def to_dask(array: Node, name: str, url: str) -> Any:
    """A dask array whose blocks are the objects of a zarr array (chunks or shards).

    Raises FormatError for a group, MissingDependencyError without dask.
    """
    if isinstance(array, zarr.Group):
        raise FormatError(
            "a group is no array",
            url=url,
            expected="a Zarr that is one array",
            actual="a group",
            remedy="take an array of it: dask.array.from_array(get_data()['name'])",
        )
    chunks = tuple(max(1, n) for n in array.shards or array.chunks)
    counts = [-(-n // chunk) for n, chunk in zip(array.shape, chunks, strict=True)]
    # dask lists those along each axis, of an array without elements too.
    if max(math.prod(counts), *counts, 0) > _MOST_BLOCKS:
        raise DecodeError(
            "too many chunks for a task graph",
            url=url,
            expected=f"at most {_MOST_BLOCKS}",
            actual=f"shape {array.shape} in chunks of {chunks}",
            remedy="read a part: get_data(region=...), or dask.array.from_array(get_data(), chunks=...)",
        )
    return dask_array(url).from_array(array, chunks=chunks, name=name)
