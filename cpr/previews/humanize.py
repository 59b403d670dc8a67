"""Sizes as a person says them, the same in logs, tables and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["human_size", "pixel_size"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def human_size(nbytes: float) -> str:
    """A number of bytes.

    >>> human_size(88), human_size(1.2 * 2**30), human_size(1000 * 2**20)
    ('88 B', '1.2 GiB', '1000 MiB')
    """
    for unit in _UNITS:
        if nbytes < 1024 or unit == _UNITS[-1]:
            break
        nbytes /= 1024
    return f"{nbytes:.1f} {unit}" if nbytes < 10 and unit != "B" else f"{nbytes:.0f} {unit}"


def pixel_size(resolution: Sequence[float] | None, metadata: Mapping[str, Any]) -> str:
    """Width and height of a pixel, and the step in Z, of an image that tells; else nothing.

    >>> pixel_size((4, 4), {"unit": "micron", "spacing": 0.5})
    '0.25 x 0.25 x 0.5 micron'
    """
    steps = [1 / pixels for pixels in resolution or () if pixels]
    spacing = metadata.get("spacing")
    if isinstance(spacing, (int, float)):
        steps.append(spacing)
    unit = metadata.get("unit", "cm" if resolution else "")
    return f"{' x '.join(f'{step:.4g}' for step in steps)} {unit}".strip() if steps else ""
