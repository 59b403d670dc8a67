"""A listing as columns: a million lines in a hundred megabytes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, SupportsInt

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpr.io.stores.base import Entry, Line
from cpr.operations.scan import lines, time_from

__all__ = ["Listing"]

_PAGE = 1 << 16  # lines
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
        pages: list[tuple[Any, ...]] = []
        names: list[bytes] = []
        sizes: list[int] = []
        times: list[float] = []
        versions: list[str] = []
        strays: dict[int, str] = {}

        def turn() -> None:
            columns = pa.array(names, pa.binary()), np.array(sizes, np.int64), np.array(times, np.float64)
            pages.append((*columns, pa.array(versions, pa.string())))
            for column in (names, sizes, times, versions):
                column.clear()

        settled = f"{int((time.time() - _SETTLED_SECONDS) * 1e9):x}"
        cut = len(prefix)
        for number, (place, nbytes, seconds, version) in enumerate(lines(url) if listed is None else listed):
            if not place.startswith(prefix):
                strays[number] = place
            names.append(place[cut:].encode("utf-8", "surrogatepass"))
            sizes.append(nbytes)
            times.append(seconds)
            versions.append(version if "=" in version or _is_settled(version, settled) else "")
            if len(names) == _PAGE:
                turn()
        turn()
        columns = list(zip(*pages, strict=True))
        return cls(
            url,
            prefix,
            pa.concat_arrays(columns[0]),
            np.concatenate(columns[1]),
            np.concatenate(columns[2]),
            pa.concat_arrays(columns[3]),
            strays,
        )

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
            version = {"size": nbytes, "mtime_ns": int(text.rpartition("-")[0], 16)}
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


def _is_settled(version: str, before: str) -> bool:
    """Whether a local file was last changed long enough ago."""
    changed = version.rpartition("-")[2]
    return bool(version) and (len(changed), changed) < (len(before), before)
