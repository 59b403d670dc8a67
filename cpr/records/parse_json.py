"""Parses JSON of unknown origin unambiguously; anything doubtful raises RecordError."""

from __future__ import annotations

from typing import Any

from cpr.errors import RecordError
from cpr.io.outside_json import read_json
from cpr.records.registry import LABELS, RECORD_KEY

__all__ = ["parse", "parse_result"]


def parse(text: str | bytes) -> Any:
    """Parse a JSON text.

    Raises RecordError for whatever `cpr.io.outside_json.read_json` refuses.
    """
    try:
        return read_json(text)
    except ValueError as error:
        raise RecordError(
            "not JSON that cpr reads",
            expected="JSON as cpr writes it",
            actual=f"{type(error).__name__}: {ascii(str(error))[:200]}",
            remedy="delete the record, so that its task runs again",
        ) from None


def parse_result(blob: bytes | str) -> Any:
    """Parse what cpr's serializer has written. Raises RecordError."""
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
