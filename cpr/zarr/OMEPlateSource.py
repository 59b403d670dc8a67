"""OME-Zarr plates as input."""

from __future__ import annotations

from typing import Any

from cpr.records.registry import register
from cpr.zarr.OMEZarrSource import OMEZarrSource
from cpr.zarr.plates.plate import OMEPlate
from cpr.zarr.ZarrSource import ZarrSource

__all__ = ["OMEPlateSource"]


@register
class OMEPlateSource(OMEPlate, ZarrSource):
    """An existing OME-Zarr plate, version 0.4 or 0.5.

    Its images are `OMEZarrSource`s, each of which counts in cache keys with its own objects alone: hand
    them to tasks, and not the plate, whose objects may be too many to be listed for a key.
    Options of `from_path`: see `cpr.zarr.ZarrSource.ZarrSourceOptions`.

    >>> image = cpr.OMEZarrTarget.from_path("memory://doc/raw.ome.zarr")
    >>> image.set_data(np.full((64, 64), 7, "uint16"))
    >>> written = cpr.OMEPlateTarget.from_path("memory://doc/screen.ome.zarr")
    >>> written.set_data({"C5": image})
    >>> plate = cpr.OMEPlateSource.from_path(written.persist().url)
    >>> [(well, plate[well][0].levels()[0].shape) for well in plate.wells()]
    [(('C', '5'), (64, 64))]
    """

    def _plate_node(self) -> Any:
        return self._node()

    def _image(self, path: str) -> OMEZarrSource:
        group = "/".join(filter(None, (self.format.group, path)))
        return OMEZarrSource.from_path(self.url, group=group, version=self.format.version)
