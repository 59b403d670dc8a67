"""What image sources and targets have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from cpr import io
from cpr.image.layout import usual_axes
from cpr.image.Metadata import Metadata
from cpr.image.tiff import Tiff
from cpr.Resource import Resource

__all__ = ["Image"]


class Image(Resource):
    """An image: pixels, and what they mean."""

    format_class = Tiff
    _inspected: tuple[tuple[int, ...], np.dtype[Any], Metadata] | None = None

    @classmethod
    def _make_format(cls, ext: str, options: Mapping[str, Any]) -> Any:
        if ext.lower().startswith(".ome."):
            options = {"ome": True, **options}
        return super()._make_format(ext, options)

    def _layout(self) -> tuple[tuple[int, ...], np.dtype[Any], Metadata]:
        """Shape, dtype and metadata: what is known of a target, what the file says of a source."""
        format = self.format
        if format.shape is not None and format.dtype is not None:
            return format.shape, np.dtype(format.dtype), Metadata.of(format.metadata, format.resolution)
        if self._inspected is None:
            with io.ranged(self.url) as file:
                self._inspected = self._decode(file, format.inspect)
        return self._inspected

    def _take_own_fields(self, fields: Mapping[str, Any]) -> None:
        super()._take_own_fields(fields)
        self.format.require_sound(complete=self._known())

    @abstractmethod
    def _known(self) -> bool:
        """Whether all that is known was given, and there is no file to ask."""

    def get_metadata(self) -> dict[str, Any]:
        """Axes, unit, spacing (the step in Z, in that unit), frame interval in seconds, channel names.

        The keys are ImageJ's: axes, unit, spacing, finterval, Channel. What was given to `from_path` or
        `set_metadata` comes back as it was given; otherwise a source asks its file, once.
        """
        if self.format.metadata is not None or self._known():
            return dict(self.format.metadata or {})
        return self._layout()[2].to_dict()

    def get_resolution(self) -> tuple[float, float] | None:
        """(x, y) in pixels per `get_metadata()["unit"]`, per centimetre without one; None if unknown."""
        if self.format.resolution is not None:
            resolution: tuple[float, float] = self.format.resolution
            return resolution
        if self.format.metadata is not None or self._known():
            return Metadata.of(self.format.metadata, None).resolution
        return self._layout()[2].resolution

    def set_metadata(self, metadata: Mapping[str, Any] | None) -> None:
        """Replace the metadata; of a source, what is carried on, the file stays as it is.

        Raises FormatError for values that are no JSON values, or make no sense, and RecordError for a
        target that is stored already.
        """
        self._set_format(metadata=None if metadata is None else dict(metadata))

    def set_resolution(self, resolution: tuple[float, float] | None) -> None:
        """Replace the resolution: (x, y) in pixels per `metadata["unit"]`. Raises as `set_metadata`."""
        self._set_format(resolution=resolution)

    def get_dask(self) -> Any:
        """The image as a dask array, one chunk per plane; each is read when it is computed.

        Nothing of the pixels is read now, and where parts can be verified (see `cpr.io`), they are.

        Raises MissingDependencyError without dask, and as `get_data`.
        """
        from cpr.image.lazy import lazy_planes

        identity = self.identity()  # an empty target says here that it has no data
        shape, dtype, metadata = self._layout()
        axes = metadata.axes or usual_axes(shape, dtype)
        return lazy_planes(self, identity, shape, dtype, 3 if axes.endswith(("YXS", "YXC")) else 2)
