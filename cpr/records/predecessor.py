"""Reads records of custom-prefect-result, this library's predecessor.

It wrote `{"__class__": "cpr.image.ImageTarget.ImageTarget", "data": {...}}`, where `data` is what the class
took as arguments, and results as `name-<data_hash>.ext`, known by the hash of their content alone. Names of
classes are looked up here; nothing is imported because a record names it. Classes of one's own in its style
are known once they are defined.
Source: https://github.com/fmi-faim/custom-prefect-result, the methods `serialize` of its classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cpr.errors import RecordError, shown

__all__ = [
    "OLD_CLASSES",
    "PLACE",
    "has_old_form",
    "is_old_record",
    "know_own_class",
    "read_old_record",
]

PLACE = ("location", "name", "ext")
_RESULT = (*PLACE, "data_hash")

# Its classes, and their arguments.
_FIELDS = {
    "ImageSource": (*PLACE, "metadata", "resolution"),
    "ImageTarget": (*_RESULT, "metadata", "resolution", "imagej"),
    "CSVSource": PLACE,
    "CSVTarget": _RESULT,
    "NumpySource": PLACE,
    "NumpyTarget": _RESULT,
    "ZarrSource": (*PLACE, "group", "slices_start", "slices_stop", "mode"),
}
_PACKAGES = {"Image": "image", "CSV": "csv", "Numpy": "numpy", "Zarr": "zarr"}

OLD_CLASSES = {
    f"cpr.{package}.{name}.{name}": name
    for prefix, package in _PACKAGES.items()
    for name in _FIELDS
    if name.startswith(prefix)
}
"""How its records name a class -> the record type here."""


_own: dict[str, str] = {}  # as above, of classes of one's own; those that are no results have no `data_hash`


def know_own_class(place: str, record_type: str) -> None:
    """Make the predecessor's records of a user-defined class readable.

    Args:
        place: module and name of the class.
        record_type: what it is registered as.
    """
    _own[place] = record_type


def is_old_record(value: object) -> bool:
    """Whether a JSON value is a predecessor's record of a known class.

    >>> is_old_record({"__class__": "cpr.csv.CSVSource.CSVSource", "data": {"name": "plate"}})
    True
    """
    name = _class_in(value)
    return name is not None and (name in OLD_CLASSES or name in _own)


def has_old_form(value: object) -> bool:
    """Whether a JSON value is a predecessor's record, even of a class that is not defined here."""
    if is_old_record(value):
        return True
    return _class_in(value) is not None and isinstance(value, Mapping) and set(PLACE) <= set(value["data"])


def _class_in(value: object) -> str | None:
    """The class that a JSON value names in the predecessor's way."""
    if not isinstance(value, Mapping) or set(value) != {"__class__", "data"}:
        return None
    name = value["__class__"]
    return name if isinstance(name, str) and isinstance(value["data"], Mapping) else None


def read_old_record(record: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Parse a predecessor's record: record type and arguments; no I/O.

    Raises RecordError for arguments that its class did not have, places that records may not name, and a
    class that is not known.
    """
    # Where it is used: `import cpr` needs the table of types, and no storage for it.
    from cpr.io.url_policy import EXTENSION, require_safe

    name, data = record["__class__"], record["data"]
    if not is_old_record(record):
        raise RecordError(
            "a record of a class of one's own that is not defined in this process",
            field="__class__",
            expected=", ".join(sorted({*OLD_CLASSES, *_own})),
            actual=shown(name),
            remedy="import the module that defines this class first: nothing that a record names is imported",
        )
    known = set(_FIELDS[OLD_CLASSES[name]]) if name in OLD_CLASSES else None
    if known is not None and (unknown := sorted(shown(key) for key in data if key not in known)):
        raise RecordError(
            "unknown field",
            field=unknown[0],
            expected=", ".join(_FIELDS[OLD_CLASSES[name]]),
            actual=", ".join(unknown),
            remedy="the record was not written by custom-prefect-result: delete it",
        )
    require_safe(data.get("location"), data.get("name"))
    ext = data.get("ext")
    if not isinstance(ext, str) or not re.fullmatch(EXTENSION, ext):
        raise RecordError(
            "not a usable extension",
            field="ext",
            expected="a dot, and letters and digits",
            actual=shown(ext),
            remedy="the record was not written by custom-prefect-result: delete it",
        )
    if "data_hash" in (data if known is None else known) and not isinstance(data.get("data_hash"), str):
        raise RecordError(
            "the record names no content",
            field="data_hash",
            expected="16 hex digits",
            actual=shown(data.get("data_hash")),
            remedy="the task that wrote it never called set_data: run it again",
        )
    return OLD_CLASSES.get(name) or _own[name], dict(data)
