"""Reads records without Prefect: Prefect's own, and those of cpr.

Two sorts of records are known by their content, whatever their names:

    {"metadata": {...}, "result": "..."}  Prefect's; the text is what cpr's serializer has written, or another
    {"__cpr__": ...}                      cpr's alone: the result of a flow, or what `serialize()` gave

All of it is untrusted. A record that cannot be read comes with what is wrong with it, and stops no other.
Nothing that a record names is imported or asked for; `Reference.load` is the way to the resource.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from cpr import io
from cpr.errors import CprError, RecordError
from cpr.io.hashing import hex16
from cpr.provenance.provenance_record import Made
from cpr.records.content_digest import content_key
from cpr.records.parse_json import parse, parse_result
from cpr.records.record_fields import read_fields
from cpr.records.registry import RECORD_KEY, load_record
from cpr.Resource import Resource

__all__ = ["Record", "Reference", "begins_as_record", "distinct_targets", "parse_record", "references"]

LARGEST_BYTES = 128 << 20
"""Of a record: some 180,000 targets that tell how they were made."""

_MOST_LEVELS = 100
_BEGINS = re.compile(rb'\s*\{\s*"(__cpr__|metadata|result)"')
_SERIALIZER = re.compile(rb'"serializer"\s*:\s*\{[^{}]*?"type"\s*:\s*"([a-z/]{1,100})"')
_BEGINS_AS_ENTRY = re.compile(rb'\s*\{\s*"metadata"')


@dataclass(frozen=True)
class Reference:
    """A resource as a record names it: its place is safe to use, its class is not imported.

    Attributes:
        fields: what the record says of it.
    """

    fields: Mapping[str, Any]

    @classmethod
    def of(
        cls, fields: Mapping[str, Any], made: dict[str, tuple[Any, Made | None]] | None = None
    ) -> Reference:
        """Validate the fields. Raises RecordError unless type, place and digests are as cpr writes them.

        Args:
            fields: what the record says of it.
            made: of others in the same record, by its text: what is said alike becomes the same object.
        """
        read_fields(fields)
        reference = cls(fields)
        if made is None or not isinstance(fields, dict) or "made" not in fields:
            reference.made  # noqa: B018 - parsed here, so that it cannot raise later
            return reference
        text = json.dumps(fields["made"])
        if text not in made:
            made[text] = fields["made"], reference.made
        fields["made"], reference.__dict__["made"] = made[text]
        return reference

    @property
    def type(self) -> str:
        """The record type, such as `ImageTarget`."""
        return str(self.fields["type"])

    @property
    def is_target(self) -> bool:
        """Whether it is a target, which cpr wrote; else it is a source."""
        return "key" in self.fields

    @property
    def file_name(self) -> str:
        """Name, key and extension."""
        key = f"-{self.fields['key']}" if self.is_target else ""
        return f"{self.fields['name']}{key}{self.fields['ext']}"

    @cached_property
    def url(self) -> str:
        """URL of the object."""
        return io.join(self.fields["location"], self.file_name)

    @property
    def nbytes(self) -> int | None:
        """Size in bytes; None for a source."""
        return self.fields.get("nbytes")

    @property
    def checksum(self) -> str | None:
        """`algorithm:hexdigest` of its bytes; None for a source."""
        return self.fields.get("checksum")

    @cached_property
    def made(self) -> Made | None:
        """The provenance, as far as in the record."""
        return Made.parse(self.fields["made"]) if "made" in self.fields else None

    @property
    def number(self) -> int:
        """A 64-bit hash of the object's place and content, to remember many of them."""
        return int(hex16(f"{self.url} {self.checksum}".encode()), 16)

    def load(self) -> Resource:
        """Make the resource. Raises RecordError for an unknown type, or unknown options."""
        resource = load_record({RECORD_KEY: dict(self.fields)})
        assert isinstance(resource, Resource)
        return resource


@dataclass(frozen=True)
class Record:
    """A record, as one object under a results URL contains it.

    Attributes:
        url: of the object.
        modified: when it was written.
        nbytes: its size.
        metadata: Prefect's, if it is one of Prefect's records; None for one of cpr's alone.
        value: the result as JSON values; None where it cannot be read.
        problem: why it cannot be read; None for a good one.
        blob: its bytes, as far as they were read.
    """

    url: str
    modified: datetime
    nbytes: int
    metadata: Mapping[str, Any] | None = None
    value: Any = None
    problem: CprError | None = None
    blob: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        """The cache key, for a record that Prefect named by it."""
        return io.split(self.url)[1]

    @property
    def serializer(self) -> str:
        """Type of the serializer that wrote the result."""
        kind = (self.metadata or {}).get("serializer")
        return str(kind.get("type", "?")) if isinstance(kind, Mapping) else "cpr"

    @property
    def is_foreign(self) -> bool:
        """Whether another serializer (pickle, json ...) wrote it, so that cpr ignores it."""
        return self.serializer != "cpr"

    @property
    def is_cache_entry(self) -> bool:
        """Whether Prefect may use it as the cached result of a task."""
        return self.metadata is not None or _BEGINS_AS_ENTRY.match(self.blob) is not None

    @cached_property
    def found(self) -> tuple[tuple[Reference, ...], tuple[RecordError, ...]]:
        """The resources that it names, and problems of those that cannot be used."""
        good: list[Reference] = []
        bad: list[RecordError] = []
        # The targets of a task are made alike: what is said of that is kept and validated once.
        named = list(references(self.value))
        made: dict[str, tuple[Any, Made | None]] | None = {} if len(named) > 1 else None
        for fields in named:
            try:
                good.append(Reference.of(fields, made))
            except RecordError as error:
                bad.append(error)
        return tuple(good), tuple(bad)

    @property
    def resources(self) -> tuple[Reference, ...]:
        """The resources that it names, in order."""
        return self.found[0]

    @property
    def targets(self) -> tuple[Reference, ...]:
        """The targets among its resources."""
        return tuple(one for one in self.resources if one.is_target)

    @property
    def problems(self) -> tuple[CprError, ...]:
        """All problems of the record."""
        return (self.problem,) if self.problem is not None else self.found[1]


def references(value: Any) -> Iterator[Mapping[str, Any]]:
    """The fields of every resource's record inside JSON values, in order, in any container."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += reversed(one)
        elif isinstance(one, dict):
            inner = one.get(RECORD_KEY)
            # Under a tag (an array) there may be more of them; a record (an object) holds no other.
            if isinstance(inner, dict):
                yield inner
            else:
                waiting += reversed(list(one.values()))


def begins_as_record(blob: bytes) -> bool:
    """Whether the first bytes of an object look like a record."""
    return _BEGINS.match(blob) is not None


def parse_record(url: str, modified: datetime, nbytes: int, blob: bytes) -> Record | None:
    """Parse a record; None if the object is not one. Raises nothing.

    Args:
        url: of the object.
        modified: when it was written.
        nbytes: its size.
        blob: its bytes; of an object larger than `LARGEST_BYTES` the first are enough.
    """
    found = Record(url, modified, nbytes, blob=blob)
    try:
        if nbytes > LARGEST_BYTES:
            foreign = _SERIALIZER.search(blob)
            if foreign is not None and foreign[1] != b"cpr":
                return replace(found, metadata={"serializer": {"type": foreign[1].decode()}})
            raise RecordError(
                "too large for a record",
                expected=f"at most {LARGEST_BYTES} bytes",
                actual=f"{nbytes} bytes",
                remedy="return fewer resources from one task, or delete it if cpr did not write it",
            )
        document = parse(blob)
        if RECORD_KEY in document:
            return replace(found, value=_shallow(parse_result(blob), blob))
        metadata, result = document.get("metadata"), document.get("result")
        if not isinstance(metadata, Mapping) or "serializer" not in metadata:
            return None  # any JSON file may have such a key
        found = Record(url, modified, nbytes, metadata, blob=blob)
        if found.is_foreign:
            return found
        if not isinstance(result, str):
            raise RecordError(
                "the record has no result",
                field="result",
                expected="the text that cpr_serializer() has written",
                actual=type(result).__name__,
                remedy="delete it, so that its task runs again",
            )
        return Record(url, modified, nbytes, metadata, _shallow(parse_result(result), result), blob=blob)
    except RecordError as error:
        error.url = url
        return replace(found, problem=error)


def _shallow(value: Any, text: str | bytes) -> Any:
    """JSON values whose nesting is safe for recursive functions. Raises RecordError for others.

    Args:
        value: to look at.
        text: the JSON text of the values.
    """
    # Most texts open too few brackets to be looked at.
    opened = (b"[", b"{") if isinstance(text, bytes) else ("[", "{")
    if sum(map(text.count, opened)) <= _MOST_LEVELS:  # type: ignore[arg-type]
        return value
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [
            item
            for one in level
            if isinstance(one, (list, dict))
            for item in (one.values() if isinstance(one, dict) else one)
            if isinstance(item, (list, dict))
        ]
        if not level:
            return value
    raise RecordError(
        "too deeply nested",
        expected=f"at most {_MOST_LEVELS} lists and objects inside one another",
        actual="more",
        remedy="return a flatter value from the task, or delete the record if cpr did not write it",
    )


def distinct_targets(
    records: Iterable[Record], with_regions: bool = False
) -> Iterator[tuple[Reference, Record]]:
    """The targets that records name, each once, with the first record that names it.

    Args:
        records: to search.
        with_regions: take the regions and fields of a result for targets of their own, besides the result.
    """
    seen: set[int] = set()
    for record in records:
        for target in record.targets:
            number = target.number
            if with_regions:
                number = int(hex16(f"{number} {content_key(target.fields)}".encode()), 16)
            if number not in seen:
                seen.add(number)
                yield target, record
