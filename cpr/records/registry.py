"""Record type -> class: a closed table.

A record's `type` indexes this table and nothing else; what is not in it is refused, never imported.
cpr's own classes and those of installed plug-ins (entry point group `cpr.resources`, the entry's
name being the record type) are imported when a record first asks for them.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from cpr.errors import DuplicateTypeError, RecordError

if TYPE_CHECKING:
    from cpr.Resource import Resource

__all__ = ["RECORD_KEY", "is_record", "load_record", "lookup", "register"]

RECORD_KEY = "__cpr__"
"""The one top-level key of a record."""

ENTRY_POINT_GROUP = "cpr.resources"

_BUILT_IN = {
    name: f"cpr.{package}.{name}"
    for package, names in {
        "image": ("ImageSource", "ImageTarget"),
        "csv": ("CSVSource", "CSVTarget"),
        "parquet": ("ParquetSource", "ParquetTarget"),
        "numpy": ("NumpySource", "NumpyTarget"),
        "zarr": ("OMEZarrSource", "OMEZarrTarget", "ZarrSource", "ZarrTarget"),
    }.items()
    for name in names
}

_registered: dict[str, type[Resource]] = {}

R = TypeVar("R", bound="type[Resource]")


def register(cls: R) -> R:
    """Class decorator: records of type `cls.__name__` come back as `cls`.

    Raises DuplicateTypeError if another class has that name already.
    """
    name = cls.__name__
    other = _registered.get(name)
    place = f"{cls.__module__}.{cls.__qualname__}"
    # The same class again is a module that was reloaded, or pickled by value to a worker.
    taken = None if other is None else f"{other.__module__}.{other.__qualname__}"
    if taken is None and name in _BUILT_IN:
        taken = f"{_BUILT_IN[name]}.{name}"
    if taken is not None and taken != place:
        raise DuplicateTypeError(
            "two classes claim one record type",
            field=name,
            expected=taken,
            actual=place,
            remedy="give one of the classes another name",
        )
    _registered[name] = cls
    return cls


def lookup(name: object) -> type[Resource]:
    """The class of a record type. Raises RecordError for an unknown one, importing nothing."""
    if isinstance(name, str):
        if name in _registered:
            return _registered[name]
        if name in _BUILT_IN:
            importlib.import_module(_BUILT_IN[name])
            if name in _registered:
                return _registered[name]
        entry = _plug_ins(tuple(sys.path)).get(name)
        if entry is not None:
            plug_in: type[Resource] = entry.load()
            return register(plug_in)
    raise RecordError(
        "unknown record type",
        field="type",
        expected="a registered class, such as " + ", ".join(sorted({*_BUILT_IN, *_registered})),
        actual=ascii(name)[:100],
        remedy="import the module that registers this type, or install the plug-in that has it",
    )


@functools.cache
def _plug_ins(path: tuple[str, ...]) -> dict[str, EntryPoint]:  # noqa: ARG001 - what is installed depends on it
    """The installed plug-ins; asking for them reads files, which no record is to set off."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def is_record(value: object) -> bool:
    """Whether a JSON value is a resource's record."""
    return isinstance(value, Mapping) and RECORD_KEY in value


def load_record(record: Any) -> Resource:
    """The resource that a record describes; no I/O.

    Raises RecordError for anything but a well-formed record of a registered type.
    """
    if not is_record(record) or len(record) != 1 or not isinstance(record[RECORD_KEY], Mapping):
        raise RecordError(
            "not a record",
            expected=f'{{"{RECORD_KEY}": {{...}}}}',
            actual=ascii(record)[:100],
            remedy="pass what serialize() returned",
        )
    return lookup(record[RECORD_KEY].get("type")).deserialize(record)
