"""A listing as columns, so that a million entries take a hundred megabytes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, SupportsInt

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpr.io.stores.base import Entry
from cpr.io.stores.listings import Page
from cpr.operations.catalogue.arrow_arrays import column, numbers, values
from cpr.operations.catalogue.object_versions import Versions, VersionsBuilder
from cpr.operations.scan import list_pages, time_from

__all__ = ["Line", "Listing", "give_back"]

# File systems date files by a clock that ticks: what was written just now may be written again in its tick.
_SETTLED_SECONDS = 3.0
_LINES = 4096  # at a time


class Line(NamedTuple):
    """An object in a listing.

    Attributes:
        number: in the listing.
        name: what its URL goes on with after the listing's prefix.
        version: what changes with it; "" where the store does not tell, or it was written just now.
        entry: the object, with the version that a store can be asked for.
    """

    number: int
    name: bytes
    version: str
    entry: Entry


@dataclass(frozen=True)
class Listing:
    """Everything under a URL, in the order of the listing.

    Attributes:
        url: that was listed, normalised.
        prefix: what the URLs of all objects begin with.
        names: what they go on with; UTF-8, with surrogates where a name is none.
        nbytes: their sizes.
        modified: seconds since 1970.
        versions: what changes with an object; "" where the store does not tell, or it was written just now.
        strays: URLs that begin otherwise, by object.
    """

    url: str
    prefix: str
    names: Any
    nbytes: npt.NDArray[np.int64]
    modified: npt.NDArray[np.float64]
    versions: Versions
    strays: dict[int, str]

    @classmethod
    def of(cls, url: str, listed: Iterable[Page] | None = None) -> Listing:
        """List everything under a normalised URL. Raises ResourceNotFoundError and TransferError.

        Args:
            url: to list.
            listed: the pages, where somebody has begun to list them.
        """
        base = url.rstrip("/\\")
        prefix = base + ("\\" if "\\" in url and "/" not in url else "/")
        settled = int((time.time() - _SETTLED_SECONDS) * 1e9)
        none: list[Any] = []
        names, nbytes, modified = [column(none, pa.binary())], [np.zeros(0, np.int64)], [np.zeros(0)]
        versions = VersionsBuilder(settled)
        strays: dict[int, str] = {}
        count = 0
        for page in list_pages(url) if listed is None else listed:
            named, others = _names(page, prefix)
            names.append(named)
            nbytes.append(np.array(page.sizes, np.int64))
            modified.append(np.array(page.modified, np.float64))
            versions.add(page.versions)
            strays |= {count + number: place for number, place in others}
            count += len(page.names)
        columns = pa.concat_arrays(names), np.concatenate(nbytes), np.concatenate(modified)
        found = cls(url, prefix, *columns, versions.all(), strays)
        del names, versions
        give_back()
        return found

    def __len__(self) -> int:
        return len(self.nbytes)

    def url_of(self, index: SupportsInt) -> str:
        """URL of an object."""
        if (stray := self.strays.get(int(index))) is not None:
            return stray
        return self.prefix + str(self.names[int(index)].as_py().decode("utf-8", "surrogatepass"))

    def time_of(self, index: SupportsInt) -> datetime:
        """When an object was last written to."""
        return time_from(float(self.modified[int(index)]))

    def lines(self, of: npt.NDArray[np.int64]) -> Iterator[Line]:
        """Some of the objects, one by one."""
        for start in range(0, len(of), _LINES):
            some = of[start : start + _LINES]
            names = pc.take(self.names, numbers(some)).to_pylist()
            sizes, times = self.nbytes[some].tolist(), self.modified[some].tolist()
            versions = self.versions.texts(some).to_pylist()
            columns = zip(some.tolist(), names, sizes, times, versions, strict=True)
            for index, name, nbytes, modified, version in columns:
                url = self.strays.get(index) or self.prefix + name.decode("utf-8", "surrogatepass")
                asked = self.versions.asked(index, nbytes, version)
                yield Line(index, name, version, Entry(url, time_from(modified), nbytes, asked))

    def where(self, test: Callable[[str], bool], of: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """The subset of some objects whose URLs pass a test."""
        return np.fromiter((test(self.url_of(index)) for index in of), np.bool_, len(of))

    def called(self, names: Collection[str]) -> npt.NDArray[np.bool_]:
        """The objects with one of these names, in any folder."""
        known = column([name.encode("utf-8", "surrogatepass") for name in names], pa.binary())
        before = re.escape(self.prefix[-1]).encode()
        last = pc.replace_substring_regex(self.names, rb"(?s)^.*" + before, b"")
        found: npt.NDArray[np.bool_] = np.array(values(pc.is_in(last, known)))
        return found

    def plain(self) -> npt.NDArray[np.bool_]:
        """Mask of names whose characters alone show that they are neither data nor unsafe."""
        odd = pc.or_(pc.match_substring(self.names, b"."), pc.match_substring(self.names, b"//"))
        for is_at_end in (pc.starts_with(self.names, b"/"), pc.ends_with(self.names, b"/")):
            odd = pc.or_(odd, is_at_end)
        plain: npt.NDArray[np.bool_] = np.array(values(pc.invert(odd)))
        plain[list(self.strays)] = False
        return plain


def give_back() -> None:
    """Return free memory to the system, which Arrow would keep for later."""
    pa.default_memory_pool().release_unused()


def _names(page: Page, prefix: str) -> tuple[Any, list[tuple[int, str]]]:
    """The rest of each URL after a prefix, and URLs that do not start with it, with their numbers."""
    cut, strays, names = len(prefix), [], page.names
    if page.base.startswith(prefix):
        if rest := page.base[cut:]:
            names = [rest + name for name in names]
    else:
        places = [page.base + name for name in names]
        strays = [(number, place) for number, place in enumerate(places) if not place.startswith(prefix)]
        names = [place[cut:] for place in places]
    try:
        return column(names, pa.string()).cast(pa.binary()), strays
    except UnicodeEncodeError:  # names of files that are no UTF-8
        return column([name.encode("utf-8", "surrogatepass") for name in names], pa.binary()), strays
