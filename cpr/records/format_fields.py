"""Fields of a format in a record: those that differ from their defaults, as JSON values."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cpr.errors import FormatError, RecordError, shown
from cpr.records.record_fields import RESERVED

__all__ = ["read_format", "require_own_names", "to_json"]


def _fields_of(cls: type[Any]) -> frozenset[str]:
    """The fields that records hold: all, unless the format lists fewer as `recorded`."""
    return frozenset(getattr(cls, "recorded", [field.name for field in dataclasses.fields(cls)]))


_recorded: Callable[[Any], frozenset[str]] = functools.cache(_fields_of)


def require_own_names(cls: type[Any]) -> None:
    """Raise FormatError for a format with a field name that is reserved in records."""
    if taken := sorted(RESERVED & _recorded(cls)):
        raise FormatError(
            "a format's field has a name that records use themselves",
            field=", ".join(taken),
            expected=f"names other than {', '.join(sorted(RESERVED))}",
            actual=f"{cls.__qualname__}.{taken[0]}",
            remedy="rename the field",
        )


def to_json(format: Any) -> dict[str, Any]:
    """The fields of a format that differ from their defaults, as JSON values."""
    fields, recorded = {}, _recorded(type(format))
    for field in dataclasses.fields(format):
        value = getattr(format, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if field.name in recorded and value != default:
            fields[field.name] = _plain(value)
    return fields


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


_adapter: Callable[[Any], Any] = functools.cache(TypeAdapter)


def read_format(cls: type[Any], fields: Mapping[str, Any]) -> Any:
    """Make a format from the JSON values of a record, each validated against its annotation.

    Raises RecordError for a field that the format does not have, or a value that it cannot have.
    """
    if not isinstance(fields, Mapping):
        raise RecordError(
            "not the fields of a format",
            field="format",
            expected="an object",
            actual=shown(fields, 200),
            remedy=RecordError.NOT_OURS,
        )
    known = _recorded(cls)
    if unknown := sorted(set(fields) - known):
        raise RecordError(
            "unknown field",
            field=shown(unknown[0]),
            expected=f"one of {', '.join(sorted(known))}",
            actual=shown(unknown, 200),
            remedy="the record was written by a newer cpr or by something else: upgrade, or delete it",
        )
    try:
        return _adapter(cls).validate_json(json.dumps(fields), strict=True)
    except ValidationError as error:
        raise RecordError.of_validation(error) from None
    except FormatError as error:
        raise RecordError(
            error.problem,
            field=error.field,
            expected=error.expected,
            actual=error.actual,
            remedy=RecordError.NOT_OURS,
        ) from None
