"""What the results of a task were made of, beside the records that Prefect keeps of them.

Written by the processes that compute, some results at a time, read when a run is not cached and somebody
would like to know why. Nothing depends on it: it may be deleted at any time, a process that is killed loses
its last entries, and two that write at once do not disturb each other.

    <where Prefect's records are>/.cpr/made/<task>-<16 hex digits>/<time>-<16 hex digits>.json.gz

Each object holds `{"task": ..., "lines": {digest: digests of lines}, "first": {digest: number of the first
line}, "uses": {code: what that uses}, "made": [...]}`, entries as in `cpr.provenance.made`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from cpr import io
from cpr.errors import CprError, RecordError, ResourceNotFoundError
from cpr.io.error_translation import translate_errors
from cpr.io.hashing import hex16
from cpr.io.objects import open_store
from cpr.io.stores.base import Entry
from cpr.provenance.made import Input, Made

__all__ = [
    "Entries",
    "FileSystemFolder",
    "Folder",
    "UrlFolder",
    "append",
    "folder_of",
    "read",
    "read_journal",
    "read_tasks",
]

_FOLDER = ".cpr/made"
_NAME = re.compile(r"[0-9]{13}-[0-9a-f]{16}\.json\.gz")
_GZIP = 31  # zlib's number for it
_MOST_BYTES = 32 << 20  # of one object, unpacked
_MOST_READ = 8 << 20  # of a task, packed
_MOST_UNPACKED = 64 << 20  # of a task
_MOST_OBJECTS = 64
_MOST_ENTRIES = 20_000
_MOST_LINES = 10_000
_MOST_OTHERS = 32  # journals


class Folder(Protocol):
    """A folder of small objects; raises what its client raises."""

    def names(self, folder: str) -> list[str]:
        """Of the objects in a folder and below it; nothing where there is no such folder."""

    def read(self, name: str) -> bytes:
        """An object."""

    def write(self, name: str, data: bytes) -> None:
        """Put an object, whole."""

    def remove(self, name: str) -> None:
        """Delete an object, silently if it is gone."""


class UrlFolder:
    """A folder at a URL, reached as all results are."""

    def __init__(self, url: str) -> None:
        self._url = io.normalise(url)

    def names(self, folder: str) -> list[str]:
        url = io.join(self._url, folder)
        store, path = open_store(url)
        with translate_errors(url, "list"):
            return self._relative(store.walk(path))

    def _relative(self, entries: Iterable[Entry]) -> list[str]:
        return [entry.url[len(self._url) :].lstrip("/\\").replace("\\", "/") for entry in entries]

    def read(self, name: str) -> bytes:
        with io.reading(io.join(self._url, name)) as file:
            return file.read(_MOST_BYTES)

    def write(self, name: str, data: bytes) -> None:
        with io.writing(io.join(self._url, name)) as file:
            file.write(data)

    def remove(self, name: str) -> None:
        with suppress(ResourceNotFoundError):
            io.remove(io.join(self._url, name))


class FileSystemFolder:
    """A folder of an fsspec filesystem that somebody else has configured."""

    def __init__(self, fs: Any, path: str) -> None:
        self._fs = fs
        self._path = str(fs._strip_protocol(path)).rstrip("/")  # noqa: SLF001 - fsspec's own way

    def names(self, folder: str) -> list[str]:
        self._fs.invalidate_cache()
        with suppress(FileNotFoundError):
            found = self._fs.find(f"{self._path}/{folder}")
            return [str(path)[len(self._path) :].lstrip("/") for path in found]
        return []

    def read(self, name: str) -> bytes:
        return bytes(self._fs.cat_file(f"{self._path}/{name}", start=0, end=_MOST_BYTES))

    def write(self, name: str, data: bytes) -> None:
        self._fs.pipe_file(f"{self._path}/{name}", data)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._path}/{name}")


@dataclass
class Entries:
    """What is known of a task's results.

    Attributes:
        task: the task's name.
        made: of its results, the latest last.
        lines: `cpr.provenance.diff.line_digests` of its source and of functions it uses, by their digests.
        first: numbers of the first lines of these in their files.
        uses: what its code uses, by `Made.code`.
    """

    task: str = ""
    made: list[Made] = field(default_factory=list)
    lines: dict[str, Sequence[str]] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    uses: dict[str, Mapping[str, Input]] = field(default_factory=dict)

    def whole(self, made: Made) -> Made:
        """With what its code uses, where its record had no room for that."""
        known = self.uses.get(made.code or "")
        return made if made.uses or known is None else dataclasses.replace(made, uses=known)

    def update(self, other: Entries) -> None:
        """Take what is known of texts and code from other entries."""
        self.lines.update(other.lines)
        self.first.update(other.first)
        self.uses.update(other.uses)


def folder_of(function_name: str) -> str:
    """The folder of a task, by the name of its function (`cpr.prefect.source_code.name_of_function`)."""
    digest = hex16(function_name.encode("utf-8", "surrogatepass"))
    return f"{_FOLDER}/{_plain(function_name)[-40:] or 'task'}-{digest}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")


def append(place: Folder, folder: str, entries: Entries) -> None:
    """Keep some more results of a task, in one object. Raises what the place raises."""
    place.write(f"{folder}/{int(time.time() * 1000):013d}-{secrets.token_hex(8)}.json.gz", _packed(entries))


def read(place: Folder, folder: str, compact: bool = False) -> Entries:
    """The latest results of a task; objects that are not as they are written are passed over.

    Takes one listing, and reads 8 MiB at most.

    Args:
        place: where Prefect's records are.
        folder: of the task.
        compact: put many small objects together into one.

    Raises what the place raises.
    """
    names = sorted(
        (name for name in place.names(folder) if _NAME.fullmatch(name.rpartition("/")[2])), reverse=True
    )
    found: list[Entries] = []
    nbytes = unpacked = 0
    for name in names:
        if nbytes > _MOST_READ or unpacked > _MOST_UNPACKED:
            break
        with suppress(CprError, OSError):
            packed = place.read(name)
            nbytes += len(packed)
            text = _inflated(packed)
            unpacked += len(text)
            found.append(_unpacked(text))
    together = _together(reversed(found))
    if compact and len(names) > _MOST_OBJECTS:
        append(place, folder, together)
        for name in names:
            place.remove(name)
    return together


def read_journal(url: str) -> Iterator[Entries]:
    """What is known of the results of all tasks whose records Prefect keeps at a URL.

    Raises ResourceNotFoundError and TransferError.

    >>> list(read_journal("memory://records"))
    []
    """
    place = UrlFolder(url)
    names = place.names(_FOLDER)
    for folder in sorted({name.rpartition("/")[0] for name in names}):
        yield read(place, folder)


def read_tasks(place: Folder, tasks: Collection[str]) -> dict[str, list[Entries]]:
    """What is known of the results of some tasks, by their names, each from the journals of that name.

    Journals have the names of functions: those that are called as a task are read, of others 32 at most.

    Args:
        place: where Prefect's records are.
        tasks: names of tasks.

    Raises what the place raises.
    """
    folders = sorted({name.rpartition("/")[0] for name in place.names(_FOLDER)})
    # A name without a letter that journals' names take is the end of none.
    ends = tuple(_plain(task)[-40:] or "/" for task in tasks)
    called = [folder for folder in folders if folder[:-17].endswith(ends)]
    found: dict[str, list[Entries]] = {}
    for folder in [*called, *[one for one in folders if one not in called][:_MOST_OTHERS]]:
        if folder not in called and set(tasks) <= found.keys():
            break
        entries = read(place, folder)
        if entries.task in tasks:
            found.setdefault(entries.task, []).append(entries)
    return found


def _together(several: Iterable[Entries]) -> Entries:
    """As one; of results that were made from the same, the latest."""
    result = Entries()
    latest: dict[Any, Made] = {}
    for entries in several:
        result.task = entries.task
        result.update(entries)
        for made in entries.made:
            key = (made.key, made.source, made.code, json.dumps(made.to_json().get("inputs"), sort_keys=True))
            latest.pop(key, None)
            latest[key] = made
    result.made = list(latest.values())[-_MOST_ENTRIES:]
    kept = {made.code for made in result.made}
    result.uses = {code: uses for code, uses in result.uses.items() if code in kept}
    used = {made.source for made in result.made}
    used |= {one.digest for uses in result.uses.values() for one in uses.values()}
    result.lines = {digest: lines for digest, lines in result.lines.items() if digest in used}
    result.first = {digest: first for digest, first in result.first.items() if digest in used}
    return result


def _packed(entries: Entries) -> bytes:
    text = json.dumps(
        {
            "task": entries.task,
            "lines": {digest: "".join(lines) for digest, lines in entries.lines.items()},
            "first": entries.first,
            "uses": {code: _to_json(uses) for code, uses in entries.uses.items()},
            "made": [_without_uses(made, entries).to_json() for made in entries.made],
        },
        separators=(",", ":"),
        allow_nan=False,
    )
    packer = zlib.compressobj(6, wbits=_GZIP)
    return packer.compress(text.encode()) + packer.flush()


def _inflated(packed: bytes) -> bytes:
    """The begin of a text that was packed, which is all of what cpr writes. Raises RecordError."""
    try:
        return zlib.decompressobj(_GZIP).decompress(packed, _MOST_BYTES)
    except zlib.error as error:
        raise _refused(f"{type(error).__name__}: {error}"[:100]) from None


def _unpacked(text: bytes) -> Entries:
    """Raises RecordError for what is not as `_packed` gives it, before it takes much memory."""
    # Empty lists in a list would take 27 times the size of their text.
    if 8 * (text.count(b"[") + text.count(b"{")) > len(text) + 1024:
        raise _refused("lists in lists")
    try:
        match json.loads(text):
            case {"task": str() as task, "lines": dict() as lines, "made": list() as made, **more}:
                return Entries(
                    task[:200],
                    [Made.parse(one) for one in made],
                    dict(_lines(lines)),
                    dict(_numbers(more.get("first", {}))),
                    dict(_uses(more.get("uses", {}))),
                )
    except (ValueError, RecursionError) as error:
        raise _refused(f"{type(error).__name__}: {error}"[:100]) from None
    raise _refused("something else")


def _lines(lines: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    for source, digests in lines.items():
        if not isinstance(digests, str) or len(digests) > 6 * _MOST_LINES:
            raise _refused(type(digests).__name__)
        yield source, [digests[start : start + 6] for start in range(0, len(digests), 6)]


def _without_uses(made: Made, entries: Entries) -> Made:
    return dataclasses.replace(made, uses={}) if made.code in entries.uses else made


def _to_json(uses: Mapping[str, Input]) -> dict[str, Any]:
    return {name: one.to_json() for name, one in uses.items()}


def _numbers(first: Any) -> Iterator[tuple[str, int]]:
    for digest, number in first.items() if isinstance(first, dict) else ():
        if type(number) is not int:
            raise _refused(type(number).__name__)
        yield digest, number


def _uses(tables: Any) -> Iterator[tuple[str, Mapping[str, Input]]]:
    for code, uses in tables.items() if isinstance(tables, dict) else ():
        yield code, Made.parse({"uses": uses}).uses


def _refused(actual: str) -> RecordError:
    return RecordError(
        "not an object of the journal",
        expected="what cpr writes",
        actual=actual,
        remedy="delete it; nothing depends on it",
    )
