"""Pixels out of a TIFF: all of them, page by page, or those of a region."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tifffile

from cpr.data.memory import require_memory
from cpr.data.regions import Selection, ends
from cpr.errors import CprError
from cpr.format import ReadableFile, Region, damaged
from cpr.image.layout import Layout
from cpr.image.page_index import directories, ends_in_index, indexed

__all__ = ["opened", "read_layout", "read_region", "read_series", "series_of", "workers"]

Array = np.ndarray[Any, Any]

# tifffile reports on files it finds odd; what matters is raised here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# No codec makes more of a byte than this; a file that claims more is a bomb. Deflate's bound is 1032
# (https://zlib.net/zlib_tech.html), LZW's codes of 12 bits stand for up to 4096 bytes, Zstandard's
# blocks of 128 KiB may take 4 bytes; the others are asked for generously.
_EXPANSION = {1: 1, 5: 2800, 8: 1040, 32946: 1040, 32773: 64, 50000: 33_000, 34926: 33_000}
_EXPANSION_OTHER = 33_000
_SMALL = 1 << 20
# Strips and tiles of a region are fetched in runs of up to this size, over gaps of up to this one.
_RUN_BYTES = 32 << 20
_GAP_BYTES = 64 << 10


def workers() -> int:
    """How many threads compress and decompress a page."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@contextmanager
def opened(file: ReadableFile) -> Iterator[tifffile.TiffFile]:
    """The file as tifffile sees it; whatever tifffile raises of damaged bytes is a DecodeError."""
    try:
        file.seek(0)
        # Files that OME-XML names are never opened: they may be anybody's.
        with tifffile.TiffFile(file, name="image", _multifile=False) as tiff:  # type: ignore[arg-type]
            _refuse_entities(tiff)
            yield tiff
    except CprError:
        raise
    except Exception as error:
        raise damaged(
            "not a TIFF that can be read",
            "tags and pixels",
            f"{type(error).__name__}: {ascii(str(error))[:200]}",
        ) from error


def read_layout(file: ReadableFile, tiff: tifffile.TiffFile, layout: Layout, ours: bytes) -> Array:
    """All pixels of a file that holds an array of known layout.

    A file that begins as cpr writes it (its first description is `ours`) is read as it arrives, and
    every page is let go once it is decoded. Somebody may have written the file again in another way;
    what it holds may still be the same.
    """
    chain = directories(file)
    first, following = next(chain, (0, 0))
    page = _page(tiff, first, 0)
    if _description(page) != _normal(ours):
        return _reshaped(read_series(file, tiff), layout)
    _require_page(page, layout, 0)
    _refuse_bombs(page, layout.nbytes, file)
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
            page = _page(tiff, offset, len(offsets))
            _require_page(page, layout, len(offsets))
            page.asarray(out=decoded[len(offsets)], maxworkers=workers())
            offsets.append(offset)
    if len(offsets) != layout.count or not ends_in_index(file, offsets):
        raise damaged(
            "bytes are missing or too many", f"{layout.count} pages and their index", f"{len(offsets)}"
        )
    return stored


def _require_page(page: tifffile.TiffPage, layout: Layout, number: int) -> None:
    if page.shape != layout.page_shape or page.dtype != layout.stored_dtype:
        expected = f"{layout.stored_dtype} pages of {layout.page_shape}"
        raise damaged("another image", expected, f"{page.dtype} {page.shape} at page {number}")


def _read_plain(file: ReadableFile, start: int, decoded: Array) -> None:
    """Pixels that are not compressed, and lie together."""
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


def read_series(file: ReadableFile, tiff: tifffile.TiffFile) -> Array:
    """The first image of a file of any origin."""
    series = series_of(file, tiff)
    _refuse_bombs(series.keyframe, series.nbytes, file)
    array: Array = series.asarray(maxworkers=workers())
    return array


def series_of(file: ReadableFile, tiff: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """The first image of a file. Raises DecodeError where pages of it are missing."""
    # tifffile stops silently where the chain is broken.
    for _ in directories(file):
        pass
    series = tiff.series[0]
    if tiff.is_ome and series.kind != "ome":
        raise damaged(
            "OME-XML that does not describe this file", "all planes in this file", "other files, or none"
        )
    if 0 in series.shape:
        raise damaged("it has no pixels", "a width and a height", f"{series.shape}")
    pages = [page for page in series.pages if page is not None]
    if len(pages) < len(series.pages):
        raise damaged("pages are missing", f"{len(series.pages)} pages", f"{len(pages)}")
    size = file.seek(0, os.SEEK_END)
    for page in pages:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if offset + count > size:
                raise damaged("the file is cut", f"pixels up to byte {offset + count}", f"{size} bytes")
    return series


def read_region(file: ReadableFile, tiff: tifffile.TiffFile, region: Region, layout: Layout | None) -> Array:
    """The pixels of a region; fetches the strips or tiles that it touches, and no other page.

    Args:
        file: where the bytes are.
        tiff: the same, opened.
        region: of the array.
        layout: of an array that cpr wrote, where the pages' index leads; None for any other file.
    """
    if layout is not None:
        shape, page_ndim, dtype = layout.shape, layout.plane_ndim, layout.stored_dtype
        first = _page(tiff, _offset(file, 0), 0)
        if first.shape != layout.page_shape or first.dtype != dtype:
            raise damaged("another image", f"pages of {layout.page_shape}", f"{first.shape}")
        page_shape = layout.page_shape

        def page_at(number: int) -> Any:
            return first if number == 0 else _page(tiff, _offset(file, number), number)

    else:
        series = series_of(file, tiff)
        if not _is_paged(series):
            if series.dataoffset is not None:
                _refuse_bombs(series.keyframe, series.nbytes, file)
                return _contiguous(file, series, series.dataoffset, region)
            part: Array = read_series(file, tiff)[region]
            return part
        shape, page_ndim, dtype = series.shape, series.keyframe.ndim, series.dtype
        page_shape = series.keyframe.shape

        def page_at(number: int) -> Any:
            return series.pages[number]

    chosen = Selection.of(region, shape)
    leading = len(shape) - page_ndim
    extents = tuple(len(r) for r in chosen.ranges)
    _refuse_bombs(page_at(0), math.prod(extents) * dtype.itemsize, file)
    result = np.empty(extents, dtype)
    if result.size == 0:
        return result.reshape(chosen.shape)
    within = chosen.ranges[leading:]
    rows = ((range(1),) * (len(page_shape) - page_ndim) + within) if layout is not None else within
    for at, position in zip(np.ndindex(*result.shape[:leading]), chosen.positions(leading), strict=True):
        number = 0
        for extent, p in zip(shape, position, strict=False):
            number = number * extent + p
        page = page_at(number)
        if page is None or page.shape != page_shape:
            raise damaged("a page is missing", f"page {number} of {page_shape}", "none")
        _refuse_bombs(page, page.nbytes, file)
        result[at] = _part(file, page, rows).reshape(result.shape[leading:])
    return result.reshape(chosen.shape)


def _is_paged(series: tifffile.TiffPageSeries) -> bool:
    """Whether the array is its pages, one after another."""
    page = series.keyframe
    leading = len(series.shape) - page.ndim
    return (
        leading >= 0
        and tuple(series.shape[leading:]) == page.shape
        and len(series.pages) == math.prod(series.shape[:leading])
    )


def _contiguous(file: ReadableFile, series: tifffile.TiffPageSeries, start: int, region: Region) -> Array:
    """A region of pixels that lie together, not compressed: rows of it, one request each."""
    chosen = Selection.of(region, series.shape)
    dtype = np.dtype(series.parent.byteorder + series.dtype.char) if series.parent else series.dtype
    result = np.empty(tuple(len(r) for r in chosen.ranges), dtype)
    leading = max(0, len(series.shape) - 2)
    row = math.prod(series.shape[leading + 1 :])
    if result.size:
        rows = chosen.ranges[leading]
        low, high = ends(rows)
        for at, position in zip(np.ndindex(*result.shape[:leading]), chosen.positions(leading), strict=True):
            number = 0
            for extent, p in zip(series.shape, (*position, low), strict=False):
                number = number * extent + p
            offset = start + number * row * dtype.itemsize
            plane = _rows(file, offset, dtype, (high - low + 1, *series.shape[leading + 1 :]))
            picked = plane[np.arange(len(rows)) * rows.step + (rows.start - low)]
            for axis, along in enumerate(chosen.ranges[leading + 1 :], 1):
                picked = np.take(picked, along, axis)
            result[at] = picked
    native: Array = result.astype(dtype.newbyteorder("="), copy=False)
    return native.reshape(chosen.shape)


def _part(file: ReadableFile, page: Any, ranges: tuple[range, ...]) -> Array:
    """Some rows and columns of a page, from the strips or tiles that hold them."""
    keyframe = page.keyframe
    if keyframe.planarconfig == 2 or keyframe.imagedepth > 1 or len(page.shape) not in {2, 3}:
        whole: Array = page.asarray()
        return whole[np.ix_(*ranges)]
    height, width = keyframe.tile if keyframe.is_tiled else (keyframe.rowsperstrip, page.shape[1])
    across = math.ceil(page.shape[1] / width)
    low, high = ends(ranges[0])
    left, right = ends(ranges[1])
    if keyframe.compression == 1 and keyframe.is_contiguous:
        # Not compressed: any rows can be fetched alone.
        size = math.prod(page.shape[1:]) * page.dtype.itemsize
        raw = np.dtype(keyframe.parent.byteorder + keyframe.dtype.char)
        area = _rows(file, page.dataoffsets[0] + low * size, raw, (high - low + 1, *page.shape[1:]))
        return _picked(area[:, left : right + 1].astype(page.dtype, copy=False), ranges)
    area = np.zeros((high - low + 1, right - left + 1, *page.shape[2:]), page.dtype)
    bands, columns = range(low // height, high // height + 1), range(left // width, right // width + 1)
    for number, piece in _segments(file, page, [b * across + c for b in bands for c in columns]):
        top, start = number // across * height, number % across * width
        y0, y1 = max(low, top), min(high + 1, top + piece.shape[0])
        x0, x1 = max(left, start), min(right + 1, start + piece.shape[1])
        cut = piece[y0 - top : y1 - top, x0 - start : x1 - start]
        area[y0 - low : y1 - low, x0 - left : x1 - left] = cut.reshape(*cut.shape[:2], *page.shape[2:])
    return _picked(area, ranges)


def _picked(area: Array, ranges: tuple[range, ...]) -> Array:
    """The elements of ranges, from the area that begins with the first row and column of them."""
    for axis, along in enumerate(ranges):
        first = ends(along)[0] if axis < 2 else 0
        if along.step > 0:
            part = slice(along.start - first, along.stop - first, along.step)
            area = area[(slice(None),) * axis + (part,)]
        else:
            area = np.take(area, np.arange(len(along)) * along.step + (along.start - first), axis)
    return area


def _rows(file: ReadableFile, start: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    rows = np.empty(shape, dtype)
    file.seek(start)
    count = file.readinto(rows.reshape(-1).view(np.uint8).data) if rows.nbytes else 0
    if count < rows.nbytes:
        raise damaged("the file is cut", f"pixels to byte {start + rows.nbytes}", f"{start + count} bytes")
    return rows


def _segments(file: ReadableFile, page: Any, numbers: list[int]) -> Iterator[tuple[int, Array]]:
    """Strips or tiles as (Y, X, S), without those of zeros that are not stored.

    Those that lie together are fetched together: a request for each would take longer than its bytes.
    """
    wanted = sorted((page.dataoffsets[n], page.databytecounts[n], n) for n in numbers)
    wanted = [one for one in wanted if one[1]]
    while wanted:
        start, run, stop = wanted[0][0], 0, 0
        for offset, count, _ in wanted:
            if run and (offset > stop + _GAP_BYTES or offset + count > start + _RUN_BYTES):
                break
            run, stop = run + 1, max(stop, offset + count)
        file.seek(start)
        data = file.read(stop - start)
        if len(data) < stop - start:
            raise damaged("the file is cut", f"pixels up to byte {stop}", f"{start + len(data)} bytes")
        for offset, count, number in wanted[:run]:
            decoded, _, shape = page.decode(
                data[offset - start : offset - start + count],
                number,
                jpegtables=page.jpegtables,
                jpegheader=page.keyframe.jpegheader,
            )
            if decoded is not None:
                yield number, decoded[0, : shape[1], : shape[2]]
        del wanted[:run]


def _offset(file: ReadableFile, number: int) -> int:
    known = indexed(file, number)
    if known is not None:
        return known
    for count, (offset, _) in enumerate(directories(file)):
        if count == number:
            return offset
    raise damaged("a page is missing", f"page {number}", "fewer pages")


def _page(tiff: tifffile.TiffFile, offset: int, number: int) -> tifffile.TiffPage:
    tiff.filehandle.seek(offset)
    return tifffile.TiffPage(tiff, index=number)


def _description(page: tifffile.TiffPage) -> bytes:
    tag = page.tags.get(270)
    value = "" if tag is None else tag.value
    return _normal(value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape"))


def _normal(description: bytes) -> bytes:
    """A description without what differs between equal ones: OME's UUID, and space at the end."""
    return re.sub(rb' UUID="[^"]*"', b"", description, count=1).rstrip(b"\n\0 ")


def _refuse_entities(tiff: tifffile.TiffFile) -> None:
    """Raise DecodeError for OME-XML with entities of its own: a few lines of them expand to any size."""
    description = _description(tiff.pages.first)
    if b"<!DOCTYPE" in description or b"<!ENTITY" in description:
        raise damaged(
            "OME-XML with a document type", "elements and their attributes", "<!DOCTYPE or <!ENTITY"
        )


def refuse_claims(layout: Layout, file: ReadableFile) -> None:
    """Raise DecodeError for a file that is too small for an array of this layout, whatever its codec."""
    size = file.seek(0, os.SEEK_END)
    if layout.count > size or layout.nbytes > size * _EXPANSION_OTHER + _SMALL:
        raise damaged(
            "the file cannot hold such an array",
            f"{layout.count} pages with {layout.nbytes} bytes of pixels",
            f"{size} bytes",
        )


def _refuse_bombs(page: Any, nbytes: int, file: ReadableFile) -> None:
    size = file.seek(0, os.SEEK_END)
    keyframe = page.keyframe
    if keyframe.is_tiled:
        nbytes = max(nbytes, math.prod(keyframe.tile) * keyframe.dtype.itemsize)
    limit = _EXPANSION.get(int(keyframe.compression), _EXPANSION_OTHER) * size + _SMALL
    if nbytes > limit:
        raise damaged("more pixels are claimed than its bytes can hold", f"up to {limit} bytes", f"{nbytes}")
    require_memory(nbytes, "the pixels")
