"""A result that another program has written again, with its description: the same content is read."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import cpr
from cpr.errors import CorruptDataError

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "plane": (RANDOM.integers(0, 999, (40, 50), "uint16"), {}),
    "stack": (RANDOM.integers(0, 999, (5, 40, 50), "uint16"), {}),
    "stack without compression": (RANDOM.integers(0, 999, (5, 40, 50), "uint16"), {"compression": None}),
    "OME-TIFF": (RANDOM.integers(0, 999, (3, 5, 40, 50), "uint16"), {"imagej": False}),
    "RGB": (RANDOM.integers(0, 255, (40, 50, 3), "uint8"), {}),
    "mask": (RANDOM.random((40, 50)) > 0.5, {}),
    "64 bits": (RANDOM.integers(0, 999, (3, 40, 50), "int64"), {}),
}
WAYS = {
    "plain": {},
    "lzw": {"compression": "lzw"},
    "zlib in strips": {"compression": "zlib", "rowsperstrip": 7},
    "tiles": {"tile": (16, 16)},
    "tiles of zlib": {"tile": (16, 16), "compression": "zlib"},
    "BigTIFF": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "big-endian, who made it kept": {"byteorder": ">", "software": "cpr"},
    "tiles, who made it kept": {"tile": (16, 16), "software": "cpr"},
}


def stored(tmp_path, data, **options):
    target = cpr.ImageTarget.from_path(tmp_path / "image.tif", **options)
    target.set_data(data)
    record = target.serialize()
    return cpr.load(record), target.url.removeprefix("file://")


def write_again(path, page_by_page, **way):
    with tifffile.TiffFile(path) as tiff:
        pages = [page.asarray() for page in tiff.pages]
        first = tiff.pages[0]
        description, photometric = first.tags[270].value, first.photometric
    description = description if isinstance(description, bytes) else description.encode()
    at_once = {name: way.pop(name) for name in ("bigtiff", "byteorder") if name in way}
    if not page_by_page:
        pages = [np.stack(pages) if len(pages) > 1 else pages[0]]
    with tifffile.TiffWriter(path, **at_once) as writer:
        for number, page in enumerate(pages):
            said = description if number == 0 else None
            writer.write(
                page, description=said, metadata=None, photometric=photometric, contiguous=False, **way
            )


@pytest.mark.parametrize("page_by_page", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ARRAYS)
def test_the_same_content_is_read(kind, way, page_by_page, tmp_path):
    data, options = ARRAYS[kind]
    target, path = stored(tmp_path, data, **options)
    write_again(path, page_by_page, **WAYS[way])
    found = target.get_data()
    assert found.dtype == data.dtype
    assert np.array_equal(found, data)
    assert np.array_equal(target.get_data(region=np.s_[..., 3:9]), data[..., 3:9])
    with pytest.raises(CorruptDataError):
        target.check(full=True)


@pytest.mark.parametrize("way", WAYS)
def test_other_content_is_not(way, tmp_path):
    data, _ = ARRAYS["stack"]
    target, path = stored(tmp_path, data)
    write_again(path, False, **WAYS[way])
    changed = tifffile.imread(path)
    changed[2, 3, 4] += 1
    with tifffile.TiffFile(path) as tiff:
        description = tiff.pages[0].description
    tifffile.imwrite(path, changed, description=description, metadata=None, photometric="minisblack")
    for read in (target.get_data, lambda: target.get_data(region=np.s_[0])):
        with pytest.raises(CorruptDataError):
            read()


def test_a_part_of_a_large_one_is_verified_by_its_blocks(tmp_path):
    """Only the whole tells whether other bytes hold the same content."""
    data = RANDOM.integers(0, 2**16, (4, 512, 512), "uint16")
    target, path = stored(tmp_path, data)
    write_again(path, False)
    with pytest.raises(CorruptDataError):
        target.get_data(region=np.s_[1, 5:9])
    assert np.array_equal(target.get_data(), data)


def test_a_file_of_cprs_own_that_is_cut_anywhere_is_none(tmp_path):
    data, _ = ARRAYS["plane"]
    target, path = stored(tmp_path, data)
    with open(path, "rb") as file:
        good = file.read()
    for size in range(0, len(good), 7):
        with open(path, "wb") as file:
            file.write(good[:size])
        with pytest.raises(CorruptDataError):
            target.get_data()
    for more in (b"\0", b"cprpages"):
        with open(path, "wb") as file:
            file.write(good + more)
        with pytest.raises(CorruptDataError):
            target.get_data()
