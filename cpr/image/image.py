"""The base class of image sources and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cpr.data.CalibratedImage import CalibratedImage
from cpr.data.image_metadata import Metadata
from cpr.image.layout import usual_axes
from cpr.image.tiff import Tiff
from cpr.previews.models import Preview
from cpr.previews.thumbnails import sample

__all__ = ["Image"]


class Image(CalibratedImage):
    """An image: pixels with axes, pixel size and channel names."""

    format_class = Tiff
    options_in_order = ("metadata", "resolution")
    _inspected: tuple[tuple[int, ...], np.dtype[Any], Metadata] | None = None

    @classmethod
    def _make_format(cls, ext: str, options: Mapping[str, Any]) -> Any:
        if ext.lower().startswith(".ome."):
            options = {"ome": True, **options}
        return super()._make_format(ext, options)

    @property
    def imagej(self) -> bool:
        """Whether ImageJ TIFF is written, if ImageJ can hold the array."""
        return self.format.imagej is not False and not self.format.ome

    @imagej.setter
    def imagej(self, imagej: bool | None) -> None:
        self._set_format(imagej=imagej)

    def _layout(self) -> tuple[tuple[int, ...], np.dtype[Any], Metadata]:
        """Shape, dtype and metadata: of a target as set, of a source from its file."""
        format = self.format
        if format.shape is not None and format.dtype is not None:
            return format.shape, np.dtype(format.dtype), Metadata.of(format.metadata, format.resolution)
        if self._inspected is None:
            with self._ranged() as file:
                self._inspected = self._decode(file, format.inspect)
        return self._inspected

    def details(self) -> dict[str, Any]:
        """`facts`, with shape, dtype, axes, pixel size and channels; a source reads its file."""
        if self._known():
            return super().details()
        shape, dtype, metadata = self._layout()
        said = {"shape": " x ".join(map(str, shape)), "dtype": str(dtype)}
        axes = self.get_metadata().get("axes") or metadata.axes or usual_axes(shape, dtype)
        return {**super().details(), **said, "axes": axes}

    def _found_metadata(self) -> Metadata:
        return self._layout()[2]

    def _take_fields(self, fields: Any) -> None:
        super()._take_fields(fields)
        self.format.require_sound(complete=self._known())

    def _sampled(self) -> Preview | None:
        """A thumbnail from a few planes, spread over the image."""
        return self._picture(lambda region: self.get_data(region=region))

    def _picture(self, read: Callable[[Any], np.ndarray[Any, Any]]) -> Preview | None:
        shape, dtype, metadata = self._layout()
        axes = self.get_metadata().get("axes") or metadata.axes or usual_axes(shape, dtype)
        plane_ndim = 3 if axes.endswith(("YXS", "YXC")) else 2
        return sample(shape, dtype, axes, plane_ndim, read)

    def get_dask(self) -> Any:
        """The image as a dask array, one chunk per plane; each is read when it is computed.

        Nothing of the pixels is read now, and where parts can be verified (see `cpr.io`), they are.

        Raises MissingDependencyError without dask, and as `get_data`.
        """
        from cpr.image.dask import lazy_planes

        identity = self.identity()  # an empty target says here that it has no data
        shape, dtype, metadata = self._layout()
        axes = metadata.axes or usual_axes(shape, dtype)
        return lazy_planes(self, identity, shape, dtype, 3 if axes.endswith(("YXS", "YXC")) else 2)
