"""Plans an image before any pixel is written: its levels, their arrays, its metadata."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import zarr

from cpr.zarr.chunking import as_encode_errors
from cpr.zarr.ome.axes import scales_and_units
from cpr.zarr.ome.chunking import halved_shapes, level_chunks
from cpr.zarr.ome.extremes import Extremes
from cpr.zarr.ome.metadata import VERSION, Description, channel_count, omero, require_finite, require_one_each
from cpr.zarr.ome.options import OMEZarrOptions
from cpr.zarr.options import Shape, ZarrOptions, array_arguments

__all__ = ["create_levels", "describe", "extremes_of", "halved_axes", "image_metadata"]

_SMALL = 256  # Y and X of the last level, as bioformats2raw has it


def halved_axes(options: OMEZarrOptions, axes: str) -> list[int]:
    """The axes that are downsampled from level to level, as far as the image has them."""
    return [axes.index(letter) for letter in options.downscale if letter in axes]


def describe(options: OMEZarrOptions, name: str, axes: str, shape: Shape) -> Description:
    """Make the description of an image with its levels.

    Args:
        options: of the image.
        name: of the image.
        axes: as they are stored.
        shape: likewise.

    Raises EncodeError where there is not one name, color or window for each channel, and where the size of a
    pixel of the smallest level is no number.
    """
    known = options.known()
    shapes = halved_shapes(shape, halved_axes(options, axes), options.levels, _SMALL)
    count = channel_count(axes, shape)
    require_one_each("metadata['Channel']['Name']", known.channels, count)
    require_one_each("colors", options.colors, count)
    require_one_each("windows", options.windows, count)
    found = Description(name, axes, *scales_and_units(known, axes), shapes, options.downsample)
    require_finite(found)
    return found


def extremes_of(description: Description) -> Extremes:
    """A collector for the value range of each channel."""
    axes = description.axes
    return Extremes(axes.index("C") if "C" in axes else None, channel_count(axes, description.shapes[0]))


def create_levels(
    group: zarr.Group, options: ZarrOptions, description: Description, source: Any, dtype: np.dtype[Any]
) -> list[zarr.Array[Any]]:
    """Create the empty arrays of all levels. Raises EncodeError for options that do not fit."""
    cuts = level_chunks(options, source, dtype, description.axes, description.shapes)
    arrays = []
    with as_encode_errors():
        for level, (shape, (chunks, shards)) in enumerate(zip(description.shapes, cuts, strict=True)):
            named = dataclasses.replace(options, dimension_names=tuple(description.axes.lower()))
            arguments = array_arguments(named, shape, dtype, chunks, shards)
            name = f"{group.path}/{level}".strip("/")
            arrays.append(zarr.create_array(group.store, name=name, **arguments))
    return arrays


def image_metadata(
    options: OMEZarrOptions, description: Description, dtype: np.dtype[Any], extremes: Extremes
) -> dict[str, Any]:
    """Make the attribute `ome` of an image whose pixels are written."""
    channels = options.known().channels
    shown = omero(description, dtype, channels, options.colors, options.windows, extremes)
    return {"version": VERSION, "multiscales": description.multiscales(), "omero": shown}
