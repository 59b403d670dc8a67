"""The table of record fields: what a record stores about a resource, whatever its format.

Each field stands here once; what is validated, stored, compared and shown follows from the classes below.
Everything else in a record is a field of the resource's format (see `cpr.records.format_fields`).

A record is untrusted. What these fields name is used in paths and requests, so they are validated before
anything else is done with the record, and without importing the class that it names.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import Field, Strict, StringConstraints, TypeAdapter, ValidationError

from cpr.errors import RecordError
from cpr.io.url_policy import EXTENSION, require_safe

__all__ = [
    "RESERVED",
    "FileFields",
    "FolderFields",
    "ResourceFields",
    "TargetFields",
    "names_of",
    "read_fields",
]

Hex16 = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{16}$")]
Checksum = Annotated[
    str, StringConstraints(strict=True, pattern=r"^(xxh3_128:[0-9a-f]{32}|(sha256|blake3):[0-9a-f]{64})$")
]
Size = Annotated[int, Strict(), Field(ge=0, lt=1 << 63)]


@dataclass(frozen=True)
class ResourceFields:
    """Fields of every record: the registered class, and the place (see `cpr.io.url_policy` for its rules)."""

    type: Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z_]\w{0,99}$")]
    location: Any
    name: Any
    ext: Annotated[str, StringConstraints(strict=True, pattern=f"^{EXTENSION}$")]


@dataclass(frozen=True, kw_only=True)
class TargetFields(ResourceFields):
    """Fields of every target: digests of the stored object, seal of the record, and provenance."""

    key: Hex16
    data_hash: Hex16
    checksum: Checksum
    nbytes: Size
    content_digest: Checksum | None = None
    seal: Hex16 | None = None
    made: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FileFields(TargetFields):
    """Fields of targets that are one object."""

    blocks: Checksum | None = None


@dataclass(frozen=True, kw_only=True)
class FolderFields(TargetFields):
    """Fields of targets that are a folder of objects: the size of the manifest that lists them."""

    manifest: Size


F = TypeVar("F", bound=ResourceFields)


def names_of(cls: type[ResourceFields]) -> tuple[str, ...]:
    """The names of the fields of one of these classes, in the order of records."""
    return tuple(cls.__dataclass_fields__)


RESERVED = frozenset({*names_of(FileFields), *names_of(FolderFields)})
"""Names that mean something in every record; no format may have such a field."""

_adapter: Callable[[Any], Any] = functools.cache(TypeAdapter)


def read_fields(record: Mapping[str, Any], cls: type[F] | None = None) -> F:
    """Validate the fields of a record, except those of its format.

    Args:
        record: the value of the record's one key.
        cls: of the fields; found from the record unless given.

    Raises RecordError for a field that is missing or unacceptable, or a place that must not be used.
    """
    if cls is None:
        kind = ResourceFields if "key" not in record else FolderFields if "manifest" in record else FileFields
        cls = kind  # type: ignore[assignment]
    assert cls is not None
    require_safe(record.get("location"), record.get("name"))
    try:
        given = {name: record[name] for name in names_of(cls) if name in record}
        fields: F = _adapter(cls).validate_python(given)
    except ValidationError as error:
        raise RecordError.of_validation(error) from None
    return fields
