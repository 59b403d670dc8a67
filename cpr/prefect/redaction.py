"""Reduces arguments to what provenance keeps: enough to see what changed, but no data and no secrets.

By value: numbers, bools, None; members of enums; paths, dates, UUIDs; and texts that the program itself
spells, as defaults, in a `Literal` or as constants of the task's function.
By digest: other texts, arrays, tables, objects, with 16 hex digits of what the cache key hashes.
By place: resources, alone or in containers, with URL (without user, password and query), digest, version.
Not at all: secrets. These are pydantic's and Prefect's secret types, Prefect's blocks, arguments with a
telling name (`password`, `api_key` ...), and whatever contains such.
"""

from __future__ import annotations

import ast
import contextlib
import datetime as dt
import decimal
import enum
import functools
import math
import pathlib
import re
import textwrap
import types
import typing
import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np

from cpr.io.url_secrets import tells_secret
from cpr.provenance.provenance_record import MAX_HELD, Input, is_acceptable
from cpr.Resource import Resource
from cpr.Source import Source

__all__ = ["describe_input", "is_secret", "is_secret_name", "program_texts", "shown_url"]

_SECRET_WORDS = frozenset(
    "auth authorization connection cookie cred credential credentials creds dsn jwt key keys otp pass"
    " passphrase passwd password passwords pat pin private pwd salt sas secret secrets session signature"
    " token tokens bearer cookies hmac mfa oauth otps passcode pincode psw pw".split()
)
# Words that are written as one; `tokenizer` and `keyhole` are none of them.
_RUN_TOGETHER = re.compile(
    r"passw|passphrase|credential|(api|access|auth|bearer|csrf|refresh|session)tokens?$"
    r"|(api|access|auth|private|secret|shared|signing|ssh|licen[cs]e|hmac|encryption|master|account)keys?$"
    r"|session_?id|conn(ection)?_?str|cookie_?jar|pwd$|secret$"
)
_SECRET_CLASSES = frozenset({"SecretStr", "SecretBytes", "Secret", "_SecretBase", "SecretDict", "Block"})
_SHOWN = (pathlib.PurePath, dt.date, dt.time, dt.timedelta, uuid.UUID, decimal.Decimal)


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a value with this name is likely to be a secret.

    >>> [is_secret_name(one) for one in ("db_password", "apiKey", "APIKEY", "keyhole")]
    [True, True, True, False]
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    plain = re.sub(r"\d+$", "", name.lower())
    return not _SECRET_WORDS.isdisjoint(map(str.lower, words)) or _RUN_TOGETHER.search(plain) is not None


def is_secret(value: Any) -> bool:
    """Whether a value has a type made for secrets, or is a Prefect block, which may contain some."""
    return any(
        cls.__name__ in _SECRET_CLASSES and cls.__module__.partition(".")[0] in ("pydantic", "prefect")
        for cls in type(value).__mro__
    )


def describe_input(
    name: str,
    value: Any,
    digest: str | None,
    resources: Iterable[tuple[Resource, str | None]] = (),
    texts: frozenset[str] = frozenset(),
) -> Input:
    """Reduce an argument to what is kept; no I/O.

    Args:
        name: of the argument.
        value: its value.
        digest: 16 hex digits of its content; None where that has none, or contains a secret.
        resources: those in the value, each with its digest.
        texts: texts that the program itself spells.
    """
    kind = _kind(value)
    if is_secret(value) or is_secret_name(name):
        return Input("secret")
    if isinstance(value, Resource):
        return _resource(value, digest)
    shown = _shown(value, texts)
    if shown is not None or value is None:
        return Input(kind, shown)
    found = list(resources)
    holds = tuple(_resource(*one) for one in found[:MAX_HELD])
    return Input(kind, digest=digest, holds=holds, left_out=max(0, len(found) - MAX_HELD))


def _shown(value: Any, texts: frozenset[str]) -> bool | int | float | str | None:
    """The value itself, if it may be kept; else None."""
    if isinstance(value, enum.Enum):
        shown: Any = f"{type(value).__name__}.{value.name}" if value.name is not None else None
    elif type(value) is str:
        shown = value if value in texts else None
    elif isinstance(value, np.generic):
        shown = str(value.item()) if value.dtype.kind in "biuf" else None
    elif type(value) in (bool, int, float):
        shown = value if not isinstance(value, float) or math.isfinite(value) else str(value)
    elif isinstance(value, _SHOWN):
        shown = str(value)
    else:
        shown = None
    if isinstance(value, (str, pathlib.PurePath)) and tells_secret(str(shown)):
        return None
    return shown if is_acceptable(shown) else None


def _resource(resource: Resource, digest: str | None) -> Input:
    version = resource.known_version() if isinstance(resource, Source) else {}
    url = shown_url(resource.get_path())
    return Input(
        _kind(resource),
        digest=digest,
        url=url if is_acceptable(url, 4096) else None,
        version={name: item for name, item in version.items() if is_acceptable(item)},
    )


def _kind(value: Any) -> str:
    return re.sub(r"[^\w.<>\[\]]", "_", type(value).__name__)[:100] or "object"


def shown_url(url: str) -> str:
    """A URL without parts that may be secret.

    >>> shown_url("https://me:word@host/a.tif?sig=1"), shown_url("s3://bucket/a?.tif")
    ('https://host/a.tif', 's3://bucket/a?.tif')
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    if scheme in ("http", "https"):
        rest = re.split("[?#]", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    user, at, server = host.rpartition("@")
    return f"{scheme}://{server if at and ':' in user else host}{slash}{path}"


def program_texts(function: Any, source: str | None) -> frozenset[str]:
    """Short texts in a function's code: its constants, defaults and `Literal` annotations.

    Args:
        function: of the task.
        source: its text. A default that it does not spell is a value of the machine it runs on, such as
            `os.environ["DATABASE"]`.
    """
    code = getattr(function, "__code__", None)
    if not isinstance(code, types.CodeType):
        return frozenset()
    found: set[str] = set()
    _collect(code.co_consts, found)
    defaults: set[str] = set()
    _collect(function.__defaults__ or (), defaults)
    _collect((function.__kwdefaults__ or {}).values(), defaults)
    found |= defaults & _spelled(source or "")
    for annotation in function.__annotations__.values():
        if isinstance(annotation, str):
            # As written in the source; evaluating it could run anything.
            for literal in re.findall(r"Literal\[([^\]]*)\]", annotation):
                found.update(re.findall(r"""["']([^"'\\]*)["']""", literal))
        else:
            _collect(_literals(annotation), found)
    return frozenset(found)


@functools.lru_cache(maxsize=1024)
def _spelled(source: str) -> frozenset[str]:
    """The texts in a source; none for one from the middle of a line, such as a lambda."""
    found: set[str] = set()
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        tree = ast.parse(textwrap.dedent(source))
        _collect((node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)), found)
    return frozenset(found)


def _literals(annotation: Any) -> Iterable[Any]:
    if typing.get_origin(annotation) is typing.Literal:
        yield from typing.get_args(annotation)
    else:
        for part in typing.get_args(annotation):
            yield from _literals(part)


def _collect(values: Iterable[Any], found: set[str]) -> None:
    for value in values:
        if type(value) is str:
            found.add(value)
        elif isinstance(value, (tuple, frozenset)):
            _collect(value, found)
