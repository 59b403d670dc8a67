"""The layout that all parts of an array or image share: everything but the pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from zarr.buffer import default_buffer_prototype
from zarr.storage import MemoryStore, StorePath

from cpr.errors import EncodeError, UsageError
from cpr.zarr.chunking import Declared, as_encode_errors, chunks_for
from cpr.zarr.ome.axes import checked_axes, stored_axes
from cpr.zarr.ome.downsample import Method
from cpr.zarr.ome.extremes import Extremes
from cpr.zarr.ome.metadata import Description
from cpr.zarr.ome.options import OMEZarrOptions
from cpr.zarr.ome.pyramid_plan import create_levels, describe, extremes_of, halved_axes
from cpr.zarr.options import Shape, ZarrOptions, array_arguments, unit_of
from cpr.zarr.parts.regions import Bounds
from cpr.zarr.stores.recording_store import RecordingStore
from cpr.zarr.zarr_internals import sync

__all__ = ["Layout", "Plan", "array_on", "layout_of"]


@dataclass(frozen=True)
class Plan:
    """The layout of one array of the whole.

    Attributes:
        path: in the hierarchy.
        shape: of the array.
        unit: of one object, a chunk or a shard.
        metadata: zarr's.
        is_sharded: whether its objects are shards.
    """

    path: str
    shape: Shape
    unit: Shape
    metadata: Mapping[str, Any]
    is_sharded: bool

    @property
    def grid(self) -> Shape:
        """Number of objects along each axis."""
        return tuple(-(-n // u) for n, u in zip(self.shape, self.unit, strict=True))

    def cells(self, bounds: Bounds) -> tuple[Any, ...]:
        """As `objects`, as an index into an array with the grid's shape; also for zero dimensions."""
        return (*self.objects(bounds), ...)

    def objects(self, bounds: Bounds) -> tuple[slice, ...]:
        """The grid range of the objects in a region that consists of whole objects."""
        return tuple(slice(a // u, -(-b // u)) for (a, b), u in zip(bounds, self.unit, strict=True))

    def numbers(self, key: str) -> tuple[int, ...] | None:
        """Grid position of the object with a key; None if it is not an object of this array."""
        folder = f"{self.path}/" if self.path else ""
        rest = key.removeprefix(folder)
        if not key.startswith(folder) or not rest[-1:].isdigit():
            return () if not self.shape and rest == "c" else None
        numbers = rest.removeprefix("c/").split("/")
        if len(numbers) != max(1, len(self.shape)) or not all(n.isdigit() for n in numbers):
            return None
        return tuple(int(n) for n in numbers)[: len(self.shape)]

    def is_whole(self, bounds: Bounds) -> bool:
        """Whether a region consists of whole objects."""
        return all(
            at % u == 0 or at == n
            for along, u, n in zip(bounds, self.unit, self.shape, strict=True)
            for at in along
        )


@dataclass(frozen=True)
class Layout:
    """The layout that the parts of a whole share.

    Attributes:
        plans: of the array, or of all levels of an image.
        documents: the arrays' metadata as they are stored, by key.
        dtype: of the elements.
        order: the axes of the data, in the order in which they are stored.
        halved: the axes that are halved from level to level.
        description: of an image.
    """

    plans: tuple[Plan, ...]
    documents: Mapping[str, bytes]
    dtype: np.dtype[Any]
    order: tuple[int, ...]
    halved: tuple[int, ...] = ()
    description: Description | None = None

    @property
    def full(self) -> Plan:
        """The array, or the full resolution of an image."""
        return self.plans[0]

    def shares(self, bounds: Bounds) -> Iterator[Bounds]:
        """The region of each level that a part writes: levels for which it has whole objects and pairs.

        Args:
            bounds: of the part, in the full resolution.
        """
        before = self.full
        yield bounds
        for plan in self.plans[1:]:
            share = []
            for axis, ((start, stop), extent) in enumerate(zip(bounds, before.shape, strict=True)):
                if axis not in self.halved or extent == 1:
                    share.append((start, stop))
                elif start % 2 or (stop % 2 and stop != extent):
                    return
                else:
                    share.append((start // 2, -(-stop // 2)))
            bounds = tuple(share)
            if not plan.is_whole(bounds):
                return
            yield bounds
            before = plan

    @property
    def method(self) -> Method:
        """The method of downsampling."""
        return "mean" if self.description is None else self.description.method

    def extremes(self, bounds: Bounds | None = None) -> Extremes | None:
        """A collector for the value range of each channel, of the whole or of a part; None for an array."""
        if self.description is None:
            return None
        axes = self.description.axes
        if bounds is None or "C" not in axes:
            return extremes_of(self.description)
        axis = axes.index("C")
        return Extremes(axis, bounds[axis][1] - bounds[axis][0])


def array_on(store: RecordingStore, plan: Plan, shape: Shape) -> zarr.Array[Any]:
    """Make an array with given chunks, codecs and shape on a store, without any I/O."""
    if plan.is_sharded:
        store.shards_below(plan.path)
    metadata = {**plan.metadata, "shape": shape}
    return zarr.Array(zarr.AsyncArray.from_dict(StorePath(store, plan.path), metadata))


def layout_of(options: ZarrOptions | OMEZarrOptions, name: str) -> Layout:
    """Compute the layout from options.

    Args:
        options: with shape and dtype.
        name: of the target, which an image has if it has no other.

    Raises EncodeError where shape or dtype lack, and for options that do not fit them.
    """
    if not isinstance(options, (ZarrOptions, OMEZarrOptions)):
        raise UsageError(
            "a plate is not written in parts",
            expected='plate.set_data({("A", 1): [image]})',
            actual="a part of a plate",
            remedy="the images of its wells are results of their own, and may be written in parts",
        )
    if options.shape is None or options.dtype is None:
        raise EncodeError(
            "an array that is written in parts is declared beforehand",
            field="shape, dtype",
            expected="shape and dtype of the whole",
            actual=f"shape {options.shape}, dtype {options.dtype}",
            remedy="from_path(url, shape=(200, 2048, 2048), dtype='uint16', chunks=(1, 1024, 1024))",
        )
    store, dtype = MemoryStore(), np.dtype(options.dtype)
    if isinstance(options, ZarrOptions):
        declared = Declared(options.shape, dtype)
        with as_encode_errors():
            arguments = array_arguments(options, *declared, *chunks_for(options, declared, dtype))
            arrays = [zarr.create_array(store, **arguments)]
        return Layout(_plans(arrays), _documents(store, arrays), dtype, tuple(range(len(options.shape))))
    axes = checked_axes(options.known().axes, options.shape, dtype)
    stored = stored_axes(axes)
    order = tuple(axes.index(letter) for letter in stored)
    declared = Declared(tuple(options.shape[axis] for axis in order), dtype)
    description = describe(options, options.name or name, stored, declared.shape)
    arrays = create_levels(zarr.create_group(store), options.zarr(), description, declared, dtype)
    halved = tuple(halved_axes(options, stored))
    return Layout(_plans(arrays), _documents(store, arrays), dtype, order, halved, description)


def _plans(arrays: list[zarr.Array[Any]]) -> tuple[Plan, ...]:
    return tuple(
        Plan(
            array.path,
            tuple(array.shape),
            tuple(max(1, n) for n in unit_of(array)),
            array.metadata.to_dict(),
            array.shards is not None,
        )
        for array in arrays
    )


def _documents(store: MemoryStore, arrays: list[zarr.Array[Any]]) -> dict[str, bytes]:
    """The metadata documents that zarr wrote for these arrays."""
    found = {}
    for array in arrays:
        for name in ("zarr.json", ".zarray", ".zattrs"):
            key = f"{array.path}/{name}".strip("/")
            value = sync(store.get(key, default_buffer_prototype()))
            if value is not None:
                found[key] = value.to_bytes()
    return found
