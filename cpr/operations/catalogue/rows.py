"""Converts records to rows: one for each resource that a record names, or for an object without any."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpr.errors import RecordError
from cpr.io.hashing import hex16
from cpr.io.stores.base import Entry
from cpr.io.url_policy import EXTENSION, require_safe
from cpr.operations.catalogue.arrow_arrays import column, values
from cpr.operations.catalogue.listing_columns import Line
from cpr.operations.records import Record, Reference
from cpr.provenance.provenance_record import Made, is_acceptable
from cpr.provenance.why_not_reused import places_of

__all__ = [
    "AWKWARD",
    "ENCODED",
    "FOREIGN",
    "NONE",
    "OBJECT",
    "RECORD",
    "RESOURCE",
    "SCHEMA",
    "Rows",
    "encoded",
    "kind_of",
    "number_of_places",
    "sound",
]

NONE, RECORD, FOREIGN, AWKWARD = range(4)
"""An object: no record; a good one; one of another serializer; one of which something cannot be read."""

OBJECT = pa.schema(
    [
        ("name", pa.binary()),  # null in all rows of an object but the first
        ("nbytes", pa.int64()),
        ("version", pa.string()),
        ("kind", pa.uint8()),
        ("cached", pa.bool_()),
    ]
)
RESOURCE = pa.schema(
    [
        ("type", pa.string()),  # null for an object that names no resource
        ("location", pa.string()),
        ("file", pa.string()),
        ("size", pa.int64()),  # null for a source
        ("data_hash", pa.string()),
        ("at", pa.int64()),
        ("task", pa.string()),
        ("flow", pa.string()),
        ("flow_run", pa.string()),
        ("task_run", pa.string()),
        ("places", pa.int64()),
    ]
)
SCHEMA = pa.schema([*OBJECT, *RESOURCE])
ENCODED = ("type", "location", "task", "flow", "flow_run")
"""Columns of texts that occur again and again."""

_PLAIN_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_+-]*(\.[A-Za-z0-9_+-]+){0,4}$"
_TARGET_NAME = f"-[0-9a-f]{{16}}{EXTENSION}$"
_NO_OBJECT = (None,) * len(OBJECT)
_NO_RESOURCE = (None,) * len(RESOURCE)
_CHUNK = 1 << 14


class Rows:
    """Collects rows of objects: the latest thousands as they came, all others as columns.

    Args:
        columns: of resources, to be collected.
        keep: takes rows that later commands may use, with all columns, in order.
    """

    def __init__(self, columns: Sequence[str], keep: Callable[[Any], None]) -> None:
        self._wanted = columns
        self._keep = keep
        self._rows: list[tuple[Any, ...]] = []
        self._index: list[int] = []
        self._lasting: list[bool] = []
        self._chunks: list[Any] = []
        self._indices: list[npt.NDArray[np.int64]] = []

    def add(self, line: Line, found: Record | Entry, kind: int, lasting: bool) -> None:
        """Add the content of an object.

        Args:
            line: of the listing.
            found: what was read.
            kind: what sort of object it is.
            lasting: whether that is so for as long as the object has this version.
        """
        resources = found.resources if isinstance(found, Record) else ()
        cached = isinstance(found, Record) and found.is_cache_entry
        about: tuple[Any, ...] = (line.name, line.entry.nbytes, line.version, kind, cached)
        for one in resources or (None,):
            self._rows.append((*about, *(_NO_RESOURCE if one is None else _fields(one))))
            self._index.append(line.number)
            self._lasting.append(lasting)
            about = _NO_OBJECT
            if len(self._index) >= _CHUNK:
                self._turn()

    def _turn(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(SCHEMA)
        arrays = [column(one, field.type) for one, field in zip(columns, SCHEMA, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=SCHEMA)
        self._keep(table.filter(column(self._lasting, pa.bool_())))
        resources = pc.is_valid(table["type"])
        self._chunks.append(encoded(table.select(self._wanted).filter(resources)))
        self._indices.append(np.array(self._index, np.int64)[values(resources)])
        self._rows, self._index, self._lasting = [], [], []

    def table(self) -> tuple[Any, npt.NDArray[np.int64]]:
        """The collected columns of all resources, and the index with which each was added."""
        self._turn()
        return pa.concat_tables(self._chunks), np.concatenate(self._indices)


def encoded(table: Any) -> Any:
    """Dictionary-encode repeating texts, as they are read from files."""
    for number, one in enumerate(table.schema):
        if one.name in ENCODED and not pa.types.is_dictionary(one.type):
            table = table.set_column(number, one.name, table[one.name].dictionary_encode())
    return table


def kind_of(found: Record | Entry) -> int:
    """The kind of an object."""
    if not isinstance(found, Record):
        return NONE
    return AWKWARD if found.problems else FOREIGN if found.is_foreign else RECORD


def _fields(one: Reference) -> tuple[Any, ...]:
    made = one.made
    about = made or Made()
    return (
        one.type,
        one.fields["location"],
        one.file_name,
        one.nbytes if one.is_target else None,
        one.fields.get("data_hash") if one.is_target else None,
        about.at,
        about.task,
        about.flow,
        about.flow_run,
        about.task_run,
        None if made is None else _places(made),
    )


def _places(made: Made) -> int | None:
    """Hash of the places that a result was made from; None if its record does not name them all."""
    return None if made.more is not None else number_of_places(made)


def number_of_places(made: Made) -> int:
    """Hash of the places that a result was made from, as far as known here."""
    return int(hex16(json.dumps(sorted(places_of(made))).encode()), 16) - (1 << 63)


def sound(table: Any) -> npt.NDArray[np.bool_]:
    """Mask of the rows of an untrusted file that a record could have.

    Records are validated for each of their fields; of the columns that are there the same is asked here.
    """
    good: npt.NDArray[np.bool_] = np.ones(table.num_rows, np.bool_)
    for name, test in _TESTS.items():
        if name in table.schema.names:
            good &= _tested(table[name], test)
    for name in ("size", "at"):
        if name in table.schema.names:
            limit = 253_370_764_800 if name == "at" else 1 << 62
            number = values(table[name])
            good &= (number >= 0) & (number < limit)
    if {"location", "file", "size"} <= set(table.schema.names):
        files = table["file"]
        plain = _true(pc.match_substring_regex(files, _PLAIN_NAME)) & (values(pc.utf8_length(files)) < 200)
        if os.name == "nt":
            plain[:] = False
        named = _true(pc.match_substring_regex(files, _TARGET_NAME)) | _true(pc.is_null(table["size"]))
        good &= named & _true(pc.is_valid(table["location"]))
        for row in np.flatnonzero(good & ~plain):
            location, file = (table[name][int(row)].as_py() for name in ("location", "file"))
            good[row] = _is_safe(location, file)
    return good


def _true(mask: Any) -> npt.NDArray[np.bool_]:
    # A copy: arrays of Arrow's are not to be written to.
    return np.array(values(mask))


def _tested(column: Any, test: Callable[[Hashable], bool]) -> npt.NDArray[np.bool_]:
    encoded = column.combine_chunks() if pa.types.is_dictionary(column.type) else column
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.dictionary_encode().combine_chunks()
    good = np.array([*map(test, encoded.dictionary.to_pylist()), True])  # the last for nulls
    found: npt.NDArray[np.bool_] = good[values(encoded.indices, len(good) - 1)]
    return found


def _is_safe(location: Any, name: Any) -> bool:
    try:
        require_safe(location, name)
    except RecordError:
        return False
    return True


def _matching(pattern: str) -> Callable[[Hashable], bool]:
    spelled = re.compile(pattern)
    return lambda value: isinstance(value, str) and spelled.fullmatch(value) is not None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and is_acceptable(value, 200)


_TESTS: dict[str, Callable[[Any], bool]] = {
    "type": _matching(r"[A-Za-z_]\w{0,99}"),
    "location": cache(lambda value: _is_safe(value, "a")),
    "data_hash": _matching("[0-9a-f]{16}"),
    "task": _is_name,
    "flow": _is_name,
    "flow_run": _matching("[0-9a-f]{32}"),
    "task_run": _matching("[0-9a-f]{32}"),
}
