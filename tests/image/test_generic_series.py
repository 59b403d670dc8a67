"""Images of files that describe none: as tifffile finds them, in a time in proportion to their number."""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pytest
import tifffile

import cpr
from cpr.image import generic_series
from cpr.image.reading import opened
from tests.image.test_hostile_structure import Pages


def page(pages: Pages, width: int, following: int) -> int:
    """Append a directory of a row of so many pixels."""
    long = [(256, width), (257, 1), (273, 8), (278, 1), (279, width)]
    short = [(258, 8), (259, 1), (262, 1), (277, 1)]
    tags = [(code, 4, 1, value) for code, value in long] + [(code, 3, 1, value) for code, value in short]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return pages.put(struct.pack("<H", len(tags)) + entries + struct.pack("<I", following))


def alike_but_one(count: int) -> bytes:
    pages, offset = Pages(b"\0" * 64), 0
    for number in range(count):
        offset = page(pages, 1 if number else 2, offset)
    return pages.begun_with(offset)


def all_different(count: int) -> bytes:
    pages, offset = Pages(b"\0" * 64), 0
    for number in range(count):
        offset = page(pages, 1000 + number, offset)
    return pages.begun_with(offset).ljust(4000 + 2 * count, b"\0")


def different_in_turns(count: int) -> bytes:
    """Images that may all be levels of each other's pyramids."""
    pages, offset = Pages(b"\0" * 64), 0
    for number in range(count):
        offset = page(pages, 1 << (number % 8), offset)
    return pages.begun_with(offset)


def steps(data: bytes) -> int:
    """How many lines run while the images of a file are looked for, of the search alone."""
    count = 0
    names = {"_series_generic", "addpage", "pyramidize_series", "subresolution"}
    own = generic_series.__file__

    def trace(frame, event, _):
        nonlocal count
        code = frame.f_code
        if code.co_filename != own and not (
            code.co_filename.endswith("tifffile.py") and code.co_name in names
        ):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    with opened(io.BytesIO(data)) as tiff:
        sys.settrace(trace)
        try:
            with tiff.metered.counting():
                assert tiff.series
        finally:
            sys.settrace(before)
    return count


@pytest.mark.parametrize("make", [alike_but_one, all_different, different_in_turns])
def test_twice_the_pages_take_twice_the_steps(make):
    few, many = steps(make(200)), steps(make(800))
    assert few > 200
    assert many < 6 * few, "not in proportion to the number of pages"


@pytest.mark.parametrize("seed", range(40))
def test_images_are_those_that_tifffile_finds(seed):
    random = np.random.default_rng(seed)
    written = io.BytesIO()
    sizes = [
        (64, 64),
        (32, 32),
        (16, 16),
        (8, 8),
        (33, 32),
        (65, 64),
        (22, 22),
        (21, 21),
        (5, 5),
        (3, 64, 64),
    ]
    with tifffile.TiffWriter(written) as file:
        for _ in range(int(random.integers(2, 30))):
            shape = sizes[random.integers(len(sizes))]
            below = int(random.integers(0, 3)) if len(shape) == 2 else 0
            dtype = ["u1", "u2"][random.integers(2)]
            more = {"photometric": "minisblack", "metadata": None, "contiguous": False}
            file.write(
                np.zeros(shape, dtype), subifds=below, compression=[None, "zlib"][random.integers(2)], **more
            )
            for level in range(below):
                file.write(np.zeros([n >> (level + 1) for n in shape], dtype), subfiletype=1, **more)
    with tifffile.TiffFile(copy(written)) as theirs, tifffile.TiffFile(copy(written)) as ours:
        expected, found = theirs._series_generic(), generic_series.generic_series(ours)
        assert [outline(one) for one in found] == [outline(one) for one in expected]
        assert ours.is_uniform == theirs.is_uniform


def copy(written: io.BytesIO) -> io.BytesIO:
    return io.BytesIO(written.getvalue())


def outline(series):
    levels = [
        (one.shape, one.axes, str(one.dtype), one.kind, [p.offset for p in one.pages])
        for one in series.levels
    ]
    return series.name, levels


@pytest.mark.parametrize("seed", range(60))
def test_pyramids_are_those_that_tifffile_makes(seed):
    random = np.random.default_rng(seed)
    written = io.BytesIO()
    with tifffile.TiffWriter(written) as file:
        for _ in range(int(random.integers(2, 40))):
            shape = (
                random.integers(1, 9, 2)
                if seed % 2
                else 2 ** random.integers(0, 6, 2) + random.integers(0, 2, 2)
            )
            file.write(np.zeros(shape, "u1"), metadata=None, contiguous=False)
    with tifffile.TiffFile(copy(written)) as theirs, tifffile.TiffFile(copy(written)) as ours:
        assert list(map(outline, generic_series.generic_series(ours))) == list(
            map(outline, theirs._series_generic())
        )


def test_a_directory_that_is_there_twice_counts_once():
    pages = Pages(b"\0" * 64)
    leaf = page(pages, 1, 0)
    offset = pages.page(pages.below(leaf, leaf))
    data = pages.begun_with(offset)
    with tifffile.TiffFile(io.BytesIO(data)) as ours, tifffile.TiffFile(io.BytesIO(data)) as theirs:
        found = generic_series.generic_series(ours)
        assert [p.offset for one in found for p in one.pages].count(leaf) == 1
        assert list(map(outline, found)) == list(map(outline, theirs._series_generic()))


def test_sources_search_in_this_way(monkeypatch, tmp_path):
    (tmp_path / "a.tif").write_bytes(alike_but_one(12))
    asked = []
    search = generic_series.generic_series
    monkeypatch.setattr("cpr.image.series.generic_series", lambda tiff: asked.append(1) or search(tiff))
    assert cpr.ImageSource.from_path(tmp_path / "a.tif", image=0).get_data().shape == (11, 1, 1)
    assert asked
