"""Reads a region from a TIFF: only the strips or tiles that it touches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import tifffile

from cpr.data.regions import Selection, ends, part_of
from cpr.format import ReadableFile, Region, damaged, expect_reads
from cpr.image.image_selection import ImageSelection
from cpr.image.layout import Layout
from cpr.image.page_index import directories, indexed
from cpr.image.reading import page_at, read_series, refuse_bombs, series_of
from cpr.image.series import SelfContainedTiff

__all__ = ["read_region"]

Array = np.ndarray[Any, Any]

# Strips and tiles of a region are fetched in runs of up to this size, over gaps of up to this one.
_RUN_BYTES = 32 << 20
_GAP_BYTES = 64 << 10
# So many pages' directories are fetched before their pixels are.
_PAGES_AT_ONCE = 32
_DIRECTORY_BYTES = 4 << 10


def read_region(
    file: ReadableFile, tiff: SelfContainedTiff, region: Region, layout: Layout | None, choice: ImageSelection
) -> Array:
    """Read the pixels of a region; fetches only the strips or tiles that it touches.

    Args:
        file: where the bytes are.
        tiff: the same, opened.
        region: of the array.
        layout: of an array that cpr wrote, where the pages' index leads; None for any other file.
        choice: which image of any other file.
    """
    if layout is not None:
        shape, page_ndim, dtype = layout.shape, layout.plane_ndim, layout.stored_dtype
        first = page_at(tiff, _offset(file, 0), 0)
        if first.shape != layout.page_shape or first.dtype != dtype:
            raise damaged("another image", f"pages of {layout.page_shape}", f"{first.shape}")
        page_shape = layout.page_shape

        def page_of(number: int) -> Any:
            if number == 0:
                return first
            if not layout.one_directory:
                return page_at(tiff, _offset(file, number), number)
            page = page_at(tiff, _offset(file, 0), number)
            page.dataoffsets = tuple(offset + number * page.nbytes for offset in page.dataoffsets)
            return page

    else:
        series = series_of(file, tiff, choice)
        if not _is_paged(series):
            if series.dataoffset is not None:
                refuse_bombs(series.keyframe, series.nbytes, file)
                return _contiguous(file, series, series.dataoffset, region)
            part: Array = part_of(read_series(file, tiff, choice), region)
            return part
        shape, page_ndim, dtype = series.shape, series.keyframe.ndim, series.dtype
        page_shape = series.keyframe.shape

        def page_of(number: int) -> Any:
            return series.pages[number]

    chosen = Selection.of(region, shape)
    leading = len(shape) - page_ndim
    extents = tuple(len(r) for r in chosen.ranges)
    refuse_bombs(page_of(0), math.prod(extents) * dtype.itemsize, file)
    result = np.empty(extents, dtype)
    if result.size == 0:
        return result.reshape(chosen.shape)
    within = chosen.ranges[leading:]
    rows = ((range(1),) * (len(page_shape) - page_ndim) + within) if layout is not None else within
    numbers = _numbers(shape, chosen.positions(leading))
    at = np.ndindex(*result.shape[:leading])
    waiting = list(islice(numbers, _PAGES_AT_ONCE))
    if layout is not None and not layout.one_directory:
        expect_reads(file, _directories(file, waiting))
    while waiting:
        pages = []
        for number in waiting:
            page = page_of(number)
            if page is None or page.shape != page_shape:
                raise damaged("a page is missing", f"page {number} of {page_shape}", "none")
            refuse_bombs(page, page.nbytes, file)
            pages.append(page)
        waiting = list(islice(numbers, _PAGES_AT_ONCE))
        ranges = [part for page in pages for part in _ranges(page, rows)]
        if layout is not None and not layout.one_directory:
            # Those of the next pages come along.
            ranges += _directories(file, waiting)
        expect_reads(file, ranges)
        for page in pages:
            result[next(at)] = _part(file, page, rows).reshape(result.shape[leading:])
    return result.reshape(chosen.shape)


def _numbers(shape: tuple[int, ...], positions: Iterator[tuple[int, ...]]) -> Iterator[int]:
    """Numbers of the pages at positions along the first axes."""
    for position in positions:
        number = 0
        for extent, p in zip(shape, position, strict=False):
            number = number * extent + p
        yield number


def _directories(file: ReadableFile, numbers: list[int]) -> list[tuple[int, int]]:
    """Offsets of the directories of pages, in a file with an index."""
    known = [indexed(file, number) for number in numbers]
    return [(at, at + _DIRECTORY_BYTES) for at in known if at is not None]


def _is_paged(series: tifffile.TiffPageSeries) -> bool:
    """Whether the array consists of the pages in order."""
    page = series.keyframe
    leading = len(series.shape) - page.ndim
    return (
        leading >= 0
        and tuple(series.shape[leading:]) == page.shape
        and len(series.pages) == math.prod(series.shape[:leading])
    )


def _contiguous(file: ReadableFile, series: tifffile.TiffPageSeries, start: int, region: Region) -> Array:
    """Read a region of contiguous, uncompressed pixels: rows, one request each."""
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
    """Decode some rows and columns of a page, from the strips or tiles that hold them."""
    keyframe = page.keyframe
    if _is_read_whole(page):
        whole: Array = page.asarray()
        return whole[np.ix_(*ranges)]
    low, high = ends(ranges[0])
    left, right = ends(ranges[1])
    if _is_plain(page):
        # Not compressed: any rows can be fetched alone.
        raw = np.dtype(keyframe.parent.byteorder + keyframe.dtype.char)
        ((start, _),) = _ranges(page, ranges)
        area = _rows(file, start, raw, (high - low + 1, *page.shape[1:]))
        return _picked(area[:, left : right + 1].astype(page.dtype, copy=False), ranges)
    area = np.zeros((high - low + 1, right - left + 1, *page.shape[2:]), page.dtype)
    (height, width), across, numbers = _wanted(page, ranges)
    for number, piece in _segments(file, page, numbers):
        top, start = number // across * height, number % across * width
        y0, y1 = max(low, top), min(high + 1, top + piece.shape[0])
        x0, x1 = max(left, start), min(right + 1, start + piece.shape[1])
        cut = piece[y0 - top : y1 - top, x0 - start : x1 - start]
        area[y0 - low : y1 - low, x0 - left : x1 - left] = cut.reshape(*cut.shape[:2], *page.shape[2:])
    return _picked(area, ranges)


def _is_read_whole(page: Any) -> bool:
    keyframe = page.keyframe
    return keyframe.planarconfig == 2 or keyframe.imagedepth > 1 or len(page.shape) not in {2, 3}


def _is_plain(page: Any) -> bool:
    return bool(page.keyframe.compression == 1 and page.keyframe.is_contiguous)


def _wanted(page: Any, ranges: tuple[range, ...]) -> tuple[tuple[int, int], int, list[int]]:
    """Size of the strips or tiles, how many are side by side, and which ones hold the rows and columns."""
    keyframe = page.keyframe
    height, width = keyframe.tile if keyframe.is_tiled else (keyframe.rowsperstrip, page.shape[1])
    across = math.ceil(page.shape[1] / width)
    low, high = ends(ranges[0])
    left, right = ends(ranges[1])
    bands, columns = range(low // height, high // height + 1), range(left // width, right // width + 1)
    return (height, width), across, [b * across + c for b in bands for c in columns]


def _ranges(page: Any, ranges: tuple[range, ...]) -> list[tuple[int, int]]:
    """The byte ranges that hold some rows and columns of a page."""
    if _is_read_whole(page):
        numbers: Sequence[int] = range(len(page.dataoffsets))
    elif _is_plain(page):
        low, high = ends(ranges[0])
        size = math.prod(page.shape[1:]) * page.dtype.itemsize
        return [(page.dataoffsets[0] + low * size, page.dataoffsets[0] + (high + 1) * size)]
    else:
        _, _, numbers = _wanted(page, ranges)
    return [(page.dataoffsets[n], page.dataoffsets[n] + page.databytecounts[n]) for n in numbers]


def _picked(area: Array, ranges: tuple[range, ...]) -> Array:
    """The elements of ranges, cut from an area that starts with their first row and column."""
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
    """Decode strips or tiles as (Y, X, S), without those of zeros that are not stored.

    Those next to each other are fetched together: a request for each would take longer than its bytes.
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
