"""Formats pixel sizes for people, the same in logs, tables and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["pixel_size"]


def pixel_size(resolution: Sequence[float] | None, metadata: Mapping[str, Any]) -> str:
    """Width and height of a pixel, and the Z step, as text; empty if the image does not say.

    >>> pixel_size((4, 4), {"unit": "micron", "spacing": 0.5})
    '0.25 x 0.25 x 0.5 micron'
    """
    steps = [1 / pixels for pixels in resolution or () if pixels]
    spacing = metadata.get("spacing")
    if isinstance(spacing, (int, float)):
        steps.append(spacing)
    unit = metadata.get("unit", "cm" if resolution else "")
    return f"{' x '.join(f'{step:.4g}' for step in steps)} {unit}".strip() if steps else ""
