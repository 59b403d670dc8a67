"""Constructor arguments in the predecessor's style: location, name and extension."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cpr import io
from cpr.errors import FormatError, RecordError, UnsupportedExtensionError, UsageError, shown
from cpr.records.registry import load_record
from cpr.records.usage_errors import not_from_a_path

__all__ = ["Arguments", "require_extension", "resource_of_record", "with_names"]

_HASH = re.compile("[0-9a-f]{16}")


class Arguments(NamedTuple):
    """Normalised arguments of a resource's constructor.

    Attributes:
        data_hash: of a result that is stored already, known by its content alone.
        is_safe: whether the place was found to be one that records may name.
    """

    location: str
    name: str
    ext: str
    format: Any
    data_hash: str | None = None
    is_safe: bool = False

    @classmethod
    def of(cls, resource_class: Any, location: Any, name: Any, ext: Any, options: Mapping[str, Any]) -> Any:
        """Normalise the arguments of a constructor call. Raises UsageError, FormatError, and RecordError."""
        own = dict(options)
        data_hash = own.pop("data_hash", None) if resource_class.known_by_content else None
        if location is None or name is None:
            raise not_from_a_path(resource_class.__name__, location, options)
        found = cls._placed(resource_class, location, name, ext)
        if data_hash is not None:
            return cls.of_record(resource_class, found | own | {"data_hash": data_hash})
        own = {**resource_class.old_defaults, **own}
        format = resource_class._make_format(found["ext"], own)
        return cls(found["location"], found["name"], found["ext"], format)

    @staticmethod
    def _placed(resource_class: Any, location: Any, name: Any, ext: Any) -> dict[str, str]:
        for field, value in (("name", name), ("ext", ext)):
            if value is not None and not isinstance(value, str):
                raise UsageError(
                    f"{field} is no text", field=field, expected="a text", actual=repr(value)[:80]
                )
        ext = resource_class.format_class.extensions[0] if ext is None else ext
        require_extension(resource_class, ext, io.join(str(location), f"{name}{ext}"))
        # Of a file name alone the predecessor's record had no location.
        return {"location": io.normalise(location or "."), "name": name, "ext": ext}

    @classmethod
    def of_record(cls, resource_class: Any, fields: Mapping[str, Any]) -> Arguments:
        """Read the arguments in a predecessor's record; any metadata is accepted. Raises RecordError."""
        own = dict(fields)
        location, name, ext = own.pop("location"), own.pop("name"), own.pop("ext", None)
        data_hash = own.pop("data_hash", None)
        try:
            require_extension(resource_class, ext, f"{location}/{name}{ext}")
            if data_hash is not None and not (isinstance(data_hash, str) and _HASH.fullmatch(data_hash)):
                raise FormatError(
                    "no hash of content", field="data_hash", expected="16 hex digits", actual=shown(data_hash)
                )
            own = {**resource_class.old_defaults, **own}
            if data_hash is not None and _accepts(resource_class.format_class, "origin"):
                own["origin"] = "predecessor"
            make = getattr(resource_class.format_class, "of_options", None)  # of a class of one's own
            format = resource_class.format_class(**own) if make is None else make(own)
        except (FormatError, TypeError) as error:
            raise RecordError(
                "the record describes no resource of this class",
                field=getattr(error, "field", None),
                expected=f"what custom-prefect-result wrote of its {resource_class.__name__}",
                actual=str(error)[:300],
                remedy=RecordError.NOT_OURS,
            ) from None
        return cls(location, name, ext, format, data_hash)


def _accepts(format_class: Any, field: str) -> bool:
    """Whether a format has a field."""
    return field in {one.name for one in dataclasses.fields(format_class)}


def require_extension(resource_class: Any, ext: object, url: str) -> None:
    """Raise UnsupportedExtensionError unless files of a class may have this extension."""
    if isinstance(ext, str) and resource_class.takes(ext):
        return
    known = resource_class.format_class.extensions
    meant = f".{ext}" if f".{ext}" in known else known[0]
    raise UnsupportedExtensionError(
        f"{resource_class.__name__} does not handle this extension",
        url=url,
        field="ext",
        expected=" or ".join(repr(one) for one in known),
        actual=repr(ext),
        remedy=f"ext={meant!r}",
    )


def resource_of_record(resource_class: Any, arguments: Mapping[str, Any]) -> Any:
    """Make the resource for `cls(**record)` with a record of cpr's. Raises RecordError and UsageError."""
    resource = load_record(dict(arguments))
    if not isinstance(resource, resource_class):
        raise UsageError(
            "the record is of another class",
            field="type",
            expected=resource_class.__name__,
            actual=type(resource).__name__,
            remedy="cpr.load(record) gives what a record is of",
        )
    return resource


def with_names(
    resource_class: Any, in_order: tuple[Any, ...], options: Mapping[str, Any], more: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Options by name, including those that were passed by position in the predecessor's order.

    Raises UsageError for more of these than it had, and for an option that is given twice.
    """
    names = (*resource_class.options_in_order, *more)
    named = dict(zip(names, in_order, strict=False))
    twice = sorted(set(named) & set(options))
    if not twice and len(in_order) <= len(names):
        return {**named, **options}
    known = [one.name for one in dataclasses.fields(resource_class.format_class)]
    example = (twice or known or ["option"])[0]
    raise UsageError(
        "an option is given twice" if twice else "options are given by their names",
        field=", ".join(twice) or None,
        expected=f"one of {', '.join(known)}, each with its name" if known else "no options",
        actual=f"{len(in_order)} without names",
        remedy=f"{resource_class.__name__}.from_path(path, {example}=...)" if known else "leave them out",
    )
