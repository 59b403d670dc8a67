"""Records of custom-prefect-result, this library's predecessor: what they say, as one table.

It wrote `{"__class__": "cpr.image.ImageTarget.ImageTarget", "data": {...}}`, where `data` is what the class
took as arguments, and results as `name-<data_hash>.ext`, known by the hash of their content alone. Names of
classes are looked up here; nothing is imported because a record names it.
Source: https://github.com/fmi-faim/custom-prefect-result, the methods `serialize` of its classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cpr.errors import RecordError, shown
from cpr.io.url_policy import require_safe

__all__ = ["OLD_CLASSES", "PLACE", "is_old_record", "read_old_record"]

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


def is_old_record(value: object) -> bool:
    """Whether a JSON value is a record that the predecessor has written of one of its own classes.

    >>> is_old_record({"__class__": "cpr.csv.CSVSource.CSVSource", "data": {"name": "plate"}})
    True
    """
    if not isinstance(value, Mapping) or set(value) != {"__class__", "data"}:
        return False
    name = value["__class__"]
    return isinstance(name, str) and name in OLD_CLASSES and isinstance(value["data"], Mapping)


def read_old_record(record: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Type here, and arguments, of such a record; no I/O.

    Raises RecordError for arguments that its class did not have, and places that records may not name.
    """
    name, data = OLD_CLASSES[record["__class__"]], record["data"]
    known = set(_FIELDS[name])
    if unknown := sorted(shown(key) for key in data if key not in known):
        raise RecordError(
            "unknown field",
            field=unknown[0],
            expected=", ".join(_FIELDS[name]),
            actual=", ".join(unknown),
            remedy="the record was not written by custom-prefect-result: delete it",
        )
    require_safe(data.get("location"), data.get("name"))
    if "data_hash" in known and not isinstance(data.get("data_hash"), str):
        raise RecordError(
            "the record names no content",
            field="data_hash",
            expected="16 hex digits",
            actual=shown(data.get("data_hash")),
            remedy="the task that wrote it never called set_data: run it again",
        )
    return name, dict(data)
