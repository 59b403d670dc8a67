"""A published part, read as an array of its own."""

from __future__ import annotations

from typing import Any

import zarr
from zarr.storage import StorePath

from cpr.zarr.nodes import with_typed_errors
from cpr.zarr.options import unit_of
from cpr.zarr.parts.regions import Bounds
from cpr.zarr.reading import open_node
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.part import VerifyingPartStore
from cpr.zarr.stores.verifying import VerifyingStore

__all__ = ["open_part"]


def open_part(manifest: Manifest, bounds: Bounds) -> zarr.Array[Any]:
    """A part in full resolution, lazily; every object that is read is checked.

    Args:
        manifest: of the part.
        bounds: its region.

    Raises as `open_node`.
    """
    path = "0" if manifest.find("0/zarr.json") is not None else ""
    is_old = manifest.find(f"{path}/zarr.json".strip("/")) is None
    array = open_node(VerifyingStore.of(manifest), path, zarr_format=2 if is_old else 3)
    assert isinstance(array, zarr.Array)
    corner = tuple(start // max(1, u) for (start, _), u in zip(bounds, unit_of(array), strict=True))
    store = VerifyingPartStore(
        manifest.url, manifest.nbytes, manifest.checksum, manifest.data, manifest.place, {path: corner}
    )
    metadata = {**array.metadata.to_dict(), "shape": tuple(stop - start for start, stop in bounds)}
    own: zarr.Array[Any] = zarr.Array(zarr.AsyncArray.from_dict(StorePath(store, path), metadata))
    return with_typed_errors(own)  # type: ignore[no-any-return]
