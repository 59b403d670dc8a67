"""Parses JSON of unknown origin, with bounded memory and one kind of error.

All JSON from stores, foreign files and servers is parsed here; `tests/test_house.py` finds modules that parse
it themselves.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

__all__ = ["TooMuchJsonError", "read_json"]

_MEMORY_BYTES = 256 << 20
_LONGEST_SHARED = 256  # characters
_MOST_SHARED = 1 << 14  # texts
_SMALL = 1 << 14  # a document that is read in half the time, because nothing in it is shared


class TooMuchJsonError(ValueError):
    """JSON that is nested too deeply, or whose values would take too much memory."""


def read_json(text: str | bytes, strict: bool = True) -> Any:
    """Parse a JSON text.

    Args:
        text: of any origin and size; bytes in an encoding of Unicode.
        strict: whether to refuse what readers of JSON disagree about: keys that occur twice, NaN, numbers
            beyond the range of floats (1e999). Not for documents that another reader is given as well.

    Raises ValueError for what is not JSON, and TooMuchJsonError, which is one, for nesting without end and
    for a text whose values would take more memory than 8 times its size, and more than 256 MiB: an empty
    list takes 27 times that.

    >>> read_json('{"a": [1, 2]}')
    {'a': [1, 2]}
    """
    _require_memory(text)
    try:
        if not strict:
            return json.loads(text)
        if len(text) <= _SMALL:
            if not isinstance(text, str):
                text = text.decode(json.detect_encoding(text), "surrogatepass")
            return _DECODER.decode(text)
        return json.loads(
            text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_Shared().distinct
        )
    except RecursionError:
        raise TooMuchJsonError("lists and objects nested without end") from None


def _require_memory(text: str | bytes) -> None:
    """Raise TooMuchJsonError if the values, estimated by counting them, would take too much memory."""
    if len(text) * 30 < _MEMORY_BYTES:
        return
    signs = (("[", 72), ("{", 200), ('"', 28), (",", 8))
    count: Any = text.count
    needed = sum(nbytes * count(sign if isinstance(text, str) else sign.encode()) for sign, nbytes in signs)
    if needed > max(_MEMORY_BYTES, 8 * len(text)):
        raise TooMuchJsonError(f"its values would take {needed >> 20} MiB of memory")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number beyond the range of floats")
    return number


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; raises for keys that occur twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key that occurs twice")
    return found


_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_distinct)


class _Shared:
    """Makes objects, checks for repeated keys, and shares equal strings: large records have many."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def distinct(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found, texts = _distinct(pairs), self._texts
        for key, value in pairs:
            if type(value) is str and len(value) < _LONGEST_SHARED:
                known = texts.get(value)
                if known is not None:
                    found[key] = known
                elif len(texts) < _MOST_SHARED:
                    texts[value] = value
        return found
