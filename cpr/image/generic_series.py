"""The images of a TIFF whose description tells none: pages that are alike, and those below them.

As tifffile finds them, in a time that is in proportion to the number of pages: tifffile compares each page
with all that are like it, and each image with all behind it, minutes for a file of two megabytes.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from typing import Any

import tifffile
from tifffile.tifffile import subresolution

__all__ = ["generic_series", "pyramidize"]

_FACTORS = (2, 3, 4)  # of a level of a pyramid
_SPACE = frozenset("xyz")


def generic_series(tiff: tifffile.TiffFile) -> list[tifffile.TiffPageSeries] | None:
    """Pages by what they have in common, as `TiffFile._series_generic` has them."""
    pages: Any = tiff.pages
    pages._clear(fully=False)  # noqa: SLF001 - what is done here, tifffile does there
    pages.useframes = False
    if pages.cache:
        pages._load()  # noqa: SLF001
    alike: dict[int, dict[int, Any]] = {}  # by hash, then by offset
    for page in _with_those_below(tiff):
        if page.shape:
            alike.setdefault(page.hash, {}).setdefault(page.offset, page)
    series = []
    for found in alike.values():
        some = list(found.values())
        first = some[0]
        shape, axes = (len(some), *first.shape), "I" + first.axes
        if "S" not in axes:
            shape, axes = (*shape, 1), axes + "S"
        series.append(tifffile.TiffPageSeries(some, shape, first.dtype, axes, kind="generic"))
    changed: Any = tiff
    changed.is_uniform = len(series) == 1
    if not tiff.is_agilent:
        pyramidize(series)
    return series or None


def _with_those_below(tiff: tifffile.TiffFile) -> Iterator[Any]:
    for page in tiff.pages:
        yield page
        for number, offset in enumerate(page.subifds or ()):
            if offset < 8:
                continue
            try:
                tiff.filehandle.seek(offset)
                below = tifffile.TiffPage(tiff, (page.index, number))
            except Exception as error:  # as tifffile
                logging.getLogger("tifffile").warning("%r generic series raised %.128r", tiff, error)
            else:
                yield below


def pyramidize(series: list[tifffile.TiffPageSeries]) -> None:
    """Put images that are others' levels of a pyramid among these, as `tifffile.pyramidize_series` does."""
    # The numbers of images that may be levels, by what is compared.
    places: dict[Any, list[int]] = defaultdict(list)
    for number, one in enumerate(series):
        places[one.axes, one.dtype, one.shape].append(number)
    tops = []
    taken: set[int] = set()
    for number, top in enumerate(series):
        if number in taken:
            continue
        tops.append(top)
        if top.keyframe.is_subifd:
            continue
        at, factor = number, None
        while (found := _next_level(top.levels[-1], series, places, at, factor)) is not None:
            at, factor = found
            level = series[at]
            top.levels.append(level)
            taken.add(at)
            where = places[level.axes, level.dtype, level.shape]
            del where[bisect_left(where, at)]
    series[:] = tops


def _next_level(
    above: tifffile.TiffPageSeries,
    series: list[tifffile.TiffPageSeries],
    places: dict[Any, list[int]],
    behind: int,
    factor: int | None,
) -> tuple[int, int] | None:
    """The first image behind a place that is the level below another, and by which factor it is smaller."""
    found: list[tuple[int, int]] = []
    for one in _FACTORS if factor is None else (factor,):
        for shape in _smaller(above, one):
            where = places.get((above.axes, above.dtype, shape), [])
            first = bisect_left(where, behind + 1)
            if first < len(where) and subresolution(above, series[where[first]], p=one) == 1:
                found.append((where[first], one))
    return min(found, default=None)


def _smaller(above: tifffile.TiffPageSeries, factor: int) -> set[tuple[int, ...]]:
    """The shapes of the level below: sizes in space are a part of those above, rounded up or down."""
    sizes = [
        {size // factor, -(-size // factor)} if axis in _SPACE else {size}
        for axis, size in zip(above.axes.lower(), above.shape, strict=True)
    ]
    return set(product(*sizes))
