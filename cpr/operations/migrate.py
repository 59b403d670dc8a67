"""Migrates results of custom-prefect-result: adds records of cpr's beside them, without changing their files.

Prefect 2 stored `{"serializer": {...}, "data": "<JSON>", "prefect_version": "2..."}`, in which the
predecessor's records stand (see `cpr.records.predecessor`). Each such object gets a record of ours beside it;
a result that no record mentions gets one by its file's name and content. Files stay as they are, byte for
byte: they are read once, verified by the hash in their name, and from then on by a checksum as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cpr import io
from cpr.errors import CprError, RecordError, ResourceNotFoundError, TransferError
from cpr.io.confinement import require_allowed, writing_only_below
from cpr.records.parse_json import parse
from cpr.records.predecessor import OLD_CLASSES, has_old_form, is_old_record
from cpr.records.registry import RECORD_KEY, load_record, source_of
from cpr.Target import Target

__all__ = ["ENDING", "Migrated", "Migration", "migrate"]

ENDING = ".cpr.json"
"""What the name of a new record ends in, after that of what it is made from."""

_LARGEST_RECORD = 16 << 20
_RESULT = re.compile(r"(?P<name>.+)-(?P<data_hash>[0-9a-f]{16})(?P<ext>\.(tiff?|npy|csv))")
_BEGINS = re.compile(rb'\s*[{\["]')


@dataclass(frozen=True)
class Migrated:
    """A migrated record, or a result without one.

    Attributes:
        url: of it.
        record: URL of the new record; None where there is none.
        targets: URLs of the results in it, verified.
        error: why it is left as it is; None where it is not.
    """

    url: str
    record: str | None = None
    targets: tuple[str, ...] = ()
    error: CprError | None = None


@dataclass
class Migration:
    """The outcome of a migration.

    Attributes:
        done: what has a new record now, or would get one.
        failed: what could not be verified, or written.
        before: how many had their new record already.
        others: how many objects are none of the predecessor's.
    """

    done: list[Migrated] = field(default_factory=list)
    failed: list[Migrated] = field(default_factory=list)
    before: int = 0
    others: int = 0


def migrate(
    folder: str,
    write: bool = False,
    advance: Callable[..., None] = lambda **_: None,
    result: Migration | None = None,
) -> Migration:
    """Verify what the predecessor stored under a folder or prefix, and write records of cpr's for it.

    Args:
        folder: with records, results or both, at any depth.
        write: whether to write the new records; else it is only found out what would be written.
        advance: called for every object that was looked at, with their `total`.
        result: to add to.

    Raises ResourceNotFoundError where there is no such folder, TransferError where it cannot be listed.
    """
    result = Migration() if result is None else result
    url = io.normalise(folder)
    found = io.find(io.join(url, "**"))
    if not found:
        io.require_folder_of(io.join(url, "*"))
        raise ResourceNotFoundError(
            "there is nothing here",
            url=url,
            expected="records or results",
            actual="no objects",
            remedy="check the URL",
        )
    mentioned: set[str] = set()
    files = []
    total = sum(not one.endswith(ENDING) for one in found)

    def take(one: str, value: Any) -> None:
        with writing_only_below(url):
            _take(one, value, f"{one}{ENDING}" in found, write, result, mentioned)

    for one, stat in found.items():
        if one.endswith(ENDING):
            continue
        if _RESULT.fullmatch(io.split(one)[1]):
            files.append(one)
            continue
        take(one, _value_of(one, stat.nbytes))
        advance(total=total)
    for one in files:
        if one not in mentioned:
            take(one, _of_file(one))
        advance(total=total)
    return result


def _take(url: str, value: Any, there: bool, write: bool, result: Migration, mentioned: set[str]) -> None:
    if isinstance(value, CprError):
        result.failed.append(Migrated(url, error=value))
        return
    targets = tuple(one.url for one in _parts_of(value) if isinstance(one, Target))
    mentioned.update(targets)
    if value is None:
        result.others += 1
    elif there:
        result.before += 1
    else:
        try:
            # Here: it imports numpy, which no command does before it works.
            from cpr.records.pack import pack

            require_allowed(url)  # a link may lead elsewhere: it is found with what is behind it
            packed = pack(value)  # persists, which verifies, and copies nothing
            if write:
                _write(f"{url}{ENDING}", packed)
        except CprError as error:
            result.failed.append(Migrated(url, targets=targets, error=error))
        else:
            result.done.append(Migrated(url, f"{url}{ENDING}", targets))


def _write(url: str, packed: Any) -> None:
    if not (isinstance(packed, dict) and RECORD_KEY in packed):
        packed = {RECORD_KEY: ["value", packed]}
    with io.writing(url) as file:
        file.write(json.dumps(packed, separators=(",", ":"), allow_nan=False).encode())


def _value_of(url: str, nbytes: int) -> Any:
    """The value in an old record, with resources; None if it is no old record; an error if it is invalid."""
    if nbytes > _LARGEST_RECORD or source_of(url) is not None:
        return None
    try:
        with io.reading(url) as file:
            text = file.read(_LARGEST_RECORD)
        if not _BEGINS.match(text) or b"__class__" not in text:
            return None
        document = parse(text)
        if isinstance(document, dict) and {"serializer", "data"} <= set(document):
            if not isinstance(document["data"], str):
                return None
            document = parse(document["data"])
        if not any(map(has_old_form, _parts_of(document))):
            return None
        return _with_resources(document)
    except CprError as error:
        return error
    except RecursionError:
        return RecordError(
            "the record is nested too deeply",
            url=url,
            expected="what the predecessor has written",
            actual="hundreds of levels",
            remedy="delete it",
        )


def _of_file(url: str) -> Any:
    """The result in a file named by its content hash; None for other files; an error if it is ambiguous."""
    location, file_name = io.split(url)
    match = _RESULT.fullmatch(file_name)
    assert match is not None
    kind = str(source_of(url)).replace("Source", "Target")
    named = next(name for name, record_type in OLD_CLASSES.items() if record_type == kind)
    fields = {"location": location, **match.groupdict()}
    try:
        target: Any = load_record({"__class__": named, "data": fields})
        target.persist()
    except TransferError as error:
        return error  # what it holds is not known
    except CprError:
        return None  # named otherwise, by this library or by somebody else
    return target


def _parts_of(value: Any) -> Iterator[Any]:
    """A value, and everything in its lists and dicts, in order, except inside old records."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, (list, dict)) and not is_old_record(one):
            waiting += reversed(one.values() if isinstance(one, dict) else one)


def _with_resources(value: Any) -> Any:
    if has_old_form(value):
        return load_record(value)
    if isinstance(value, list):
        return [_with_resources(one) for one in value]
    return {key: _with_resources(one) for key, one in value.items()} if isinstance(value, dict) else value
