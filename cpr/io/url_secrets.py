"""Detects and removes secrets in URLs, from the text alone."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import unquote

from cpr.errors import CprError
from cpr.io.protocols import kind_of

__all__ = ["CONFIGURATION_VARIABLE", "redact_url", "require_no_secret", "secret_in", "tells_secret"]

CONFIGURATION_VARIABLE = "CPR_STORAGE"
"""Names the table that credentials may be given in; see `cpr.io.config`."""

# Names of parameters whose values are secrets, whatever they look like.
_SECRETS = re.compile(
    r"signature|token|credential|secret|passw|session|sessid|jwt|delegation|googleaccessid|authorization|hmac"
    r"|(^|[-_.[])(sig|sign|sas|pass|pwd|pw|code|policy|auth|bearer|sid|otp|ticket|assertion|key-pair-id)\]?$"
    r"|(^|[-_.[])(passphrase|creds?|cookies?|pin)\]?$"
    r"|keys?([-_]?\d+)?\]?$|accesskeyid|passcode|(access|auth|login)code|oauth|saml|(user|my|db)(pass|pw)|^(psw|tkn)$",
    re.IGNORECASE,
)
# Values of these may look like a token and are none: they name a version or content.
_HARMLESS = re.compile(
    r"(version|generation|revision|commit|etag|md5|sha\d*|checksum|hash|digest|uu?id"
    r"|(^|(?<!upload)[-_])(id|rev|tag|doi))$"  # who knows the id of an upload to GCS may go on with it
    r"|^(version|file|object)-?id$",
    re.IGNORECASE,
)
_BEGINNINGS = re.compile(
    r"eyJ[\w-]{8}|gh[pousr]_|github_pat_|glpat-|sk[-_]\w|xox[abprs]-|A[KS]IA[0-9A-Z]{12}|hf_|SG\.\w|npm_\w{8}|pypi-\w|dapi[0-9a-f]{32}|ya29\.|AIza"
)
_TOKEN = re.compile(r"[A-Za-z0-9+/_=.~-]+")
_CONTAINER = re.compile(r"[a-z0-9]([a-z0-9-]{1,61})[a-z0-9]")
_LEAST = 16  # characters of a token that nobody guesses
_WORDS_AND_NUMBERS = re.compile(r"[A-Z]?[a-z]{3,}|[0-9]{3,}")
_NAMED = re.compile(r"([\w.-]+)[\"']?\s*[=:]\s*[^\s/]|://")
# Tokens of so plain a shape that no name has it by chance: they are looked for in paths as well.
_PLAIN_TOKENS = re.compile(
    r"(?<![\w-])(eyJ[\w-]{8,}\.eyJ[\w-]{4,}\.[\w-]{8,}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}"
    r"|xox[abprs]-[0-9]+-[\w-]{16,}|A[KS]IA[0-9A-Z]{16}[:/][A-Za-z0-9+=/]{40}|bot[0-9]{6,}:[\w-]{30,})(?![\w-])"
)
# Steps of a path are named like parameters too: `/token=.../`, `/hdntl=exp=1~hmac=.../`, `/token/.../`.
# Tables are parted by `key=3`, `code=CH`, `session=...`: such names count if the value looks like a token.
_STEP_NAMES = re.compile(
    r"signature|token|credential|secret|passw|(^|[-_.])(sig|sas|jwt|hmac|api[-_]?key|jsessionid|authorization)$"
    r"|access[-_]?key(id)?$|googleaccessid",
    re.IGNORECASE,
)
_STEPS = re.compile(r"[/,!~?&;#][^/,!~?&;#]*")
_MARKS = "?&;#"
_BETWEEN = re.compile(f"[{_MARKS}]")
_PLAIN_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.$-]*)(:\d+)?(/|$)")
_NAME_STEP = re.compile(
    r"/(token|access[-_]?token|api[-_]?key|access[-_]?key|secret|sig(nature)?|sas|jwt)/", re.IGNORECASE
)
_VALUE = re.compile(r"=[^/]{6}|%3|%25|\([SAFX]\(")  # `token=5` is a part of a table
_COOKIELESS = re.compile(r"/(\(?[SAFX]\([a-z0-9]{16,}\))+\)", re.IGNORECASE)  # a session of ASP.NET
# What is sent as a header; and a user's name with a password, where a parameter's name says that it is one.
_SCHEMES = re.compile(r"(bearer|basic|negotiate|apikey|token)[\s+:]+\S", re.IGNORECASE)
_USERS = re.compile(r"login|logon|user|account", re.IGNORECASE)
# `https:/me:word@host`: a URL that lost a slash on its way.
_LOST_SLASH = re.compile(r"[A-Za-z][\w+.-]+:/[^/\s:@]+:[^/\s@]+@")
# Without one of these behind its protocol a URL has no user, password, parameters and no second link.
_MAY_HIDE = re.compile(r"[@?:;#]|eyJ|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|A[KS]IA")


def secret_in(url: str) -> bool:
    """Whether a URL, or a URL inside it, carries a password, a key or a signature."""
    _, scheme, rest = url.partition("://")
    if not (_MAY_HIDE.search(rest if scheme else url) or (scheme and _has_names(rest))):
        return False  # most have nothing to look into
    if scheme and _PLAIN_TOKENS.search(rest):
        return True
    return any(_LOST_SLASH.match(link) or _link_has_secret(link) for link in url.split("::"))


def _link_has_secret(link: str) -> bool:
    protocol, scheme, rest = link.partition("://")
    kind = kind_of(protocol.lower())
    if not scheme or kind.authority == "none":
        return False
    authority, _, _ = rest.partition("/")
    user, at, _ = authority.rpartition("@")
    # What stands there on Azure is the name of a container, and may be made by chance.
    is_container = kind.authority == "container" and _CONTAINER.fullmatch(user)
    may_not_be = kind.authority == "bucket" or kind.name == "http"
    if at and (":" in user or may_not_be or (_is_token(user) and not is_container)):
        return True
    # Keys of AWS may have slashes in them.
    if kind.authority == "bucket" and ":" in authority and not authority.startswith("arn:"):
        return True
    if re.match(r"[^/@:]*:(?!\d{1,5}/)[^@]*@", rest):
        return True
    path, *parameters = _BETWEEN.split(rest)
    # Marks that are encoded in one part it from the next for those who decode them.
    parameters += [more for one in parameters if "%" in one for more in _BETWEEN.split(_decoded(one))[1:]]
    if not kind.literal_keys and _COOKIELESS.search(path):
        return True
    return any(_is_secret(one, kind.literal_keys) for one in parameters) or any(
        _step_tells(step, before, kind.literal_keys)
        for before, step in _steps(rest if kind.literal_keys else path)
    )


def _has_names(path: str) -> bool:
    """Whether a step of a path may contain the name of a secret; most do not."""
    return _VALUE.search(path) is not None or _NAME_STEP.search(path) is not None


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """The steps of a path after the first, decoded, each with the one before it."""
    if not _has_names(path):
        return
    first, slash, rest = path.partition("/")
    if slash:
        path = slash + rest
        yield from pairwise(
            [first, *_STEPS.findall(path if path.isascii() and "%" not in path else _decoded(path))]
        )


def _step_tells(step: str, before: str, may_be_key: bool) -> bool:
    """Whether a step of a path is `name=value` of a secret, or follows the name of one.

    `may_be_key`: it may as well be a key, in which a table is parted by anything.
    """
    mark, (name, equals, value) = step[0], step[1:].partition("=")
    if not equals:
        return not may_be_key and _NAME_STEP.fullmatch(f"{before}/") is not None and _is_token(name)
    value = value.strip("\"'")
    if not _STEP_NAMES.search(name):
        return not may_be_key and _SECRETS.search(name) is not None and _is_token(value)
    if may_be_key and mark not in _MARKS:
        return _is_token(value)
    return len(value) >= 6


def _is_secret(parameter: str, may_be_key: bool) -> bool:
    """Whether `name=value` is a secret: by its name, or by how the value looks.

    `may_be_key`: it may as well be the rest of a key, which may look like anything.
    """
    name, equals, value = map(_decoded, parameter.partition("="))
    if may_be_key:
        return bool(value) and _SECRETS.search(name) is not None
    if not equals:
        name, equals, value = name.partition("=")
    if not equals:
        return _is_token(name)
    if _SCHEMES.match(value) or (_USERS.search(name) and re.fullmatch(r"[^/:]+:[^/]+", value)):
        return True
    if _NAMED.search(value) and tells_secret(value):
        return True  # a URL, a query or JSON in a parameter
    return bool(value) and (
        _SECRETS.search(name) is not None or (not _HARMLESS.search(name) and _is_token(value))
    )


def _decoded(text: str) -> str:
    """Part of a URL, decoded repeatedly, with look-alike characters replaced by letters."""
    for _ in range(3):
        text = unquote(text)
    return "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")


def _is_token(text: str) -> bool:
    """Whether a text looks random, as tokens, keys and signatures do, and words and numbers do not."""
    if _BEGINNINGS.match(text):
        return True
    if len(text) < _LEAST or not _TOKEN.fullmatch(text):
        return False
    # Of hex digits by chance, hardly one in ten million has fewer than eight of the sixteen.
    if re.fullmatch(r"[0-9a-fA-F-]{32,}", text) and len(set(text.lower()) - {"-"}) >= 8:
        return True
    # Codes between words (`plateV2wellA1`) change their kind often, but out of few characters.
    if len(set(_WORDS_AND_NUMBERS.sub("", text))) < 6:
        return False
    kinds = ["a" if c.islower() else "A" if c.isupper() else "0" if c.isdigit() else "" for c in text]
    neighbours = [(a, b) for a, b in pairwise(kinds) if a and b]
    return sum(a != b for a, b in neighbours) >= 0.25 * len(neighbours)


def tells_secret(text: str) -> bool:
    """Whether a text contains a secret: a URL with one, a login, `name=value`, a token.

    >>> tells_secret("postgres://me:word@db/x"), tells_secret("host=db; password=word"), tells_secret("otsu")
    (True, True, False)
    """
    named = (found[1] for found in _NAMED.finditer(text) if found[1])
    return (
        re.search(r"[^\s/:@]*:[^\s/]*@", text) is not None
        or any(_SECRETS.search(name) for name in named)
        or any(secret_in(word) for word in text.split())
        or any(_is_token(word) for word in re.split(r"[\s,;&?#=:@'\"()]+", text))
    )


def redact_url(url: str) -> str:
    """A URL for an error message, without the parts that may hold a secret.

    >>> redact_url("sftp://me:secret@host/a.tif?token=x")
    'sftp://***@host/a.tif?***'
    """
    if not secret_in(url):
        return url
    head, mark, tail = _cut(url)
    scheme = re.match(r"[A-Za-z][\w.+-]*(::[A-Za-z][\w.+-]*)*:/+", head)
    if "@" in tail and re.search(r":(?!\d{1,5}(/|$))[^/]", head):
        # A password with such a mark in it, or an address in a parameter: nobody can tell.
        return f"{scheme[0] if scheme else ''}***"
    shown = _PLAIN_TOKENS.sub("***", re.sub(r"(:/*)[^/].*@", r"\1***@", head, flags=re.DOTALL))
    if "@" in shown and not _PLAIN_HOST.match(shown.rpartition("@")[2]):
        # What stood before the last @ may have been a parameter's value, and more of them follow.
        return f"{scheme[0] if scheme else ''}***"
    shown += f"{mark}***" if mark else ""
    if not secret_in(shown):
        return shown
    protocol, scheme_mark, rest = shown.partition("://")
    place = f"{protocol}://{rest.partition('/')[0]}/***"
    return f"{protocol}://***" if "@" in rest or secret_in(place) else place if scheme_mark else "***"


def _cut(url: str) -> tuple[str, str, str]:
    """Split a URL at its first parameter: before, the separator, and after."""
    found = _BETWEEN.search(url)
    return (url[: found.start()], found[0], url[found.end() :]) if found else (url, "", "")


def require_no_secret(url: str) -> None:
    """Raise CprError for a URL with a password, key or signature, which would be stored and shown."""
    if secret_in(url):
        raise CprError(
            "the URL carries a secret",
            url=redact_url(url),
            expected="a URL without password, key, token or signature",
            remedy="give credentials in the environment, in fsspec's configuration or in the table that "
            f"{CONFIGURATION_VARIABLE} names, on every worker",
        )
