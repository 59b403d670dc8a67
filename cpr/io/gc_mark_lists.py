"""Marks of the garbage collection: lists of objects that are to be deleted, which writers check.

A collection (`cpr.operations.gc`) lists, in `.cpr/marked/` of each folder, the names of objects that nothing
refers to, and deletes them a grace period later. Meanwhile such an object is not reused: a writer of the same
content takes another name, and a stored result that names it is computed again. `docs/decisions/gc.md`
describes what would go wrong otherwise.

Processes remember what they have read for a minute, which counts towards the grace period.
"""

from __future__ import annotations

import json
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from cpr.errors import ResourceNotFoundError
from cpr.io.error_translation import translate_errors
from cpr.io.fork_safe import PerProcess
from cpr.io.hashing import hex16
from cpr.io.objects import open_store
from cpr.io.outside_json import read_json
from cpr.io.reading import reading
from cpr.io.urls import join, split

__all__ = ["REMEMBERED_SECONDS", "decode", "encode", "is_marked", "marks_folder", "read_names"]

REMEMBERED_SECONDS = 60.0
_FORMAT = "cpr marked 1"


@dataclass
class _Folder:
    """What is known of the marks of one folder.

    Attributes:
        asked: when that was asked for, by both clocks: one may be set, the other stands still in sleep.
        lists: of each list, by its URL, the sorted numbers of its names; None for one that cannot be read.
    """

    asked: tuple[float, float]
    lists: dict[str, array[int] | None] = field(default_factory=dict)

    def is_fresh(self) -> bool:
        return all(
            0 <= now - then < REMEMBERED_SECONDS for now, then in zip(_clocks(), self.asked, strict=True)
        )

    def has(self, name: str) -> bool:
        number = _number(name)
        return any(numbers is None or _contains(numbers, number) for numbers in self.lists.values())


_folders: PerProcess[str, _Folder] = PerProcess()
_turns: PerProcess[str, threading.Lock] = PerProcess()
_MOST_FOLDERS = 1024
_MOST_BYTES = 256 << 20  # of a list


def marks_folder(location: str) -> str:
    """The folder that holds the marks for a location."""
    return join(join(location, ".cpr"), "marked")


def is_marked(url: str) -> bool:
    """Whether an object is marked for deletion, at most a minute out of date: do not reuse or write it.

    Asks the store once a minute for each folder. Raises ResourceNotFoundError for a missing bucket, and
    TransferError where the store cannot be asked.

    >>> is_marked("memory://doc/cell-64320e5f606d65a8.tif")
    False
    """
    location, name = split(url)
    known = _fresh(location)
    if known is None:
        with _turns.lock:
            turn = _turns.known.setdefault(location, threading.Lock())
            while len(_turns.known) > _MOST_FOLDERS:
                _turns.known.popitem(last=False)
        # Threads that ask at the same time share one answer.
        with turn:
            known = _fresh(location) or _ask(location)
    return known.has(name)


def _fresh(location: str) -> _Folder | None:
    with _folders.lock:
        known = _folders.known.get(location)
    return known if known is not None and known.is_fresh() else None


def _ask(location: str) -> _Folder:
    with _folders.lock:
        before = _folders.known.get(location)
    known = _read(location, before)
    with _folders.lock:
        _folders.known[location] = known
        while len(_folders.known) > _MOST_FOLDERS:
            _folders.known.popitem(last=False)
    return known


def _read(location: str, before: _Folder | None) -> _Folder:
    folder = _Folder(_clocks())
    url = marks_folder(location)
    store, path = open_store(url)
    with translate_errors(location, "list"):
        found = [join(url, name) for name in store.names_in(path) if name.endswith(".json")]
    for place in sorted(found):
        # A list is never changed.
        if before is not None and place in before.lists:
            folder.lists[place] = before.lists[place]
            continue
        try:
            names = read_names(place)
        except ResourceNotFoundError:
            continue  # its collection has ended meanwhile
        except ValueError:
            # Better another name than a result that vanishes.
            folder.lists[place] = None
        else:
            folder.lists[place] = array("Q", sorted(map(_number, names)))
    return folder


def encode(names: Iterable[str]) -> bytes:
    """Encode a list of marked file names, all of one folder."""
    return json.dumps({"format": _FORMAT, "names": sorted(names)}, indent=0).encode()


def read_names(url: str) -> list[str]:
    """Read the file names of a stored list. Raises ValueError if it is malformed, and as `reading`."""
    with reading(url) as file:
        blob = file.read(_MOST_BYTES + 1)
    if len(blob) > _MOST_BYTES:
        raise ValueError("none of cpr's lists is so large")
    return decode(blob)


def decode(blob: bytes) -> list[str]:
    """Decode a list of file names. Raises ValueError for malformed input, before it takes much memory."""
    # Each name has a key of 16 digits; lists in lists would take 27 times the size of their text.
    if 16 * (blob.count(b"[") + blob.count(b"{") - 2) > len(blob) or 8 * blob.count(b'"') > len(blob) + 64:
        raise ValueError("not a list of marked names")
    try:
        document = read_json(blob)
        names = document["names"]
        if document["format"] != _FORMAT or not all(isinstance(name, str) for name in names):
            raise ValueError("not a list of marked names")
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a list of marked names: {type(error).__name__}") from None
    return list(names)


def _number(name: str) -> int:
    return int(hex16(name.encode("utf-8", "surrogatepass")), 16)


def _contains(numbers: array[int], number: int) -> bool:
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()
