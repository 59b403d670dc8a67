"""JSON that a stranger may have written, as values: one meaning for each text, or RecordError."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from cpr.errors import RecordError
from cpr.records.registry import LABELS, RECORD_KEY

__all__ = ["parse", "parse_result"]

_MEMORY_BYTES = 256 << 20
_LONGEST_SHARED = 256  # characters
_MOST_SHARED = 1 << 14  # texts


def parse(text: str | bytes) -> Any:
    """The JSON values of a text.

    Raises RecordError for what is not JSON, and for what readers of JSON disagree about: keys that occur
    twice, NaN, numbers beyond the range of floats (1e999), nesting without end. Also for a text whose values
    would take more memory than 8 times its size, and more than 256 MiB: an empty list takes 27 times that.
    """
    try:
        _require_memory(text)
        shared = _Shared()
        return json.loads(
            text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=shared.distinct
        )
    except (ValueError, RecursionError) as error:
        raise RecordError(
            "not JSON that cpr reads",
            expected="JSON as cpr writes it",
            actual=f"{type(error).__name__}: {ascii(str(error))[:200]}",
            remedy="delete the record, so that its task runs again",
        ) from None


def _require_memory(text: str | bytes) -> None:
    """Raise ValueError for a text whose values take too much memory, estimated by counting them."""
    if len(text) * 30 < _MEMORY_BYTES:
        return
    signs = (("[", 72), ("{", 200), ('"', 28), (",", 8))
    count: Any = text.count
    needed = sum(nbytes * count(sign if isinstance(text, str) else sign.encode()) for sign, nbytes in signs)
    if needed > max(_MEMORY_BYTES, 8 * len(text)):
        raise ValueError(f"its values would take {needed >> 20} MiB of memory")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number beyond the range of floats")
    return number


class _Shared:
    """Objects without keys that occur twice; equal texts in them are one: in large records most are."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def distinct(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key that occurs twice")
        texts = self._texts
        for key, value in pairs:
            if type(value) is str and len(value) < _LONGEST_SHARED:
                known = texts.get(value)
                if known is not None:
                    found[key] = known
                elif len(texts) < _MOST_SHARED:
                    texts[value] = value
        return found


def parse_result(blob: bytes | str) -> Any:
    """The JSON values in what cpr's serializer has written. Raises RecordError."""
    packed = parse(blob)
    if isinstance(packed, dict) and LABELS.issuperset(packed):
        match packed.get(RECORD_KEY):
            case dict() as record:
                return {RECORD_KEY: record}  # as `serialize()` gives it, with what is beside
            case ["value", value] if len(packed) == 1:
                return value
            case list() if len(packed) == 1:
                return packed
    raise RecordError(
        "not a result of cpr",
        expected=f'{{"{RECORD_KEY}": ...}}',
        actual=ascii(packed)[:100],
        remedy="read it with the serializer that has written it",
    )
