"""The environment variables of cpr: their allowed values, and the errors for invalid ones.

A variable that is empty is as if it were not set. `CPR_STORAGE`, whose value is a table or a file, is read by
`cpr.io.config`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cpr.errors import ConfigurationError

__all__ = [
    "CHECKSUM",
    "CONNECTIONS",
    "MEMORY",
    "OPENLINEAGE",
    "PROGRESS",
    "TIMEOUT",
    "VARIABLES",
    "ZARR_CODECS",
    "Variable",
]

T = TypeVar("T")

_SWITCH = {"1": True, "on": True, "true": True, "yes": True}
_SWITCH |= {"0": False, "off": False, "false": False, "no": False}
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_MEMORY = re.compile(r"(\d+)\s*([kmgt]?)i?b?", re.IGNORECASE | re.ASCII)
_CODEC = re.compile(r"[\w.\-]+", re.ASCII)


@dataclass(frozen=True)
class Variable(Generic[T]):
    """A setting of this process that an environment variable holds.

    Attributes:
        name: of the variable.
        what: the setting is, for the error.
        expected: the values that it may have.
        example: one of them.
        parse: makes a value of the text; raises ValueError.
    """

    name: str
    what: str
    expected: str
    example: str
    parse: Callable[[str], T]

    def get(self) -> T | None:
        """The parsed value; None if the variable is not set. Raises ConfigurationError if it is invalid.

        >>> import os
        >>> os.environ["CPR_MEMORY"] = "2GiB"
        >>> MEMORY.get()
        2147483648
        >>> del os.environ["CPR_MEMORY"]
        """
        text = os.environ.get(self.name, "").strip()
        if not text:
            return None
        try:
            return self.parse(text)
        except ValueError:
            raise ConfigurationError(
                f"not {self.what}",
                field=self.name,
                expected=self.expected,
                actual=ascii(text)[:50],
                remedy=f"set {self.name}={self.example}, or unset it",
            ) from None


def _one_of(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    return parse


def _switch(text: str) -> bool:
    if text.lower() not in _SWITCH:
        raise ValueError(text)
    return _SWITCH[text.lower()]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(text)
    return int(text)


def _memory(text: str) -> int:
    found = _MEMORY.fullmatch(text)
    if found is None or not int(found[1]):
        raise ValueError(text)
    return int(found[1]) << _UNITS[found[2].lower()]


def _seconds(text: str) -> float:
    found = float(text)
    if not 0 < found < math.inf:
        raise ValueError(text)
    return found


def _codecs(text: str) -> frozenset[str]:
    names = frozenset(re.split(r"[,\s]+", text)) - {""}
    if not all(map(_CODEC.fullmatch, names)):
        raise ValueError(text)
    return names


_ON_OR_OFF = "1, on, true or yes; or 0, off, false or no"

_CHECKSUMS = ("xxh3_128", "sha256", "blake3")

CHECKSUM = Variable(
    "CPR_CHECKSUM",
    "a known checksum algorithm",
    f"{', '.join(_CHECKSUMS[:-1])} or {_CHECKSUMS[-1]}",
    "sha256",
    _one_of(*_CHECKSUMS),
)
CONNECTIONS = Variable("CPR_CONNECTIONS", "a number of connections", "a whole number above 0", "96", _count)
MEMORY = Variable(
    "CPR_MEMORY",
    "an amount of memory",
    "a number of bytes above 0, or such as 64GiB",
    "64GiB",
    _memory,
)
OPENLINEAGE = Variable("CPR_OPENLINEAGE", "on or off", _ON_OR_OFF, "1", _switch)
PROGRESS = Variable("CPR_PROGRESS", "on or off", _ON_OR_OFF, "off", _switch)
TIMEOUT = Variable("CPR_TIMEOUT", "a time to wait for a store", "a number of seconds above 0", "60", _seconds)
ZARR_CODECS = Variable("CPR_ZARR_CODECS", "names of codecs", "names separated by commas", "lz4,zstd", _codecs)

VARIABLES: dict[str, Variable[Any]] = {
    one.name: one for one in (CHECKSUM, CONNECTIONS, MEMORY, OPENLINEAGE, PROGRESS, TIMEOUT, ZARR_CODECS)
}
"""By name."""
