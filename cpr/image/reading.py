"""Decodes the pixels of a TIFF, page by page."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import tifffile

from cpr.data.memory import require_memory
from cpr.errors import CprError
from cpr.format import ReadableFile, damaged
from cpr.image.description_limits import require_modest_index, require_modest_lines
from cpr.image.image_selection import ImageSelection
from cpr.image.layout import Layout
from cpr.image.metered_file import MeteredFile, OutOfProportion
from cpr.image.page_index import directories, ends_in_index, require_first_directory
from cpr.image.series import OWN, SelfContainedTiff, pick, require_whole
from cpr.image.vendor_headers import require_modest_text
from cpr.image.xml_limits import require_modest_xml

__all__ = [
    "SOFTWARE",
    "is_own",
    "opened",
    "page_at",
    "read_layout",
    "read_series",
    "refuse_bombs",
    "refuse_claims",
    "series_of",
    "workers",
]

Array = np.ndarray[Any, Any]

# tifffile reports on files it finds odd; what matters is raised here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# No codec makes more of a byte than this; a file that claims more is a bomb. Deflate's bound is 1032
# (https://zlib.net/zlib_tech.html), LZW's codes of 12 bits stand for up to 4096 bytes, Zstandard's
# blocks of 128 KiB may take 4 bytes; the others are asked for generously.
_EXPANSION = {1: 1, 5: 2800, 8: 1040, 32946: 1040, 32773: 64, 50000: 33_000, 34926: 33_000}
_EXPANSION_OTHER = 33_000
_JPEG_2000 = {33003, 33004, 33005, 34712}
_SMALL = 1 << 20
_SMALL_PAGE = 1 << 15

SOFTWARE = "cpr"
"""Of the tag of this name in the first page of a file that cpr has written."""


def workers() -> int:
    """Number of threads that compress or decompress a page."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@contextmanager
def opened(file: ReadableFile, described: bool = True) -> Iterator[SelfContainedTiff]:
    """Open a file with tifffile; its errors on damaged bytes become DecodeErrors.

    Args:
        file: where the bytes are.
        described: whether the file's description of its axes counts; if not, its pages are the planes.
    """
    flags = {} if described else {"is_ome": False, "is_imagej": False, "is_shaped": False}
    try:
        require_first_directory(file)
        metered = MeteredFile(file)
        with ExitStack() as stack:
            with metered.counting():
                # Files that OME-XML names are never opened: they may be anybody's.
                tiff = SelfContainedTiff(metered, name="image", _multifile=False, **flags)  # type: ignore[arg-type]
                stack.enter_context(tiff)
                tiff.metered = metered
                require_modest_xml(tiff, described)
                require_modest_text(tiff)
                if described:
                    require_modest_lines(tiff.pages.first, tiff.filehandle.size)
                    if tiff.is_shaped:
                        tiff.look_first()
                require_modest_index(tiff)
            yield tiff
    except CprError:
        raise
    except OutOfProportion as found:
        raise found.error from None
    except Exception as error:
        raise damaged(
            "not a TIFF that can be read",
            "tags and pixels",
            f"{type(error).__name__}: {ascii(str(error))[:200]}",
        ) from error


def read_layout(file: ReadableFile, tiff: SelfContainedTiff, layout: Layout, ours: bytes) -> Array:
    """Decode all pixels of a file that holds an array of known layout.

    A file that begins as cpr writes it (see `is_own`) is read as it arrives, and every page is let go once
    it is decoded. Somebody may have written the file again in another way; what it holds may still be the
    same.
    """
    if not is_own(tiff, ours):
        return _reshaped(read_series(file, tiff), layout)
    chain = directories(file)
    first, following = next(chain, (0, 0))
    page = page_at(tiff, first, 0)
    _require_page(page, layout, 0)
    refuse_bombs(page, layout.nbytes, file)
    stored = np.empty(layout.file_shape, layout.stored_dtype)
    decoded = stored.reshape((layout.count, *layout.page_shape))
    offsets = [first]
    if page.compression == 1:
        _read_plain(file, page.dataoffsets[0], decoded)
        offsets += [offset for offset, _ in chain]
    else:
        page.asarray(out=decoded[0], maxworkers=workers())
        while following and len(offsets) < layout.count:
            file.release(following)
            offset, following = next(chain)
            page = page_at(tiff, offset, len(offsets))
            _require_page(page, layout, len(offsets))
            page.asarray(out=decoded[len(offsets)], maxworkers=workers())
            offsets.append(offset)
    if len(offsets) != (1 if layout.one_directory else layout.count) or not ends_in_index(file, offsets):
        raise damaged(
            "bytes are missing or too many", f"{layout.count} pages and their index", f"{len(offsets)}"
        )
    return stored


def is_own(tiff: SelfContainedTiff, ours: bytes) -> bool:
    """Whether a file starts as cpr writes it; if so it must end so too, or it was truncated or extended.

    Other programs keep the description of what they write again, some also who has made it, and put
    directories behind pixels. `ours` is the description that cpr has written.
    """
    page = tiff.pages.first
    software = page.tags.get(305)
    return (
        software is not None
        and software.value == SOFTWARE
        and tiff.byteorder == "<"
        and page.offset == (16 if tiff.is_bigtiff else 8)
        and not page.is_tiled
        and _description(page) == _normal(ours)
    )


def _require_page(page: tifffile.TiffPage, layout: Layout, number: int) -> None:
    if page.shape != layout.page_shape or page.dtype != layout.stored_dtype:
        expected = f"{layout.stored_dtype} pages of {layout.page_shape}"
        raise damaged("another image", expected, f"{page.dtype} {page.shape} at page {number}")


def _read_plain(file: ReadableFile, start: int, decoded: Array) -> None:
    """Read contiguous, uncompressed pixels."""
    file.seek(start)
    for page in decoded:
        target = page.reshape(-1).view(np.uint8)
        done = 0
        while done < target.nbytes:
            count = file.readinto(target[done:].data)
            if not count:
                raise damaged("the file is cut", f"{decoded.nbytes} bytes of pixels", "fewer")
            done += count
        file.release(file.tell())
    if sys.byteorder == "big":
        decoded.byteswap(inplace=True)


def _reshaped(array: Array, layout: Layout) -> Array:
    if array.dtype != layout.stored_dtype or array.size != math.prod(layout.file_shape):
        expected = f"{layout.stored_dtype} {layout.file_shape}"
        raise damaged("another image", expected, f"{array.dtype} {array.shape}")
    return array.reshape(layout.file_shape)


def read_series(file: ReadableFile, tiff: SelfContainedTiff, choice: ImageSelection = OWN) -> Array:
    """Decode an image of a file of any origin."""
    series = series_of(file, tiff, choice)
    refuse_bombs(series.keyframe, series.nbytes, file)
    # A small page is decoded in less time than a thread takes to be asked for it.
    threads = workers() if series.keyframe.nbytes > _SMALL_PAGE else 1
    array: Array = series.asarray(maxworkers=threads)
    return array


def series_of(
    file: ReadableFile, tiff: SelfContainedTiff, choice: ImageSelection = OWN
) -> tifffile.TiffPageSeries:
    """The chosen image of a file. Raises DecodeError if parts are missing, FormatError if there is none."""
    # tifffile stops silently where the chain is broken.
    for _ in directories(file):
        pass
    with tiff.metered.counting():
        series = pick(tiff, choice)
    if 0 in series.shape:
        raise damaged("it has no pixels", "a width and a height", f"{series.shape}")
    size = file.seek(0, os.SEEK_END)
    for offset, count in _stored_pieces(series):
        if offset + count > size:
            raise damaged("the file is cut", f"pixels up to byte {offset + count}", f"{size} bytes")
    require_whole(tiff, series)
    _refuse_swapped(tiff, series)
    return series


def _refuse_swapped(tiff: SelfContainedTiff, series: tifffile.TiffPageSeries) -> None:
    """Raise DecodeError for samples that tifffile passed to its codec with swapped bytes.

    JPEG 2000 has no byte order: what tifffile writes into big-endian files has wrong values for every reader.
    (As of tifffile 2026.3.3, imagecodecs 2026.3.6; other programs store them right.)
    """
    page = series.keyframe
    if tiff.byteorder == ">" and int(page.compression) in _JPEG_2000 and series.dtype.itemsize > 1:
        writer = tiff.pages.first.tags.get(305)
        if writer is not None and str(writer.value).startswith("tifffile"):
            raise damaged(
                "tifffile has stored its samples with their bytes swapped",
                "little-endian, or another compression than JPEG 2000",
                f"big-endian {series.dtype} by {writer.value}",
                "write it again: tifffile.imwrite(path, tifffile.imread(path).byteswap(), byteorder='<')",
            )


def _stored_pieces(series: tifffile.TiffPageSeries) -> Iterator[tuple[int, int]]:
    """Offsets and sizes of the stored pixels of an image."""
    if series.dataoffset is not None:
        # All together. The directories of its pages need not be read: of thousands that takes seconds.
        yield series.dataoffset, series.nbytes
        return
    for page in series.pages:
        if page is not None:
            yield from zip(page.dataoffsets, page.databytecounts, strict=False)


def page_at(tiff: SelfContainedTiff, offset: int, number: int) -> tifffile.TiffPage:
    """Read the page with the directory at an offset."""
    tiff.filehandle.seek(offset)
    return tifffile.TiffPage(tiff, index=number)


def _description(page: tifffile.TiffPage) -> bytes:
    tag = page.tags.get(270)
    value = "" if tag is None else tag.value
    return _normal(value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape"))


def _normal(description: bytes) -> bytes:
    """A description without OME's UUID and trailing blanks, for comparing."""
    return re.sub(rb' UUID="[^"]*"', b"", description, count=1).rstrip(b"\n\0 ")


def refuse_claims(layout: Layout, file: ReadableFile) -> None:
    """Raise DecodeError if a file is too small for an array of this layout, with any codec."""
    size = file.seek(0, os.SEEK_END)
    if layout.count > size or layout.nbytes > size * _EXPANSION_OTHER + _SMALL:
        raise damaged(
            "the file cannot hold such an array",
            f"{layout.count} pages with {layout.nbytes} bytes of pixels",
            f"{size} bytes",
        )


def refuse_bombs(page: Any, nbytes: int, file: ReadableFile) -> None:
    """Raise DecodeError if a page claims more pixels than its codec can make from the whole file."""
    size = file.seek(0, os.SEEK_END)
    keyframe = page.keyframe
    if keyframe.is_tiled:
        nbytes = max(nbytes, math.prod(keyframe.tile) * keyframe.dtype.itemsize)
    limit = _EXPANSION.get(int(keyframe.compression), _EXPANSION_OTHER) * size + _SMALL
    if nbytes > limit:
        raise damaged("more pixels are claimed than its bytes can hold", f"up to {limit} bytes", f"{nbytes}")
    require_memory(nbytes, "the pixels")
