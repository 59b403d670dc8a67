"""Units of length and time, in the spellings of ImageJ, OME and people.

Source of the OME symbols: UnitsLength and UnitsTime of the OME schema 2016-06,
https://www.openmicroscopy.org/Schemas/Documentation/Generated/OME-2016-06/ome.html
"""

from __future__ import annotations

import math
import re
import unicodedata
from fractions import Fraction
from typing import Any, NamedTuple

from cpr.errors import FormatError, spelled

__all__ = ["CENTIMETRE", "PIXEL", "SYMBOLS", "Length", "imagej_name", "length_symbol", "seconds", "usable"]

CENTIMETRE = "cm"

_METRES = {
    "fm": 1e-15,
    "pm": 1e-12,
    "Å": 1e-10,
    "nm": 1e-9,
    "µm": 1e-6,
    "mm": 1e-3,
    "cm": 1e-2,
    "dm": 1e-1,
    "m": 1.0,
    "km": 1e3,
    "Mm": 1e6,
    "in": 0.0254,
    "ft": 0.3048,
}
PIXEL = "pixel"
SYMBOLS = (*_METRES, PIXEL)
"""Of all units of length, and of none."""

_SPELLINGS = {
    "µm": "micron microns um µ",
    "Å": "angstrom angstroms ångström ångströms ångstrom",
    "in": 'inch inches in. "',
    "ft": "foot feet",
    "pixel": "pixels px",
}
_PREFIXES = {
    "fm": "femto", "pm": "pico", "nm": "nano", "µm": "micro", "mm": "milli", "cm": "centi", "dm": "deci",
    "m": "", "km": "kilo", "Mm": "mega",
}  # fmt: skip


def _plain(text: str) -> str:
    """A unit's name in one spelling: two signs of micro, two of angstrom, and Java's escapes are unified."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
    return unicodedata.normalize("NFKC", text).strip()


_EXACT = {_plain(symbol): symbol for symbol in SYMBOLS}
# A megametre is no millimetre: where case decides, it is not ignored.
_FOLDED = {_plain(symbol).lower(): symbol for symbol in SYMBOLS if symbol != "Mm"}
_FOLDED |= {_plain(word): symbol for symbol, words in _SPELLINGS.items() for word in words.split()}
_FOLDED |= {
    f"{prefix}{metre}": symbol
    for symbol, prefix in _PREFIXES.items()
    for metre in ("meter", "meters", "metre", "metres")
}
_CASE_DECIDES = {"Mm", "Pm", "Fm"}

_TIMES = {
    60.0: "min mins minute minutes", 3600.0: "h hr hrs hour hours", 86400.0: "d day days",
    1.0: "s sec secs second seconds", 1e-3: "ms msec msecs millisecond milliseconds",
    1e-6: "µs us usec usecs microsecond microseconds", 1e-9: "ns nsec nsecs nanosecond nanoseconds",
}  # fmt: skip
_SECONDS = {_plain(word): value for value, words in _TIMES.items() for word in words.split()}


def length_symbol(unit: str, field: str = "metadata['unit']") -> str:
    """OME's symbol for a unit in any usual spelling. Raises FormatError for anything else.

    >>> length_symbol("micron"), length_symbol("um"), length_symbol("Angstrom")
    ('µm', 'µm', 'Å')
    """
    symbol = None
    if isinstance(unit, str):
        text = _plain(unit)
        symbol = _EXACT.get(text) or (None if text in _CASE_DECIDES else _FOLDED.get(text.lower()))
    if symbol is None:
        raise FormatError(
            "unknown unit of length",
            field=field,
            expected=f"one of micron, {', '.join(SYMBOLS)}",
            actual=spelled(unit, 50),
            remedy="convert the pixel size to one of these units",
        )
    return symbol


def imagej_name(symbol: str) -> str:
    """ImageJ's spelling of a unit: ASCII, such as "micron" for µm."""
    return {"µm": "micron", "Å": "angstrom", "in": "inch"}.get(symbol, symbol)


def seconds(value: float, unit: str, field: str = "metadata['TimeIncrementUnit']") -> float:
    """Convert a time to seconds. Raises FormatError for an unknown unit."""
    factor = _SECONDS.get(_plain(unit).lower()) if isinstance(unit, str) and _plain(unit) != "Ms" else None
    if factor is None:
        raise FormatError(
            "unknown unit of time",
            field=field,
            expected="one of s, ms, µs, ns, min, h, d",
            actual=spelled(unit, 50),
            remedy="convert it to seconds: finterval=0.5, without tunit or TimeIncrementUnit",
        )
    return value * factor


def usable(value: Any) -> float | None:
    """A positive number of which there is an inverse; None for all else.

    >>> usable("0.5"), usable(1e-320), usable(-1)
    (0.5, None, None)
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number > 0 and math.isfinite(number) and math.isfinite(1 / number) else None


class Length(NamedTuple):
    """A length with its unit, as OME's symbol."""

    value: float
    unit: str

    def to(self, unit: str) -> float:
        """Convert to another unit; exact if it is the same."""
        if unit == self.unit:
            return self.value
        if PIXEL in {unit, self.unit}:
            raise FormatError(
                "pixels have no length",
                field="metadata",
                expected=f"all sizes in {unit}" if self.unit == PIXEL else f"all sizes in {self.unit}",
                actual=f"{self.unit} beside {unit}",
                remedy="give all in one unit: pixel_size=(0.25, 0.25, 1), unit='micron'",
            )
        # As a whole number or its inverse, most are, one operation gives the nearest result.
        factor = Fraction(str(_METRES[self.unit])) / Fraction(str(_METRES[unit]))
        return self.value * factor.numerator / factor.denominator

    def fits(self, unit: str) -> bool:
        """Whether it can be told in another unit: it is a length as that is, and there is a number for it."""
        is_alike = self.is_physical == (unit != PIXEL)
        return is_alike and usable(self.to(unit)) is not None

    @property
    def is_physical(self) -> bool:
        """Whether the unit is one of length, and not pixels."""
        return self.unit != PIXEL
