"""`cpr.load`: makes a resource from its stored record, without Prefect."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cpr import io
from cpr.errors import RecordError, UsageError, shown
from cpr.operations.records import LARGEST_BYTES, Record, Reference, parse_record
from cpr.records.parse_json import parse
from cpr.records.registry import load_record, source_of
from cpr.Resource import Resource

__all__ = ["load"]


def load(record_or_url: Any, name: str | None = None) -> Any:
    """Make a resource from its stored record, without Prefect.

    Args:
        record_or_url: a record as `serialize()` gave it, its JSON text, or the URL of a JSON object that
            holds one, such as what Prefect has stored for a task (column `record` of `cpr.results`).
        name: which one, by its URL or file name, where the object names several.

    Raises:
        RecordError: not an acceptable record, or one that names several resources.
        UsageError: the URL of an image or a table, or what is neither record nor URL.
        ResourceNotFoundError, TransferError: the URL cannot be read.

    >>> target = cpr.NumpyTarget.from_path("memory://docs/numbers.npy")
    >>> target.set_data(np.arange(3))
    >>> load(target.serialize()).get_data()
    array([0, 1, 2])
    """
    is_url = isinstance(record_or_url, os.PathLike) or (
        isinstance(record_or_url, str) and not record_or_url.lstrip().startswith("{")
    )
    if not is_url and not isinstance(record_or_url, (Mapping, str, bytes)):
        raise _no_record(record_or_url)
    record = _read(record_or_url) if is_url else record_or_url
    value = parse(record) if isinstance(record, (str, bytes)) else record
    found = None
    if is_url and isinstance(value, Mapping):
        assert isinstance(record, bytes)
        found = parse_record(io.normalise(record_or_url), datetime.now(UTC), len(record), record)
    resource = load_record(value) if found is None else _chosen(found, name).load()
    assert isinstance(resource, Resource)
    return resource


def _no_record(given: object) -> UsageError:
    if isinstance(given, Resource):
        remedy = "it is loaded: use it as it is"
    elif isinstance(given, (list, tuple)):
        remedy = "one call for each: [cpr.load(record) for record in records]"
    elif callable(getattr(given, "result", None)):
        remedy = "wait for what a future or state holds: future.result()"
    else:
        remedy = "pass what serialize() returned, or where it is stored"
    return UsageError(
        "not a record",
        expected="a record as serialize() gives it, its JSON text, or the URL of one",
        actual=f"{type(given).__name__}: {shown(given)}",
        remedy=remedy,
    )


def _read(url: Any) -> bytes:
    """Read the text of a record. Raises UsageError for the URL of data."""
    place = io.normalise(url)
    if (source := source_of(place)) is not None:
        call = "glob" if "*" in place else "from_path"
        raise UsageError(
            "a file of data, not a record",
            url=place,
            expected="a record as serialize() gives it, its JSON text, or the URL of one",
            remedy=f"cpr.{source}.{call}({str(url)!r}) reads the file",
        )
    with io.reading(place) as file:
        text = file.read(LARGEST_BYTES + 1)
    if not text.lstrip()[:1] == b"{":
        raise RecordError(
            "a file of another kind, not a record",
            url=place,
            expected="the URL of a record, which is a JSON object",
            actual=shown(text[:20]),
            remedy="a source of its kind reads a file of data: ImageSource.from_path(url) ...",
        )
    if len(text) > LARGEST_BYTES:
        raise RecordError(
            "too large for a record",
            url=place,
            expected=f"at most {LARGEST_BYTES} bytes",
            actual="more",
            remedy="pass a record, its JSON text, or the URL of one",
        )
    return text


def _chosen(record: Record, name: str | None) -> Reference:
    """The requested resource. Raises RecordError if it is ambiguous."""
    for problem in record.problems:
        raise problem
    found = {one.url: one for one in record.targets or record.resources}
    if name is not None:
        found = {one.url: one for one in record.resources if name in (one.url, one.file_name)}
    if len(found) == 1:
        return next(iter(found.values()))
    known = [one.file_name for one in record.resources]
    raise RecordError(
        "not the record of one resource",
        url=record.url,
        expected="one resource" if name is None else f"one that is called {name}",
        actual=", ".join(known[:10]) + (", ..." if len(known) > 10 else "") or "none",
        remedy=f"cpr.load(url, name={known[0]!r})" if known else "give the URL of a record of cpr's",
    )
