"""Versions of listed objects; those of files stay numbers until a text is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpr.io.stores.local_listing import FileVersions
from cpr.operations.catalogue.arrow_arrays import column, mask, numbers, scalar

__all__ = ["Versions", "VersionsBuilder"]

_UNKNOWN = np.iinfo(np.int64).min
_LENGTH = 33  # of the text of a file's version
_DIGITS = np.array([[ord(digit) for digit in f"{byte:02x}"] for byte in range(256)], np.uint8)


class Versions:
    """The version of each object; "" if the store reports none, or the object was written just now.

    Args:
        texts: of objects in a store that has them.
        changed: when files were changed last, in billionths of a second; `_UNKNOWN` for those of just now.
        written: when they were written to last.
    """

    def __init__(self, texts: Any, changed: npt.NDArray[np.int64], written: npt.NDArray[np.int64]) -> None:
        self._texts = texts
        self._changed = changed
        self._written = written
        self._files = FileVersions(changed, written)

    def __getitem__(self, index: int) -> str:
        if self._texts is not None:
            return str(self._texts[index].as_py())
        return "" if self._changed[index] == _UNKNOWN else self._files[index]

    def texts(self, of: npt.NDArray[np.int64]) -> Any:
        """The versions of some objects, as an Arrow array."""
        if self._texts is not None:
            return pc.take(self._texts, numbers(of))
        changed, written = self._changed[of], self._written[of]
        spelled = np.full((len(of), _LENGTH), ord("-"), np.uint8)
        spelled[:, :16], spelled[:, 17:] = _hexadecimal(changed), _hexadecimal(written)
        ends = np.arange(len(of) + 1, dtype=np.int32) * _LENGTH
        texts = pa.StringArray.from_buffers(len(of), pa.py_buffer(ends), pa.py_buffer(spelled))
        return pc.if_else(mask(changed != _UNKNOWN), texts, scalar(""))

    def asked(self, index: int, nbytes: int, version: str) -> Mapping[str, str | int]:
        """The version of an object in the form in which its store can be asked for it.

        Args:
            index: of the object.
            nbytes: its size.
            version: what changes with it.
        """
        if self._texts is None:
            # What is negative may be of a file that was written before 1970, or after 2262.
            if self._changed[index] == _UNKNOWN or self._written[index] < 0:
                return {}
            return {"size": nbytes, "mtime_ns": int(self._written[index])}
        name, _, value = version.partition("=")
        return {name: value} if name else {}


class VersionsBuilder:
    """Collects the versions of pages of a listing, in order.

    Args:
        settled: files that were changed since may be written again in the same tick of the clock; in
            billionths of a second since 1970.
    """

    def __init__(self, settled: int) -> None:
        self._settled = settled
        self._pages: list[Any] = []

    def add(self, page: Sequence[str]) -> None:
        """Add the versions of a page."""
        self._pages.append(page if isinstance(page, FileVersions) else column(page, pa.string()))

    def all(self) -> Versions:
        """The versions of all pages."""
        files = [page for page in self._pages if isinstance(page, FileVersions)]
        none = np.zeros(0, np.int64)
        if len(files) < len(self._pages):
            # Of files among others nothing is kept.
            unknown = (column([""] * len(page), pa.string()) for page in self._pages)
            pages = zip(self._pages, unknown, strict=True)
            texts = [no if isinstance(one, FileVersions) else one for one, no in pages]
            return Versions(pa.concat_arrays(texts), none, none)
        changed = np.concatenate([none, *(np.frombuffer(page.changed, np.int64) for page in files)])
        written = np.concatenate([none, *(np.frombuffer(page.written, np.int64) for page in files)])
        changed[changed >= self._settled] = _UNKNOWN
        return Versions(None, changed, written)


def _hexadecimal(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Each number as sixteen hex digits."""
    return _DIGITS[numbers.astype(">i8").view(np.uint8)].reshape(len(numbers), 16)
