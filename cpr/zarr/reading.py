"""Zarr hierarchies as what users read: lazy arrays and groups, parts of them, dask arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import zarr
from zarr.errors import ArrayNotFoundError, GroupNotFoundError, NodeNotFoundError

from cpr.data.lazy_arrays import dask_array
from cpr.data.memory import require_memory
from cpr.data.regions import Selection, ends
from cpr.errors import CprError, DecodeError, FormatError, ResourceNotFoundError
from cpr.format import Region
from cpr.zarr.stores.url_store import UrlStore

__all__ = ["Node", "open_node", "part_of", "to_dask"]

_MOST_BLOCKS = 10_000_000

Node = zarr.Array[Any] | zarr.Group


def open_node(store: UrlStore, path: str = "", zarr_format: Any = None) -> Node:
    """The array or group at a path in a store, read-only; only its metadata is read.

    Raises:
        ResourceNotFoundError: there is neither.
        CorruptDataError, TransferError: as the store does.
    """
    try:
        node: Node = zarr.open(store, path=path or None, mode="r", zarr_format=zarr_format)
    except CprError:
        raise
    except (ArrayNotFoundError, GroupNotFoundError, NodeNotFoundError, FileNotFoundError) as error:
        raise ResourceNotFoundError(
            "there is no Zarr array or group here",
            url=f"{store.url}/{path}" if path else store.url,
            expected="zarr.json, .zarray or .zgroup",
            actual=type(error).__name__,
            remedy="check the URL and the group; a deleted result is made again when its task runs again",
        ) from None
    except Exception as error:
        # zarr trusts its metadata: what others have put there makes it fail in many ways.
        raise _not_zarr(store.url, error) from error
    if isinstance(node, zarr.Array):
        for what, extents in (("one chunk", node.chunks), ("one shard", node.shards or ())):
            require_memory(math.prod(extents) * node.dtype.itemsize, what)
    return node


def _not_zarr(url: str, error: Exception) -> DecodeError:
    return DecodeError(
        "not a Zarr that can be read",
        url=url,
        expected="metadata and chunks as the specification has them",
        actual=f"{type(error).__name__}: {ascii(str(error))[:200]}",
        remedy="restore the Zarr, or write it again with the program it comes from",
    )


def part_of(
    node: Any, region: Region, url: str, within: tuple[slice, ...] | None = None
) -> np.ndarray[Any, Any]:
    """The part of an array that numpy's basic indexing would give, negative steps and all.

    Args:
        node: a zarr array, or a numpy one.
        region: which part.
        url: for errors.
        within: the part of the array that `region` is a part of.

    Raises FormatError for a group, and for what is no region of the array.
    """
    if isinstance(node, zarr.Group):
        raise FormatError(
            "a group has no regions",
            url=url,
            field="region",
            expected="None, for this Zarr is a group",
            actual=repr(region)[:200],
            remedy="read an array of it: get_data()['name'][...]",
        )
    base = Selection.of(within or (), node.shape).ranges
    chosen = Selection.of(region, tuple(len(r) for r in base))
    forward = tuple(_forward(r, b.start) for r, b in zip(chosen.ranges, base, strict=True))
    back = tuple(slice(None, None, -1 if r.step < 0 else None) for r in chosen.ranges)
    require_memory(math.prod(len(r) for r in chosen.ranges) * node.dtype.itemsize, "this part of the array")
    try:
        part: np.ndarray[Any, Any] = np.asarray(node[forward])[back]
    except CprError:
        raise
    except Exception as error:
        raise _not_zarr(url, error) from error
    return part.reshape(chosen.shape)


def _forward(along: range, offset: int) -> slice:
    if not along:
        return slice(0, 0)
    low, high = ends(along)
    return slice(offset + low, offset + high + 1, abs(along.step))


def to_dask(array: zarr.Array[Any], name: str, url: str) -> Any:
    """A dask array whose blocks are the objects of a zarr array (chunks or shards).

    Raises MissingDependencyError without dask.
    """
    chunks = tuple(array.shards or array.chunks)
    if math.prod(-(-n // chunk) for n, chunk in zip(array.shape, chunks, strict=True)) > _MOST_BLOCKS:
        raise DecodeError(
            "too many chunks for a task graph",
            url=url,
            expected=f"at most {_MOST_BLOCKS}",
            actual=f"shape {array.shape} in chunks of {chunks}",
            remedy="read a part: get_data(region=...), or dask.array.from_array(get_data(), chunks=...)",
        )
    return dask_array(url).from_array(array, chunks=chunks, name=name)
