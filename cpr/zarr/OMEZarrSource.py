"""OME-Zarr images as input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import zarr

from cpr.data.image_metadata import calibration
from cpr.errors import FormatError
from cpr.records.registry import register
from cpr.zarr.ome.image import OMEZarr
from cpr.zarr.stores.versioned_store import VersionedStore, changed
from cpr.zarr.typed_error_nodes import Node
from cpr.zarr.ZarrSource import METADATA, ZarrSource, ZarrSourceOptions

__all__ = ["OMEZarrSource", "OMEZarrSourceOptions"]


@dataclass(frozen=True)
class OMEZarrSourceOptions(ZarrSourceOptions):
    """The choice of an image in a hierarchy, and its metadata.

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
    """An existing OME-Zarr image, version 0.4 or 0.5, with its levels and labels.

    In cache keys it counts as a `ZarrSource` does; where metadata alone count, also with those of its full
    resolution.

    >>> cpr.OMEZarrSource.from_path("s3://bucket/raw/plate.zarr/A/1/0").format.group
    'A/1/0'
    """

    format_class = OMEZarrSourceOptions

    def _known(self) -> bool:
        return False

    def _opened(self) -> Node:
        return self._node()

    _token = ZarrSource._token  # noqa: SLF001 - the other base declares it

    def get_dask(self, level: int = 0) -> Any:
        """A level as a dask array, a block for each object (chunk or shard); nothing is read now.

        Raises MissingDependencyError without dask, and as `get_data`.
        """
        self.version()  # first: what is opened then is held to it
        return super().get_dask(level)

    def _fixed(self, group: zarr.Group) -> tuple[zarr.Group, str]:
        token = self._token()
        if self._is_written or isinstance(group.store, VersionedStore):
            return group, token
        # It was opened before anybody asked for a version.
        now = self._open(group.path)
        if not isinstance(now, zarr.Group) or dict(now.attrs) != dict(group.attrs):
            raise changed(f"{self.url}/{group.path}", "of an image as it was opened", "of another one")
        return now, token

    def _let_go(self) -> None:
        super()._let_go()
        self._found = None

    def _inner_metadata(self) -> list[str]:
        """The metadata keys of the levels, which the image lists, so that no listing is needed."""
        try:
            levels = self.levels()
        except FormatError:
            return []  # its reader hears of it
        return [f"{level.path}/{name}" for level in levels for name in METADATA]
