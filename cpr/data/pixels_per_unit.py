"""Resolutions: pixels per unit of length, as a pair that carries its unit."""

from __future__ import annotations

from typing import NamedTuple

from cpr.data.units import SYMBOLS, imagej_name

__all__ = ["Resolution"]


class Resolution(NamedTuple):
    """A pair (x, y): pixels per unit of length along each axis.

    A tuple whose class knows the unit, so that the unit is kept when the value is passed on. There is a class
    for every unit, named after it, so that pickles and records restore it.

    >>> Resolution.per("µm")(4.0, 4.0), Resolution.per("µm")(4.0, 4.0).unit
    (ResolutionPerMicron(x=4.0, y=4.0), 'micron')
    """

    x: float
    y: float

    @property
    def unit(self) -> str | None:
        """The unit, spelled as in `metadata["unit"]`."""
        return _UNITS.get(type(self))

    @classmethod
    def per(cls, symbol: str) -> type[Resolution]:
        """The class of resolutions per unit, for the unit with this symbol."""
        return _CLASSES[symbol]


def _class_of(symbol: str) -> type[Resolution]:
    name = f"ResolutionPer{imagej_name(symbol).title() if len(imagej_name(symbol)) > 2 else symbol}"
    made = type(
        name, (Resolution,), {"__slots__": (), "__module__": __name__, "__doc__": f"Pixels per {symbol}."}
    )
    globals()[name] = made
    return made


_CLASSES = {symbol: _class_of(symbol) for symbol in SYMBOLS}
_UNITS = {made: imagej_name(symbol) for symbol, made in _CLASSES.items()}
