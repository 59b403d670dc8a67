"""Serializes scalars that JSON lacks (dates, complex numbers, numpy scalars, ...) to JSON values and back.

Each is stored under a tag as an array of JSON values that give it back exactly. Types count exactly:
a subclass is not its base.
"""

from __future__ import annotations

import base64
import datetime as dt
import functools
import math
import pathlib
import re
import sys
import uuid
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from cpr import io
from cpr.errors import CprError, EncodeError, MissingDependencyError
from cpr.io.url_policy import require_safe

__all__ = ["SCALARS", "tag_of"]

_MAX_BYTES = 1 << 16
# Kinds of numpy scalars that mean the same on every machine: no Python objects, records or long doubles.
_NUMPY = re.compile(r"[<|]([?biufcSU]\d{1,8}|b1|[mM]8(\[\d{0,9}[A-Za-z]{1,7}\])?)")
_PATHS = {
    "Path": pathlib.Path,
    "PurePosixPath": pathlib.PurePosixPath,
    "PureWindowsPath": pathlib.PureWindowsPath,
}


class Scalar(NamedTuple):
    """How to serialize one type of scalar to an array of JSON values, and how to restore it."""

    pack: Callable[[Any], list[Any]]
    unpack: Callable[..., Any]


def tag_of(value: Any) -> str | None:
    """The tag of SCALARS under which a value is stored; None if it is not one of these scalars."""
    cls = type(value)
    if cls in _TAGS:
        return _TAGS[cls]
    if isinstance(value, np.generic):
        return "numpy"
    upath = sys.modules.get("upath")
    if upath is not None and isinstance(value, upath.UPath):
        return "UPath"
    return "path" if isinstance(value, pathlib.PurePath) and _kind(value) is not None else None


def _special(text: str) -> float:
    value = float(text)
    if math.isfinite(value):
        raise ValueError("finite numbers are JSON's own")
    return value


def _exact(cls: type, text: Any) -> Any:
    # The parsers below take many spellings; a record has only the one that was written.
    if not isinstance(text, str):
        raise TypeError("text expected")
    return cls(text)


def _pack_bytes(value: bytes | bytearray) -> list[Any]:
    if len(value) > _MAX_BYTES:
        raise EncodeError(
            "too many bytes for a record",
            expected=f"at most {_MAX_BYTES}",
            actual=len(value),
            remedy="put them into a target, for example a NumpyTarget of dtype uint8",
        )
    return [base64.b64encode(value).decode()]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _pack_zone(zone: dt.tzinfo | None) -> Any:
    if zone is None:
        return None
    if type(zone) is dt.timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        micro = offset // dt.timedelta(microseconds=1)
        return [micro] if name == dt.timezone(offset).tzname(None) else [micro, name]
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        return zone.key
    raise EncodeError(
        "a time zone of a kind that a record cannot name",
        expected="datetime.timezone or zoneinfo.ZoneInfo",
        actual=type(zone).__name__,
        remedy="convert it: value.astimezone(ZoneInfo('Europe/Zurich'))",
    )


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _zone(zone: Any) -> dt.tzinfo | None:
    if zone is None:
        return None
    if isinstance(zone, str):
        if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", zone):
            raise ValueError("not the name of a time zone")
        # Of an unknown one ZoneInfo would look for a module.
        if zone not in _zones():
            raise ValueError("an unknown time zone")
        return zoneinfo.ZoneInfo(zone)
    micro, *name = zone
    return dt.timezone(dt.timedelta(microseconds=micro), *name) if micro or name else dt.UTC


def _pack_time(value: dt.datetime | dt.time) -> list[Any]:
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _pack_zone(value.tzinfo)]


def _time(cls: Any, text: str, fold: int, zone: Any) -> Any:
    value = cls.fromisoformat(text)
    if value.tzinfo is not None:
        raise ValueError("the zone stands beside the time")
    return value.replace(fold=fold, tzinfo=_zone(zone))


def _kind(path: pathlib.PurePath) -> str | None:
    if type(path) in (pathlib.PosixPath, pathlib.WindowsPath):
        return "Path"
    return type(path).__name__ if type(path) in _PATHS.values() else None


def _upath(url: str) -> Any:
    try:
        require_safe(io.normalise(_exact(str, url)), "path")
    except CprError as error:
        raise ValueError(error.problem) from None
    try:
        from upath import UPath
    except ImportError:
        raise MissingDependencyError(
            "paths of this kind need the universal-pathlib package", remedy="pip install universal-pathlib"
        ) from None
    return UPath(url)


def _pack_upath(path: Any) -> list[Any]:
    url = str(path)
    require_safe(io.normalise(url), "path")
    if path.storage_options:
        raise EncodeError(
            "storage options are never stored",
            expected="a UPath without storage options",
            actual=", ".join(sorted(path.storage_options)),
            remedy="configure them where cpr finds them (environment, fsspec's configuration)",
        )
    return [url]


def _pack_numpy(value: np.generic) -> list[Any]:
    kind = value.dtype.newbyteorder("<").str
    if not _NUMPY.fullmatch(kind) or value.dtype.char in "gG":
        raise EncodeError(
            "a numpy scalar of a kind that a record cannot hold",
            expected="a number, bool, string or time that means the same on every machine",
            actual=f"dtype {value.dtype}",
            remedy="convert it, for example with float(value)",
        )
    if not value.dtype.itemsize:
        return [kind, ""]  # astype would make an empty text one character long
    return [kind, value.astype(value.dtype.newbyteorder("<")).tobytes().hex()]


def _numpy(kind: str, digits: str) -> np.generic:
    data = bytes.fromhex(digits)
    if not _NUMPY.fullmatch(kind):
        raise ValueError("not a dtype of a record")
    dtype = np.dtype(kind)
    if dtype.itemsize != len(data) or dtype.char in "gG":
        raise ValueError("the bytes are not those of the dtype")
    scalar: np.generic
    if not data:
        return np.str_("") if dtype.kind == "U" else np.bytes_(b"")
    scalar = np.frombuffer(data, dtype)[0].astype(dtype.newbyteorder("="))
    return scalar


SCALARS: dict[str, Scalar] = {
    "int": Scalar(lambda v: [hex(v)], lambda text: int(text, 16)),
    "float": Scalar(lambda v: [repr(v)], _special),
    "complex": Scalar(
        lambda v: [repr(v.real), repr(v.imag)],
        lambda real, imag: complex(_exact(float, real), _exact(float, imag)),
    ),
    "bytes": Scalar(_pack_bytes, _bytes),
    "bytearray": Scalar(_pack_bytes, lambda text: bytearray(_bytes(text))),
    "date": Scalar(lambda v: [v.isoformat()], dt.date.fromisoformat),
    "time": Scalar(_pack_time, lambda *parts: _time(dt.time, *parts)),
    "datetime": Scalar(_pack_time, lambda *parts: _time(dt.datetime, *parts)),
    "timedelta": Scalar(
        lambda v: [v.days, v.seconds, v.microseconds],
        dt.timedelta,
    ),
    "UUID": Scalar(lambda v: [str(v)], lambda text: _exact(uuid.UUID, text)),
    "Decimal": Scalar(lambda v: [str(v)], lambda text: _exact(Decimal, text)),
    "path": Scalar(lambda v: [_kind(v), str(v)], lambda kind, text: _exact(_PATHS[kind], text)),
    "UPath": Scalar(_pack_upath, _upath),
    "numpy": Scalar(_pack_numpy, _numpy),
}

_TAGS: dict[type, str] = {
    int: "int",
    float: "float",
    complex: "complex",
    bytes: "bytes",
    bytearray: "bytearray",
    dt.date: "date",
    dt.time: "time",
    dt.datetime: "datetime",
    dt.timedelta: "timedelta",
    uuid.UUID: "UUID",
    Decimal: "Decimal",
}
