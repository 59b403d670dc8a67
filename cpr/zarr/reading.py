"""Zarr hierarchies as what users read: lazy arrays and groups, parts of them, dask arrays."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
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

__all__ = ["Node", "decoding", "open_node", "own_copy", "part_of", "to_dask"]

_MOST_BLOCKS = 10_000_000

Node = zarr.Array[Any] | zarr.Group


def open_node(store: UrlStore, path: str = "", zarr_format: Any = None) -> Node:
    """The array or group at a path in a store, read-only; only its metadata is read.

    Raises:
        ResourceNotFoundError: there is neither.
        CorruptDataError, TransferError: as the store does.
    """
    url = f"{store.url}/{path}" if path else store.url
    with decoding(url):
        try:
            node: Node = zarr.open(store, path=path or None, mode="r", zarr_format=zarr_format)
        except (ArrayNotFoundError, GroupNotFoundError, NodeNotFoundError, FileNotFoundError) as error:
            raise ResourceNotFoundError(
                "there is no Zarr array or group here",
                url=url,
                expected="zarr.json, .zarray or .zgroup",
                actual=type(error).__name__,
                remedy="check the URL and the group; a deleted result is made again when its task runs again",
            ) from None
    if isinstance(node, zarr.Array):
        for what, extents in (("one chunk", node.chunks), ("one shard", node.shards or ())):
            require_memory(math.prod(extents) * node.dtype.itemsize, what)
    return node


@contextmanager
def decoding(url: str) -> Iterator[None]:
    """What zarr and its codecs raise for metadata and chunks that are broken, as DecodeError.

    zarr trusts what it reads: what others have put there makes it fail in many ways.
    """
    try:
        yield
    except CprError:
        raise
    except Exception as error:
        raise DecodeError(
            "not a Zarr that can be read",
            url=url,
            expected="metadata and chunks as the specification has them",
            actual=f"{type(error).__name__}: {ascii(str(error))[:200]}",
            remedy="restore the Zarr, or write it again with the program it comes from",
        ) from error


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
    with decoding(url):
        part: np.ndarray[Any, Any] = np.asarray(node[forward])[back]
    part = part.reshape(chosen.shape)
    return part if part.base is None or not isinstance(node, np.ndarray) else part.copy()


def _forward(along: range, offset: int) -> slice:
    if not along:
        return slice(0, 0)
    low, high = ends(along)
    return slice(offset + low, offset + high + 1, abs(along.step))


def own_copy(held: Any) -> Any:
    """What a reader gets of a node or array that is held for others: nothing done to it changes that one."""
    if isinstance(held, np.ndarray):
        view = held.view()
        view.flags.writeable = False
        return view
    return copy.deepcopy(held)  # of an array or group the metadata alone


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
