"""Values that are described by themselves, and the error for values that cannot be described."""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import hashlib
import math
import re
import struct
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from cpr.errors import FormatError
from cpr.prefect.code_references import facts_of

__all__ = ["LEAVES", "VIEWS", "are_texts", "number", "refused", "sha"]


def sha(data: bytes | bytearray) -> str:
    """The SHA-256 of bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


_NAN = struct.pack(">d", float("nan"))


def number(value: float) -> str:
    """A float as text, exactly; of one that is no number its bits too, where they are not as usual.

    >>> number(-0.0), number(float("nan")), number(-float("nan"))
    ('-0.0', 'nan', 'nan fff8000000000000')
    """
    if not math.isnan(value):
        return repr(value)
    bits = struct.pack(">d", value)
    return "nan" if bits == _NAN else f"nan {bits.hex()}"


def _complex(value: complex) -> str:
    parts = number(value.real), number(value.imag)
    return repr(value) if not any(" " in part for part in parts) else ", ".join(parts)


LEAVES: dict[type, Callable[[Any], Any]] = {
    float: number,
    complex: _complex,
    bytes: sha,
    bytearray: sha,
    type(Ellipsis): repr,
    range: repr,
    dt.date: repr,
    dt.timedelta: repr,
    types.CodeType: lambda code: facts_of(code).digest,
}


def _value_of(variable: contextvars.ContextVar[Any]) -> list[Any]:
    with contextlib.suppress(LookupError):
        return [variable.get()]
    return []


# Views of other things, which cannot be pickled, as what they show.
VIEWS: dict[type, Callable[[Any], Any]] = {
    types.MappingProxyType: dict,
    contextvars.ContextVar: lambda variable: (variable.name, *_value_of(variable)),
    weakref.ReferenceType: lambda reference: [reference()],
    weakref.KeyedRef: lambda reference: [reference()],
    struct.Struct: lambda layout: layout.format,
    memoryview: lambda view: (view.format, view.shape, view.tobytes()),
    type({}.keys()): list,
    type({}.values()): list,
    type({}.items()): list,
}


def are_texts(values: Iterable[Any]) -> bool:
    """Whether all are texts, which can be sorted."""
    return all(type(one) is str for one in values)


def refused(value: Any, path: str, why: str) -> FormatError:
    """The error for a value without hashable content."""
    cls = type(value)
    root = re.split(r"[.\[{]| key", path, maxsplit=1)[0]
    return FormatError(
        "this value cannot take part in a cache key",
        field=path,
        expected="data: numbers, texts, arrays, tables, resources, containers of them",
        actual=f"{cls.__module__}.{cls.__qualname__} ({why})",
        remedy=f"leave it out of the key, cache_policy=cpr.TargetInputs() + TASK_SOURCE - {root!r}, "
        "or pass what it is made of",
    )
