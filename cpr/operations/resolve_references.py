"""Finds the results that records refer to: by URL, or by name if they were copied."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from unicodedata import normalize

from cpr.operations.result import Result
from cpr.provenance.provenance_record import Input

__all__ = ["Namesakes", "alike", "as_disks_see", "last_of"]

_SEPARATOR = re.compile(r"[/\\]")


def last_of(url: str) -> str:
    r"""The last component of a URL or path, of any system.

    >>> last_of("s3://bucket/a/b.zarr/"), last_of(r"C:\a\b.tif")
    ('b.zarr', 'b.tif')
    """
    return _SEPARATOR.split(url.rstrip("/\\"))[-1]


def alike(names: Iterable[str]) -> set[str]:
    """The names, each of another object, that some file system may treat as equal.

    They are the same, or differ by case, or by how Unicode spells them.

    >>> sorted(alike(["a.tif", "A.tif", "b.tif", "b.tif", "c.tif"]))
    ['A.tif', 'a.tif', 'b.tif']
    """
    known = list(names)
    seen = Counter(map(as_disks_see, known))
    return {name for name in known if seen[as_disks_see(name)] > 1}


def as_disks_see(name: str) -> str:
    """A name normalised so that names which a file system may treat as equal are equal."""
    return normalize("NFKC", normalize("NFKC", name).casefold())


class Namesakes:
    """An index of results, to find those that other results were made from.

    Attributes:
        known: all of them, by URL.
    """

    def __init__(self, known: Mapping[str, Result] | None = None) -> None:
        self.known: dict[str, Result] = {}
        self._named: defaultdict[str, list[str]] = defaultdict(list)
        # Of those with one name and content, by these two: their places, as far as they were looked for.
        self._ends: dict[tuple[str, Any], _Ends] = {}
        self._sorted: Counter[str] = Counter()
        self.add(known or {})

    def add(self, known: Mapping[str, Result]) -> None:
        """Add results."""
        for url, one in known.items():
            name = last_of(url)
            if url not in self.known:
                self._named[name].append(url)
            elif _content(self.known[url]) != _content(one) and self._sorted.pop(name, 0):
                self._ends = {key: ends for key, ends in self._ends.items() if key[0] != name}
            self.known[url] = one

    def find(self, given: Input) -> str | None:
        """The URL of the result that was given to a task; None if it is not among these.

        The records of copies say where their inputs were: names find them, which have a key. Of several
        with one name it is one of the content that was given, in the folder whose end is most like that.
        """
        assert given.url is not None
        if given.url in self.known:
            return given.url
        name = last_of(given.url)
        same = self._named.get(name, [])
        if len(same) < 2:
            return same[0] if same else None
        # One after the other would take a time that grows with the square of how many have this name.
        for url in same[self._sorted[name] :]:
            self._ends.setdefault((name, _content(self.known[url])), _Ends()).add(url)
        self._sorted[name] = len(same)
        ends = self._ends.get((name, given.digest))
        return None if ends is None else ends.most_alike(given.url)


def _content(result: Result) -> Any:
    return result.reference.fields.get("data_hash")


class _Ends:
    """Paths, indexed by their last steps."""

    def __init__(self) -> None:
        # Places in a tree, by the one before and the step from there; of each, the path that made it.
        self._next: dict[tuple[int, str], int] = {}
        self._first: list[str] = []

    def add(self, url: str) -> None:
        """Add a path."""
        if not self._first:
            self._first.append(url)
        at = 0
        for step in _steps(url):
            following = self._next.setdefault((at, step), len(self._first))
            if following == len(self._first):
                self._first.append(url)
            at = following

    def most_alike(self, url: str) -> str:
        """The path with the longest common ending; the first of several."""
        at = 0
        for step in _steps(url):
            following = self._next.get((at, step))
            if following is None:
                break
            at = following
        return self._first[at]


def _steps(url: str) -> list[str]:
    return _SEPARATOR.split(url)[::-1]
