"""Secrets in URLs: whether there is one, and the URL without it. Questions about text, no I/O."""

from __future__ import annotations

import re

from cpr.errors import CprError
from cpr.io.protocols import kind_of

__all__ = ["CONFIGURATION_VARIABLE", "redact_url", "require_no_secret", "secret_in"]

CONFIGURATION_VARIABLE = "CPR_STORAGE"
"""Names the table that credentials may be given in; see `cpr.io.config`."""

_SECRETS = re.compile(
    r"signature|^sig$|token|credential|secret|passw|access_?key|^googleaccessid$|api[-_]?key|^auth(orization)?$",
    re.IGNORECASE,
)
# Without one of these behind its protocol a URL has no user, no password, no query and no second link.
_MAY_HIDE = re.compile(r"[@?:;]")


def secret_in(url: str) -> bool:
    """Whether a URL carries a password, a key or a signature, in any of its links."""
    if not _MAY_HIDE.search(url.partition("://")[2]):
        return False  # most have nothing to look into
    return any(_link_has_secret(link) for link in url.split("::"))


def _link_has_secret(link: str) -> bool:
    protocol, scheme, rest = link.lower().partition("://")
    kind = kind_of(protocol)
    if not scheme or kind.authority == "none":
        return False
    authority, _, _ = rest.partition("/")
    user, at, _ = authority.rpartition("@")
    if at and (":" in user or kind.authority == "bucket" or kind.name == "http"):
        return True
    # Keys of AWS may have slashes in them.
    if kind.authority == "bucket" and ":" in authority and not authority.startswith("arn:"):
        return True
    if re.match(r"[^/@:]*:(?!\d{1,5}/)[^@]*@", rest):
        return True
    query = rest.partition("?")[2].partition("#")[0]
    return any(_SECRETS.search(part.partition("=")[0]) for part in re.split("[&;]", query))


def redact_url(url: str) -> str:
    """A URL for an error: one with a secret is shown without what may hold it.

    >>> redact_url("sftp://me:secret@host/a.tif?token=x")
    'sftp://***@host/a.tif?***'
    """
    if not secret_in(url):
        return url
    return re.sub(r"\?.*", "?***", re.sub(r"//.*@", "//***@", url, flags=re.DOTALL), flags=re.DOTALL)


def require_no_secret(url: str) -> None:
    """Raise CprError for a URL with a password, a key or a signature in it: it would be stored and shown."""
    if secret_in(url):
        raise CprError(
            "the URL carries a secret",
            url=redact_url(url),
            expected="a URL without password, key, token or signature",
            remedy="give credentials in the environment, in fsspec's configuration or in the table that "
            f"{CONFIGURATION_VARIABLE} names, on every worker",
        )
