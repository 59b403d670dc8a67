"""JSON and lines in a page's description: in proportion to the file, and a shape of numbers.

tifffile multiplies what stands in a shape, whatever it is: `[[0], 1000000000]` becomes a list of a billion,
and a million extents a number that takes minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import tifffile

from cpr.format import damaged
from cpr.image.choice import PAGES_ALONE
from cpr.io.outside_json import read_json

__all__ = ["require_modest_json", "require_modest_lines"]

# As for XML: what says nothing of planes, and then a few values for each plane.
_MOST = 50_000
_BYTES_EACH = 64
_MOST_AXES = 64  # of an array, in numpy
_LARGEST = 1 << 63
_OLD = "shape="
_REMEDY = f"remove what does not describe its images; or, {PAGES_ALONE}"


def require_modest_json(page: tifffile.TiffPage, nbytes: int) -> None:
    """Raise DecodeError for a page, or one below it, whose JSON takes too much time or memory.

    Args:
        page: the first of an image. Those below it (SubIFDs) are read, as tifffile is going to.
        nbytes: the size of the file.
    """
    for one in _with_those_below(page):
        text = one.shaped_description
        if text is not None:
            _require("values", sum(text.count(sign) for sign in ",[{"), nbytes)
            _require_shape(_shape_of(text))


def _with_those_below(page: tifffile.TiffPage) -> Iterator[tifffile.TiffPage]:
    waiting, seen = [page], set[int]()
    while waiting:
        yield (page := waiting.pop())
        for offset in page.subifds or ():
            if offset >= 8 and offset not in seen and page.is_shaped:
                seen.add(offset)
                page.parent.filehandle.seek(offset)
                with suppress(tifffile.TiffFileError):  # tifffile tells of it
                    waiting.append(tifffile.TiffPage(page.parent, index=(page.index, len(seen))))


def require_modest_lines(page: tifffile.TiffPage, nbytes: int) -> None:
    """Raise DecodeError for ImageJ's description with more lines than a file of this size has use for."""
    if page.is_imagej:
        _require("lines", page.description.count("\n"), nbytes)


def _require(what: str, count: int, nbytes: int) -> None:
    most = _MOST + nbytes // _BYTES_EACH
    if count > most:
        raise damaged(
            f"its description has more {what} than are read of a file of this size",
            f"up to {most}",
            f"{count}",
            _REMEDY,
        )


def _shape_of(text: str) -> Any:
    """The shape that a description gives; None where it gives none, of which tifffile tells."""
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
