"""Decides which places a record of unknown origin may name.

Everybody who can write to a shared bucket can write records there, and others read them with their own
credentials. So a record may name only objects: no host that is not configured in this process, no service
that forwards or interprets requests, no path out of its location, no text that displays as something else.
Everything here is decided from the text alone, without I/O.
"""

from __future__ import annotations

import functools
import os
import re
from typing import NamedTuple

from cpr.errors import CprError, RecordError
from cpr.io.clients.fsspec import configured
from cpr.io.config import current_table
from cpr.io.protocols import StorageKind, all_kinds, kind_of
from cpr.io.url_secrets import CONFIGURATION_VARIABLE, redact_url, secret_in
from cpr.io.urls import join, normalise, protocol_of

__all__ = ["EXTENSION", "Objection", "objection_to", "require_safe", "windows_objection"]

EXTENSION = r"(\.[A-Za-z0-9._+-]{1,63})?"
"""What a record may say of a file name's end, as a regular expression."""

_MOST_CHARACTERS = 4096
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufff9-\uffff\ud800-\udfff]")
# What makes a name show as another one (https://www.unicode.org/reports/tr9, explicit formatting).
_DECEIVING = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_AUTHORITY = re.compile(r"(\$?[\w.-]{1,255}@)?\$?[A-Za-z0-9][\w.-]{0,254}(:\d{1,5})?", re.ASCII)
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)\s*(\..*)?", re.IGNORECASE)


class Objection(NamedTuple):
    """A reason why a record may not name a place; `expected` is what it may name.

    `is_here` is for what another machine, or another configuration, may take.
    """

    problem: str
    field: str
    expected: str
    remedy: str | None = None
    is_here: bool = False


def objection_to(location: object, name: object) -> Objection | None:
    """The reason why a record may not name this place; None if it may."""
    for field, value in (("location", location), ("name", name)):
        if not isinstance(value, str) or not 0 < len(value) <= _MOST_CHARACTERS:
            return Objection("not a usable name", field, f"a text of 1 to {_MOST_CHARACTERS} characters")
        if _UNPRINTABLE.search(value) or _DECEIVING.search(value):
            return Objection(
                "not a usable name", field, "a text without control and invisible formatting characters"
            )
    assert isinstance(location, str) and isinstance(name, str)
    if "/" in name or "\\" in name or name in {".", ".."}:
        return Objection("the name leaves its location", "name", "a file name without path separators")
    if "::" in name:
        # fsspec takes it for a chain of URLs, and opens what follows.
        return Objection("the name would be taken for two URLs", "name", "a file name without '::'")
    if secret_in(f"{location}/{name}"):
        return Objection("the location carries a secret", "location", "a URL without credentials")
    kind = kind_of(protocol_of(location))
    if "::" in location or ".." in re.split(r"[/\\]", location) or not kind.in_records:
        return _not_this_location()
    if kind.name == "file":
        objection = windows_objection(location, name) if os.name == "nt" else None
        return None if objection is None else objection._replace(is_here=True)
    return _objection_to_url(kind, location, name)


def _not_this_location() -> Objection:
    protocols = sorted(protocol for kind in all_kinds() if kind.in_records for protocol in kind.protocols)
    allowed = f"an absolute path or a URL of {', '.join(protocols)}"
    return Objection("records may not name this location", "location", allowed)


def _objection_to_url(kind: StorageKind, location: str, name: str) -> Objection | None:
    authority, _, path = location.partition("://")[2].partition("/")
    if kind.authority == "bucket" and not _BUCKET.fullmatch(authority):
        return Objection("no such bucket", "location", "a bucket of letters, digits, '.', '_' and '-'")
    if kind.authority in ("host", "container") and not _AUTHORITY.fullmatch(authority):
        return Objection("no such host or container", "location", "an ASCII name")
    if not kind.literal_keys:
        # What follows these is no part of the path to such a client.
        for field, value in (("location", path), ("name", name)):
            if "?" in value or "#" in value:
                return Objection("not a usable name", field, "a text without '?' and '#'")
    if kind.authority == "host":
        host = authority.rpartition("@")[2].partition(":")[0].lower()
        if host not in _hosts(kind) and not current_table().knows(f"{location}/{name}"):
            # Anybody's server would be shown our user name, password or ticket.
            protocol = protocol_of(location)
            return Objection(
                "records may not name this host",
                "location",
                f"a host that fsspec's configuration or the table that {CONFIGURATION_VARIABLE} names has "
                f"for {protocol}",
                f"if it is yours, set FSSPEC_{protocol.upper()}_HOST={host} wherever records are read",
                is_here=True,
            )
    return None


def _hosts(kind: StorageKind) -> set[str]:
    """The hosts that this process's configuration names for a kind of storage."""
    found = (str(configured(protocol).get("host", "")) for protocol in kind.protocols)
    return {host.strip().lower() for text in found for host in text.split(",") if host.strip()}


def windows_objection(location: str, name: str) -> Objection | None:
    """Objects to names with special meaning on Windows: shares, devices, streams, short names."""
    if location.startswith(("\\\\", "//")):
        return Objection(
            "records may not name a share on another host",
            "location",
            "a path on a drive",
            "give the share a drive letter, and use that",
        )
    steps = re.split(r"[/\\]", os.path.normpath(location))
    drive, *below = steps
    if re.fullmatch(r"[A-Za-z]:", drive) is None:
        below = steps
    for field, step in [*(("location", step) for step in below if step), ("name", name)]:
        if step != step.rstrip(". ") or re.search(r'[<>:"|?*]', step) or _DEVICES.fullmatch(step):
            return Objection("not a name of a file on Windows", field, "a name that Windows keeps as it is")
    return None


def require_safe(location: object, name: object) -> None:
    """Raise RecordError unless a location and name from an unknown record may be used; no I/O."""
    objection = objection_to(location, name)
    if objection is None:
        assert isinstance(location, str) and isinstance(name, str)
        if not _is_normal(location):
            objection = _not_this_location()._replace(is_here=True)  # it may be a path of another system
        elif not current_table().allows(join(location, name)):
            objection = Objection(
                "the local configuration does not let records name this location",
                "location",
                "a location below one of the prefixes of `records` in the table that "
                f"{CONFIGURATION_VARIABLE} names",
                "add its prefix if you trust it; else delete the record, so that its task runs again",
                is_here=True,
            )
    if objection is not None:
        raise _as_record_error(objection, location, name)


def _is_normal(location: str) -> bool:
    """Whether a location is in cpr's normal spelling; otherwise one place could have two names."""
    try:
        _require_normal(location)
    except CprError:
        return False  # another spelling, or a protocol that nothing here implements
    return True


# Many records name one location. What raises is not remembered: a protocol may be registered later.
@functools.lru_cache(maxsize=1024)
def _require_normal(location: str) -> None:
    has_end = kind_of(protocol_of(location)).authority == "none" or not location.endswith("://")
    if location != normalise(location) or not has_end:
        raise CprError("another spelling")


def _as_record_error(objection: Objection, location: object, name: object) -> RecordError:
    """Make the RecordError for an objection."""
    value = name if objection.field == "name" else location
    shown = ascii(redact_url(value) if isinstance(value, str) else value)
    error = RecordError(
        objection.problem,
        field=objection.field,
        expected=objection.expected,
        actual=shown[:200],
        remedy=objection.remedy
        or "the record was not written by cpr: delete it, so that its task runs again",
    )
    error.is_refused_here = objection.is_here
    return error
