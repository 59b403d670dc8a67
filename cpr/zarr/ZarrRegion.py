"""A region of a stored Zarr as input of tasks; its cache key counts only the chunks that it touches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import zarr

from cpr.data.regions import Selection
from cpr.errors import CorruptDataError, FormatError, spelled
from cpr.format import Region
from cpr.io.hashing import hex16
from cpr.records.registry import register
from cpr.zarr.folder import Folder
from cpr.zarr.full_check import verify_some
from cpr.zarr.options import Shape
from cpr.zarr.part_of_result import Excerpt
from cpr.zarr.parts.regions import Bounds, bounds_of, shown, slices_of
from cpr.zarr.reading import open_node, part_of, to_dask
from cpr.zarr.regions.content import content_of, keys_of
from cpr.zarr.regions.options import EXAMPLE, RegionOptions
from cpr.zarr.typed_error_nodes import own_copy

__all__ = ["ZarrRegion"]


@register
class ZarrRegion(Excerpt):
    """A region of a stored array or image that counts in cache keys without the rest of it.

    `target.region(np.s_[:, 1])` gives it, of a `ZarrTarget` or `OMEZarrTarget`. A task that takes it runs
    again if a chunk (of a sharded array, a shard) that the region touches changes, or what decides how chunks
    are read: dtype, codecs, fill value, chunk shape. Nothing else counts: other chunks, the array's shape
    beyond the region, attributes, names of axes, an image's display ranges and pixel size. If a task needs
    one of these, pass it as another argument. The same elements under another name or at another location
    are another region, as with all results.

    It is a value of a few hundred bytes, which travels to workers and is returned by tasks as any result is.
    While a record of it is kept, `cpr gc` keeps the whole.

    Attributes:
        data_hash: of the objects that the region touches, and how they are read.
        checksum: of the manifest of the whole, which vouches for every object.
        nbytes: of all that is stored of the whole.
        region: (start, stop) along each axis of the array.

    >>> image = cpr.ZarrTarget.from_path("memory://doc/two.zarr", chunks=(1, 64, 64))
    >>> image.set_data(np.stack([np.full((64, 64), n, "uint16") for n in (3, 7)]))
    >>> second = image.region(np.s_[1, :2])
    >>> second.shape, second.dtype
    ((2, 64), dtype('uint16'))
    >>> cpr.load(second.serialize()).get_data()[:, 0]
    array([7, 7], dtype=uint16)
    """

    format_class = RegionOptions

    @classmethod
    def of(cls, whole: Folder, region: Region, path: str = "") -> Self:
        """A region of an array of a result that is stored. Raises as `ZarrTarget.region`."""
        found = cls._within(whole, RegionOptions(path=path))
        array = found._array()  # noqa: SLF001 - of this class
        bounds, dropped = bounds_of(region, array.shape, EXAMPLE)
        dtype = array.dtype.str if array.dtype.kind in "biufcSU" else None
        format: Any = RegionOptions(path, bounds, dropped, dtype)  # encodes nothing by itself
        found.format = format
        found._compare(array)  # noqa: SLF001
        return found

    @property
    def region(self) -> Bounds:
        """Start and stop along each axis of the array."""
        bounds: Bounds = self.format.region
        return bounds

    @property
    def path(self) -> str:
        """Path of the array in the hierarchy."""
        path: str = self.format.path
        return path

    @property
    def shape(self) -> Shape:
        """Shape of the data."""
        return tuple(
            stop - start
            for (start, stop), drop in zip(self.region, self.format.dropped, strict=True)
            if not drop
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the elements; no I/O for numbers, booleans and fixed-length text."""
        return self._array().dtype if self.format.dtype is None else np.dtype(self.format.dtype)

    def get_data(self, cache: bool = False, region: Region | None = None) -> Any:
        """The elements as numpy; every object that is read is verified.

        Args:
            cache: hold them until this object goes away; they are read-only then.
            region: read only this part of the region.

        Raises:
            FormatError: no part of the region.
            ResourceNotFoundError: the result is gone.
            CorruptDataError: an object is not the one that was written.
            TransferError: the store refused or failed.
        """
        chosen = Selection.of(() if region is None else region, self.shape)
        if self._cached is not None:
            return own_copy(self._cached)[chosen.index]
        data = part_of(self._compared(), tuple(self._all_axes(chosen)), self.url, slices_of(self.region))
        if not cache or region is not None:
            return data
        self._cached = data
        return own_copy(data)

    def get_dask(self) -> Any:
        """The elements as a dask array, a block for each object (chunk or shard); nothing is read yet.

        Raises MissingDependencyError without dask, and as `get_data`.
        """
        lazy = to_dask(
            self._compared(), f"cpr-{hex16(f'{self.url} {self.checksum} {self.path}'.encode())}", self.url
        )
        where = zip(self.region, self.format.dropped, strict=True)
        return lazy[tuple(start if drop else slice(start, stop) for (start, stop), drop in where)]

    def _all_axes(self, chosen: Selection) -> Iterator[int | slice]:
        kept = iter(chosen.index)
        yield from (0 if drop else next(kept) for drop in self.format.dropped)

    def _open(self) -> Any:
        store = self._store()
        is_old = store.manifest.find(f"{self.path}/zarr.json".strip("/")) is None
        return open_node(store, self.path, zarr_format=2 if is_old else 3)

    def _compared(self) -> zarr.Array[Any]:
        array = self._array()
        if not self._is_compared:
            self._compare(array)
        return array

    def _compare(self, array: zarr.Array[Any]) -> None:
        store = self._store()
        self._require_objects(self._named(content_of(array, self.region, store), store.manifest.algorithm))

    def _array(self) -> zarr.Array[Any]:
        array = self._open()
        if not isinstance(array, zarr.Array):
            raise FormatError(
                "a group has no regions",
                url=self.url,
                field="path",
                expected="the path of an array",
                actual=spelled(self.path),
                remedy="name an array: target.region(np.s_[:, 1], path='measured/raw')",
            )
        if self.region and (
            len(self.region) != array.ndim
            or any(stop > extent for (_, stop), extent in zip(self.region, array.shape, strict=True))
        ):
            raise CorruptDataError(
                "the array does not have this region",
                url=self.url,
                expected=shown(self.region),
                actual=f"shape {array.shape}",
                remedy="delete the record, so that its task runs again",
            )
        return array

    def verify(self) -> int:
        """Fetch and check every object that the region touches, in parallel; returns how many there are.

        Raises ResourceNotFoundError, CorruptDataError and TransferError, as `ZarrTarget.verify`.
        """
        store, array = self._store(), self._array()
        self._compare(array)
        keys = list(keys_of(array, self.region, store.manifest))
        verify_some(store, keys)
        return len(keys)

    def facts(self) -> dict[str, Any]:
        """Summary for people, without asking the store."""
        known = {"shape": " x ".join(map(str, self.shape)), "path": self.path or None}
        known = {name: value for name, value in known.items() if value}
        return {**super().facts(), **known, "region": shown(self.region)}

    def __repr__(self) -> str:
        inside = f", path={self.path!r}" if self.path else ""
        return f"ZarrRegion({self.url!r}, {shown(self.region)}{inside})"
