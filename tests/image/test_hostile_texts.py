"""A stranger's TIFF whose ImageJ texts are cut from the same bytes again and again: refused at once."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
import tifffile

import cpr
from cpr.errors import DecodeError
from tests.image.test_description_limits import OPERATIONS

_TEXTS, _COUNTS = 50839, 50838
_FORMATS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q", 17: "q"}


def stored(path, counts, kind, page=0):
    """A file of two pages, one of which has ImageJ's texts of these lengths."""
    each = max(map(abs, counts[1:]))
    texts = b"IJIJlbal" + struct.pack("<I", len(counts) - 1) + b"a\0" * (int(each) // 2)
    extra = [
        (_TEXTS, 1, len(texts), texts, True),
        (_COUNTS, kind, len(counts), struct.pack(f"<{len(counts)}{_FORMATS[kind]}", *counts), True),
    ]
    with tifffile.TiffWriter(path, bigtiff=kind in (16, 17)) as file:
        for number in range(2):
            file.write(
                np.full((8, 8), number, "u1"),
                description="ImageJ=1.54f\nimages=2\n" if number == 0 else "",
                extratags=extra if number == page else [],
                metadata=None,
                contiguous=False,
            )
    return path


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("kind", [9, 8, 6, 17, 11, 12])
@pytest.mark.parametrize("page", [0, 1])
def test_lengths_that_may_be_negative_are_refused(tmp_path, kind, page, operation):
    each = 100 if kind == 6 else 30_000 if kind == 8 else 100_000
    path = stored(tmp_path / "a.tif", [12, *[each, -each] * 2000], kind, page)
    source = cpr.ImageSource.from_path(path)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="lengths of ImageJ's texts"):
            operation(source)
        assert tracemalloc.get_traced_memory()[1] < 64 * path.stat().st_size + (8 << 20)
    finally:
        tracemalloc.stop()


BELOW = {
    "plain": {"metadata": None},
    "JSON": {},
    "ImageJ": {"metadata": None, "description": "ImageJ=1.54f\nimages=2\n"},
    "OME": {"ome": True},
}


def below_another(path, counts, kind, options):
    """A file of two pages, each with one below it that has ImageJ's texts."""
    options = dict(options)
    each = max(map(abs, counts[1:]))
    texts = b"IJIJlbal" + struct.pack("<I", len(counts) - 1) + b"a\0" * (int(each) // 2)
    extra = [
        (_TEXTS, 1, len(texts), texts, True),
        (_COUNTS, kind, len(counts), struct.pack(f"<{len(counts)}{_FORMATS[kind]}", *counts), True),
    ]
    ome = options.pop("ome", None)
    with tifffile.TiffWriter(path, bigtiff=kind in (16, 17), ome=ome) as file:
        for _ in range(1 if ome else 2):
            file.write(np.zeros((16, 16), "u1"), subifds=1, **options)
            file.write(np.zeros((8, 8), "u1"), subfiletype=1, metadata=None, extratags=extra)
    return path


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("kind", [9, 17])
@pytest.mark.parametrize("options", BELOW.values(), ids=BELOW)
def test_nor_are_they_read_of_a_page_below_another(tmp_path, options, kind, operation):
    path = below_another(tmp_path / "a.tif", [12, *[100_000, -100_000] * 2000], kind, options)
    below_another(tmp_path / "b.tif", [12, 4, 4], 4, options)
    operation(cpr.ImageSource.from_path(tmp_path / "b.tif"))  # as it is read where no length is negative
    source = cpr.ImageSource.from_path(path)
    tracemalloc.start()
    try:
        try:
            operation(source)
        except DecodeError as error:
            assert "lengths of ImageJ's texts" in str(error)
        assert tracemalloc.get_traced_memory()[1] < 8 * path.stat().st_size + (8 << 20)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [3, 4, 16])
def test_lengths_from_0_are_read(tmp_path, kind):
    source = cpr.ImageSource.from_path(stored(tmp_path / "a.tif", [12, 4, 4], kind))
    assert source.get_data().shape == (2, 8, 8)
