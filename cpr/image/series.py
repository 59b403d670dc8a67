"""Chooses one of the images in a TIFF, and checks that it is complete."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any
from xml.etree import ElementTree as ET

import tifffile

from cpr.data.user_warnings import warn_user
from cpr.errors import DecodeError
from cpr.format import damaged
from cpr.image.description_limits import Descriptions
from cpr.image.image_selection import PAGES_ALONE, ImageSelection, chosen, listed
from cpr.image.metered_file import MeteredFile
from cpr.image.vendor_headers import VendorHeaders

__all__ = [
    "OWN",
    "PAGES_ALONE",
    "SelfContainedTiff",
    "elements",
    "names_of",
    "pick",
    "pixels_of",
    "require_whole",
]

_IN_ORDER = (
    "its OME-XML does not say which page is which plane: they are taken in its DimensionOrder, "
    f"as Bio-Formats does; {PAGES_ALONE}"
)


class SelfContainedTiff(VendorHeaders):  # type: ignore[misc]  # final to type checkers
    """A TIFF whose planes are its pages in order, if its OME-XML does not say where they are.

    Its OME-XML is parsed once and cached, because tifffile asks for it several times.

    Attributes:
        metered: the file that it reads.
    """

    metered: MeteredFile

    @cached_property
    def ome_metadata(self) -> str | None:
        """The OME-XML, with a TiffData element added if its only image has none."""
        text = super().ome_metadata
        if text is None or "TiffData" in text or "BinaryOnly" in text:
            return text
        try:
            root = ET.fromstring(text)  # noqa: S314 - expat bounds entities
        except ET.ParseError:
            return text
        if len(found := list(elements(root, "Pixels"))) != 1:
            return text
        ET.SubElement(found[0], found[0].tag.replace("Pixels", "TiffData"))
        return ET.tostring(root, encoding="unicode")

    def look_first(self) -> None:
        """From now on check the JSON of an image's first page before tifffile reads it."""
        pages: Any = self.pages
        set_keyframe = pages.set_keyframe
        descriptions = Descriptions(self.filehandle.size)

        def checked(index: int) -> None:
            set_keyframe(index)
            descriptions.require_modest(pages.keyframe)

        pages.set_keyframe = checked

    @cached_property
    def ome_root(self) -> ET.Element:
        """The parsed OME-XML. Raises xml.etree.ElementTree.ParseError."""
        return ET.fromstring(self.ome_metadata or "")  # noqa: S314 - expat bounds entities


OWN = ImageSelection(0)
"""Of a file that cpr wrote."""


def pick(tiff: SelfContainedTiff, choice: ImageSelection) -> tifffile.TiffPageSeries:
    """The chosen image. Raises FormatError if there is none of this number or name."""
    series = tiff.series
    if tiff.is_ome and any(one.kind != "ome" for one in series[:1]):
        raise _not_described(tiff)
    if tiff.is_ome:
        _tell_of_pages(tiff)
    return series[chosen(names_of(tiff), choice.image)]


def _tell_of_pages(tiff: SelfContainedTiff) -> None:
    """Warn if the OME-XML does not map pages to planes, or omits some pages."""
    if "TiffData" not in tiff.pages.first.description:
        warn_user(_IN_ORDER)
    images = len(list(elements(tiff.ome_root, "Pixels")))
    if images > len(tiff.series):
        warn_user(
            f"its OME-XML describes {images} images, of which {len(tiff.series)} are in this file: "
            f"{listed(names_of(tiff))}; {PAGES_ALONE}"
        )
    described = {page.index for one in tiff.series for page in one.pages if page is not None}
    if len(described) < len(tiff.pages):
        warn_user(
            f"the file has {len(tiff.pages)} pages, of which its OME-XML names {len(described)}: only these "
            f"are taken; {PAGES_ALONE}"
        )


def pixels_of(tiff: SelfContainedTiff, series: tifffile.TiffPageSeries) -> ET.Element:
    """The element Pixels of an image in the OME-XML. Raises DecodeError if it is ambiguous."""
    found: list[ET.Element] = list(elements(tiff.ome_root, "Pixels"))
    if len(found) == len(tiff.series):
        return found[tiff.series.index(series)]
    # tifffile leaves out those whose pages are not there, or of another size.
    first = next(page.index for page in series.pages if page is not None)
    found = [
        one for one in found if any(int(data.get("IFD", 0)) == first for data in elements(one, "TiffData"))
    ]
    if len(found) != 1:
        raise damaged(
            "its OME-XML does not say which of its images this is",
            f"one image with page {first}",
            f"{len(found)}",
            f"correct it; or, {PAGES_ALONE}",
        )
    return found[0]


def names_of(tiff: SelfContainedTiff) -> list[str]:
    """The names of the images in a file; empty for those without a name."""
    return [one.name or "" for one in tiff.series]


def require_whole(tiff: SelfContainedTiff, series: tifffile.TiffPageSeries) -> None:
    """Raise DecodeError for an image that is not completely in the file."""
    there = claimed = len(series.pages)
    if series.dataoffset is None:
        there = sum(page is not None for page in series.pages)
    if there < claimed:
        if tiff.is_ome and _other_files(tiff):
            raise _not_described(tiff)
        raise damaged(
            "planes are missing: its OME-XML names pages that are not there, or leaves planes out",
            f"a page for each of {claimed} planes",
            f"{there}, of {len(tiff.pages)} pages in the file",
            f"restore the file; or, {PAGES_ALONE}",
        )
    page = series.keyframe
    planes = math.prod(series.shape) // max(1, math.prod(page.shape))
    if tiff.is_imagej and (series.kind != "imagej" or claimed not in {1, planes}):
        images = (tiff.imagej_metadata or {}).get("images", planes)
        raise damaged(
            "the file is cut, or pages were taken out of it",
            f"{images} planes, as ImageJ's description says",
            f"{len(tiff.pages)} pages of {page.shape}, {tiff.filehandle.size} bytes",
            f"restore the file; or, {PAGES_ALONE}",
        )


def _not_described(tiff: SelfContainedTiff) -> DecodeError:
    """The reason why the OME-XML does not map pages to planes."""
    expected, actual = "all planes in this file", "something else"
    problem = "its OME-XML does not describe it"
    try:
        root = tiff.ome_root
    except ET.ParseError as error:
        return damaged(
            "OME-XML that cannot be read", "well-formed XML", error, f"correct it; or, {PAGES_ALONE}"
        )
    others = _other_files(tiff)
    remedy = f"restore it; or, {PAGES_ALONE}"
    pixels = next(elements(root, "Pixels"), None)
    if (binary := next(elements(root, "BinaryOnly"), None)) is not None:
        problem = "its metadata are in another file"
        actual = f"planes described by {binary.get('MetadataFile', 'a companion')}"
    elif others:
        problem, actual = "planes of it are in other files", ", ".join(sorted(others))
        remedy = (
            "with those files beside it, under these names, write one: tifffile.imwrite('whole.ome.tif', "
            f"tifffile.imread(path), photometric='minisblack'); or, {PAGES_ALONE}"
        )
    elif pixels is None:
        expected, actual = "an element Pixels", "none"
    elif next(elements(pixels, "TiffData"), None) is None:
        problem, expected = "its OME-XML does not say which page is which plane", "elements TiffData"
        actual = "none"
    else:
        page = tiff.pages.first
        expected = (
            f"images of {page.imagewidth} x {page.imagelength}, as the pages are, and a page for each plane"
        )
        actual = f"{pixels.get('SizeX')} x {pixels.get('SizeY')}, and {len(tiff.pages)} pages"
    return damaged(problem, expected, actual, remedy)


def _other_files(tiff: SelfContainedTiff) -> set[str]:
    """The other files that hold planes according to the OME-XML; none if all are in this one."""
    return {name for uuid in elements(tiff.ome_root, "UUID") if (name := uuid.get("FileName"))}


def elements(parent: ET.Element, name: str) -> Iterator[Any]:
    """The elements with a name, in any version of the schema."""
    return (element for element in parent.iter() if element.tag.rpartition("}")[2] == name)
