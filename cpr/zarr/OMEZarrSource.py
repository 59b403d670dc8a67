"""OME-Zarr images as input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from cpr import io
from cpr.data.image_metadata import calibration
from cpr.errors import FormatError
from cpr.records.registry import register
from cpr.zarr.nodes import Node
from cpr.zarr.ome.image import OMEZarr
from cpr.zarr.ZarrSource import METADATA, ZarrPart, ZarrSource

__all__ = ["OMEZarrPart", "OMEZarrSource"]


@dataclass(frozen=True)
class OMEZarrPart(ZarrPart):
    """Which image of a hierarchy is meant.

    Attributes:
        group: path of the image inside: a series, a field of a well; None for the root.
        metadata: in place of what the file says (see `cpr.data.image_metadata`).
        resolution: in place of what the file says: (x, y) in pixels per `metadata["unit"]`.
    """

    extensions: ClassVar[tuple[str, ...]] = (".ome.zarr", ".zarr", "")

    metadata: dict[str, Any] | None = None
    resolution: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slices is not None:
            raise FormatError(
                "an image is not cut by its source",
                field="slices_start, slices_stop",
                expected="None",
                actual=str(self.slices)[:200],
                remedy="read a part: get_data(region=np.s_[0, :100, :100], level=0)",
            )
        metadata, resolution = calibration(self.metadata, self.resolution)
        object.__setattr__(self, "metadata", metadata)
        object.__setattr__(self, "resolution", resolution)


@register
class OMEZarrSource(OMEZarr, ZarrSource):
    """An OME-Zarr image of version 0.4 or 0.5 that somebody else wrote, with its levels and labels.

    In cache keys it counts with what the store says of the metadata of the group and of its full
    resolution: chunks that are changed in place are not noticed.

    >>> cpr.OMEZarrSource.from_path("s3://bucket/raw/plate.zarr/A/1/0").format.group
    'A/1/0'
    """

    format_class = OMEZarrPart

    def _known(self) -> bool:
        return False

    def _opened(self) -> Node:
        return self._node()

    _token = ZarrSource._token  # noqa: SLF001 - the other base declares it

    def _ask(self) -> dict[str, str | int]:
        version = super()._ask()
        try:
            first = self.levels()[0].path
        except FormatError:
            return version  # its reader hears of it
        place = io.join(self._place_inside, first)
        for name in METADATA:
            if (found := io.lookup(io.join(place, name))) is not None:
                version |= {f"{first}/{name} {key}": value for key, value in found.version.items()}
        return version
