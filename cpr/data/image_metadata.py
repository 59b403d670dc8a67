"""Metadata of an image in any notation: axes, physical sizes, channel names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Self

import numpy as np

from cpr.data.pixels_per_unit import Resolution
from cpr.data.units import CENTIMETRE, Length, imagej_name, length_symbol, seconds, usable
from cpr.format import unusable

__all__ = ["IMAGEJ_TAGS", "OME_ELEMENTS", "Metadata", "calibration", "json_values", "require_known"]

_METADATA = "not acceptable as metadata"
_MOST_BITS = 4096  # Python writes longer numbers as text only where it is told to
# What is computed from the array, or from other keys, whoever gives it.
_COMPUTED = {
    "ImageJ", "SCIFIO", "images", "channels", "slices", "frames", "hyperstack", "shape",
    "DimensionOrder", "SizeX", "SizeY", "SizeZ", "SizeC", "SizeT", "Type", "UUID",
}  # fmt: skip
_UNDERSTOOD = {
    "axes", "unit", "xunit", "yunit", "zunit", "spacing", "finterval", "tunit", "fps", "TimeIncrement",
    "TimeIncrementUnit", "PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ",
    "PhysicalSizeXUnit", "PhysicalSizeYUnit", "PhysicalSizeZUnit", "custom",
}  # fmt: skip
IMAGEJ_TAGS = frozenset({"Info", "Labels", "Ranges", "LUTs", "Plot", "ROI", "Overlays", "Properties"})
OME_ELEMENTS = frozenset({
    "Name", "Description", "AcquisitionDate", "SignificantBits", "Plane", "Channel", "Experimenter",
    "Project", "Dataset", "StructuredAnnotations", "BooleanAnnotation", "DoubleAnnotation", "LongAnnotation",
    "CommentAnnotation", "MapAnnotation", "TypeDescription",
})  # fmt: skip
# Lines of ImageJ's description that say how it shows an image (FileInfo and FileOpener of ImageJ 1.54).
_IMAGEJ_LINES = {
    "mode", "loop", "min", "max", "vunit", "cf", "c0", "c1", "c2", "c3", "c4",
    "xorigin", "yorigin", "zorigin",
}  # fmt: skip
# What is said beside metadata=, and would be lost among them.
_OPTIONS = {"compression", "imagej", "like", "ome", "pixel_size", "predictor", "resolution"}
_KNOWN = _COMPUTED | _UNDERSTOOD | IMAGEJ_TAGS | OME_ELEMENTS | _IMAGEJ_LINES | {"Creator", "PixelType"}


@dataclass(frozen=True)
class Metadata:
    """Axes, physical sizes and channel names, from any notation.

    Attributes:
        axes: one letter per axis ("TZCYXS" and others), or None.
        x: width of a pixel.
        y: height of a pixel.
        z: step between planes.
        interval: between frames, in seconds.
        channels: their names.
        rest: everything else that was given, by its key.

    >>> Metadata.of({"unit": "micron", "spacing": 0.5}, (4.0, 4.0)).x
    Length(value=0.25, unit='µm')
    """

    axes: str | None = None
    x: Length | None = None
    y: Length | None = None
    z: Length | None = None
    interval: float | None = None
    channels: tuple[str, ...] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, metadata: Mapping[str, Any] | None, resolution: tuple[float, float] | None) -> Self:
        """Parse the metadata and resolution passed to `from_path`. OME's sizes win over ImageJ's.

        Args:
            metadata: in ImageJ's or OME's notation; what is in `custom` is taken for keys of one's own.
            resolution: (x, y) in pixels per `metadata["unit"]`; without one per the unit that it knows, or
                per centimetre.

        Raises FormatError for sizes that are no positive numbers or cannot be told in one unit, and for
        unknown units.
        """
        given = dict(metadata or {})
        axes = given.get("axes")
        if axes is not None and (not isinstance(axes, str) or not axes.isalpha() or not axes.isascii()):
            raise unusable(
                _METADATA, "metadata['axes']", "letters, such as 'ZYX'", axes, "one letter per axis"
            )
        own = getattr(resolution, "unit", None) or CENTIMETRE
        unit = own if given.get("unit") is None else given["unit"]
        symbols = {axis: length_symbol(given.get(f"{axis}unit") or unit) for axis in "xyz"}
        x, y = (
            (None, None)
            if resolution is None
            else (
                Length(1 / _positive(value, "resolution"), symbols[axis])
                for axis, value in zip("xy", resolution, strict=True)
            )
        )
        z = None if given.get("spacing") is None else _length(given["spacing"], symbols["z"], "spacing")
        x = _physical_size(given, "X") or x
        y = _physical_size(given, "Y") or y
        channel = given.get("Channel")
        names = channel.get("Name", ()) if isinstance(channel, Mapping) else ()
        found = cls(
            axes=None if axes is None else axes.upper(),
            x=x or y,
            y=y or x,
            z=_physical_size(given, "Z") or z,
            interval=_interval(given),
            channels=(names,) if isinstance(names, str) else tuple(str(name) for name in names),
            rest={k: v for k, v in given.items() if k not in _UNDERSTOOD | _COMPUTED}
            | given.get("custom", {}),
        )
        found._require_one_unit(None if given.get("unit") is None else symbols["x"])
        return found

    @classmethod
    def of_file(cls, **said: Any) -> Self:
        """From what a file says, by field: what cannot be told in one unit with the rest is left out.

        Pixels among lengths, and sizes for which there is no number in the unit of the pixel's width.
        """
        found = cls(**said)
        sizes = {axis: size for axis in "xyz" if (size := getattr(found, axis)) is not None}
        if any(size.is_physical for size in sizes.values()):
            sizes = {axis: size for axis, size in sizes.items() if size.is_physical}
        x = sizes.get("x") or sizes.get("y")
        unit = x or sizes.get("z")
        kept = {axis: size for axis, size in sizes.items() if size.fits(unit.unit)}  # type: ignore[union-attr]
        return replace(found, x=x, y=kept.get("y") or x, z=kept.get("z"))

    def _require_one_unit(self, unit: str | None) -> None:
        """Raise FormatError for sizes that cannot all be told in one unit, and in this one if it is given."""
        for symbol in (self.unit, unit):
            for what, size in (("resolution", self.x), ("resolution", self.y), ("spacing", self.z)):
                if size is not None and symbol is not None and not size.fits(symbol):
                    size.to(symbol)  # what is no length says so
                    raise unusable(
                        _METADATA,
                        what,
                        f"a size that is a number in {imagej_name(symbol)}, too, as others are told in",
                        f"{size.value} {imagej_name(size.unit)}",
                        "give all in one unit: pixel_size=(0.25, 0.25, 1), unit='micron'",
                    )

    @property
    def unit(self) -> str | None:
        """Symbol of the unit of all sizes: that of the pixel's width, else of z."""
        size = self.x or self.z
        return None if size is None else size.unit

    @property
    def resolution(self) -> Resolution | None:
        """(x, y) in pixels per `unit`."""
        return None if self.x is None else self.resolution_per(self.x.unit)

    def resolution_per(self, unit: str) -> Resolution | None:
        """(x, y) in pixels per some unit, given by its symbol."""
        if self.x is None or self.y is None:
            return None
        return Resolution.per(unit)(1 / self.x.to(unit), 1 / self.y.to(unit))

    def to_dict(self) -> dict[str, Any]:
        """The metadata with ImageJ's keys, as `of` takes it, without the resolution."""
        found: dict[str, Any] = {}
        if self.axes is not None:
            found["axes"] = self.axes
        if self.unit is not None:
            found["unit"] = imagej_name(self.unit)
            if self.z is not None:
                found["spacing"] = self.z.to(self.unit)
        if self.interval is not None:
            found["finterval"] = self.interval
        if self.channels:
            found["Channel"] = {"Name": list(self.channels)}
        return found | dict(self.rest)


def _length(value: Any, symbol: str, key: str) -> Length:
    return Length(_positive(value, f"metadata[{key!r}]"), symbol)


def _physical_size(given: Mapping[str, Any], axis: str) -> Length | None:
    key = f"PhysicalSize{axis}"
    if given.get(key) is None:
        return None
    unit = given.get(f"{key}Unit")
    return _length(given[key], "µm" if unit is None else length_symbol(unit, f"metadata['{key}Unit']"), key)


def _interval(given: Mapping[str, Any]) -> float | None:
    if given.get("TimeIncrement") is not None:
        value = _positive(given["TimeIncrement"], "metadata['TimeIncrement']")
        return seconds(value, given.get("TimeIncrementUnit") or "s")
    if given.get("finterval") is not None:
        value = _positive(given["finterval"], "metadata['finterval']")
        return seconds(value, given.get("tunit") or "s", "metadata['tunit']")
    if given.get("fps") is not None:
        return 1 / _positive(given["fps"], "metadata['fps']")
    return None


def _positive(value: Any, field: str) -> float:
    number = usable(value)
    if number is None:
        raise unusable(_METADATA, field, "a positive number", value, "leave it out where it is unknown")
    return number


def calibration(metadata: Any, resolution: Any) -> tuple[dict[str, Any] | None, tuple[float, float] | None]:
    """Normalise metadata and resolution for storing: JSON values, and a pair of numbers.

    Bad sizes and units are found now, not after hours of computing.

    Raises FormatError for what is no dict of JSON values, and for sizes and units that make no sense.
    """
    if not isinstance(metadata, Mapping | None):
        remedy = f"metadata={{'axes': {metadata!r}}}" if isinstance(metadata, str) else "give a dict"
        raise unusable(_METADATA, "metadata", "a dict, such as {'axes': 'ZYX'}", metadata, remedy)
    kept = json_values(metadata, "metadata") or None
    if kept is not None and not isinstance(kept.get("custom", {}), dict):
        raise unusable(_METADATA, "metadata['custom']", "a dict of keys of one's own", kept["custom"])
    pair = _pair(resolution)
    Metadata.of(kept, pair)
    return kept, pair


def require_known(metadata: Any) -> None:
    """Raise FormatError for a key that is not ImageJ's, OME's or cpr's, naming the nearest one."""
    for key in metadata if isinstance(metadata, Mapping) else ():
        if key in _KNOWN or not isinstance(key, str):
            continue
        if key in _OPTIONS:
            beside = f"give it beside them: from_path(path, metadata=..., {key}=...)"
            raise unusable(_METADATA, f"metadata[{key!r}]", "what the image means", key, beside)
        folded = {known.lower(): known for known in _KNOWN}
        nearest = get_close_matches(key.lower(), folded, 1, 0.6)
        meant = f"write {folded[nearest[0]]!r}, or, for" if nearest else "for"
        remedy = f"{meant} a key of your own, metadata={{'custom': {{{key!r}: ...}}}}"
        raise unusable(
            "unknown key of metadata", f"metadata[{key!r}]", "a key of ImageJ's or OME's", key, remedy
        )


def json_values(value: Any, field: str) -> Any:
    """Convert to JSON values; numpy's numbers become Python's. Raises FormatError for anything else."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise unusable(_METADATA, field, "keys that are text", list(value))
        return {key: json_values(item, f"{field}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_values(item, f"{field}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise unusable(_METADATA, field, "a finite number", value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise unusable(_METADATA, field, f"a number of up to {_MOST_BITS} bits", value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise unusable(_METADATA, field, "JSON values: text, numbers, lists, dicts", type(value).__name__)


def _pair(resolution: Any) -> tuple[float, float] | None:
    if resolution is None:
        return None
    try:
        x, y = (float(r) for r in resolution)
    except (TypeError, ValueError):
        raise unusable(_METADATA, "resolution", "(x, y) in pixels per unit", resolution) from None
    return x, y
