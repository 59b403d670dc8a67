"""The base class of OME-Zarr image sources and targets."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import zarr

from cpr.data.CalibratedImage import CalibratedImage
from cpr.data.image_metadata import Metadata
from cpr.errors import FormatError, spelled
from cpr.format import Region
from cpr.previews.models import Preview
from cpr.zarr.ome.multiscale import Level, Multiscale, labels_of
from cpr.zarr.ome.preview import picture_of_levels
from cpr.zarr.reading import part_of
from cpr.zarr.typed_error_nodes import Node, own_copy

__all__ = ["OMEZarr"]


class OMEZarr(CalibratedImage):
    """An image in several resolutions, with labels."""

    _found: Metadata | None = None

    @abstractmethod
    def _opened(self) -> Node:
        """Open the image's group; reads only metadata."""

    @abstractmethod
    def _token(self) -> str:
        """Name of the content in dask graphs."""

    def _fixed(self, group: zarr.Group) -> tuple[zarr.Group, str]:
        return group, self._token()

    def _root(self) -> zarr.Group:
        node = own_copy(self._cached) if self._cached is not None else self._opened()
        if isinstance(node, zarr.Group):
            return node
        raise FormatError(
            "an array is no OME-Zarr image",
            url=self.url,
            field="group",
            expected="a group with multiscales",
            actual="an array",
            remedy="read it with a ZarrSource, or name the group above it",
        )

    def get_data(self, cache: bool = False, region: Region | None = None, level: int | None = None) -> Any:
        """The image as a lazy `zarr.Group`; or one level, lazily; or a region of a level, as numpy.

        Args:
            cache: keep the group that was opened.
            region: read this part as numpy, of level 0 unless another is given.
            level: give this level's `zarr.Array`; 0 is the full resolution, -1 the smallest.

        Raises as the class below, FormatError for a level that the image does not have, and DecodeError for
        broken metadata.
        """
        group = self._root()
        if cache:
            self._cached = group
        if level is None and region is None:
            return own_copy(group) if cache else group
        array = self._level(group, level or 0).data
        return array if region is None else part_of(array, region, self.url)

    def get_dask(self, level: int = 0) -> Any:
        """A level as a dask array, a block for each object (chunk or shard); nothing is read yet.

        Raises MissingDependencyError without dask, and as `get_data`.
        """
        return self._level(self._root(), level).get_dask()

    def _level(self, group: zarr.Group, level: int, labels: str | None = None) -> Level:
        with self._decoding():
            if labels is None:
                levels = Multiscale.of(group, self.url, self._fixed).levels
            else:
                found = labels_of(group, self.url, self._fixed)
                if labels not in found:
                    raise FormatError(
                        "this image has no such labels",
                        url=self.url,
                        field="labels",
                        expected=", ".join(found) or "None, for it has no labels",
                        actual=spelled(labels),
                        remedy="labels() tells which there are",
                    )
                levels = found[labels].levels
        try:
            return levels[level]
        except (IndexError, TypeError):
            raise FormatError(
                "this image has no such level",
                url=self.url,
                field="level",
                expected=f"0 to {len(levels) - 1}",
                actual=spelled(level),
                remedy="levels() tells which there are",
            ) from None

    def preview(self) -> Preview | None:
        """A thumbnail from the smallest level that is large enough.

        Raises as `get_data`.
        """
        return picture_of_levels(self.levels())

    def details(self) -> dict[str, Any]:
        """`facts`, with the shape of each level, dtype, chunks, axes, pixel size and channels."""
        levels = self.levels()
        first = levels[0].data
        said = {
            "shape": ", ".join(" x ".join(map(str, level.data.shape)) for level in levels),
            "dtype": str(first.dtype),
            "chunks": " x ".join(map(str, first.chunks)),
            "axes": "".join(levels[0].axes).upper(),
        }
        return {**super().details(), **said}

    def image(self) -> Multiscale:
        """The image's metadata and levels: axes, levels, channels. Raises as `get_data`."""
        group = self._root()
        with self._decoding():
            return Multiscale.of(group, self.url, self._fixed)

    def levels(self) -> tuple[Level, ...]:
        """The resolutions, the full one first: lazy `data`, `axes`, `units`, `scale`, `translation`."""
        return self.image().levels

    def labels(self) -> dict[str, Multiscale]:
        """The label images of the image, by name. Raises as `get_data`."""
        group = self._root()
        with self._decoding():
            return labels_of(group, self.url, self._fixed)

    def _found_metadata(self) -> Metadata:
        if self._found is None:
            self._found = self.image().metadata
        return self._found
