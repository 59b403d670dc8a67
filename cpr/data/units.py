"""Units of length and time, as ImageJ and OME spell them.

Source of the OME symbols: UnitsLength and UnitsTime of the OME schema 2016-06,
https://www.openmicroscopy.org/Schemas/Documentation/Generated/OME-2016-06/ome.html
"""

from __future__ import annotations

from typing import NamedTuple

from cpr.errors import FormatError

__all__ = ["CENTIMETRE", "Length", "imagej_name", "length_symbol", "seconds"]

CENTIMETRE = "cm"

_METRES = {
    "pm": 1e-12,
    "Å": 1e-10,
    "nm": 1e-9,
    "µm": 1e-6,
    "mm": 1e-3,
    "cm": 1e-2,
    "dm": 1e-1,
    "m": 1.0,
    "km": 1e3,
    "in": 0.0254,
}
_PIXEL = "pixel"

_SPELLINGS = {
    "µm": "micron microns um μm micrometer micrometers micrometre micrometres \\u00b5m",
    "nm": "nanometer nanometers nanometre nanometres",
    "mm": "millimeter millimeters millimetre millimetres",
    "cm": "centimeter centimeters centimetre centimetres",
    "m": "meter meters metre metres",
    "km": "kilometer kilometers kilometre kilometres",
    "Å": "angstrom angstroms",
    "in": "inch inches",
    "pixel": "pixels px",
}
_SYMBOLS = {symbol.lower(): symbol for symbol in (*_METRES, _PIXEL)} | {
    spelling: symbol for symbol, spellings in _SPELLINGS.items() for spelling in spellings.split()
}

_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6,
            "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}  # fmt: skip


def length_symbol(unit: str, field: str = "metadata['unit']") -> str:
    """OME's symbol for a unit in any usual spelling: "micron" -> "µm". Raises FormatError for no unit."""
    symbol = _SYMBOLS.get(unit.strip().lower()) if isinstance(unit, str) else None
    if symbol is None:
        raise FormatError(
            "unknown unit of length",
            field=field,
            expected=f"one of micron, {', '.join((*_METRES, _PIXEL))}",
            actual=repr(unit)[:50],
            remedy="convert the pixel size to one of these units",
        )
    return symbol


def imagej_name(symbol: str) -> str:
    """How ImageJ spells a unit: in ASCII, "micron" for µm."""
    return {"µm": "micron", "Å": "angstrom", "in": "inch"}.get(symbol, symbol)


def seconds(value: float, unit: str) -> float:
    """A time in seconds. Raises FormatError for an unknown unit."""
    if unit not in _SECONDS:
        raise FormatError(
            "unknown unit of time",
            field="metadata['TimeIncrementUnit']",
            expected=f"one of {', '.join(_SECONDS)}",
            actual=repr(unit)[:50],
            remedy="convert the interval to seconds",
        )
    return value * _SECONDS[unit]


class Length(NamedTuple):
    """A length with its unit, as OME's symbol."""

    value: float
    unit: str

    def to(self, unit: str) -> float:
        """The value in another unit, exact when it is the same."""
        if unit == self.unit:
            return self.value
        if _PIXEL in {unit, self.unit}:
            raise FormatError(
                "pixels have no length",
                field="metadata",
                expected=f"all sizes in {unit}" if self.unit == _PIXEL else f"all sizes in {self.unit}",
                actual=f"{self.unit} beside {unit}",
                remedy="give all pixel sizes in one unit",
            )
        return self.value * (_METRES[self.unit] / _METRES[unit])

    @property
    def is_physical(self) -> bool:
        """Whether the unit is one of length, and not pixels."""
        return self.unit != _PIXEL
