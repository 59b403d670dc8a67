"""Limits the JSON, lines and indexes that describe a TIFF's planes, relative to the size of the file.

tifffile multiplies what stands in a shape, whatever it is: `[[0], 1000000000]` becomes a list of a billion,
and a million extents a number that takes minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import tifffile

from cpr.format import damaged
from cpr.image.image_selection import PAGES_ALONE
from cpr.image.page_index import most_claimed
from cpr.io.outside_json import read_json

__all__ = ["Descriptions", "require_modest_index", "require_modest_lines"]

_BELOW = 5000  # pages below others, of a file of any size
_MOST_AXES = 64  # of an array, in numpy
_LARGEST = 1 << 63
_OLD = "shape="
_REMEDY = f"remove what does not describe its images; or, {PAGES_ALONE}"


class Descriptions:
    """The JSON descriptions of a file's pages, including subpages.

    Args:
        nbytes: the size of the file.
    """

    def __init__(self, nbytes: int) -> None:
        self._most_values = most_claimed(nbytes)
        self._most_below = most_claimed(nbytes, _BELOW)
        self._below = 0
        self._seen: set[int] = set()

    def require_modest(self, page: tifffile.TiffPage) -> None:
        """Raise DecodeError if the JSON of a page or subpage would take too much time or memory.

        Args:
            page: the first of an image. Those below it (SubIFDs) are read, as tifffile is going to.
        """
        if page.offset in self._seen:  # tifffile comes back to the first
            return
        self._seen.add(page.offset)
        for one in self._with_those_below(page):
            text = one.shaped_description
            if text is not None:
                _require("values", sum(text.count(sign) for sign in ",[{"), self._most_values)
                _require_shape(_shape_of(text))

    def _with_those_below(self, page: tifffile.TiffPage) -> Iterator[tifffile.TiffPage]:
        """A page and its subpages, as often as tifffile reads them: several pages may share one."""
        waiting = [page]
        while waiting:
            yield (page := waiting.pop())
            for offset in page.subifds or ():
                if offset >= 8 and page.is_shaped:
                    self._below += 1
                    _require("pages below its pages", self._below, self._most_below)
                    page.parent.filehandle.seek(offset)
                    with suppress(tifffile.TiffFileError):  # tifffile tells of it
                        waiting.append(tifffile.TiffPage(page.parent, index=(page.index, self._below)))


def require_modest_lines(page: tifffile.TiffPage, nbytes: int) -> None:
    """Raise DecodeError if ImageJ's description has more lines than a file of this size can need."""
    if page.is_imagej:
        _require("lines", page.description.count("\n"), most_claimed(nbytes))


def require_modest_index(tiff: tifffile.TiffFile) -> None:
    """Raise DecodeError if Micro-Manager's index has more planes than a file of this size can need.

    tifffile makes a list with a place for each, from the largest numbers of the index and of the summary.
    """
    if not tiff.pages.first.is_micromanager:
        return
    settings = tiff.micromanager_metadata or {}
    index, summary = settings.get("IndexMap"), settings.get("Summary") or {}
    planes = 1
    for column, name in enumerate(("Channels", "Slices", "Frames", "Positions")):
        found = 0 if index is None or not len(index) else int(index[:, column].max()) + 1
        said = summary.get(name, 1)
        planes *= max(1, found, int(said) if isinstance(said, (int, float, str)) else 1)
    if planes > (most := most_claimed(tiff.filehandle.size)):
        raise damaged(
            "Micro-Manager's index spans more planes than are read of a file of this size",
            f"up to {most}",
            f"{planes}",
            "write it again with Micro-Manager, or with tifffile from its pages",
        )


def _require(what: str, count: int, most: int) -> None:
    if count > most:
        raise damaged(
            f"its description has more {what} than are read of a file of this size",
            f"up to {most}",
            f"{count}",
            _REMEDY,
        )


def _shape_of(text: str) -> Any:
    """The shape in a description; None if there is none, which tifffile reports."""
    if text.startswith(_OLD):
        return text[len(_OLD) + 1 : -1].split(",")
    try:
        found = read_json(text, strict=False)
    except ValueError:
        return None
    return found.get("shape") if isinstance(found, dict) else None


def _require_shape(shape: Any) -> None:
    if isinstance(shape, list) and not (len(shape) <= _MOST_AXES and all(map(_is_extent, shape))):
        raise damaged(
            "its description gives no shape",
            f"up to {_MOST_AXES} extents",
            f"{len(shape)}: {ascii(shape[:3])[:80]}",
            _REMEDY,
        )


def _is_extent(value: Any) -> bool:
    if isinstance(value, str):  # of the old description, which has no JSON
        return len(value) < 20
    return isinstance(value, (int, float)) and -_LARGEST < value < _LARGEST
