"""Writes the pages of a TIFF to a forward-only file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple, cast

import numpy as np
import tifffile

from cpr.data.arrays import Planes
from cpr.format import WritableFile
from cpr.image import page_index as pages
from cpr.image.description import FirstPage
from cpr.image.layout import Layout
from cpr.image.reading import SOFTWARE, workers
from cpr.image.seekable_window import Skeleton, Window

__all__ = ["Compression", "write_pages"]

Array = np.ndarray[Any, Any]

_RESOLUTION_TAGS = {282, 283, 296}


class Compression(NamedTuple):
    """The compression of pixels.

    Attributes:
        name: as tifffile spells it, or None.
        level: the codec's, or None.
        predictor: TIFF's Predictor tag, 2 or 3, or None.
        growth: how much larger pixels may become.
    """

    name: str | None
    level: int | None
    predictor: int | None
    growth: float


def write_pages(
    planes: Planes, layout: Layout, first: FirstPage, compression: Compression, file: WritableFile
) -> None:
    """Write a whole TIFF.

    Args:
        planes: the array, plane by plane.
        layout: how it is laid out in the file.
        first: tags of the first page.
        compression: of the pixels.
        file: to write to.
    """
    if layout.flavour == "empty":
        for _ in planes:  # without elements, but with a hash
            pass
        blank = np.zeros(layout.page_shape, layout.stored_dtype)
        _write_plain([_little(blank)], layout, first, file)
    elif compression.name is not None:
        stored = (_stored(plane, layout) for plane in planes)
        _write_compressed(stored, layout, first, compression, file)
    elif layout.dtype == layout.stored_dtype and sys.byteorder == "little":
        _write_plain(planes.pieces(), layout, first, file)
    else:
        _write_plain((_little(_stored(plane, layout)) for plane in planes), layout, first, file)


def _stored(plane: Array, layout: Layout) -> Array:
    page = plane.reshape(layout.page_shape)
    return page.view(np.uint8) * np.uint8(255) if layout.dtype == np.bool_ else page


def _write_compressed(
    stored: Iterator[Array], layout: Layout, first: FirstPage, compression: Compression, file: WritableFile
) -> None:
    """Write page after page; the directory, with the sizes of its strips, comes before them."""
    window = Window(file)
    options: dict[str, Any] = {
        "compression": compression.name,
        "compressionargs": None if compression.level is None else {"level": compression.level},
        "predictor": compression.predictor,
        "maxworkers": workers(),
        "contiguous": False,
    }
    with _writer(window, layout, first, compression.growth) as writer:
        for number, page in enumerate(stored):
            # One call per page: tifffile then compresses it before the next one is asked for, so a
            # stream may use one buffer again.
            writer.write(page, **_tags(layout, first, number), **options)
    window.pass_on()
    file.write(pages.index(window.holes))


def _little(page: Array) -> memoryview:
    return np.ascontiguousarray(page, page.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def _write_plain(
    stored: Iterable[bytes | memoryview], layout: Layout, first: FirstPage, file: WritableFile
) -> None:
    """Write all pixels contiguously, as ImageJ expects; everything around them is prepared before."""
    skeleton = Skeleton()
    with _writer(skeleton, layout, first, 1.0) as writer:
        shape = (1 if layout.one_directory else layout.count, *layout.page_shape)
        found = writer.write(
            None, shape=shape, dtype=layout.stored_dtype, returnoffset=True, **_tags(layout, first, 0)
        )
        assert found is not None
    start, _ = found
    file.write(skeleton.between(0, start))
    for elements in stored:
        file.write(elements)
    file.write(skeleton.after(start + layout.nbytes // (layout.count if layout.one_directory else 1)))
    file.write(pages.index([offset for offset, _ in pages.directories(skeleton)]))


def _writer(file: Window | Skeleton, layout: Layout, first: FirstPage, growth: float) -> tifffile.TiffWriter:
    bigtiff = layout.needs_bigtiff(growth) and not layout.one_directory
    writer = tifffile.TiffWriter(
        cast(IO[bytes], file), bigtiff=bigtiff, byteorder="<", ome=False, shaped=False
    )
    if first.resolution is None:
        # tifffile writes 1/1, and others read 1 µm from it. Its method is private: without it the tags would
        # be back, and a test would fail.
        add = writer._addtag  # noqa: SLF001

        def add_known(tags: Any, code: Any, *more: Any) -> None:
            if code not in _RESOLUTION_TAGS:
                add(tags, code, *more)

        setattr(writer, "_addtag", add_known)  # noqa: B010 - no method of its class is replaced
    return writer


def _tags(layout: Layout, first: FirstPage, number: int) -> dict[str, Any]:
    tags: dict[str, Any] = {
        "photometric": "rgb" if layout.samples in {3, 4} and layout.dtype.kind == "u" else "minisblack",
        "planarconfig": "contig" if layout.has_samples else None,
        "metadata": None,
        "resolution": first.resolution,
        "resolutionunit": first.resolution_unit,
        "software": False,
    }
    if number == 0:
        tags |= {"description": first.description, "extratags": first.extra, "software": SOFTWARE}
    return tags
