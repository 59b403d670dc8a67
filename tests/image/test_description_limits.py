"""Descriptions of a stranger's TIFF, as tifffile and ImageJ write them: typed errors, in proportion."""

from __future__ import annotations

import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

import cpr
from cpr.errors import CprError, DecodeError

N = 400_000
PIXELS = np.arange(256, dtype="uint16").reshape(16, 16)
BOMBS = {
    "deep": '{"shape": [16, 16], "a": ' + "[" * N + "]" * N + "}",
    "wide": '{"shape": [16, 16], "a": [' + "[]," * N + "[]]}",
    "wide objects": '{"shape": [16, 16], "a": [' + "{}," * N + "{}]}",
    "keys": '{"shape": [16, 16], ' + ", ".join(f'"{number}": 0' for number in range(N)) + "}",
    "key again and again": "{" + '"shape": [1, 2], ' * (N // 4) + '"shape": [16, 16]}',
    "texts": '{"shape": [16, 16], "Channel": {"Name": [' + '"a",' * N + '"a"]}}',
    "a long number": '{"shape": [16, 16], "a": ' + "9" * N + "}",
    "extents": '{"shape": [' + "1, " * N + "16, 16]}",
    "some extents": '{"shape": [' + "1, " * 1000 + '16, 16], "axes": "' + "Q" * 1000 + 'YX"}',
    "growing extents": '{"shape": [' + "2, " * N + "16, 16]}",
    "large extents": '{"shape": [' + ("9" * 18 + ", ") * 40_000 + "16, 16]}",
    "a large extent": '{"shape": [' + "9" * 4000 + ", 16, 16]}",
    "a repeated list": '{"shape": [[0], 1000000000]}',
    "a repeated text": '{"shape": ["a", 1000000000]}',
    "a repeated null": '{"a": 1, "shape": [null, 16]}',
    "extents of old": "shape=(" + "1," * N + "16,16)",
    "large extents of old": "shape=(" + ("9" * 4000 + ",") * 500 + "16,16)",
    "lines": "ImageJ=1.54f\nimages=1\n" + "\n".join(f"{number}=0" for number in range(N)),
}


def put(path: Path, *texts: str) -> Path:
    """A TIFF whose pages have these descriptions."""
    with tifffile.TiffWriter(path, shaped=False) as writer:
        for text in texts:
            writer.write(PIXELS, photometric="minisblack", description=text, metadata=None)
    return path


OPERATIONS = {
    "data": lambda source: source.get_data(),
    "region": lambda source: source.get_data(region=np.s_[:2, :2]),
    "metadata": lambda source: source.get_metadata(),
    "images": lambda source: cpr.ImageSource.images(source.url),
    "preview": lambda source: source.preview(),
    "dask": lambda source: source.get_dask(),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_in_proportion_to_the_file(text, operation, tmp_path):
    path = put(tmp_path / "a.tif", text)
    operation(cpr.ImageSource.from_path(put(tmp_path / "plain.tif", "plain")))  # imports what it needs
    tracemalloc.start()
    begin = time.process_time()
    try:
        remedy = None
        try:
            operation(cpr.ImageSource.from_path(path))
        except DecodeError as error:
            remedy = error.remedy
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < 5
    assert peak < 8 * path.stat().st_size + (8 << 20)
    # tifffile since 2026.11 takes the page as it is where a number of its JSON is none that Python reads.
    assert remedy or text == BOMBS["a long number"]


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_the_pages_alone_can_be_read(text, tmp_path):
    """As the remedy says."""
    path = put(tmp_path / "a.tif", text)
    assert np.array_equal(cpr.ImageSource.from_path(path, description=False).get_data(), PIXELS)


GOOD = '{"shape": [16, 16], "axes": "YX"}'


@pytest.mark.parametrize("name", ["wide", "extents", "a repeated list", "extents of old"])
def test_bombs_on_a_later_page(name, tmp_path):
    path = put(tmp_path / "a.tif", GOOD, GOOD, BOMBS[name])
    for operation in OPERATIONS.values():
        with pytest.raises(DecodeError):
            operation(cpr.ImageSource.from_path(path))


@pytest.mark.parametrize("name", ["wide", "extents", "a repeated list"])
def test_bombs_below_a_page(name, tmp_path):
    """In the description of a smaller image, which the page's SubIFDs lead to."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, shaped=False) as writer:
        writer.write(PIXELS, photometric="minisblack", description=GOOD, metadata=None, subifds=1)
        writer.write(PIXELS[:8, :8], photometric="minisblack", description=BOMBS[name], metadata=None)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.subifds
    for operation in OPERATIONS.values():
        with pytest.raises(DecodeError):
            operation(cpr.ImageSource.from_path(path))


def test_subifds_that_lead_back_to_their_page(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, shaped=False) as writer:
        writer.write(PIXELS, photometric="minisblack", description=GOOD, metadata=None, subifds=1)
        writer.write(PIXELS[:8, :8], photometric="minisblack", description=GOOD, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages.first.offset
        tag = tiff.pages.first.tags[330]
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, tag.offset + 8, first)
    path.write_bytes(data)
    for operation in OPERATIONS.values():
        try:
            operation(cpr.ImageSource.from_path(path))
        except CprError:
            continue


ODD = [
    '{"shape": "1616"}',
    '{"shape": null}',
    '{"shape": {"a": 1}}',
    '{"shape": [16.0, 16.5]}',
    '{"shape": [true]}',
    '{"shape": [-1, 16, 16]}',
    '{"shape": [0, 16, 16]}',
    '{"shape": [NaN, 1e999]}',
    '{"shape": [16, 16], "axes": 7}',
    '{"shape": [16, 16], "name": [[1]]}',
    '{"shape": [4, 16, 16], "truncated": "x"}',
    '{"shape": [1000000, 16, 16]}',
    "ImageJ=1\nimages=1000000000\nslices=1000000000\n",
    "ImageJ=1\nimages=-1\nslices=-5\n",
    "shape=()",
    "shape=",
    "ImageJ=1\nimages=1e300\nslices=nan\n",
    "ImageJ=1\nimages=1\norder=7\n",
    '{"shape": [16, 16], "unit": [{}]}',
]


@pytest.mark.parametrize("text", ODD)
def test_whatever_a_description_says_nothing_untyped_is_raised(text, tmp_path):
    path = put(tmp_path / "a.tif", text)
    for operation in OPERATIONS.values():
        try:
            operation(cpr.ImageSource.from_path(path))
        except CprError as error:
            assert error.problem
