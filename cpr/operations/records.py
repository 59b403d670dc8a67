"""Results as they lie in a store: every record under a URL, read without Prefect and without data.

A results URL is where Prefect's result storage writes, a prefix of targets, or a folder that holds both.
Two sorts of records are known by their content, whatever their names:

    {"metadata": {...}, "result": "..."}  Prefect's; the text is what cpr's serializer has written, or another
    {"__cpr__": ...}                      cpr's alone: the result of a flow, or what `serialize()` gave

All of it is untrusted. A record that cannot be read is given with what is wrong with it, and stops no other.
Nothing that a record names is imported or asked for; `Reference.load` is the way to the resource.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from cpr import io
from cpr.errors import CprError, RecordError, ResourceNotFoundError
from cpr.io.error_translation import translated
from cpr.io.parallel import side_by_side
from cpr.io.reading import fetch_block
from cpr.io.stores.base import Entry, open_store
from cpr.operations.object_names import owner_of
from cpr.provenance.made import Made
from cpr.records.registry import RECORD_KEY, load_record
from cpr.records.strict_json import parse, parse_result
from cpr.records.validation import require_well_formed
from cpr.Resource import Resource

__all__ = ["Record", "Reference", "find_records", "read_record", "references", "scan"]

_AT_ONCE = 32  # records
_MOST_BYTES = 64 << 20  # of a record: some 300,000 targets
_FIRST_BYTES = 64 << 10  # most records are whole with these
_BEGINS = re.compile(rb'\s*\{\s*"(__cpr__|metadata|result)"')
_BEGINS_AS_ENTRY = re.compile(rb'\s*\{\s*"metadata"')
# Files that hold data, whoever wrote them: they are not opened to see whether they are records.
_DATA = re.compile(
    r"\.(tiff?|csv|gz|parquet|npy|npz|zarr|png|jpe?g|zip|h5|hdf5|czi|nd2|lif|part)$", re.IGNORECASE
)
_HIDDEN = re.compile(r"[/\\]\.cpr[/\\]|\.zarr[/\\]", re.IGNORECASE)


@dataclass(frozen=True)
class Reference:
    """A resource as a record names it: its place is safe to use, its class is not imported.

    Attributes:
        fields: what the record says of it.
    """

    fields: Mapping[str, Any]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Reference:
        """Raises RecordError unless type, place and digests are as cpr writes them."""
        require_well_formed(fields)
        if "made" in fields:
            Made.parse(fields["made"])
        return cls(fields)

    @property
    def type(self) -> str:
        """The record type, `ImageTarget` for one."""
        return str(self.fields["type"])

    @property
    def is_target(self) -> bool:
        """Whether cpr wrote the object; else it is a source, somebody else's."""
        return "key" in self.fields

    @property
    def file_name(self) -> str:
        """Name, key and extension."""
        key = f"-{self.fields['key']}" if self.is_target else ""
        return f"{self.fields['name']}{key}{self.fields['ext']}"

    @cached_property
    def url(self) -> str:
        """Where the object is."""
        return io.join(self.fields["location"], self.file_name)

    @property
    def nbytes(self) -> int | None:
        """Its size; None for a source."""
        return self.fields.get("nbytes")

    @property
    def checksum(self) -> str | None:
        """`algorithm:hexdigest` of its bytes; None for a source."""
        return self.fields.get("checksum")

    @property
    def made(self) -> Made | None:
        """How it came to be, as far as the record tells."""
        return Made.parse(self.fields["made"]) if "made" in self.fields else None

    def load(self) -> Resource:
        """The resource. Raises RecordError for an unknown type, or options that it does not have."""
        return load_record({RECORD_KEY: dict(self.fields)})


@dataclass(frozen=True)
class Record:
    """What one object under a results URL says.

    Attributes:
        url: of the object.
        touched: when it was written.
        nbytes: its size.
        metadata: Prefect's, if it is one of Prefect's records; None for one of cpr's alone.
        value: the result as JSON values; None where it cannot be read.
        problem: why it cannot be read; None for a good one.
        blob: its bytes, as far as they were read.
    """

    url: str
    touched: datetime
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
        """Type of the serializer that has written the result."""
        kind = (self.metadata or {}).get("serializer")
        return str(kind.get("type", "?")) if isinstance(kind, Mapping) else "cpr"

    @property
    def is_foreign(self) -> bool:
        """Whether another serializer (pickle, json ...) has written it: none of cpr's business."""
        return self.serializer != "cpr"

    @property
    def is_cache_entry(self) -> bool:
        """Whether Prefect may take it for the result of a task that is to run."""
        return self.metadata is not None or _BEGINS_AS_ENTRY.match(self.blob) is not None

    @cached_property
    def found(self) -> tuple[tuple[Reference, ...], tuple[RecordError, ...]]:
        """The resources that it names, and what is wrong with those that cannot be used."""
        good: list[Reference] = []
        bad: list[RecordError] = []
        for fields in references(self.value):
            try:
                good.append(Reference.of(fields))
            except RecordError as error:
                bad.append(error)
        return tuple(good), tuple(bad)

    @property
    def resources(self) -> tuple[Reference, ...]:
        """The resources that it names, in their order."""
        return self.found[0]

    @property
    def targets(self) -> tuple[Reference, ...]:
        """Those of them that cpr wrote."""
        return tuple(one for one in self.resources if one.is_target)

    @property
    def problems(self) -> tuple[CprError, ...]:
        """All that is wrong with it."""
        return (self.problem,) if self.problem is not None else self.found[1]


def references(value: Any) -> Iterator[Mapping[str, Any]]:
    """The fields of every resource's record inside JSON values, in their order, whatever holds them."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += reversed(one)
        elif isinstance(one, Mapping):
            inner = one.get(RECORD_KEY)
            # Under a tag (an array) there may be more of them; a record (an object) holds no other.
            if isinstance(inner, Mapping):
                yield inner
            else:
                waiting += reversed(list(one.values()))


def scan(url: str) -> Iterator[Record | Entry]:
    """Everything under a URL: records, read; all else as the listing has it.

    Records are read side by side; in memory is what is under way. The order is the listing's.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the store refused or failed.
    """
    url = io.normalise(url)
    store, path = open_store(url)

    def entries() -> Iterator[Entry]:
        with translated(url, "list"):
            yield from store.walk(path)

    return side_by_side(_looked_at, entries(), _AT_ONCE)


def find_records(url: str) -> Iterator[Record]:
    """The records under a URL; see `scan`.

    >>> list(find_records("memory://no-such-folder"))
    []
    """
    return (one for one in scan(url) if isinstance(one, Record))


def read_record(url: str) -> Record | None:
    """The record at the URL of one object; None if the object is none.

    Raises ResourceNotFoundError and TransferError.
    """
    url = io.normalise(url)
    stat = io.stat(url)
    found = _read(Entry(url, stat.touched, stat.nbytes))
    return found if isinstance(found, Record) else None


def _looked_at(entry: Entry) -> Record | Entry:
    if _is_data(entry.url):
        return entry
    try:
        found = _read(entry)
    except ResourceNotFoundError:
        return entry  # deleted since it was listed
    if isinstance(found, Record):
        found.found  # noqa: B018 - looked through here, where others are under way
    return found


def _is_data(url: str) -> bool:
    """Whether an object is no record, by its name: data, or something of cpr's beside it."""
    return _DATA.search(url) is not None or owner_of(url) is not None or _HIDDEN.search(url) is not None


def _read(entry: Entry) -> Record | Entry:
    """A record, or the entry of an object that is none."""
    store, path = open_store(entry.url)
    with translated(entry.url, "read"):
        blob = bytes(fetch_block(store, path, 0, min(entry.nbytes, _FIRST_BYTES))) if entry.nbytes else b""
        if not _BEGINS.match(blob):
            return entry
        if len(blob) < entry.nbytes <= _MOST_BYTES:
            blob = bytes(fetch_block(store, path, 0, entry.nbytes))
    found = Record(entry.url, entry.touched, entry.nbytes, blob=blob)
    try:
        if entry.nbytes > _MOST_BYTES:
            raise RecordError(
                "too large for a record",
                expected=f"at most {_MOST_BYTES} bytes",
                actual=f"{entry.nbytes} bytes",
                remedy="return fewer resources from one task, or delete it if cpr did not write it",
            )
        document = parse(blob)
        if RECORD_KEY in document:
            return replace(found, value=parse_result(blob))
        metadata, result = document.get("metadata"), document.get("result")
        if not isinstance(metadata, Mapping) or "serializer" not in metadata:
            return entry  # any JSON file may have such a key
        found = Record(entry.url, entry.touched, entry.nbytes, metadata, blob=blob)
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
        return replace(found, value=parse_result(result))
    except RecordError as error:
        error.url = entry.url
        return replace(found, problem=error)
