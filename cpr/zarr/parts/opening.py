"""Opens a published part as an array of its own."""

from __future__ import annotations

from typing import Any

import zarr
from zarr.storage import StorePath

from cpr.errors import RecordError
from cpr.zarr.options import unit_of
from cpr.zarr.parts.regions import Bounds, shown
from cpr.zarr.reading import open_node
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.part_store import VerifyingPartStore
from cpr.zarr.stores.verifying_store import VerifyingStore
from cpr.zarr.typed_error_nodes import with_typed_errors

__all__ = ["open_part"]


def open_part(manifest: Manifest, bounds: Bounds) -> zarr.Array[Any]:
    """Open a part in full resolution, lazily; every object that is read is verified.

    Args:
        manifest: of the part.
        bounds: its region.

    Raises RecordError for a region that the array does not have, else as `open_node`.
    """
    path = "0" if manifest.find("0/zarr.json") is not None else ""
    is_old = manifest.find(f"{path}/zarr.json".strip("/")) is None
    array = open_node(VerifyingStore.of(manifest), path, zarr_format=2 if is_old else 3)
    if not isinstance(array, zarr.Array) or not _is_inside(bounds, array.shape):
        shape = array.shape if isinstance(array, zarr.Array) else "a group"
        raise RecordError(
            "this is no part of that array",
            url=manifest.url,
            field="region",
            expected=f"a region of {shape}",
            actual=shown(bounds)[:200],
            remedy=RecordError.NOT_OURS,
        )
    corner = tuple(start // max(1, u) for (start, _), u in zip(bounds, unit_of(array), strict=True))
    store = VerifyingPartStore(
        manifest.url, manifest.nbytes, manifest.checksum, manifest.data, manifest.place, {path: corner}
    )
    metadata = {**array.metadata.to_dict(), "shape": tuple(stop - start for start, stop in bounds)}
    own: zarr.Array[Any] = zarr.Array(zarr.AsyncArray.from_dict(StorePath(store, path), metadata))
    return with_typed_errors(own)  # type: ignore[no-any-return]


def _is_inside(bounds: Bounds, shape: tuple[int, ...]) -> bool:
    return len(bounds) == len(shape) and all(
        0 <= start < stop <= extent for (start, stop), extent in zip(bounds, shape, strict=True)
    )
