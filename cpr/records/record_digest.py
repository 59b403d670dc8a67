"""The seal of a record: a digest of its fields, with which an altered record is detected.

A record says what the bytes of a result mean: a shape, dtypes, a pixel size. The checksum vouches for the
bytes and not for that, and no file can contradict every such field. So a record with fields of a format
carries a digest of itself. It is no signature: who can write records can write a whole one
(docs/decisions/trust.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cpr.errors import RecordError
from cpr.io.hashing import hex16

__all__ = ["SEAL", "UNLISTED", "require_seal", "seal_of", "sealed"]

SEAL = "seal"
# Where the object is (copies lie elsewhere; what is there must have the checksum), and how it came to be.
_NOT_SEALED = {SEAL, "location", "name", "key", "made"}

# The type comes first, the seal is of all the others, and how a result was made has the room that they leave.
UNLISTED = {"type", SEAL, "made"}


def sealed(own: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record, of resource and format, with a seal if one is needed."""
    fields = {**own, **options}
    # Sources are as they are; and files without options say all of what they hold.
    if options and "checksum" in own:
        fields[SEAL] = seal_of(fields)
    return fields


def seal_of(fields: Mapping[str, Any]) -> str:
    """The digest of a record's fields, independent of how their JSON is formatted.

    >>> seal_of({"a": [1.0, 2]}) == seal_of({"a": (1, 2.0), "location": "elsewhere"})
    True
    """
    sealed = {name: _plain(value) for name, value in fields.items() if name not in _NOT_SEALED}
    return hex16(json.dumps(sealed, sort_keys=True).encode())


def require_seal(fields: Mapping[str, Any]) -> None:
    """Raise RecordError for an altered record; records of earlier versions have no seal."""
    if SEAL in fields and fields[SEAL] != (found := seal_of(fields)):
        raise RecordError(
            "the record was altered after it was written",
            field=SEAL,
            expected=found,
            actual=ascii(fields[SEAL])[:80],
            remedy="restore the record as serialize() returned it; or delete it, so that its task runs again",
        )


def _plain(value: Any) -> Any:
    """Numbers in one spelling, as some programs write 1.0 as 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
