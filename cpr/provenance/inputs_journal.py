"""The journal: what a task's results were made of, stored beside Prefect's records to explain cache misses.

Written by the processes that compute, some results at a time, read when a run is not cached and somebody
would like to know why. Nothing depends on it: it may be deleted at any time, a process that is killed loses
its last entries, and two that write at once do not disturb each other.

    <where Prefect's records are>/.cpr/made/<task>-<16 hex digits>/<time>-<16 hex digits>.json.gz

Each object holds `{"task": ..., "lines": {digest: digests of lines}, "first": {digest: number of the first
line}, "uses": {code: what that uses}, "made": [...]}`, entries as in `cpr.provenance.provenance_record`.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol

from cpr import io
from cpr.errors import CprError, ResourceNotFoundError
from cpr.io.clients.fsspec import path_on
from cpr.io.error_translation import translate_errors
from cpr.io.hashing import hex16
from cpr.io.objects import open_store
from cpr.io.stores.base import Entry
from cpr.provenance.journal_entries import MAX_BYTES, MAX_ENTRIES, Entries, decode, encode, inflate
from cpr.provenance.provenance_record import Made

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
_MOST_READ = 8 << 20  # of a task, packed
_MOST_UNPACKED = 64 << 20  # of a task
_MOST_OBJECTS = 64
_MOST_OTHERS = 32  # journals


class Folder(Protocol):
    """A folder of small objects; its methods raise the client's errors."""

    def names(self, folder: str) -> list[str]:
        """Names of the objects in a folder and below it; none if it does not exist."""

    def read(self, name: str) -> bytes:
        """Read an object."""

    def write(self, name: str, data: bytes) -> None:
        """Write an object, all or nothing."""

    def remove(self, name: str) -> None:
        """Delete an object; a missing one is no error."""


class UrlFolder:
    """A folder at a URL, accessed like results."""

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
            return file.read(MAX_BYTES)

    def write(self, name: str, data: bytes) -> None:
        with io.writing(io.join(self._url, name)) as file:
            file.write(data)

    def remove(self, name: str) -> None:
        with suppress(ResourceNotFoundError):
            io.remove(io.join(self._url, name))


class FileSystemFolder:
    """A folder of an fsspec filesystem that someone else has configured."""

    def __init__(self, fs: Any, path: str) -> None:
        self._fs = fs
        self._path = path_on(fs, path).rstrip("/")

    def names(self, folder: str) -> list[str]:
        self._fs.invalidate_cache()
        with suppress(FileNotFoundError):
            found = self._fs.find(f"{self._path}/{folder}")
            return [str(path)[len(self._path) :].lstrip("/") for path in found]
        return []

    def read(self, name: str) -> bytes:
        return bytes(self._fs.cat_file(f"{self._path}/{name}", start=0, end=MAX_BYTES))

    def write(self, name: str, data: bytes) -> None:
        self._fs.pipe_file(f"{self._path}/{name}", data)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._path}/{name}")


def folder_of(function_name: str) -> str:
    """The folder of a task, by the name of its function (`cpr.prefect.source_code.name_of_function`)."""
    digest = hex16(function_name.encode("utf-8", "surrogatepass"))
    return f"{_FOLDER}/{_plain(function_name)[-40:] or 'task'}-{digest}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")


def append(place: Folder, folder: str, entries: Entries) -> None:
    """Add results of a task to the journal, as one object. Raises the folder's errors."""
    place.write(f"{folder}/{int(time.time() * 1000):013d}-{secrets.token_hex(8)}.json.gz", encode(entries))


def read(place: Folder, folder: str, compact: bool = False) -> Entries:
    """Read the latest results of a task; malformed objects are skipped.

    Takes one listing, and reads 8 MiB at most.

    Args:
        place: where Prefect's records are.
        folder: of the task.
        compact: merge many small objects into one.

    Raises what the place raises.
    """
    names = sorted(
        (name for name in place.names(folder) if _NAME.fullmatch(name.rpartition("/")[2])), reverse=True
    )
    found: list[Entries] = []
    nbytes = unpacked = count = 0
    for name in names:
        if nbytes > _MOST_READ or unpacked > _MOST_UNPACKED or count > MAX_ENTRIES:
            break
        with suppress(CprError, OSError):
            packed = place.read(name)
            nbytes += len(packed)
            text = inflate(packed)
            unpacked += len(text)
            found.append(decode(text))
            count += len(found[-1].made)
    together = _together(reversed(found))
    if compact and len(names) > _MOST_OBJECTS:
        append(place, folder, together)
        for name in names:
            place.remove(name)
    return together


def read_journal(url: str) -> Iterator[Entries]:
    """Read the journals of all tasks whose records Prefect keeps at a URL.

    Raises ResourceNotFoundError and TransferError.

    >>> list(read_journal("memory://records"))
    []
    """
    place = UrlFolder(url)
    names = place.names(_FOLDER)
    for folder in sorted({name.rpartition("/")[0] for name in names}):
        yield read(place, folder)


def read_tasks(place: Folder, tasks: Collection[str]) -> dict[str, list[Entries]]:
    """Read the journals of some tasks, by their names.

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
    """Merge entries; of results that were made from the same inputs, the latest."""
    result = Entries()
    latest: dict[Any, Made] = {}
    for entries in several:
        result.task = entries.task
        result.update(entries)
        for made in entries.made:
            key = (made.key, made.source, made.code, json.dumps(made.to_json().get("inputs"), sort_keys=True))
            latest.pop(key, None)
            latest[key] = made
    result.made = list(latest.values())[-MAX_ENTRIES:]
    kept = {made.code for made in result.made}
    result.uses = {code: uses for code, uses in result.uses.items() if code in kept}
    used = {made.source for made in result.made}
    used |= {one.digest for uses in result.uses.values() for one in uses.values()}
    result.lines = {digest: lines for digest, lines in result.lines.items() if digest in used}
    result.first = {digest: first for digest, first in result.first.items() if digest in used}
    return result
