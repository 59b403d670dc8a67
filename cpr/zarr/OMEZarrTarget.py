"""Targets that store images as OME-Zarr: a pyramid of resolutions, with labels."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np
import zarr

from cpr.data.argument_types import OMEZarrTargetArguments, Path
from cpr.data.array_layout import ArrayLayout
from cpr.errors import FormatError, NoDataError, RecordError
from cpr.format import Region
from cpr.previews.models import Preview
from cpr.records.registry import register
from cpr.zarr.chunking import as_declared, declared_source, source_of
from cpr.zarr.find_earlier_result import nbytes_of
from cpr.zarr.folder import Folder
from cpr.zarr.ome.axes import checked_axes, stored_axes
from cpr.zarr.ome.axis_order import transposed
from cpr.zarr.ome.chunking import kept_axes, level_chunks
from cpr.zarr.ome.extremes import Extremes
from cpr.zarr.ome.image import OMEZarr
from cpr.zarr.ome.metadata import (
    VERSION,
    Description,
    image_label,
    label_dtype,
)
from cpr.zarr.ome.options import OMEZarrOptions
from cpr.zarr.ome.pyramid_plan import create_levels, describe, extremes_of, halved_axes, image_metadata
from cpr.zarr.options import option_error
from cpr.zarr.parts.resumed import can_resume
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.typed_error_nodes import Node
from cpr.zarr.writing import fill
from cpr.zarr.zarr_internals import sync
from cpr.zarr.ZarrTarget import ZarrTarget

if TYPE_CHECKING:
    from cpr.zarr.ZarrRegion import ZarrRegion

__all__ = ["OMEZarrTarget"]

_ADD = 'add_labels("nuclei", mask)'
_NAME = re.compile(r"(?!__)(?!\.+$)(?!(?i:zarr\.json)$)[A-Za-z0-9._-]+")


@register
class OMEZarrTarget(OMEZarr, ZarrTarget):
    """An image stored as OME-Zarr 0.5, as one result: all resolutions, physical sizes, channels, labels.

    Everything is written at once, each pixel passing once: the levels are made while the data is at hand,
    by the workers of a dask array where it is one, and published by one manifest, as a `ZarrTarget`'s
    objects are. Napari, Fiji and others open the URL as any OME-Zarr.
    Options of `from_path`: see `cpr.zarr.ome.options.OMEZarrOptions`.

    >>> target = cpr.OMEZarrTarget.from_path(
    ...     "memory://doc/cells.ome.zarr", metadata={"axes": "CYX", "unit": "micron"}, resolution=(4, 4)
    ... )
    >>> target.set_data(np.full((2, 600, 400), 7, "uint16"))
    >>> target.add_labels("nuclei", np.ones((600, 400), "uint8"), colors={1: "green"})
    >>> image = cpr.load(target.serialize())
    >>> [(level.shape, level.scale) for level in image.levels()]
    [((2, 600, 400), (1.0, 0.25, 0.25)), ((2, 300, 200), (1.0, 0.5, 0.5)), ((2, 150, 100), (1.0, 1.0, 1.0))]
    >>> image.get_data(region=np.s_[1, :2, 0], level=2)
    array([7, 7], dtype=uint16)
    >>> image.labels()["nuclei"].levels[0].data.shape
    (600, 400)
    """

    # It has the options of arrays, and is none.
    format_class = OMEZarrOptions  # type: ignore[assignment]

    if TYPE_CHECKING:

        @classmethod
        def from_path(cls, path: Path, **options: Unpack[OMEZarrTargetArguments]) -> Self: ...  # type: ignore[override]

    _description: Description | None = None  # of an image that is not persisted yet
    _axes_given: str | None = None  # of its data, where they are stored in another order

    def set_data(
        self,
        data: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        *,
        axes: str | None = None,
    ) -> None:
        """Write an image in all its resolutions; it becomes a result when the target is persisted.

        In a task with a cache key a dask array of several blocks, and from 256 MiB on whatever can be sliced,
        is written in parts: the same run, run again after a kill or an error, writes and computes what is
        missing.

        Args:
            data: a numpy array; a dask array, which its workers write (blocks that are not whole chunks are
                rechunked); a zarr array, memmap or other lazy array; or an iterable of planes or slabs in C
                order, of which as many as one chunk is deep, or 16 MiB, are in memory with their levels.
            shape: of the whole array, with an iterable.
            dtype: of every element, with an iterable.
            axes: of the data, in any order, such as ImageJ's "TZCYX"; by default those of the metadata.
                Data whose axes are in another order than they are stored in is reordered while it passes; of
                an iterable, the planes behind the first axis that moves are then in memory together.

        Raises:
            EncodeError: axes, channels or options do not fit the data, or Zarr cannot hold it.
            TransferError, ResourceNotFoundError: it could not be written. What was written of it is removed,
                unless the same run can go on with it.
        """
        with self._lock, self._decoding():
            options: OMEZarrOptions = self.format
            source = declared_source(options, data, shape, dtype)
            native = np.dtype(source.dtype).newbyteorder("=")
            known = options.known()
            given = checked_axes(axes or self._axes_given or known.axes, source.shape, native)
            source, axes = _as_stored(source, given)
            description = describe(options, options.name or self.get_name(), axes, tuple(source.shape))
            cut_as = as_declared(options, source)
            if self._written is None and can_resume(source, nbytes_of(source)):
                cuts = level_chunks(options.zarr(), cut_as, native, axes, description.shapes)
                metadata = {**(options.metadata or {}), "axes": axes}
                self._resume(
                    source, metadata=metadata, **dict(zip(("chunks", "shards"), next(cuts), strict=True))
                )
            else:
                extremes = extremes_of(description)
                with self._attempt(nbytes_of(source)) as store:
                    group = zarr.create_group(store, attributes=dict(options.attributes or {}))
                    self._write(group, description, source, native, extremes, of=cut_as)
                    group.update_attributes({"ome": image_metadata(options, description, native, extremes)})
            self._description, self.array_layout = description, ArrayLayout.of(source)
            if known.axes is not None and known.axes != axes:
                # What the target says of itself is what is stored; the same data may come once more.
                self._axes_given = self._axes_given or known.axes
                metadata = {**(options.metadata or {}), "axes": axes}
                self.format = dataclasses.replace(options, metadata=metadata)

    def add_labels(
        self,
        name: str,
        data: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        *,
        axes: str | None = None,
        colors: Mapping[int, Any] | None = None,
        properties: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> None:
        """Write labels beside the image, in as many resolutions; possible until the target is persisted.

        Args:
            name: of the labels: letters, digits, `.`, `_` and `-`.
            data: integers, 0 for what is no object, or a bool mask, stored as 0 and 1; as for `set_data`.
            shape: of the whole array, with an iterable.
            dtype: of every element, with an iterable.
            axes: of the labels, in any order; by default those of the image as it is stored, without C
                where there is one axis less. Each is as long as the image's, or 1.
            colors: label -> "RRGGBB", a name, or (red, green, blue, alpha) of 0 to 255.
            properties: label -> dict of JSON values.

        Raises:
            EncodeError: there is no image yet, the labels do not fit it, or are no integers.
            FormatError: a name, color or property that is none.
            TransferError: it could not be written. What was written of it is removed, the image stays.
        """
        with self._lock, self._decoding():
            image, store = self._description, self._written
            if self.checksum is not None:
                raise _closed(self.url)
            if image is None or store is None:
                raise NoDataError.of_empty(self.url, "have labels")
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise option_error("name", "letters, digits, '.', '_' and '-'", name, _ADD)
            if axes is not None and not isinstance(axes, str):
                raise option_error("axes", "a letter for each axis", axes, 'add_labels("n", mask, axes="YX")')
            group = zarr.open_group(store, mode="r+", zarr_format=3)
            names: list[str] = []
            if "labels" in group:
                names = list(group["labels"].attrs["ome"]["labels"])  # type: ignore[index, call-overload, arg-type]
            if name.lower() in [other.lower() for other in names]:
                raise option_error("name", f"another name than {', '.join(names)}", name, _ADD)
            source = source_of(data, shape, dtype)
            native = label_dtype(np.dtype(source.dtype).newbyteorder("="))
            given = axes or image.axes_of_labels(len(source.shape))
            source, stored = _as_stored(source, given)
            description = image.of_labels(name, stored, tuple(source.shape))
            label = image_label(colors, properties)
            kept = kept_axes(self.format, [image.axes.index(letter) for letter in description.axes])
            try:
                folder = group.require_group("labels")
                labels = folder.create_group(name)
                self._write(labels, description, source, native, None, **kept, fill_value=None)
                ome = {"version": VERSION, "multiscales": description.multiscales(), "image-label": label}
                labels.update_attributes({"ome": ome})
                folder.update_attributes(_listed([*names, name]))
                manifest = Manifest.of(store.url, store.entries, store.algorithm)
            except BaseException:
                sync(store.delete_dir(f"labels/{name}" if names else "labels"))
                if names:
                    folder.update_attributes(_listed(names))
                raise
            self._cached = None
            self._take_manifest(manifest)

    def _write(
        self,
        group: zarr.Group,
        description: Description,
        source: Any,
        dtype: np.dtype[Any],
        extremes: Extremes | None,
        of: Any = None,
        **changes: Any,
    ) -> None:
        """Write all levels of an image, as arrays of a group.

        `of` is what chunks are taken from, if not the source; `changes` are other options than the image's.
        """
        options = self.format.zarr(**changes)
        arrays = create_levels(group, options, description, source if of is None else of, dtype)
        fill(arrays, source, halved_axes(self.format, description.axes), description.method, extremes)

    def _forget(self) -> None:
        super()._forget()
        self._description = None

    def _set_format(self, **changes: Any) -> None:
        if self._written is not None:
            raise _closed(self.url)
        self._axes_given = None
        super()._set_format(**changes)

    def create(self) -> zarr.Group:
        """Not available for images: raises FormatError."""
        raise FormatError(
            "an OME-Zarr image is written by set_data and add_labels",
            url=self.url,
            expected="set_data(array)",
            actual="create()",
            remedy="use a ZarrTarget for a hierarchy of your own",
        )

    def region(  # type: ignore[override]
        self, region: Region, level: int = 0, labels: str | None = None
    ) -> ZarrRegion:
        """A region of a level of the image, or of its labels; see `ZarrTarget.region`.

        Args:
            region: slices without steps, and integers, in the order of the axes as they are stored.
            level: of the pyramid; 0 is the full resolution, -1 the smallest.
            labels: the name of labels, of which it is then.

        Raises FormatError for labels or a level that the image does not have, and as `ZarrTarget.region`.

        >>> image = cpr.OMEZarrTarget.from_path("memory://doc/region.ome.zarr", metadata={"axes": "CYX"})
        >>> image.set_data(np.ones((2, 600, 400), "uint16"))
        >>> image.region(np.s_[1], level=1).shape
        (300, 200)
        """
        self.persist()
        return super().region(region, self._level(self._root(), level, labels).data.path)

    def preview(self) -> Preview | None:
        """A thumbnail from the smallest level that is large enough; None for an empty target.

        Raises as `get_data`.
        """
        return None if self._key is None else super().preview()

    def _known(self) -> bool:
        return True

    def _opened(self) -> Node:
        return self._open()

    _token = Folder._token  # noqa: SLF001 - the other base declares it


def _as_stored(source: Any, axes: str) -> tuple[Any, str]:
    """Reorder the axes of the data for storing; returns the data and its new axes."""
    stored = stored_axes(axes.upper())
    if len(axes) != len(source.shape):
        return source, stored  # which is refused as labels that do not fit their image
    return transposed(source, [axes.upper().index(letter) for letter in stored]), stored


def _listed(names: list[str]) -> dict[str, Any]:
    return {"ome": {"version": VERSION, "labels": names}}


def _closed(url: str) -> RecordError:
    return RecordError(
        "a stored image is never changed",
        url=url,
        expected="metadata before set_data(), labels before persist()",
        actual="an image that is written",
        remedy="make a new target with these and set its data",
    )
