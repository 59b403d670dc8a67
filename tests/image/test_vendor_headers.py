"""Headers as microscopes and slide scanners write them, by strangers: typed errors, in proportion."""

from __future__ import annotations

import logging
import struct
import time
import tracemalloc
import warnings

import numpy as np
import pytest
import tifffile

import cpr
from cpr.errors import CprError, DecodeError
from tests.image.test_description_limits import GOOD, OPERATIONS
from tests.image.test_hostile_structure import Pages, shifted

N = 1_600_000


def scanimage(*lines: str, groups: str = "{}", pages: int = 6) -> bytes:
    """A BigTIFF of pages of 2 x 2 pixels, as ScanImage begins it."""
    text = "\n".join(lines).encode() + b"\0"
    head = struct.pack("<IIII", 0x07030301, 4, len(text), len(groups)) + text + groups.encode()
    data = bytearray(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) + head)
    software = len(data)
    data += b"SI.VERSION_MAJOR = 5\0"
    at = 8
    for number in range(pages):
        pixels = len(data)
        data += bytes([number]) * 4
        struct.pack_into("<Q", data, at, len(data))
        long = [(256, 2), (257, 2), (273, pixels), (278, 2), (279, 4)]
        short = [(258, 8), (259, 1), (262, 1), (277, 1)]
        tags = [(code, 4, 1, value) for code, value in long] + [(code, 3, 1, value) for code, value in short]
        tags.append((305, 2, 21, software))
        data += struct.pack("<Q", len(tags)) + b"".join(struct.pack("<HHQQ", *tag) for tag in sorted(tags))
        at = len(data)
        data += bytes(8)
    return bytes(data)


def channels(value: str) -> str:
    return f"SI.hChannels.channelSave = {value}"


def frames(value: str) -> str:
    return f"SI.hStackManager.framesPerSlice = {value}"


def olympus(text: str, planes: int = 1) -> bytes:
    """Pages of one pixel, the first of which has Olympus's settings."""
    pages = Pages(b"a\0")
    tag = (33471, 2, len(text) + 1, pages.put(text.encode() + b"\0"))
    following = 0
    for _ in range(planes - 1):
        following = pages.page(following=following)
    return pages.begun_with(pages.page(tag, following=following))


def zeiss(size: int = 1, **offsets: int) -> tuple[Pages, bytes]:
    """The record of an LSM file of one plane, and pages that are still to be begun."""
    record = np.zeros(1, np.dtype(tifffile.TIFF.CZ_LSMINFO).newbyteorder("<"))
    record["MagicNumber"], record["StructureSize"] = 67127628, record.itemsize
    for axis in ("X", "Y", "Z", "Channels", "Time"):
        record[f"Dimension{axis}"] = size
    for name, offset in offsets.items():
        record[name] = offset
    return Pages(b"a\0"), record.tobytes()


def lsm(lead: bytes, **offsets: int) -> bytes:
    """An LSM file whose record leads to some bytes at 1000."""
    pages, record = zeiss(**offsets)
    pages.data = pages.data.ljust(1000, b"\0") + lead
    tag = (34412, 1, len(record), pages.put(record))
    small = pages.page((254, 4, 1, 1))
    return pages.begun_with(pages.page(tag, following=small))


def metamorph(planes: int, entries: int, kind: int = 37) -> bytes:
    """An STK file with entries that each have a text for each plane."""
    pages = Pages(b"a\0")
    texts = pages.put(struct.pack("<I", 0) * planes)
    first = pages.put(struct.pack("<II", kind, texts) * entries)
    second = pages.put(struct.pack("<6I", 1, 1, 1, 1, 1, 1) * planes)
    return pages.begun_with(pages.page((33628, 4, entries, first), (33629, 5, planes, second)))


def leica(*dimensions: str) -> bytes:
    text = "".join(f"<dimension {one} ifd='0'/>" for one in dimensions)
    xml = f"<scn><collection><image><pixels>{text}</pixels></image></collection></scn>"
    pages = Pages(xml.encode() + b"\0")
    return pages.begun_with(pages.page())


def micro_manager(text: str) -> bytes:
    """A file of Micro-Manager's with this JSON for its summary."""
    pages = Pages(b"{}\0")
    data = pages.begun_with(pages.page((51123, 2, 3, pages.put(b"{}\0"))))
    head = struct.pack("<8I", 54773648, 0, 483765892, 0, 99384722, 0, 2355492, len(text)) + text.encode()
    head += b"\0" * (len(head) % 2)
    moved = shifted(data, len(head))
    return moved[:8] + head + moved[8:]


def aperio() -> bytes:
    pages = Pages(b"Aperio " + b"|a=1" * (N // 4) + b"\0")
    return pages.begun_with(pages.page((322, 4, 1, 16), (323, 4, 1, 16), (324, 4, 1, 8), (325, 4, 1, 1)))


def strips_below(count: int, strips: int) -> bytes:
    """A page that has one page below it many times, with a long list of strips."""
    pages = Pages(b"a\0")
    offsets = pages.put(struct.pack("<I", 8) * strips)
    leaf = pages.page((324, 4, strips, offsets), (325, 4, strips, offsets))
    return pages.begun_with(pages.page(pages.below(*[leaf] * count), following=pages.page()))


def described_below(images: int, each: int) -> bytes:
    """Images of two forms in turn, so that each begins one, with the same pages below all of them."""
    pages = Pages(GOOD.replace("16", "1").encode() + b"\0")
    leaf, following = pages.page(), 0
    for number in range(images):
        tag = pages.below(*[leaf] * each)
        following = pages.page(tag, (282, 5, 1, 8 + number % 2), following=following)
    return pages.begun_with(following)


ALONG = "[Dimension]\nZ={}\nTime=1\nBand=1\n[Z]\nZPos1=0\n[Time]\nTimePos1=0\n"
BANDS = "[Dimension]\nBand={}\n[Band]\nBandName1=a\n"
BOMBS = {
    "ScanImage's channels": scanimage(channels("[" + "1 " * (N // 2) + "]")),
    "ScanImage's channels of text": scanimage(channels("{" + "'1' " * (N // 4) + "}")),
    "ScanImage's zeros": scanimage(channels("zeros(100000,100000)")),
    "ScanImage's ones": scanimage(channels("[1 2]"), frames("ones(100000,100000)")),
    "Olympus's bands": olympus(BANDS.format(10**9)),
    "Olympus's bands again and again": olympus(BANDS.format(40_000) + "[Band]\n" * 40_000),
    "Olympus's positions": olympus("[ASD]\nCount=1000000000\n"),
    "Olympus's positions again and again": olympus("[ASD]\n" + "Count=40000\n" * 40_000),
    "Olympus's lines": olympus("[a]\n" + "".join(f"{i}=1\n" for i in range(N // 10))),
    "Olympus's planes": olympus(ALONG.format(10**9)),
    "Olympus's extents": olympus(
        ALONG.format(1).replace("[Z]", "".join(f"{i}={'9' * 4000}\n" for i in range(400)) + "[Z]")
    ),
    "MetaMorph's entries": metamorph(1, 100_000),
    "Leica's channels": leica("c='1000000000'"),
    "Leica's channels and depths": leica("c='100000'", "z='100000'"),
    "Leica's channels of one resolution": leica("r='0' c='100000'", "r='00' z='100000'"),
    "Micro-Manager's summary": micro_manager('{"a": [' + "[]," * (N // 3) + "[]]}"),
    "Micro-Manager's objects": micro_manager('{"a": [' + "{}," * (N // 3) + "{}]}"),
    "Aperio's values": aperio(),
    "strips of a page below": strips_below(20_000, 50_000),
    "pages below many images": described_below(8, 4900),
}
# Which lead to nothing that is read.
HARMLESS = {
    "ScanImage's other settings": scanimage("SI.a = [" + "1 " * (N // 2) + "]"),
    "ScanImage's regions": scanimage(channels("1"), groups='{"RoiGroups": [' + "[]," * (N // 3) + "[]]}"),
    "Zeiss's colours": lsm(struct.pack("<6I", N, 0, 0, 24, 24, 0) + bytes(N), OffsetChannelColors=1000),
    "Zeiss's events": lsm(struct.pack("<II", 0, 2**32 - 1) + bytes(N), OffsetEventList=1000),
    "Zeiss's types": lsm(struct.pack("<I", 2**31 - 1) + bytes(N), OffsetChannelDataTypes=1000),
    "Zeiss's positions": lsm(struct.pack("<I", 2**31 - 1) + bytes(N), OffsetPositions=1000),
}


def measured(operation, path) -> Exception | None:
    """What an operation raises, within seconds and a multiple of the file's size."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raised = None
            try:
                operation(cpr.ImageSource.from_path(path))
            except CprError as error:
                raised = error
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # tracemalloc makes it five times as long, others twice.
    assert time.process_time() - begin < 60
    assert peak < 30 * path.stat().st_size + (32 << 20)
    return raised


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_proportion_to_the_file(name, operation, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL, "tifffile")  # each entry is told: pytest's record of it takes longer
    path = tmp_path / "a.tif"
    path.write_bytes(olympus("[a]\n"))
    operation(cpr.ImageSource.from_path(path))  # imports what it needs
    path.write_bytes(BOMBS[name])
    raised = measured(operation, path)
    assert isinstance(raised, DecodeError)
    assert raised.remedy


@pytest.mark.parametrize("name", HARMLESS)
def test_what_tells_no_shape_is_not_read(name, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(HARMLESS[name])
    for operation in OPERATIONS.values():
        assert measured(operation, path) is None


GENUINE = {
    "ScanImage": scanimage(channels("[1;2]"), frames("3"), "SI.x = {'a' 'b'}"),
    "ScanImage, one channel": scanimage(channels("2"), frames("2")),
    "ScanImage, endless frames": scanimage(channels("[1 3]"), frames("Inf")),
    "ScanImage, nothing told": scanimage("SI.a = 1", "SI.b = 2"),
    "Olympus": olympus(ALONG.format(3) + "[Band]\nBandName1=a\n[ASD]\nCount=2\nName1=b\n", 3),
    "Zeiss": lsm(b""),
    "MetaMorph": metamorph(1, 3),
    "Leica": leica("c='0'"),
}


@pytest.mark.parametrize("name", GENUINE)
def test_files_as_programs_write_them_are_read_as_tifffile_reads_them(name, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(GENUINE[name])
    with tifffile.TiffFile(path) as tiff:
        expected = tiff.series[0].asarray()
        kind = tiff.series[0].kind
    assert kind == {"Olympus": "sis", "Zeiss": "lsm", "MetaMorph": "stk", "Leica": "scn"}.get(
        name.partition(",")[0], "scanimage"
    )
    source = cpr.ImageSource.from_path(path, image=0)
    assert np.array_equal(source.get_data(), expected)
    assert source.get_data().shape == expected.shape


def test_a_record_of_zeiss_tells_what_tifffile_reads_of_it(tmp_path):
    path = tmp_path / "a.lsm"
    path.write_bytes(lsm(b""))
    with tifffile.TiffFile(path) as tiff:
        whole = tiff.lsm_metadata
    with cpr.image.reading.opened(path.open("rb")) as tiff:
        assert tiff.lsm_metadata == whole
