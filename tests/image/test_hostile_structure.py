"""A stranger's TIFF of which a few kilobytes lead to very many pages or planes: typed errors, at once."""

from __future__ import annotations

import io
import json
import os
import struct
import time
import tracemalloc

import numpy as np
import pytest
import tifffile

import cpr
from cpr.errors import CprError, DecodeError
from cpr.image import page_index
from tests.image.test_description_limits import OPERATIONS

SHAPED = b'{"shape": [1, 1]}\0'


class Pages:
    """A TIFF of pages of one pixel, written from the last to the first."""

    def __init__(self, description: bytes = SHAPED) -> None:
        self.data = bytearray(b"II*\0").ljust(16, b"\0")
        self._described = self.put(description)
        self._length = len(description)

    def put(self, data: bytes) -> int:
        """Append bytes; where they begin."""
        self.data += b"\0" * (len(self.data) % 2)
        self.data += data
        return len(self.data) - len(data)

    def page(self, *more: tuple[int, int, int, int], following: int = 0) -> int:
        """Append a directory with these tags besides; where it begins."""
        long = [(256, 1), (257, 1), (273, 8), (278, 1), (279, 1)]
        short = [(258, 8), (259, 1), (262, 1), (277, 1)]
        tags = [(code, 4, 1, value) for code, value in long] + [(code, 3, 1, value) for code, value in short]
        tags += [(270, 2, self._length, self._described), *more]
        entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
        return self.put(struct.pack("<H", len(tags)) + entries + struct.pack("<I", following))

    def below(self, *offsets: int) -> tuple[int, int, int, int]:
        """The tag of a page that has these below it."""
        value = offsets[0] if len(offsets) == 1 else self.put(struct.pack(f"<{len(offsets)}I", *offsets))
        return (330, 4, len(offsets), value)

    def begun_with(self, first: int) -> bytes:
        """The file."""
        struct.pack_into("<I", self.data, 4, first)
        return bytes(self.data)


def each_below_twice(depth):
    """Each page has the next below it twice: two to the power of their number."""
    pages = Pages()
    offset = pages.page()
    for _ in range(depth):
        offset = pages.page(pages.below(offset, offset))
    return pages.begun_with(offset)


def shared_below(count, each, description=SHAPED):
    """Pages in a chain, which all have the same long list of pages below them."""
    pages = Pages(description)
    leaf = pages.page()
    tag, offset = pages.below(*[leaf] * each), 0
    for _ in range(count):
        offset = pages.page(tag, following=offset)
    return pages.begun_with(offset)


OME = (
    b'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    b'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="1" SizeY="1" '
    b'SizeZ="60" SizeC="1" SizeT="1"><Channel ID="Channel:0" SamplesPerPixel="1"/>'
    b"<TiffData/></Pixels></Image></OME>\0"
)


def micro_manager(last, **summary):
    """An index of two planes, the second at the end of a large cube."""
    pages = Pages(b"{}\0")
    texts = pages.put(b"{}\0")
    offset = pages.page((51123, 2, 3, texts))
    said = {"MicroManagerVersion": "2", "Frames": 1, "Slices": 1, "Channels": 1, "Positions": 1, **summary}
    text = json.dumps(said).encode()
    data = pages.begun_with(offset)
    index = struct.pack("<II", 3453623, 2) + struct.pack("<10I", 0, 0, 0, 0, offset, *last, offset)
    # Micro-Manager's header is between the first eight bytes and the first directory: all moves behind it.
    head = struct.pack("<8I", 54773648, 0, 483765892, 0, 99384722, 0, 2355492, len(text)) + text
    head += b"\0" * (len(head) % 2)
    moved = shifted(data, len(head))
    whole = bytearray(moved[:8] + head + moved[8:])
    struct.pack_into("<I", whole, 12, len(whole))
    return bytes(whole) + _moved_index(index, offset, len(head))


def shifted(data, by):
    """A file of one page with all offsets moved."""
    found = bytearray(data)
    (first,) = struct.unpack_from("<I", found, 4)
    struct.pack_into("<I", found, 4, first + by)
    (count,) = struct.unpack_from("<H", found, first)
    for at in range(first + 2, first + 2 + 12 * count, 12):
        code, kind, number, value = struct.unpack_from("<HHII", found, at)
        if code == 273 or (kind == 2 and number > 4):
            struct.pack_into("<I", found, at + 8, value + by)
    return bytes(found)


def _moved_index(index, offset, by):
    return index.replace(struct.pack("<I", offset), struct.pack("<I", offset + by))


BOMBS = {
    "each below twice, 16": each_below_twice(16),
    "each below twice, 30": each_below_twice(30),
    "shared below": shared_below(40, 20_000),
    "shared below, OME": shared_below(60, 20_000, OME),
    "many below one": shared_below(1, 80_000),
    "Micro-Manager's index": micro_manager((549, 549, 549, 0)),
    "Micro-Manager's summary": micro_manager((0, 0, 0, 0), Frames=10**9),
    "Micro-Manager's summary of texts": micro_manager((0, 0, 0, 0), Frames="1000000000"),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(name, operation, tmp_path):
    path = tmp_path / ("a.ome.tif" if "OME" in name else "a.tif")
    path.write_bytes(shared_below(1, 1))
    operation(cpr.ImageSource.from_path(path))  # imports what it needs
    path.write_bytes(BOMBS[name])
    tracemalloc.start()
    begin = time.process_time()
    try:
        with pytest.raises(DecodeError) as caught:
            operation(cpr.ImageSource.from_path(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < 10
    assert peak < 64 << 20
    assert caught.value.remedy


@pytest.mark.parametrize(
    "data",
    [
        each_below_twice(3),
        shared_below(5, 40),
        micro_manager((1, 0, 0, 0)),
        micro_manager((0, 0, 0, 0), Frames=[]),
    ],
)
def test_a_few_are_read_or_refused(data, tmp_path):
    (tmp_path / "a.tif").write_bytes(data)
    for operation in OPERATIONS.values():
        try:
            operation(cpr.ImageSource.from_path(tmp_path / "a.tif"))
        except CprError as error:
            assert error.problem


class Shorter(io.BytesIO):
    """A file of which a store gives fewer bytes than it said that there are."""

    def __init__(self, data, given):
        super().__init__(data[:given])
        self._said = len(data)

    def seek(self, offset, whence=os.SEEK_SET):
        return self._said + offset if whence == os.SEEK_END else super().seek(offset, whence)


KINDS = {
    "plain": {},
    "BigTIFF": {"bigtiff": True},
    "ImageJ": {"imagej": True},
    "OME": {"ome": True},
    "a directory of over 512 bytes": {"extratags": [(65000 + n, "s", 0, "value", True) for n in range(50)]},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_of_fewer_bytes_than_were_said_the_error_is_typed(options):
    written = io.BytesIO()
    tifffile.imwrite(written, np.zeros((4, 8, 8), "uint16"), **options)
    data = written.getvalue()
    errors = 0
    for given in range(len(data)):
        try:
            list(page_index.directories(Shorter(data, given)))
        except DecodeError:
            errors += 1
    assert errors > 100  # at least in the first directory
