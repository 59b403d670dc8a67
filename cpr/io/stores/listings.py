"""Protocols for fast listings of millions of objects, without a Python object for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

__all__ = ["Line", "LineListingStore", "Page", "PageListingStore"]

Line = tuple[str, int, float, str]
"""An entry where there are millions: URL, size, seconds since 1970, and what changes with the object."""


class Page(NamedTuple):
    """Entries of a long listing, as columns.

    Attributes:
        base: what their URLs begin with.
        names: what these go on with.
        sizes: in bytes.
        modified: seconds since 1970.
        versions: what changes with each object; "" where the store does not tell.
    """

    base: str
    names: Sequence[str]
    sizes: Sequence[int]
    modified: Sequence[float]
    versions: Sequence[str]

    def lines(self) -> Iterator[Line]:
        """The entries one by one."""
        urls = (self.base + name for name in self.names)
        return zip(urls, self.sizes, self.modified, self.versions, strict=True)


@runtime_checkable
class LineListingStore(Protocol):
    """A store that can list faster by yielding plain tuples, one for each object."""

    def lines(self, path: str) -> Iterator[Line]:
        """As `Store.walk`, in the same order."""


@runtime_checkable
class PageListingStore(Protocol):
    """A store that can list faster by yielding pages of columns."""

    def pages(self, path: str) -> Iterator[Page]:
        """As `Store.walk`, in the same order; the first pages have few entries."""
