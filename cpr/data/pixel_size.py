"""Parses axes and physical sizes passed to `from_path`, and warns of likely mistakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cpr.data.image_metadata import Metadata, calibration, require_known
from cpr.data.pixels_per_unit import Resolution
from cpr.data.units import CENTIMETRE, Length, imagej_name, length_symbol
from cpr.data.user_warnings import warn_user
from cpr.format import unusable

__all__ = ["PixelSizeWarning", "calibrated", "in_one_unit"]

_OPTIONS = ("metadata", "resolution", "pixel_size", "unit", "custom", "like")
_UNITS = {"xunit", "yunit", "zunit", "tunit"}
_SIZE = "not acceptable as the size of a pixel"
# No microscope has a pixel outside of this, in metres; nor a scanner, nor a slide.
_SMALLEST, _LARGEST = 1e-9, 1e-2
_SLIPS = (
    (1e-4, "resolution= is in pixels per micron where unit is 'micron': 1 / size, not 1e4 / size"),
    (1e4, "resolution= is in pixels per centimetre where unit is 'cm': 1e4 / size in micron"),
)


class PixelSizeWarning(UserWarning):
    """Warns of a pixel size that is probably a mistake."""


def calibrated(options: Mapping[str, Any], stored: bool) -> dict[str, Any]:
    """Replace all options on axes and sizes by the two options `metadata` and `resolution`.

    Args:
        options: `metadata` and `resolution` as they are, or `pixel_size` (x, y and maybe z, or one number)
            and `unit`; `custom`, for keys of one's own; `like`, an image: what is not given is as there.
        stored: whether the image will be written, so that there is no file with its own metadata.

    Raises FormatError for what makes no sense, and for what is said twice. Warns of a resolution without a
    unit, which is taken per centimetre, and of pixels that no microscope has.
    """
    others = {key: value for key, value in options.items() if key not in _OPTIONS}
    given = {key: value for key, value in options.items() if key in _OPTIONS and value is not None}
    if not given:
        return dict(options)
    require_known(given.get("metadata"))
    metadata, _ = calibration(given.get("metadata"), None)
    metadata = dict(metadata or {})
    if "custom" in given:
        metadata["custom"] = {**metadata.get("custom", {}), **given["custom"]}
    resolution = given.get("resolution")
    if (unit := given.get("unit")) is not None:
        if metadata.get("unit") is not None and length_symbol(metadata["unit"]) != length_symbol(
            unit, "unit"
        ):
            raise unusable(
                _SIZE, "unit", "one unit", f"{unit} and {metadata['unit']}", "leave one of them out"
            )
        metadata["unit"] = unit
    if "pixel_size" in given:
        if resolution is not None:
            raise unusable(_SIZE, "pixel_size", "pixel_size= or resolution=", "both", "leave one of them out")
        if metadata.get("unit") is None:
            raise unusable(_SIZE, "unit", "the unit of pixel_size", None, "pixel_size=0.25, unit='micron'")
        resolution, spacing = _sizes(given["pixel_size"])
        if spacing is not None:
            if metadata.get("spacing", spacing) != spacing:
                raise unusable(_SIZE, "pixel_size", "one step in z", metadata["spacing"], "leave out spacing")
            metadata["spacing"] = spacing
    metadata, resolution = in_one_unit(*_with_unit(metadata, resolution))
    if "like" in given:
        metadata, resolution = _merged(metadata, resolution, given["like"])
    metadata, resolution = calibration(metadata, resolution)
    known = Metadata.of(metadata, resolution)
    if (
        stored
        and not (metadata or {}).get("unit")
        and (resolution is not None or "spacing" in (metadata or {}))
    ):
        warn_user(
            f"resolution and spacing have no unit, and are taken per centimetre: a pixel is {_told(known.x)} "
            "wide. Say which is meant: unit='micron', or pixel_size=..., unit=...",
            PixelSizeWarning,
        )
    _warn_of_slips(known)
    return others | {"metadata": metadata, "resolution": resolution}


def in_one_unit(metadata: dict[str, Any], resolution: Any) -> tuple[dict[str, Any], Any]:
    """Convert ImageJ's units of single axes: all lengths to `metadata["unit"]`, times to seconds."""
    if not _UNITS & set(metadata):
        return metadata, resolution
    _, pair = calibration(metadata, resolution)
    known = Metadata.of(metadata, pair)
    symbol = length_symbol(
        metadata.get("unit") or metadata.get("xunit") or metadata.get("zunit") or CENTIMETRE
    )
    found = {key: value for key, value in metadata.items() if key not in _UNITS} | {
        "unit": imagej_name(symbol)
    }
    if known.z is not None and "spacing" in metadata:
        found["spacing"] = known.z.to(symbol)
    if known.interval is not None and "finterval" in metadata:
        found["finterval"] = known.interval
    return found, None if pair is None else known.resolution_per(symbol)


def _sizes(pixel_size: Any) -> tuple[tuple[float, float], float | None]:
    """Convert a pixel size to resolution and spacing."""
    sizes = pixel_size if isinstance(pixel_size, (Sequence, np.ndarray)) else (pixel_size,) * 2
    try:
        found = [1 / float(size) for size in sizes]
    except (TypeError, ValueError, ZeroDivisionError):
        found = []
    if len(found) not in {2, 3} or isinstance(sizes, str):
        raise unusable(
            _SIZE, "pixel_size", "a number, (x, y) or (x, y, z)", pixel_size, "pixel_size=(0.25, 0.25)"
        )
    return (found[0], found[1]), 1 / found[2] if len(found) == 3 else None


def _with_unit(metadata: dict[str, Any], resolution: Any) -> tuple[dict[str, Any], Any]:
    """Convert both to one unit, if the resolution has its own."""
    if not isinstance(resolution, Resolution) or resolution.unit is None:
        return metadata, resolution
    # Units of X and Y would be those of another resolution.
    metadata = {key: value for key, value in metadata.items() if key not in {"xunit", "yunit"}}
    if metadata.get("unit") is None:
        return {**metadata, "unit": resolution.unit}, resolution
    own = Metadata.of({"unit": resolution.unit}, resolution)
    return metadata, own.resolution_per(length_symbol(metadata["unit"]))


def _merged(metadata: dict[str, Any], resolution: Any, like: Any) -> tuple[dict[str, Any], Any]:
    """Complete the given values with those of another image."""
    if not (hasattr(like, "get_metadata") and hasattr(like, "get_resolution")):
        raise unusable(
            _SIZE, "like", "an image: a source or a target", like, "like=ImageSource.from_path(url)"
        )
    theirs = Metadata.of(like.get_metadata(), like.get_resolution())
    own = Metadata.of(metadata, resolution)
    axes = own.axes or theirs.axes or "TZCYX"
    has_z, has_t, has_c = ("Z" in axes, "T" in axes, "C" in axes or not theirs.axes or "C" not in theirs.axes)
    found = dataclasses.replace(
        own,
        axes=own.axes or theirs.axes,
        x=own.x or theirs.x,
        y=own.y or theirs.y,
        z=own.z or (theirs.z if has_z else None),
        interval=own.interval or (theirs.interval if has_t else None),
        channels=own.channels or (theirs.channels if has_c else ()),
        rest={},
    )
    # What is one's own stays as it was given.
    rest = {key: value for key, value in metadata.items() if key in own.rest or key == "custom"}
    return {**found.to_dict(), **rest}, found.resolution


def _told(size: Length | None) -> str:
    return "of unknown size" if size is None else f"{size.value:.3g} {imagej_name(size.unit)}"


def _warn_of_slips(known: Metadata) -> None:
    for size in (known.x, known.y):
        if size is None or not size.is_physical or _SMALLEST <= size.to("m") <= _LARGEST:
            continue
        hints = [slip for factor, slip in _SLIPS if _SMALLEST * 10 <= size.to("m") / factor <= _LARGEST / 10]
        advice = (
            f"Likely: {hints[0]}"
            if hints
            else "Check resolution= and its unit, or say pixel_size=0.25, unit='micron'"
        )
        warn_user(f"a pixel of {_told(size)} is none that a microscope has. {advice}", PixelSizeWarning)
        return
