"""Which places a stranger's record may name, and which URLs hold a secret.

Whoever can write to a shared bucket can write records there, and whoever reads them does so with
credentials of their own. So a record may name objects, nothing else: no host that this process has
not been told of, no service that forwards or interprets, no way out of the location it names, no
text that shows as something else. Everything here is a question about text: no I/O.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

import fsspec.config
import fsspec.utils

from cpr.errors import RecordError
from cpr.io.config import VARIABLE, current_table

__all__ = ["Objection", "as_record_error", "objection_to", "redacted", "secret_in", "windows_objection"]

# Places that hold objects, nothing that interprets or forwards.
PROTOCOLS = frozenset(
    "file memory s3 s3a gs gcs az abfs abfss adl sftp ssh smb hdfs webhdfs oci oss r2 hf lakefs".split()
)
# Their URLs say which host is to be connected to, and is shown our credentials.
_NAMING_HOSTS = frozenset("sftp ssh smb hdfs webhdfs".split())
# Whose clients take the name of the bucket for a name, and any character of a key for itself.
_OF_BUCKETS = frozenset("s3 s3a gs gcs r2 oss".split())
_LITERAL = _OF_BUCKETS | {"file", "memory", "sftp", "ssh"}

_MOST_CHARACTERS = 4096
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufff9-\uffff\ud800-\udfff]")
# What makes a name show as another one (https://www.unicode.org/reports/tr9, explicit formatting).
_DECEIVING = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_AUTHORITY = re.compile(r"(\$?[\w.-]{1,255}@)?\$?[A-Za-z0-9][\w.-]{0,254}(:\d{1,5})?", re.ASCII)
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)\s*(\..*)?", re.IGNORECASE)
_SECRETS = re.compile(
    r"signature|^sig$|token|credential|secret|passw|access_?key|^googleaccessid$|api[-_]?key|^auth(orization)?$",
    re.IGNORECASE,
)


# Without one of these behind its protocol a URL has no user, no password, no query and no second link.
_MAY_HIDE = re.compile(r"[@?:;]")


class Objection(NamedTuple):
    """Why a record may not name a place; `expected` is what it may name."""

    problem: str
    field: str
    expected: str
    remedy: str | None = None


def objection_to(location: object, name: object) -> Objection | None:
    """Why a record may not name this place; None where it may."""
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
    if secret_in(location):
        return Objection("the location carries a secret", "location", "a URL without credentials")
    protocol = str(fsspec.utils.get_protocol(location))
    allowed = f"an absolute path or a URL of {', '.join(sorted(PROTOCOLS))}"
    if "::" in location or ".." in re.split(r"[/\\]", location) or protocol not in PROTOCOLS:
        return Objection("records may not name this location", "location", allowed)
    if protocol == "file":
        return windows_objection(location, name) if os.name == "nt" else None
    return _objection_to_url(protocol, location, name)


def _objection_to_url(protocol: str, location: str, name: str) -> Objection | None:
    if protocol == "memory":
        return None
    authority, _, path = location.partition("://")[2].partition("/")
    if protocol in _OF_BUCKETS and not _BUCKET.fullmatch(authority):
        return Objection("no such bucket", "location", "a bucket of letters, digits, '.', '_' and '-'")
    if protocol not in _OF_BUCKETS and not _AUTHORITY.fullmatch(authority):
        return Objection("no such host or container", "location", "an ASCII name")
    if protocol not in _LITERAL:
        # What follows these is no part of the path to such a client.
        for field, value in (("location", path), ("name", name)):
            if "?" in value or "#" in value:
                return Objection("not a usable name", field, "a text without '?' and '#'")
    if protocol in _NAMING_HOSTS:
        host = authority.rpartition("@")[2].partition(":")[0].lower()
        if host not in _hosts(protocol) and not current_table().knows(f"{location}/{name}"):
            # Anybody's server would be shown our user name, password or ticket.
            return Objection(
                "records may not name this host",
                "location",
                f"a host that fsspec's configuration or the table that {VARIABLE} names has for {protocol}",
                f"if it is yours, set FSSPEC_{protocol.upper()}_HOST={host} wherever records are read",
            )
    return None


def _hosts(protocol: str) -> set[str]:
    """The hosts that this process's configuration names for a protocol."""
    names = {"sftp", "ssh"} if protocol in {"sftp", "ssh"} else {protocol}
    found = (str(fsspec.config.conf.get(one, {}).get("host", "")) for one in names)
    return {host.strip().lower() for text in found for host in text.split(",") if host.strip()}


def windows_objection(location: str, name: str) -> Objection | None:
    """What Windows makes more of than a path: shares on other hosts, devices, streams, names it shortens."""
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


def secret_in(url: str) -> bool:
    """Whether a URL carries a password, a key or a signature, in any of its links."""
    if not _MAY_HIDE.search(url.partition("://")[2]):
        return False  # most have nothing to look into
    for link in url.split("::"):
        protocol, scheme, rest = link.lower().partition("://")
        if not scheme or protocol in {"file", "local", "memory"}:
            continue
        authority, _, _ = rest.partition("/")
        user, at, _ = authority.rpartition("@")
        if at and (":" in user or protocol in {*_OF_BUCKETS, "http", "https"}):
            return True
        # Keys of AWS may have slashes in them.
        if protocol in _OF_BUCKETS and ":" in authority and not authority.startswith("arn:"):
            return True
        if re.match(r"[^/@:]*:(?!\d{1,5}/)[^@]*@", rest):
            return True
        query = rest.partition("?")[2].partition("#")[0]
        if any(_SECRETS.search(part.partition("=")[0]) for part in re.split("[&;]", query)):
            return True
    return False


def redacted(url: str) -> str:
    """A URL for an error: one with a secret is shown without what may hold it.

    >>> redacted("sftp://me:secret@host/a.tif?token=x")
    'sftp://***@host/a.tif?***'
    """
    if not secret_in(url):
        return url
    return re.sub(r"\?.*", "?***", re.sub(r"//.*@", "//***@", url, flags=re.DOTALL), flags=re.DOTALL)


def as_record_error(objection: Objection, location: object, name: object) -> RecordError:
    """The error for a record that names such a place."""
    value = name if objection.field == "name" else location
    shown = ascii(redacted(value) if isinstance(value, str) else value)
    return RecordError(
        objection.problem,
        field=objection.field,
        expected=objection.expected,
        actual=shown[:200],
        remedy=objection.remedy
        or "the record was not written by cpr: delete it, so that its task runs again",
    )
