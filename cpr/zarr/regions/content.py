"""The content of a region for cache keys: digests of the objects it touches, and how they are decoded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import zarr
from zarr.buffer import default_buffer_prototype

from cpr.io.outside_json import read_json
from cpr.zarr.options import unit_of
from cpr.zarr.parts.regions import Bounds
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.verifying_store import VerifyingStore
from cpr.zarr.zarr_internals import sync

__all__ = ["content_of", "keys_of"]

# Of the metadata, what no element of a region depends on: other regions of the array may come and go, and
# names and notes are not part of what a region gives. All else counts, known or not.
_NOT_CONTENT = ("shape", "attributes", "dimension_names")
_NUMBER = re.compile(r"\d+")


def keys_of(array: zarr.Array[Any], bounds: Bounds, manifest: Manifest) -> Iterator[str]:
    """The keys of the stored objects that a region touches."""
    folder = f"{array.path}/" if array.path else ""
    along = [
        range(start // unit, -(-stop // unit))
        for (start, stop), unit in zip(bounds, unit_of(array), strict=True)
    ]
    encode = array.metadata.encode_chunk_key
    if math.prod(map(len, along)) <= manifest.objects:
        keys = (folder + encode(numbers) for numbers in product(*along))
        yield from (key for key in keys if manifest.find(key) is not None)
        return
    # Of an array with many more chunks than objects, the objects are looked through.
    for key in manifest.keys(folder):
        if not key.startswith(folder):
            return
        rest = key[len(folder) :]
        numbers = tuple(map(int, _NUMBER.findall(rest)))[-len(along) :] if along else ()
        is_chunk = len(numbers) == len(along) and rest == encode(numbers)
        if is_chunk and all(n in some for n, some in zip(numbers, along, strict=True)):
            yield key


def content_of(array: zarr.Array[Any], bounds: Bounds, store: VerifyingStore) -> dict[str, Any]:
    """JSON values that change whenever an element of the region changes.

    The digests of the objects that the region touches, and the array's metadata without what lies
    outside of it. An object that is not stored holds the fill value, which the metadata have.

    Args:
        array: as the store has it.
        bounds: of the region.
        store: with the manifest.

    Raises CorruptDataError, ResourceNotFoundError and TransferError.
    """
    manifest = store.manifest
    name = "zarr.json" if array.metadata.zarr_format == 3 else ".zarray"
    key = f"{array.path}/{name}".strip("/")
    document = sync(store.get(key, default_buffer_prototype()))
    assert document is not None  # it was opened
    metadata = read_json(document.to_bytes(), strict=False)
    about = {name: value for name, value in metadata.items() if name not in _NOT_CONTENT}
    objects = []
    for key in sorted(keys_of(array, bounds, manifest)):
        found = manifest.find(key)
        assert found is not None
        objects.append([key, found[0].size, found[0].digest.hex()])
    said = {"array": array.path, "region": bounds, "metadata": about, "objects": objects}
    return {**said, "algorithm": manifest.algorithm}
