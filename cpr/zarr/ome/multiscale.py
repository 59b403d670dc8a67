"""An OME-Zarr image for users: its levels, with axes, scale and translation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import zarr

from cpr.data.image_metadata import Metadata
from cpr.errors import DecodeError
from cpr.zarr.ome.axes import letters_of, metadata_of
from cpr.zarr.ome.schema import MultiscaleJson, image_of, label_names
from cpr.zarr.reading import to_dask
from cpr.zarr.typed_error_nodes import decoding

__all__ = ["Channel", "Fixed", "Level", "Multiscale", "labels_of"]

Fixed = Callable[[zarr.Group], tuple[zarr.Group, str]]
"""A group as it has a name in dask's graphs, and what names its content."""


@dataclass(frozen=True)
class Level:
    """One resolution of an image; the centre of the pixel at `index` is at `index * scale + translation`.

    Attributes:
        path: of the array inside the image's group.
        axes: their names.
        units: of the axes, as OME-Zarr names them ("micrometer"); None where there is none.
        scale: size of a pixel along each axis.
        translation: of the first pixel's middle, along each axis.
    """

    path: str
    axes: tuple[str, ...]
    units: tuple[str | None, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    _group: zarr.Group = field(repr=False, compare=False)
    _url: str = field(repr=False, compare=False)
    _fixed: Fixed = field(repr=False, compare=False)

    @property
    def data(self) -> zarr.Array[Any]:
        """The pixels as a lazy array; its metadata is read on every access.

        Raises DecodeError where there is no array of these axes.
        """
        return self._array(self._group)

    def _array(self, group: zarr.Group) -> zarr.Array[Any]:
        found: Any = child_of(group, self.path, self._url)
        if not isinstance(found, zarr.Array) or found.ndim != len(self.axes):
            actual = f"{found.ndim} axes" if isinstance(found, zarr.Array) else described(found)
            raise DecodeError(
                "a level of an OME-Zarr is not what its metadata say",
                url=f"{self._url}/{self.path}",
                field=self.path,
                expected=f"an array of {len(self.axes)} axes, {', '.join(self.axes)}",
                actual=actual,
                remedy="restore the array, or repair the metadata",
            )
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the pixels."""
        return tuple(self.data.shape)

    def get_dask(self) -> Any:
        """The pixels as a dask array, a block for each object.

        Raises MissingDependencyError without dask, SourceChangedError for an image that was replaced.
        """
        group, token = self._fixed(self._group)
        return to_dask(self._array(group), f"cpr-{token}-{group.path}-{self.path}", self._url)


@dataclass(frozen=True)
class Channel:
    """Name and display settings of a channel; None for what the file does not say."""

    label: str | None
    color: str | None
    window: tuple[float, float] | None


@dataclass(frozen=True)
class Multiscale:
    """An image or label image with its levels.

    Attributes:
        name: of the image.
        axes: letters of its axes.
        levels: the full resolution first.
        channels: one each, where the file tells.
        colors: of labels: label -> (red, green, blue, alpha).
        properties: of labels: label -> values.
        metadata: axes, physical sizes and channel names.
    """

    name: str | None
    axes: str
    levels: tuple[Level, ...]
    channels: tuple[Channel, ...]
    colors: Mapping[int, tuple[int, ...]]
    properties: Mapping[int, Mapping[str, Any]]
    metadata: Metadata

    @classmethod
    def of(cls, group: zarr.Group, url: str, fixed: Fixed) -> Self:
        """Read a group's metadata. Raises FormatError if it is no image, DecodeError if it is malformed."""
        image = image_of(dict(group.attrs))
        first = image.multiscales[0]
        letters = letters_of([axis.name for axis in first.axes], [axis.kind for axis in first.axes])
        levels = _levels(first, group, url, fixed)
        channels = tuple(_channel(channel) for channel in (image.omero.channels if image.omero else ()))
        names = [channel.label for channel in channels if channel.label is not None]
        label = image.image_label
        return cls(
            name=first.name,
            axes=letters,
            levels=levels,
            channels=channels,
            colors={
                int(color.label_value): tuple(color.rgba)
                for color in (label.colors if label else None) or ()
                if color.rgba is not None
            },
            properties={
                row.label_value: dict(row.model_extra or {})
                for row in (label.properties if label else None) or ()
                if row.model_extra
            },
            metadata=metadata_of(letters, levels[0].scale, first.units, names),
        )


def _levels(image: MultiscaleJson, group: zarr.Group, url: str, fixed: Fixed) -> tuple[Level, ...]:
    axes = tuple(axis.name for axis in image.axes)
    units = tuple(axis.unit for axis in image.axes)
    levels = []
    for dataset in image.datasets:
        scale, translation = _transformed(
            dataset.coordinateTransformations, [1.0] * len(axes), [0.0] * len(axes)
        )
        if image.coordinateTransformations is not None:
            scale, translation = _transformed(image.coordinateTransformations, scale, translation)
        levels.append(Level(dataset.path, axes, units, tuple(scale), tuple(translation), group, url, fixed))
    return tuple(levels)


def _transformed(
    transformations: Any, scale: list[float], translation: list[float]
) -> tuple[list[float], list[float]]:
    """Apply further transformations to scale and translation."""
    for each in transformations:
        if each.type == "scale":
            scale = [a * b for a, b in zip(scale, each.scale, strict=True)]
            translation = [a * b for a, b in zip(translation, each.scale, strict=True)]
        else:
            translation = [a + b for a, b in zip(translation, each.translation, strict=True)]
    return scale, translation


def _channel(channel: Any) -> Channel:
    window = channel.window
    known = window is not None and window.start is not None and window.end is not None
    return Channel(
        label=None if channel.label is None else str(channel.label),
        color=channel.color,
        window=(window.start, window.end) if known else None,
    )


def labels_of(group: zarr.Group, url: str, fixed: Fixed) -> dict[str, Multiscale]:
    """The label images of an image, by name. Raises DecodeError for listed labels that are missing."""
    folder = child_of(group, "labels", url)
    if not isinstance(folder, zarr.Group):
        return {}
    found = {}
    for name in label_names(dict(folder.attrs)):
        node = child_of(folder, name, f"{url}/labels")
        if not isinstance(node, zarr.Group):
            raise DecodeError(
                "an image of labels is listed and not there",
                url=f"{url}/labels/{name}",
                field="labels",
                expected="a group",
                actual=described(node),
                remedy="restore it, or take it from the list",
            )
        found[name] = Multiscale.of(node, f"{url}/labels/{name}", fixed)
    return found


def child_of(group: zarr.Group, path: str, url: str) -> Any:
    """The array or group at a path; None if missing. Raises DecodeError for malformed metadata."""
    with decoding(f"{url}/{path}"):
        try:
            return group[path]
        except KeyError:
            return None


def described(node: Any) -> str:
    """Describe a node in one word, for error messages."""
    return "nothing" if node is None else "an array" if isinstance(node, zarr.Array) else "a group"
