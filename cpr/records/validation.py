"""What a record has to say of a resource, whatever its class: place, name, digests, sizes.

A record is anybody's. What these fields name is used in paths and requests, so each of them is judged before
anything else is done with the record, and without importing the class that it names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cpr.errors import RecordError
from cpr.io.url_policy import require_safe

__all__ = ["Judged", "is_size", "judged_target", "require", "require_well_formed"]

_HEX16 = re.compile(r"[0-9a-f]{16}")
_CHECKSUM = re.compile(r"(xxh3_128:[0-9a-f]{32}|(sha256|blake3):[0-9a-f]{64})")
_TYPE = re.compile(r"[A-Za-z_]\w{0,99}")
_EXT = re.compile(r"(\.[A-Za-z0-9._+-]{1,63})?")
_OF_TARGETS = ("key", "data_hash", "checksum", "nbytes")

Judged = Mapping[str, tuple[bool, str]]
"""Field -> whether its value is acceptable, and what would be."""


def require_well_formed(fields: Mapping[str, Any]) -> None:
    """Raise RecordError unless type, place and digests of a record are acceptable, whatever its class.

    What else the record says is its class's to judge; this needs no class, and imports none.
    """
    require_safe(fields.get("location"), fields.get("name"))
    judged = {
        "type": (_matches(_TYPE, fields.get("type")), "the name of a class"),
        "ext": (_matches(_EXT, fields.get("ext")), "a file name's extension"),
    }
    if "key" in fields:
        judged |= judged_target({**dict.fromkeys(_OF_TARGETS), **fields})
    require(judged, fields)


def judged_target(fields: Mapping[str, Any]) -> Judged:
    """What every target's record says beside its place. Raises KeyError where a field is missing."""
    digits = "hex digits as cpr writes them"
    return {
        "key": (_matches(_HEX16, fields["key"]), digits),
        "data_hash": (_matches(_HEX16, fields["data_hash"]), digits),
        "checksum": (_matches(_CHECKSUM, fields["checksum"]), digits),
        "nbytes": (is_size(fields["nbytes"]), "a size in bytes"),
        "blocks": (fields.get("blocks") is None or _matches(_CHECKSUM, fields["blocks"]), digits),
    }


def require(judged: Judged, fields: Mapping[str, Any]) -> None:
    """Raise RecordError for the first field that is not acceptable."""
    for field, (good, expected) in judged.items():
        if not good:
            raise RecordError(
                "a field has a value of the wrong kind",
                field=field,
                expected=expected,
                actual=ascii(fields.get(field))[:100],
                remedy="the record was not written by cpr: delete it, so that its task runs again",
            )


def is_size(value: object) -> bool:
    """Whether a value of a record is a number of bytes."""
    return type(value) is int and 0 <= value < 1 << 63


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
