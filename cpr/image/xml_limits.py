"""Refuses XML in a TIFF that would take too much time or memory for the size of the file."""

from __future__ import annotations

import re
from contextlib import suppress
from math import prod
from xml.etree import ElementTree as ET

import tifffile

from cpr.format import damaged
from cpr.image.page_index import most_claimed
from cpr.image.series import PAGES_ALONE, SelfContainedTiff, elements

__all__ = ["require_modest_xml"]

_MOST_ATTRIBUTES = 5000
# Of a file, or of all files of a plate: each is made a series, at a fifth of a millisecond.
_MOST_IMAGES = 4000
# In which tags other programs than OME's have XML that tifffile parses: Ventana's and Argos's.
_IN_TAGS = {"is_bif": 700, "is_avs": 65000}
_ATTRIBUTE = re.compile(r"""=\s*["']""")


def require_modest_xml(tiff: SelfContainedTiff, described: bool) -> None:
    """Raise DecodeError for XML in a file's description that is out of proportion to the file.

    That is a document type, as a few lines of entities expand to any size; more elements, or more planes
    said to be there, than a file of this size can have.

    Args:
        tiff: the file.
        described: whether OME-XML is going to be read.
    """
    page = tiff.pages.first
    is_ome, limit = page.is_ome, most_claimed(tiff.filehandle.size)
    texts = [page.description, *(_text(page, code) for kind, code in _IN_TAGS.items() if getattr(page, kind))]
    for text in texts:
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise damaged(
                "OME-XML with a document type", "elements and their attributes", "<!DOCTYPE or <!ENTITY"
            )
    if is_ome and not described:
        return
    for text in texts:
        # In XML this sign begins tags, comments and the like, and stands nowhere else but in CDATA.
        _require("elements", text.count("<") - text.count("</"), limit, is_ome)
        _require("attributes in one element", _attributes(text), _MOST_ATTRIBUTES, is_ome)
    if page.is_scn:
        _require("planes", _claimed_by_leica(page.description), limit, is_ome)
    if is_ome:
        with suppress(ET.ParseError):  # tifffile tells of it
            images = sum(1 for _ in elements(tiff.ome_root, "Pixels"))
            if images > _MOST_IMAGES:  # only then: counting pages reads the whole file, block by block
                _require("images", images, max(_MOST_IMAGES, len(tiff.pages)), is_ome)
            _require("planes", _claimed(tiff), limit, is_ome)


def _text(page: tifffile.TiffPage, code: int) -> str:
    """A tag as text; empty if it is missing."""
    value = page.tags.valueof(code)
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")


def _require(what: str, count: int, limit: int, is_ome: bool) -> None:
    if count > limit:
        raise damaged(
            f"its XML has more {what} than are read of a file of this size",
            f"up to {limit}",
            f"{count}",
            f"remove what does not describe its images{f'; or, {PAGES_ALONE}' if is_ome else ''}",
        )


def _attributes(text: str) -> int:
    """The largest number of attributes of an element; expat's time grows with its square."""
    long = (tag for tag in text.split("<") if len(tag) > 4 * _MOST_ATTRIBUTES)
    return max((len(_ATTRIBUTE.findall(tag)) for tag in long), default=0)


def _claimed(tiff: SelfContainedTiff) -> int:
    """How many steps tifffile takes through planes: of images, their pieces, and modulo axes."""
    count = 0
    for pixels in elements(tiff.ome_root, "Pixels"):
        count += prod(_number(pixels, f"Size{axis}", 1) for axis in "ZCT")
        for data in elements(pixels, "TiffData"):
            planes = _number(data, "PlaneCount", _number(data, "NumPlanes", 0))
            count += planes or (1 if "IFD" in data.attrib else len(tiff.pages))
    for axis in "ZCT":
        for along in elements(tiff.ome_root, f"ModuloAlong{axis}"):
            with suppress(ValueError, ArithmeticError):
                start, end, step = (float(along.get(name, 1)) for name in ("Start", "End", "Step"))
                count += max(0, int((end - start) / step))
    return count


def _claimed_by_leica(text: str) -> int:
    """For how many planes tifffile allocates: up to the last channel and depth of each resolution."""
    count = 0
    with suppress(ET.ParseError):  # tifffile tells of it
        for pixels in elements(ET.fromstring(text), "pixels"):  # noqa: S314 - expat bounds entities
            last: dict[int, list[int]] = {}
            for dimension in elements(pixels, "dimension"):
                most = last.setdefault(_number(dimension, "r", 0), [0, 0])
                most[:] = (max(most[i], _number(dimension, axis, 0)) for i, axis in enumerate("cz"))
            count += sum((channels + 1) * (depths + 1) for channels, depths in last.values())
    return count


def _number(element: ET.Element, name: str, default: int) -> int:
    """A number in an element; the default if it is invalid, which tifffile refuses."""
    try:
        return max(0, int(element.get(name, default)))
    except ValueError:
        return default
