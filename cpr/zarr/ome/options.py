"""The options of `OMEZarrTarget`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cpr.data.image_metadata import Metadata, calibration, json_values
from cpr.zarr.ome.axes import scales_and_units, stored_axes
from cpr.zarr.ome.downsample import Method
from cpr.zarr.options import Shape, ZarrOptions, declared, option_error, url_of_base

__all__ = ["OMEZarrOptions", "hex_color"]

_NAMED = {
    "white": "FFFFFF",
    "red": "FF0000",
    "green": "00FF00",
    "blue": "0000FF",
    "cyan": "00FFFF",
    "magenta": "FF00FF",
    "yellow": "FFFF00",
}
_HEX = re.compile(r"#?([0-9A-Fa-f]{6})")


@dataclass(frozen=True)
class OMEZarrOptions:
    """Options for writing OME-Zarr. Records keep metadata and resolution; the files contain the rest.

    Attributes:
        metadata: axes (of the data, in any order; they are stored as T, C, Z, Y, X; by default the last of
            these, but ZYX for three), unit, spacing, finterval, Channel ... (see `cpr.data.image_metadata`).
        resolution: (x, y) in pixels per `metadata["unit"]`, per centimetre without one.
        chunks: shape of a chunk on every level, of the axes as they are stored; by default planes of up to
            1024 x 1024 of one channel and time, or the chunks of a zarr or dask array.
        shards: shape of a shard, in whole chunks; None for one object per chunk.
        compressors: as for `ZarrTarget`: "zstd", "blosc", "gzip", None, or zarr's codecs.
        fill_value: of chunks that are not stored since nothing else is in them; 0 by default.
        levels: how many resolutions at most, the full one included; None until Y and X are both at most 256.
        downscale: the axes that are halved from level to level: "YX", or "ZYX" for isotropic volumes.
        downsample: "mean" of the neighbours, or their "mode", for images whose values are categories.
        name: of the image; that of the target by default.
        colors: of the channels, "FF00FF" or one of white, red, green, blue, cyan, magenta, yellow.
        windows: of the channels, (start, end) of the values that viewers show; by default the extremes of
            the smallest level.
        attributes: more of them, of the image's group, JSON values.
        shape: of the image, where it is known beforehand, as for one that is written in parts; in the order
            of the metadata's axes.
        dtype: of its pixels, likewise.
        base: as for `ZarrTarget`: an earlier result of which equal chunks are copied instead of uploaded.
    """

    extensions: ClassVar[tuple[str, ...]] = (".ome.zarr", ".zarr")
    recorded: ClassVar[tuple[str, ...]] = ("metadata", "resolution")

    metadata: dict[str, Any] | None = None
    resolution: tuple[float, float] | None = None
    chunks: Shape | None = None
    shards: Shape | None = None
    compressors: Any = "zstd"
    fill_value: Any = None
    levels: int | None = None
    downscale: str = "YX"
    downsample: Method = "mean"
    name: str | None = None
    colors: tuple[str, ...] | None = None
    windows: tuple[tuple[float, float], ...] | None = None
    attributes: Mapping[str, Any] | None = None
    shape: Shape | None = None
    dtype: Any = None
    base: Any = None

    def __post_init__(self) -> None:
        metadata, resolution = calibration(self.metadata, self.resolution)
        object.__setattr__(self, "metadata", metadata)
        object.__setattr__(self, "resolution", resolution)
        # The same checks, and the same words.
        plain = self.zarr()
        object.__setattr__(self, "chunks", plain.chunks)
        object.__setattr__(self, "shards", plain.shards)
        object.__setattr__(self, "base", url_of_base(self.base))
        for field, value in zip(("shape", "dtype"), declared(self.shape, self.dtype), strict=True):
            object.__setattr__(self, field, value)
        if self.levels is not None and (type(self.levels) is not int or self.levels < 1):
            raise option_error("levels", "a positive number, or None", self.levels)
        if self.downscale not in {"YX", "ZYX"}:
            raise option_error("downscale", '"YX" or "ZYX"', self.downscale)
        if self.downsample not in {"mean", "mode"}:
            raise option_error("downsample", '"mean" or "mode"', self.downsample)
        if self.name is not None and not (isinstance(self.name, str) and self.name):
            raise option_error("name", "text, or None", self.name)
        colors = self.colors
        if colors is None:
            colors = _ome_colors((self.metadata or {}).get("Channel"))
        elif isinstance(colors, str) or not isinstance(colors, Sequence):
            raise option_error("colors", 'one for each channel, such as ("green", "FF00FF")', colors)
        object.__setattr__(self, "colors", colors and tuple(hex_color(color, "colors") for color in colors))
        object.__setattr__(self, "windows", _windows(self.windows))
        attributes = json_values(self.attributes, "attributes")
        if attributes is not None and (not isinstance(attributes, dict) or "ome" in attributes):
            raise option_error("attributes", 'a dict without "ome", which is written here', self.attributes)
        object.__setattr__(self, "attributes", attributes)
        known = self.known()
        if known.axes is not None:
            stored_axes(known.axes)
        scales_and_units(known, "TCZYX")  # one unit for all lengths

    def known(self) -> Metadata:
        """The image's metadata, as far as known."""
        return Metadata.of(self.metadata, self.resolution)

    def zarr(self, **changes: Any) -> ZarrOptions:
        """The options of the image's arrays."""
        options = {"chunks": self.chunks, "shards": self.shards, "compressors": self.compressors}
        return ZarrOptions(**{**options, "fill_value": self.fill_value, **changes})


def hex_color(color: Any, field: str) -> str:
    """Six hex digits for a colour's name, hex digits, or three numbers. Raises FormatError."""
    if isinstance(color, str):
        if color.lower() in _NAMED:
            return _NAMED[color.lower()]
        if found := _HEX.fullmatch(color):
            return found[1].upper()
    elif isinstance(color, Sequence) and len(color) == 3 and all(is_byte(part) for part in color):
        return bytes(int(part) for part in color).hex().upper()
    raise option_error(
        field, f'"RRGGBB", (red, green, blue) of 0 to 255, or one of {", ".join(_NAMED)}', color
    )


def is_byte(value: Any) -> bool:
    """Whether a value is an integer of 0 to 255."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 <= int(value) <= 255


def _ome_colors(channel: Any) -> tuple[str, ...] | None:
    """Convert OME's colours, RGBA in a signed 32-bit integer."""
    colors = channel.get("Color") if isinstance(channel, Mapping) else None
    colors = [colors] if isinstance(colors, int) else colors
    if not isinstance(colors, list) or not all(isinstance(color, int) for color in colors):
        return None
    return tuple(f"{(color & 0xFFFFFFFF) >> 8:06X}" for color in colors)


def _windows(windows: Any) -> tuple[tuple[float, float], ...] | None:
    if windows is None:
        return None
    try:
        found = tuple((float(start), float(end)) for start, end in windows)
    except (TypeError, ValueError):
        found = ((math.nan, math.nan),)
    if not all(math.isfinite(start) and math.isfinite(end) and start < end for start, end in found):
        raise option_error("windows", "(start, end) for each channel, start < end", windows)
    return found
