"""Targets that store plates of wells as OME-Zarr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

import zarr

from cpr import io
from cpr.data.argument_types import OMEPlateTargetArguments, Path
from cpr.errors import FormatError, PartError, UsageError
from cpr.io.parallel_map import parallel_map
from cpr.previews.models import Preview
from cpr.records.pack import persist_all
from cpr.records.registry import register
from cpr.zarr.copy import copy_objects
from cpr.zarr.OMEZarrField import OMEZarrField
from cpr.zarr.OMEZarrTarget import OMEZarrTarget
from cpr.zarr.plates.layout import OMEPlateOptions, Place, placed, plate_metadata, well_metadata
from cpr.zarr.plates.plate import OMEPlate
from cpr.zarr.stores.chunk_verification import corrupt
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.manifest_entries import Entries
from cpr.zarr.ZarrTarget import ZarrTarget

__all__ = ["OMEPlateTarget"]

_AT_ONCE = 4  # images


@register
class OMEPlateTarget(OMEPlate, ZarrTarget):
    """A plate stored as OME-Zarr 0.5: the images of its wells, and the metadata that arranges them.

    The images are results of their own, `OMEZarrTarget`s that tasks return and that are cached one by one.
    The plate copies their objects, inside the store where it can, so that either stays whole without the
    other; no pixel is decoded. Napari and others open the URL as any plate.
    Options of `from_path`: see `cpr.zarr.plates.layout.OMEPlateOptions`.

    >>> image = cpr.OMEZarrTarget.from_path("memory://doc/b3.ome.zarr")
    >>> image.set_data(np.full((64, 64), 7, "uint16"))
    >>> plate = cpr.OMEPlateTarget.from_path("memory://doc/plate.ome.zarr", rows=8, columns=12)
    >>> plate.set_data({("B", 3): [image]}, fill=True)
    >>> plate = cpr.load(plate.serialize())
    >>> plate.wells()
    (('B', '3'),)
    >>> plate["B", 3][0].get_data(level=0)[0, 0]
    array(7, dtype=uint16)
    """

    # It has the options of arrays, and is none.
    format_class = OMEPlateOptions  # type: ignore[assignment]

    if TYPE_CHECKING:

        @classmethod
        def from_path(cls, path: Path, **options: Unpack[OMEPlateTargetArguments]) -> Self: ...  # type: ignore[override]

    def set_data(self, wells: Mapping[Any, Any], *, fill: bool = False) -> None:  # type: ignore[override]
        """Write a plate of images; it becomes a result when the target is persisted.

        Args:
            wells: (row, column), or "B3", -> an `OMEZarrTarget`, or a list of those, one for each field; or
                {id of the acquisition: such a list}. Those that are not persisted yet are.
            fill: let wells of the plate be empty; without it a well that is missing is an error.

        Raises:
            PartError: wells are missing, given twice or not on the plate; or acquisitions, likewise.
            UsageError: something that is no `OMEZarrTarget`.
            ResourceNotFoundError: an image was deleted.
            CorruptDataError: an object of an image is not the one that was written.
            TransferError: the plate could not be written; partial data is removed.
        """
        with self._lock, self._decoding():
            options, places = placed(self.format, wells, self.url, fill)
            for place in places:
                _require_image(place, self.url)
            persist_all(place.image for place in places)
            manifests = list(parallel_map(_manifest_of, places, _AT_ONCE))
            _require_one_algorithm(places, manifests, self.url)
            with self._attempt(0) as store:
                store.algorithm = manifests[0].algorithm

                def copy(pair: tuple[Place, Manifest]) -> Entries:
                    place, manifest = pair
                    copy_objects(manifest, f"{store.url}/{place.path}")
                    return {f"{place.path}/{key}": entry for key, entry in manifest.entries().items()}

                for entries in parallel_map(copy, list(zip(places, manifests, strict=True)), _AT_ONCE):
                    store.entries.update(entries)
                zarr.create_group(store, attributes=plate_metadata(options, places, self.get_name()))
                for row in dict.fromkeys(place.row for place in places):
                    zarr.create_group(store, path=row)
                wells_of: dict[str, list[Place]] = {}
                for place in places:
                    wells_of.setdefault(place.well, []).append(place)
                for path, some in wells_of.items():
                    zarr.create_group(store, path=path, attributes=well_metadata(some))

    def create(self) -> zarr.Group:
        """Not available for plates: raises FormatError."""
        raise FormatError(
            "a plate is written by set_data",
            url=self.url,
            expected='set_data({("A", 1): [image]})',
            actual="create()",
            remedy="use a ZarrTarget for a hierarchy of your own",
        )

    def preview(self) -> Preview | None:
        """None: its fields have thumbnails."""
        return None

    def _plate_node(self) -> Any:
        return self.get_data()

    def _image(self, path: str) -> OMEZarrField:
        return OMEZarrField.of(self.persist(), path)


def _require_image(place: Place, url: str) -> None:
    if not isinstance(place.image, OMEZarrTarget):
        raise UsageError(
            "a plate is made of images that cpr has written",
            url=url,
            field=f"well {place.well}",
            expected="an OMEZarrTarget",
            actual=type(place.image).__name__,
            remedy="write it first: image = OMEZarrTarget.from_path(url); image.set_data(array)",
        )


def _manifest_of(place: Place) -> Manifest:
    image: OMEZarrTarget = place.image
    assert image.manifest is not None and image.checksum is not None
    with io.reading(image.place, image.checksum.partition(":")[0], image.manifest) as file:
        blob = file.read()
    if len(blob) != image.manifest:
        raise corrupt(image.url, f"{image.manifest} bytes", f"{len(blob)} bytes in {image.place}")
    return Manifest(image.url, image.manifest, image.checksum, blob)


def _require_one_algorithm(places: list[Place], manifests: list[Manifest], url: str) -> None:
    for place, manifest in zip(places, manifests, strict=True):
        if manifest.algorithm != manifests[0].algorithm:
            raise PartError(
                "two images have digests of different kinds",
                url=url,
                field=f"well {place.well}",
                expected=f"{manifests[0].algorithm}, as in well {places[0].well}",
                actual=manifest.algorithm,
                remedy="set CPR_CHECKSUM alike for all workers, and write one of them again",
            )
