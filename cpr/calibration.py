"""The options `metadata` and `resolution`, which every image format takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cpr.errors import FormatError
from cpr.Metadata import Metadata

__all__ = ["calibration", "json_values"]


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
            raise _bad(field, "keys that are text", ", ".join(map(repr, value)))
        return {key: json_values(item, f"{field}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_values(item, f"{field}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise _bad(field, "a finite number", value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise _bad(field, "JSON values: text, numbers, lists, dicts", type(value).__name__)


def _pair(resolution: Any) -> tuple[float, float] | None:
    if resolution is None:
        return None
    try:
        x, y = (float(r) for r in resolution)
    except (TypeError, ValueError):
        raise _bad("resolution", "(x, y) in pixels per unit", resolution) from None
    return x, y


def _bad(field: str, expected: str, actual: Any) -> FormatError:
    return FormatError(
        "not acceptable as metadata",
        field=field,
        expected=expected,
        actual=repr(actual)[:80],
        remedy="correct it, or leave it out for the default",
    )
