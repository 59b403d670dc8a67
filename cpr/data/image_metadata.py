"""What is known of an image besides its pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from cpr.data.units import CENTIMETRE, Length, imagej_name, length_symbol, seconds
from cpr.format import unusable

__all__ = ["Metadata", "calibration", "json_values"]

_METADATA = "not acceptable as metadata"
# What is computed from the array, or from other keys, whoever gives it.
_COMPUTED = {
    "ImageJ", "SCIFIO", "images", "channels", "slices", "frames", "hyperstack", "shape",
    "DimensionOrder", "SizeX", "SizeY", "SizeZ", "SizeC", "SizeT", "Type", "UUID",
}  # fmt: skip
_UNDERSTOOD = {
    "axes", "unit", "spacing", "finterval", "fps", "TimeIncrement", "TimeIncrementUnit",
    "PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ",
    "PhysicalSizeXUnit", "PhysicalSizeYUnit", "PhysicalSizeZUnit",
}  # fmt: skip


@dataclass(frozen=True)
class Metadata:
    """Axes, physical sizes and channel names, whichever notation they came in.

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
        """From what `from_path` takes. OME's sizes win over ImageJ's.

        Args:
            metadata: in ImageJ's or OME's notation.
            resolution: (x, y) in pixels per `metadata["unit"]`, per centimetre without one.

        Raises FormatError for sizes that are no positive numbers, and for unknown units.
        """
        given = dict(metadata or {})
        axes = given.get("axes")
        if axes is not None and (not isinstance(axes, str) or not axes.isalpha() or not axes.isascii()):
            raise unusable(
                _METADATA, "metadata['axes']", "letters, such as 'ZYX'", axes, "one letter per axis"
            )
        symbol = CENTIMETRE if given.get("unit") is None else length_symbol(given["unit"])
        x, y = (
            (None, None)
            if resolution is None
            else tuple(Length(1 / _positive(r, "resolution"), symbol) for r in resolution)
        )
        z = None if given.get("spacing") is None else _length(given["spacing"], symbol, "spacing")
        x = _physical_size(given, "X") or x
        y = _physical_size(given, "Y") or y
        channel = given.get("Channel")
        names = channel.get("Name", ()) if isinstance(channel, Mapping) else ()
        return cls(
            axes=None if axes is None else axes.upper(),
            x=x or y,
            y=y or x,
            z=_physical_size(given, "Z") or z,
            interval=_interval(given),
            channels=(names,) if isinstance(names, str) else tuple(str(name) for name in names),
            rest={k: v for k, v in given.items() if k not in _UNDERSTOOD | _COMPUTED},
        )

    @property
    def unit(self) -> str | None:
        """Symbol of the unit that all sizes are given in: that of the pixel's width, else of z."""
        size = self.x or self.z
        return None if size is None else size.unit

    @property
    def resolution(self) -> tuple[float, float] | None:
        """(x, y) in pixels per `unit`."""
        return None if self.x is None else self.resolution_per(self.x.unit)

    def resolution_per(self, unit: str) -> tuple[float, float] | None:
        """(x, y) in pixels per a unit, named by its symbol."""
        if self.x is None or self.y is None:
            return None
        return 1 / self.x.to(unit), 1 / self.y.to(unit)

    def to_dict(self) -> dict[str, Any]:
        """The notation that `of` takes, in ImageJ's keys; resolution is apart."""
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
        return _positive(given["finterval"], "metadata['finterval']")
    if given.get("fps") is not None:
        return 1 / _positive(given["fps"], "metadata['fps']")
    return None


def _positive(value: Any, field: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (number > 0 and math.isfinite(number) and math.isfinite(1 / number)):
        raise unusable(_METADATA, field, "a positive number", value, "leave it out where it is unknown")
    return number


def calibration(metadata: Any, resolution: Any) -> tuple[dict[str, Any] | None, tuple[float, float] | None]:
    """Both as they are kept: JSON values, and a pair of numbers.

    Bad sizes and units are found now, not after hours of computing.

    Raises FormatError for what is no JSON value, and for sizes and units that make no sense.
    """
    kept = json_values(metadata, "metadata") or None
    pair = _pair(resolution)
    Metadata.of(kept, pair)
    return kept, pair


def json_values(value: Any, field: str) -> Any:
    """JSON values of what was given; numpy's numbers are Python's. Raises FormatError for anything else."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise unusable(_METADATA, field, "keys that are text", ", ".join(map(repr, value)))
        return {key: json_values(item, f"{field}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_values(item, f"{field}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise unusable(_METADATA, field, "a finite number", value)
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
