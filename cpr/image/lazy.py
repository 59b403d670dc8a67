"""Images as lazy arrays of planes."""

from __future__ import annotations

from typing import Any

import numpy as np

from cpr.errors import MissingDependencyError
from cpr.Resource import Resource

__all__ = ["lazy_planes"]


def lazy_planes(resource: Resource, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """A dask array over a resource; every plane (the last two axes, or three with colours) is a chunk."""
    try:
        import dask.array
    except ImportError:
        raise MissingDependencyError(
            "get_dask needs dask",
            url=resource.url,
            expected="the package dask",
            actual="it is not installed",
            remedy='pip install "prefect-cpr[dask]"',
        ) from None
    colours = len(shape) > 2 and shape[-1] in {3, 4}
    page = min(len(shape), 3 if colours else 2)
    leading = len(shape) - page
    chunks = (*((1,) * extent for extent in shape[:leading]), *((extent,) for extent in shape[leading:]))

    def plane(block_info: Any = None) -> np.ndarray[Any, Any]:
        location = block_info[None]["array-location"]
        region = tuple(slice(start, stop) for start, stop in location)
        part: np.ndarray[Any, Any] = resource.get_data(region=region)
        return part

    return dask.array.map_blocks(  # type: ignore[no-untyped-call]
        plane,
        chunks=chunks,
        dtype=dtype,
        meta=np.empty((0,) * len(shape), dtype),
        name=f"cpr-{dask.base.tokenize(resource.identity())}",
    )
