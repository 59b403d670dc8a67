"""Lazy dask arrays of images, with a chunk for each plane."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from cpr.data.lazy_arrays import dask_array
from cpr.io.hashing import hex16
from cpr.Resource import Resource

__all__ = ["lazy_planes"]


def lazy_planes(
    resource: Resource,
    identity: Mapping[str, Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    plane_ndim: int,
) -> Any:
    """A dask array over a resource, in which each plane (its last axes) is one chunk."""
    da = dask_array(resource.url)
    leading = max(0, len(shape) - plane_ndim)
    chunks = (*((1,) * extent for extent in shape[:leading]), *((extent,) for extent in shape[leading:]))

    def plane(block_info: Any = None) -> np.ndarray[Any, Any]:
        location = block_info[None]["array-location"]
        region = tuple(slice(start, stop) for start, stop in location)
        part: np.ndarray[Any, Any] = resource.get_data(region=region)
        return part

    return da.map_blocks(
        plane,
        chunks=chunks,
        dtype=dtype,
        meta=np.empty((0,) * len(shape), dtype),
        name=f"cpr-{hex16(json.dumps(identity, sort_keys=True).encode())}",
    )
