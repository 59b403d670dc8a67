"""Results by what the records of others call them: by their URL, or by their name where they were copied."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from unicodedata import normalize

from cpr.operations.result import Result
from cpr.provenance.made import Input

__all__ = ["Namesakes", "alike", "last_of"]

_SEPARATOR = re.compile(r"[/\\]")


def last_of(url: str) -> str:
    r"""The name at the end of a URL or path, of whatever system.

    >>> last_of("s3://bucket/a/b.zarr/"), last_of(r"C:\a\b.tif")
    ('b.zarr', 'b.tif')
    """
    return _SEPARATOR.split(url.rstrip("/\\"))[-1]


def alike(names: Iterable[str]) -> set[str]:
    """Those of some names, each of another object, that a disk may take for one.

    They are the same, or differ by case, or by how Unicode spells them.

    >>> sorted(alike(["a.tif", "A.tif", "b.tif", "b.tif", "c.tif"]))
    ['A.tif', 'a.tif', 'b.tif']
    """
    known = list(names)
    seen = Counter(map(_as_disks_see, known))
    return {name for name in known if seen[_as_disks_see(name)] > 1}


def _as_disks_see(name: str) -> str:
    return normalize("NFKC", normalize("NFKC", name).casefold())


class Namesakes:
    """Results, found by what a record says that another result was made from.

    Attributes:
        known: all of them, by URL.
    """

    def __init__(self, known: Mapping[str, Result] | None = None) -> None:
        self.known: dict[str, Result] = {}
        self._named: defaultdict[str, list[str]] = defaultdict(list)
        self.add(known or {})

    def add(self, known: Mapping[str, Result]) -> None:
        """Take more of them."""
        for url, one in known.items():
            if url not in self.known:
                self._named[last_of(url)].append(url)
            self.known[url] = one

    def find(self, given: Input) -> str | None:
        """The URL of the result that was given to a task; None where none of these is it.

        The records of copies say where their inputs were: names find them, which have a key. Of several
        with one name it is one of the content that was given, in the folder whose end is most like that.
        """
        assert given.url is not None
        if given.url in self.known:
            return given.url
        same = self._named.get(last_of(given.url), [])
        if len(same) > 1:
            same = [url for url in same if self.known[url].reference.fields.get("data_hash") == given.digest]
        wanted = _steps(given.url)
        return max(same, key=lambda url: _in_common(_steps(url), wanted), default=None)


def _steps(url: str) -> list[str]:
    return _SEPARATOR.split(url)[::-1]


def _in_common(one: list[str], other: list[str]) -> int:
    """How many steps two paths have in common, from their ends on."""
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count
