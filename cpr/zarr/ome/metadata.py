"""Makes the metadata of OME-Zarr 0.5: multiscales, omero and image-label.

Source: https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cpr.data.image_metadata import json_values
from cpr.data.units import PIXEL
from cpr.errors import EncodeError
from cpr.zarr.ome.axes import axis_type
from cpr.zarr.ome.downsample import Method
from cpr.zarr.ome.extremes import Extremes
from cpr.zarr.ome.options import hex_color, is_byte
from cpr.zarr.ome.schema import IN_PIXELS
from cpr.zarr.options import Shape, option_error

__all__ = [
    "VERSION",
    "Description",
    "channel_count",
    "image_label",
    "label_dtype",
    "omero",
    "require_finite",
    "require_one_each",
]

VERSION = "0.5"

_METHODS = {
    "mean": "mean of two neighbours along each halved axis, of the one that is there at an odd end; "
    "integers rounded to the nearest, halves to even",
    "mode": "most frequent of two neighbours along each halved axis, of the one that is there at an odd end; "
    "the first in C order among equals",
}
# Two channels are told apart by everybody, whatever their eyes; more have to do with what there is.
_COLORS = {1: ["FFFFFF"], 2: ["00FF00", "FF00FF"]}
_MORE_COLORS = ["00FFFF", "FFFF00", "FF00FF", "FF0000", "00FF00", "0000FF"]


_bad = partial(
    option_error, remedy='add_labels("cells", mask, colors={1: "green"}, properties={1: {"area": 12.5}})'
)


@dataclass(frozen=True)
class Description:
    """The metadata of an image and its levels.

    Attributes:
        name: of the image.
        axes: letters of its axes.
        scales: size of a pixel of the first level, along each axis.
        units: of the scales.
        shapes: of all levels.
        method: of downsampling from level to level.
    """

    name: str
    axes: str
    scales: tuple[float, ...]
    units: tuple[str | None, ...]
    shapes: Sequence[Shape]
    method: Method

    def multiscales(self) -> list[dict[str, Any]]:
        """The value of `multiscales`."""
        axes = []
        for letter, unit in zip(self.axes, self.units, strict=True):
            axis = {"name": letter.lower(), "type": axis_type(letter)}
            axes.append(axis if unit in (None, PIXEL) else {**axis, "unit": unit})
        made = {"description": _METHODS[self.method], "method": "cpr.zarr.ome.downsample.halve"}
        # The specification has no such unit, which some readers would refuse.
        pixels = [axis["name"] for axis, unit in zip(axes, self.units, strict=True) if unit == PIXEL]
        return [
            {
                "name": self.name,
                "axes": axes,
                "datasets": [
                    {"path": str(level), "coordinateTransformations": self._transformations(level)}
                    for level in range(len(self.shapes))
                ],
                "type": self.method,
                "metadata": {**made, IN_PIXELS: pixels} if pixels else made,
            }
        ]

    def axes_of_labels(self, ndim: int) -> str:
        """Default axes of labels: the image's, or those without C."""
        return self.axes if ndim == len(self.axes) else self.axes.replace("C", "")

    def of_labels(self, name: str, axes: str, shape: Shape) -> Description:
        """The description of labels for this image. Raises EncodeError if they do not fit the image.

        Args:
            name: of the labels.
            axes: as they are stored.
            shape: as it is stored.
        """
        if set(axes) <= set(self.axes) and len(axes) == len(shape):
            kept = [self.axes.index(letter) for letter in axes]
            full = tuple(self.shapes[0][axis] for axis in kept)
            if all(n in (1, whole) for n, whole in zip(shape, full, strict=True)):
                shapes = [
                    tuple(1 if n == 1 else level[axis] for n, axis in zip(shape, kept, strict=True))
                    for level in self.shapes
                ]
                scales, units = (tuple(values[axis] for axis in kept) for values in (self.scales, self.units))
                return Description(name, axes, scales, units, shapes, "mode")  # type: ignore[arg-type]
        raise EncodeError(
            "the labels do not fit the image",
            field="data",
            expected=f"axes {self.axes} and shape {self.shapes[0]}, without some axes, or 1 long there",
            actual=f"axes {axes} and shape {shape}",
            remedy="give the axes of these labels: add_labels(name, data, axes='YX')",
        )

    def _transformations(self, level: int) -> list[dict[str, Any]]:
        factors = [1] * len(self.axes)
        for before, after in zip(self.shapes[:level], self.shapes[1:], strict=False):
            factors = [f * (2 if a < b else 1) for f, b, a in zip(factors, before, after, strict=True)]
        scale = {"type": "scale", "scale": [s * f for s, f in zip(self.scales, factors, strict=True)]}
        if level == 0:
            return [scale]
        # Coordinates are those of the middle of a pixel: that of 2 is half a pixel behind the first's.
        offsets = [s * (f - 1) / 2 for s, f in zip(self.scales, factors, strict=True)]
        return [scale, {"type": "translation", "translation": offsets}]


def omero(
    description: Description,
    dtype: np.dtype[Any],
    names: Sequence[str],
    colors: Sequence[str] | None,
    windows: Sequence[tuple[float, float]] | None,
    extremes: Extremes,
) -> dict[str, Any]:
    """The value of `omero`: names, colors and windows of the channels."""
    count = channel_count(description.axes, description.shapes[0])
    known = _COLORS.get(count, _MORE_COLORS)
    channels = []
    for index in range(count):
        ends = windows[index] if windows else (extremes.lowest[index], extremes.highest[index])
        channels.append(
            {
                "label": names[index] if names else f"channel {index}",
                "color": colors[index] if colors else known[index % len(known)],
                "window": _window(dtype, float(ends[0]), float(ends[1])),
                "active": True,
                "coefficient": 1.0,
                "family": "linear",
                "inverted": False,
            }
        )
    depth = dict(zip(description.axes, description.shapes[0], strict=True)).get("Z", 1)
    model = "color" if colors or count > 1 else "greyscale"
    return {"channels": channels, "rdefs": {"defaultT": 0, "defaultZ": depth // 2, "model": model}}


def label_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which labels are stored. Raises EncodeError unless they are integers or booleans."""
    if dtype.kind not in "biu":
        raise EncodeError(
            "labels are integers",
            field="dtype",
            expected="integers, or a bool mask",
            actual=str(dtype),
            remedy="skimage.measure.label(mask) numbers objects; array.astype('uint32') converts",
        )
    return np.dtype("uint8") if dtype.kind == "b" else dtype


def channel_count(axes: str, shape: Shape) -> int:
    """Number of channels of an image."""
    return shape[axes.index("C")] if "C" in axes else 1


def require_finite(description: Description) -> None:
    """Raise EncodeError where pixels of some level are larger than any number."""
    told = description.multiscales()[0]["datasets"][-1]["coordinateTransformations"]
    for each in told:
        if not np.isfinite(each[each["type"]]).all():
            raise EncodeError(
                "OME-Zarr cannot hold this size of a pixel",
                field="metadata, resolution",
                expected=f"sizes that are numbers in the smallest of {len(description.shapes)} levels, too",
                actual=str(description.scales),
                remedy="take another unit: unit='m'; or leave out what is not known",
            )


def require_one_each(field: str, values: Sequence[Any] | None, count: int) -> None:
    """Raise EncodeError unless there is one value for each channel, or none at all."""
    if values and len(values) != count:
        raise EncodeError(
            "not one for each channel",
            field=field,
            expected=f"{count}",
            actual=f"{len(values)}: {', '.join(map(str, values))}"[:200],
            remedy="give one for each channel, or none",
        )


def _window(dtype: np.dtype[Any], start: float, end: float) -> dict[str, float]:
    if not np.isfinite([start, end]).all():
        start, end = 0.0, 1.0  # nothing but NaN
    low, high = min(start, end), max(start, end)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = min(low, float(info.min)), max(high, float(info.max))
    elif dtype.kind == "b":
        low, high = min(low, 0.0), max(high, 1.0)
    if start >= end:
        # Viewers divide by the difference.
        step = max(1.0, abs(start) * 1e-6)
        start, end = (start, start + step) if dtype.kind == "f" or start + step <= high else (end - step, end)
        low, high = min(low, start), max(high, end)
    return {"min": low, "max": high, "start": start, "end": end}


def image_label(colors: Mapping[int, Any] | None, properties: Mapping[int, Any] | None) -> dict[str, Any]:
    """The value of `image-label`.

    Args:
        colors: label -> color, as for channels, or (red, green, blue, alpha).
        properties: label -> dict of JSON values.

    Raises FormatError for labels that are no integers, and for values that are no colors or dicts.
    """
    for field, value in (("colors", colors), ("properties", properties)):
        if value is not None and not isinstance(value, Mapping):
            raise _bad(field, "a dict with a value for each label", value)
    found: dict[str, Any] = {"version": VERSION, "source": {"image": "../../"}}
    # Validators want both, where both are given, to name the same labels.
    labels = [*(colors or ()), *(label for label in properties or () if label not in (colors or ()))]
    if colors:
        found["colors"] = [
            {"label-value": _label(label, "colors"), "rgba": _rgba(colors.get(label, _any_color(label)))}
            for label in labels
        ]
    if properties:
        rows = []
        for label in labels:
            field = f"properties[{label!r}]"
            row = json_values(properties.get(label, {}), field)
            if not isinstance(row, dict) or "label-value" in row:
                raise _bad(field, 'a dict without "label-value"', properties[label])
            rows.append({"label-value": _label(label, "properties"), **row})
        found["properties"] = rows
    return found


def _label(value: Any, field: str) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise _bad(field, "integers as labels", value)
    return int(value)


def _any_color(label: int) -> Any:
    """A colour for a label without one, since validators expect one for each; 0 is background."""
    return _MORE_COLORS[label % len(_MORE_COLORS)] if label else (0, 0, 0, 0)


def _rgba(color: Any) -> list[int]:
    if isinstance(color, Sequence) and not isinstance(color, str) and len(color) == 4:
        if all(is_byte(part) for part in color):
            return [int(part) for part in color]
        raise _bad("colors", "(red, green, blue, alpha) of 0 to 255", color)
    return [*bytes.fromhex(hex_color(color, "colors")), 255]
