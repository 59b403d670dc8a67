"""A listing as columns: a million lines in a hundred megabytes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, SupportsInt

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpr.io.stores.base import Entry, Line
from cpr.operations.scan import lines, time_from

__all__ = ["Listing", "give_back"]

_PAGE = 1 << 13  # lines, so few that the garbage collector has little to look through
# File systems date files by a clock that ticks: what was written just now may be written again in its tick.
_SETTLED_SECONDS = 3.0


@dataclass(frozen=True)
class Listing:
    """All that is under a URL, in the listing's order.

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
    versions: Any
    strays: dict[int, str]

    @classmethod
    def of(cls, url: str, listed: Iterable[Line] | None = None) -> Listing:
        """List what is under a normalised URL. Raises ResourceNotFoundError and TransferError.

        Args:
            url: to list.
            listed: the lines, where somebody has begun to list them.
        """
        base = url.rstrip("/\\")
        prefix = base + ("\\" if "\\" in url and "/" not in url else "/")
        settled = f"{int((time.time() - _SETTLED_SECONDS) * 1e9):016x}"
        none: list[Any] = []
        names, nbytes, modified = [pa.array(none, pa.binary())], [np.zeros(0, np.int64)], [np.zeros(0)]
        versions = [pa.array(none, pa.string())]
        strays: dict[int, str] = {}
        count = 0
        rest = iter(lines(url) if listed is None else listed)
        while page := list(islice(rest, _PAGE)):
            places, sizes, times, texts = zip(*page, strict=True)
            named, others = _names(places, prefix)
            names.append(named)
            nbytes.append(np.array(sizes, np.int64))
            modified.append(np.array(times, np.float64))
            lasting = [one if one < settled or "=" in one else "" for one in texts]
            versions.append(pa.array(lasting, pa.string()))
            strays |= {count + number: place for number, place in others}
            count += len(page)
        columns = pa.concat_arrays(names), np.concatenate(nbytes), np.concatenate(modified)
        found = cls(url, prefix, *columns, pa.concat_arrays(versions), strays)
        del names, versions
        give_back()
        return found

    def __len__(self) -> int:
        return len(self.nbytes)

    def url_of(self, index: SupportsInt) -> str:
        """Of an object."""
        if (stray := self.strays.get(int(index))) is not None:
            return stray
        return self.prefix + str(self.names[int(index)].as_py().decode("utf-8", "surrogatepass"))

    def time_of(self, index: SupportsInt) -> datetime:
        """When an object was last written to."""
        return time_from(float(self.modified[int(index)]))

    def entry(self, index: SupportsInt) -> Entry:
        """An object, with the version that a store can be asked for."""
        version: dict[str, str | int] = {}
        text = self.versions[int(index)].as_py()
        nbytes = int(self.nbytes[int(index)])
        if "=" in text:
            name, _, value = text.partition("=")
            version = {name: value}
        elif text:
            version = {"size": nbytes, "mtime_ns": int(text.partition("-")[2], 16)}
        return Entry(self.url_of(index), self.time_of(index), nbytes, version)

    def where(self, test: Callable[[str], bool], of: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which of some objects pass a test of their URLs."""
        return np.fromiter((test(self.url_of(index)) for index in of), np.bool_, len(of))

    def called(self, names: Collection[str]) -> npt.NDArray[np.bool_]:
        """Which objects have one of these names, whatever their folders."""
        known = pa.array([name.encode("utf-8", "surrogatepass") for name in names], pa.binary())
        before = re.escape(self.prefix[-1]).encode()
        last = pc.replace_substring_regex(self.names, rb"(?s)^.*" + before, b"")
        found: npt.NDArray[np.bool_] = np.array(pc.is_in(last, known).to_numpy(zero_copy_only=False))
        return found

    def plain(self) -> npt.NDArray[np.bool_]:
        """Names of which the characters alone tell that they are of no data and lead nowhere else."""
        odd = pc.or_(pc.match_substring(self.names, b"."), pc.match_substring(self.names, b"//"))
        for is_at_end in (pc.starts_with(self.names, b"/"), pc.ends_with(self.names, b"/")):
            odd = pc.or_(odd, is_at_end)
        plain: npt.NDArray[np.bool_] = np.array(pc.invert(odd).to_numpy(zero_copy_only=False))
        plain[list(self.strays)] = False
        return plain


def give_back() -> None:
    """Memory that nothing is in goes back: Arrow would keep it for later, most of what was only looked at."""
    pa.default_memory_pool().release_unused()


def _names(places: Sequence[str], prefix: str) -> tuple[Any, list[tuple[int, str]]]:
    """What URLs go on with after a prefix, and those that begin otherwise, with their numbers."""
    cut = len(prefix)
    strays = [(number, place) for number, place in enumerate(places) if not place.startswith(prefix)]
    names = [place[cut:] for place in places]
    try:
        return pa.array(names, pa.string()).cast(pa.binary()), strays
    except UnicodeEncodeError:  # names of files that are no UTF-8
        return pa.array([name.encode("utf-8", "surrogatepass") for name in names], pa.binary()), strays
