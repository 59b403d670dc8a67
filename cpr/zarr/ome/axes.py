"""Converts axes, units and scales between OME-Zarr's metadata and cpr's.

Source: https://ngff.openmicroscopy.org/0.5/#axes-md; its units are named as in UDUNITS-2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cpr.data.image_metadata import Metadata
from cpr.data.units import Length, length_symbol, seconds, usable
from cpr.errors import EncodeError, FormatError, spelled

__all__ = [
    "AXES",
    "axis_type",
    "checked_axes",
    "default_axes",
    "letters_of",
    "metadata_of",
    "scales_and_units",
    "stored_axes",
    "type_of",
]

AXES = "TCZYX"

_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_NAMES = {
    "fm": "femtometer",
    "pm": "picometer",
    "Å": "angstrom",
    "nm": "nanometer",
    "µm": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "dm": "decimeter",
    "m": "meter",
    "km": "kilometer",
    "Mm": "megameter",
    "in": "inch",
    "ft": "foot",
}
_SYMBOLS = {name: symbol for symbol, name in _NAMES.items()}
_PREFIXES = {
    "yocto": -24, "zepto": -21, "atto": -18, "femto": -15, "pico": -12, "nano": -9, "micro": -6, "milli": -3,
    "centi": -2, "deci": -1, "": 0, "hecto": 2, "kilo": 3, "mega": 6, "giga": 9, "tera": 12, "peta": 15,
    "exa": 18, "zetta": 21, "yotta": 24,
}  # fmt: skip
_METRES = {f"{prefix}meter": 10.0**power for prefix, power in _PREFIXES.items()} | {
    "foot": 0.3048, "yard": 0.9144, "mile": 1609.344, "parsec": 3.0856775814913673e16
}  # fmt: skip
_SECONDS = {f"{prefix}second": 10.0**power for prefix, power in _PREFIXES.items()} | {
    "minute": 60.0, "hour": 3600.0, "day": 86400.0
}  # fmt: skip


def axis_type(letter: str) -> str:
    """The type of an axis: "time", "channel" or "space"."""
    return _TYPES[letter]


def stored_axes(axes: str) -> str:
    """The axes in OME-Zarr's order: any of T, C and Z, then Y and X.

    Raises FormatError for axes that OME-Zarr does not have.

    >>> stored_axes("TZCYX")
    'TCZYX'
    """
    if set(axes) <= set(AXES) and len(set(axes)) == len(axes) and {"Y", "X"} <= set(axes):
        return "".join(letter for letter in AXES if letter in axes)
    remedy = "leave them out, or name them as in 'CZYX'"
    if axes.endswith("YXS"):
        remedy = f"colours are channels: {axes[:-1] + 'C'!r} says the same of the same array"
    raise FormatError(
        "OME-Zarr does not have these axes",
        field="metadata['axes']",
        expected="Y and X, and any of T, C and Z, each once",
        actual=spelled(axes),
        remedy=remedy,
    )


def default_axes(shape: Sequence[int], dtype: np.dtype[Any]) -> str:
    """The last letters of TCZYX, but ZYX for three axes. Raises EncodeError if that is ambiguous."""
    usual = {2: "YX", 3: "ZYX", 4: "CZYX", 5: "TCZYX"}.get(len(shape))
    if usual is None:
        raise EncodeError(
            "an OME-Zarr image has two to five axes",
            field="data",
            expected="a shape of 2 to 5 axes",
            actual=str(tuple(shape)),
            remedy="store it as a ZarrTarget, or drop axes: numpy.squeeze(array)",
        )
    if len(shape) > 2 and shape[-1] in {3, 4} and shape[-2] > 4 and dtype.name in {"uint8", "uint16"}:
        moved = "C" + "TZ"[5 - len(shape) :] + "YX"
        raise EncodeError(
            "these may be colours, which OME-Zarr has as channels",
            field="metadata['axes']",
            expected="the axes, where the last one is this short",
            actual=f"no axes, and shape {tuple(shape)}",
            remedy=f"numpy.moveaxis(array, -1, 0), metadata={{'axes': {moved!r}}}; or {{'axes': {usual!r}}}",
        )
    return usual


def checked_axes(axes: str | None, shape: Sequence[int], dtype: np.dtype[Any]) -> str:
    """Validate the axes of an image. Raises EncodeError if they do not fit its shape."""
    if axes is None:
        axes = default_axes(shape, dtype)
    if len(axes) != len(shape):
        raise EncodeError(
            "axes and shape do not fit",
            field="metadata['axes']",
            expected=f"one letter for each of the {len(shape)} axes of shape {tuple(shape)}",
            actual=spelled(axes),
            remedy="give the axes of this array: metadata={..., 'axes': 'CZYX'}, or leave them out",
        )
    if 0 in shape:
        raise EncodeError(
            "an image has pixels",
            field="data",
            expected="no empty axis",
            actual=f"shape {tuple(shape)}",
            remedy="leave the image out, or store it as a ZarrTarget",
        )
    return axes


def scales_and_units(metadata: Metadata, axes: str) -> tuple[tuple[float, ...], tuple[str | None, ...]]:
    """Step size along each axis, and its unit or "pixel"; 1 and None if unknown.

    Lengths are all in one unit, that of the pixel's width: not every viewer converts.
    """
    lengths = {"X": metadata.x, "Y": metadata.y, "Z": metadata.z}
    found: list[tuple[float, str | None]] = []
    for letter in axes:
        length = lengths.get(letter)
        if length is not None:
            assert metadata.unit is not None
            found.append((length.to(metadata.unit), _NAMES.get(metadata.unit, metadata.unit)))
        elif letter == "T" and metadata.interval is not None:
            found.append((metadata.interval, "second"))
        else:
            found.append((1.0, None))
    return tuple(scale for scale, _ in found), tuple(unit for _, unit in found)


def type_of(name: str) -> str | None:
    """The type of an axis with a usual name; metadata may omit the type."""
    return _TYPES.get(name.upper())


def letters_of(names: Sequence[str], types: Sequence[str | None]) -> str:
    """Assign cpr's letters to axes of any names, in any order.

    Axes of space have the letters that they are named; where one has another name, the last ones of space
    are Z, Y and X.

    >>> letters_of(("x", "y", "z"), ("space",) * 3), letters_of(("k", "j", "i"), ("space",) * 3)
    ('XYZ', 'ZYX')
    """
    letters = []
    spatial = [name.upper() for name, kind in zip(names, types, strict=True) if kind == "space"]
    named = set(spatial) <= set("XYZ") and {"X", "Y"} <= set(spatial)
    space = spatial if named else list("ZYX"[-len(spatial) :])
    for name, kind in zip(names, types, strict=True):
        if kind == "space":
            letters.append(space.pop(0))
        elif kind == "time":
            letters.append("T")
        else:
            letters.append("C" if kind == "channel" else (name[:1].upper() or "Q"))
    return "".join(letters)


def metadata_of(
    letters: str, scales: Sequence[float], units: Sequence[str | None], channels: Sequence[str]
) -> Metadata:
    """Convert axes to cpr's metadata; a scale without a known unit is ignored."""
    lengths: dict[str, Length | None] = {}
    interval = None
    for letter, scale, unit in zip(letters, scales, units, strict=True):
        if unit is None:
            continue
        if letter == "T":
            interval = usable(_seconds(scale, unit))
        elif letter in "ZYX":
            lengths[letter] = _length(scale, unit)
    return Metadata.of_file(
        axes=letters,
        x=lengths.get("X") or lengths.get("Y"),
        y=lengths.get("Y") or lengths.get("X"),
        z=lengths.get("Z"),
        interval=interval,
        channels=tuple(channels),
    )


def _length(scale: float, unit: str) -> Length | None:
    # The specification's names first: beyond them, whatever people write for micrometres.
    if unit in _METRES and unit not in _SYMBOLS:
        value, symbol = usable(scale * _METRES[unit]), "m"
    else:
        try:
            symbol = _SYMBOLS.get(unit) or length_symbol(unit)
        except FormatError:
            return None
        value = usable(scale)
    return None if value is None else Length(value, symbol)


def _seconds(scale: float, unit: str) -> float:
    if unit in _SECONDS:
        return scale * _SECONDS[unit]
    try:
        return seconds(scale, unit)
    except FormatError:
        return math.nan
