"""Reads metadata from TIFF files of any origin: ImageJ's, OME's, or only resolution tags."""

from __future__ import annotations

import dataclasses
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import tifffile

from cpr.data.image_metadata import Metadata
from cpr.data.units import CENTIMETRE, Length, length_symbol, seconds, usable
from cpr.errors import FormatError
from cpr.image.description import OWN_UNIT
from cpr.image.layout import leading_axes
from cpr.image.series import SelfContainedTiff, elements, pixels_of
from cpr.io.outside_json import read_json

__all__ = ["is_signed", "metadata_of"]

_NAMELESS = "QI"  # tifffile's letters for axes that the file does not name
_CENTIMETRES = {2: 2.54, 3: 1.0}  # TIFF's ResolutionUnit


def metadata_of(tiff: SelfContainedTiff, series: tifffile.TiffPageSeries) -> Metadata:
    """The metadata of an image in a file, without invalid sizes."""
    axes = _axes(series)
    if series.kind == "ome" and tiff.ome_metadata:
        return _ome(pixels_of(tiff, series), axes)
    if tiff.is_imagej and tiff.imagej_metadata is not None:
        return _imagej(series.keyframe, dict(tiff.imagej_metadata), axes)
    x, y = _pixel_size(series.keyframe, None, None)
    if series.kind == "shaped":
        return _shaped(series.keyframe, Metadata(axes=axes, x=x, y=y))
    return Metadata.of_file(axes=axes, x=x, y=y)


def _axes(series: tifffile.TiffPageSeries) -> str | None:
    """The axes, as far as the file names them; interleaved samples are always colours."""
    axes: str = series.axes
    if series.keyframe.planarconfig == 2 and "C" not in axes:
        axes = axes.replace("S", "C")  # planar colours are channels
    elif axes.endswith("YXS") and set(axes[:-3]) <= set(_NAMELESS):
        # Without the last letter a copy would have rows for pages.
        return leading_axes(len(axes) - 3) + "YXS"
    elif series.kind not in {"imagej", "ome", "shaped"}:
        return None
    return None if set(axes) & set(_NAMELESS) else axes


def is_signed(tiff: SelfContainedTiff) -> bool:
    """Whether ImageJ's unsigned 16-bit pixels represent signed ones, by their calibration."""
    lines = (tiff.imagej_metadata or {}) if tiff.is_imagej else {}
    return [lines.get(key) for key in ("cf", "c0", "c1")] == [0, -32768.0, 1.0] and (
        tiff.pages.first.dtype == np.uint16
    )


def _imagej(page: tifffile.TiffPage, lines: dict[str, Any], axes: str | None) -> Metadata:
    units = {axis: _symbol(str(lines.get(f"{axis}unit") or lines.get("unit", ""))) for axis in "xyz"}
    x, y = _pixel_size(page, units["x"], units["y"])
    step = usable(lines.get("spacing"))
    unit = units["z"] or (None if x is None else x.unit)
    z = None if step is None or unit is None else Length(step, unit)
    if own := _symbol(str(lines.get(OWN_UNIT, ""))):
        x, y, z = (
            Length(size.to(own), own) if size is not None and size.fits(own) else size for size in (x, y, z)
        )
    fps = usable(lines.get("fps"))
    try:
        interval = seconds(usable(lines.get("finterval")) or 0.0, str(lines.get("tunit") or "s"))
    except FormatError:
        interval = 0.0
    return Metadata.of_file(
        axes=axes,
        x=x,
        y=y,
        z=z,
        interval=interval or (None if fps is None else 1 / fps),
        channels=_channel_labels(lines, axes),
    )


def _channel_labels(lines: dict[str, Any], axes: str | None) -> tuple[str, ...]:
    """Channel names from repeating plane labels; ImageJ stores them nowhere else."""
    labels = lines.get("Labels")
    count = lines.get("channels", 1)
    if isinstance(labels, str):
        labels = [labels]
    if not isinstance(labels, list) or not isinstance(count, int) or not 0 < count <= len(labels):
        return ()
    if (count > 1) != (axes is not None and "C" in axes):
        return ()
    names = labels[:count]
    return tuple(names) if labels == names * (len(labels) // count) else ()


def _shaped(page: tifffile.TiffPage, plain: Metadata) -> Metadata:
    """Tifffile's JSON description, to which cpr adds keys of its own."""
    try:
        given = read_json(page.description, strict=False)
        resolution = given.pop("resolution", None)
        keys = ("unit", "xunit", "yunit", "zunit", "spacing", "finterval", "tunit", "fps", "Channel")
        found = Metadata.of({key: given[key] for key in keys if key in given}, resolution)
    except (ValueError, TypeError, AttributeError, FormatError):
        return plain
    return dataclasses.replace(found, axes=plain.axes, x=found.x or plain.x, y=found.y or plain.y)


def _ome(pixels: ET.Element, axes: str | None) -> Metadata:
    sizes = {axis: _ome_size(pixels, axis) for axis in "XYZ"}
    interval = usable(pixels.get("TimeIncrement"))
    names = [channel.get("Name", "") for channel in elements(pixels, "Channel")]
    try:
        unit = pixels.get("TimeIncrementUnit", "s")
        interval = None if interval is None else seconds(interval, unit)
    except FormatError:
        interval = None
    return Metadata.of_file(
        axes=axes,
        x=sizes["X"] or sizes["Y"],
        y=sizes["Y"] or sizes["X"],
        z=sizes["Z"],
        interval=interval,
        channels=tuple(names) if any(names) else (),
    )


def _ome_size(pixels: ET.Element, axis: str) -> Length | None:
    value = usable(pixels.get(f"PhysicalSize{axis}"))
    symbol = _symbol(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    return None if value is None or symbol is None else Length(value, symbol)


def _pixel_size(page: tifffile.TiffPage, *units: str | None) -> tuple[Length | None, Length | None]:
    """Width and height of a pixel from the resolution tags, in their unit."""
    tags = page.tags
    per = _CENTIMETRES.get(int(tags.valueof("ResolutionUnit", 2)))
    sizes: list[Length | None] = []
    for name, unit in zip(("XResolution", "YResolution"), units, strict=True):
        try:
            numerator, denominator = tags.valueof(name)
            size = usable(denominator / numerator)
        except (TypeError, ValueError, ArithmeticError):
            size = None
        if size is None or (unit is None and per is None):
            sizes.append(None)
        else:
            sizes.append(Length(size, unit) if unit is not None else Length(size * (per or 1.0), CENTIMETRE))
    return sizes[0], sizes[1]


def _symbol(unit: str) -> str | None:
    try:
        return length_symbol(unit)
    except FormatError:
        return None
