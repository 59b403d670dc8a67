"""TIFF files of other programs, whole and damaged."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile

import cpr
from cpr.errors import DecodeError
from cpr.image.tiff import Tiff
from cpr.testing import SeekableBytes
from tests.array_cases import noise

STACK = noise((3, 2, 60, 70))
FILES = {
    "imagej": (STACK, {"imagej": True, "metadata": {"axes": "ZCYX"}}),
    "imagej-zlib": (STACK, {"imagej": True, "metadata": {"axes": "ZCYX"}, "compression": "zlib"}),
    "ome": (STACK, {"ome": True, "metadata": {"axes": "ZCYX"}}),
    "ome-lzw": (STACK, {"ome": True, "metadata": {"axes": "ZCYX"}, "compression": "lzw", "predictor": True}),
    "shaped": (STACK, {}),
    "tiles": (STACK, {"tile": (32, 16), "compression": "zstd"}),
    "tiles-plain": (STACK, {"tile": (32, 32)}),
    "big-endian": (STACK, {"byteorder": ">", "compression": "zlib"}),
    "big-endian-contiguous": (STACK, {"byteorder": ">", "imagej": True, "metadata": {"axes": "ZCYX"}}),
    "bigtiff": (STACK, {"bigtiff": True}),
    "strips": (STACK[0, 0], {"rowsperstrip": 7, "metadata": None}),
    "rgb": (noise((60, 70, 3), "uint8"), {"photometric": "rgb"}),
    "rgb-stack": (noise((4, 60, 70, 3), "uint8"), {"photometric": "rgb", "compression": "zlib"}),
    "planar": (
        noise((3, 60, 70), "uint8"),
        {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib"},
    ),
    "bilevel": (noise((60, 70)) > 50, {}),
    "float": (noise((2, 60, 70), "float64"), {"compression": "zlib", "predictor": True}),
    "palette": (noise((60, 70), "uint8"), {"photometric": "palette", "colormap": noise((3, 256))}),
}  # fmt: skip


def written(array, options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", FILES)
def test_foreign_files_are_read_whole_and_in_part(name):
    array, options = FILES[name]
    data = written(array, options)
    found = Tiff().decode(SeekableBytes(data))
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert np.array_equal(found, array)
    for region in (0, -1, slice(1, None), (..., slice(20, 40), slice(10, 50, 3)), (0, slice(None, None, -1))):
        assert np.array_equal(Tiff().decode_region(SeekableBytes(data), region), array[region]), region


@pytest.mark.parametrize("name", FILES)
def test_cut_files_are_never_read_in_part_without_a_word(name):
    array, options = FILES[name]
    data = written(array, options)
    for size in {
        0,
        1,
        7,
        8,
        100,
        *range(len(data) // 9, len(data) - 9, len(data) // 9),
        len(data) * 99 // 100,
    }:
        with pytest.raises(DecodeError) as caught:
            Tiff().decode(SeekableBytes(data[:size]))
        assert caught.value.remedy


@pytest.mark.parametrize("name", FILES)
def test_flipped_bits_give_pixels_or_a_typed_error(name):
    array, options = FILES[name]
    data = written(array, options)
    random = np.random.default_rng(1)
    for position in [*range(0, min(300, len(data)), 3), *random.integers(0, len(data), 60)]:
        bad = bytearray(data)
        bad[position] ^= 1 << int(random.integers(0, 8))
        for read in (Tiff().decode, lambda file: Tiff().decode_region(file, 0)):
            try:
                read(SeekableBytes(bytes(bad)))
            except DecodeError as error:
                assert error.remedy


def test_a_stack_of_single_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
        for plane in STACK[:, 0]:
            writer.write(plane, metadata=None, contiguous=False)
    source = cpr.ImageSource.from_path(tmp_path / "pages.tif")
    assert np.array_equal(source.get_data(), STACK[:, 0])
    assert np.array_equal(source.get_data(region=(1, slice(5))), STACK[1, 0, :5])
    assert source.get_metadata() == {}
    assert np.array_equal(source.get_dask()[2].compute(), STACK[2, 0])


def test_an_ome_file_that_names_others_never_opens_them(tmp_path):
    tifffile.imwrite(tmp_path / "other.ome.tif", STACK[0, 0], metadata={"axes": "YX"})
    with tifffile.TiffFile(tmp_path / "other.ome.tif") as tiff:
        uuid = tiff.ome_metadata.partition('UUID="')[2].partition('"')[0]
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME '
        'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:00000000-0000-0000-0000-000000000001"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZCT" Type="uint16" SizeX="70" SizeY="60" SizeZ="2" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData FirstZ="0" PlaneCount="1" IFD="0">'
        '<UUID FileName="main.ome.tif">urn:uuid:00000000-0000-0000-0000-000000000001</UUID></TiffData>'
        f'<TiffData FirstZ="1" PlaneCount="1" IFD="0"><UUID FileName="other.ome.tif">{uuid}</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    tifffile.imwrite(
        tmp_path / "main.ome.tif", STACK[0, 1], description=xml.encode(), metadata=None, ome=False
    )
    with pytest.raises(DecodeError, match=r"other files|missing"):
        cpr.ImageSource.from_path(tmp_path / "main.ome.tif").get_data()


def ifd(tags: dict[int, tuple[int, int, int]], following: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHII", code, *tag) for code, tag in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following)


TAGS = {
    256: (4, 1, 600_000), 257: (4, 1, 600_000), 258: (3, 1, 8), 259: (3, 1, 8), 262: (3, 1, 1),
    273: (4, 1, 200), 277: (3, 1, 1), 278: (4, 1, 600_000), 279: (4, 1, 100),
}  # fmt: skip


@pytest.mark.parametrize("compression", [1, 5, 8, 50000, 34925, 7, 33003])
def test_a_small_file_that_claims_360_gigabytes_is_refused(compression):
    bomb = (ifd({**TAGS, 259: (3, 1, compression)}) + bytes(500))[:394]
    for read in (Tiff().decode, lambda file: Tiff().decode_region(file, 0)):
        with pytest.raises(DecodeError):
            read(SeekableBytes(bomb))


def test_directories_in_a_circle_are_refused():
    data = bytearray(
        ifd({**TAGS, 256: (4, 1, 10), 257: (4, 1, 10), 278: (4, 1, 10), 259: (3, 1, 1)}, 8) + bytes(300)
    )
    for read in (Tiff().decode, lambda file: Tiff().decode_region(file, 0)):
        with pytest.raises(DecodeError, match="circles"):
            read(SeekableBytes(bytes(data)))


@pytest.mark.parametrize(
    "bad", [b"", b"II", b"II*\0", b"II*\0\0\0\0\0", b"PK\3\4" + bytes(99), b"II*\0" + b"\xff" * 99]
)
def test_what_is_no_tiff_is_refused(bad):
    for read in (Tiff().decode, lambda file: Tiff().decode_region(file, 0), Tiff().inspect):
        with pytest.raises(DecodeError) as caught:
            read(SeekableBytes(bad))
        assert caught.value.remedy


def jpeg_2000(array, order, tile=None, swapped=True) -> bytes:
    """A file in which samples were swapped before they were encoded, as tifffile does with older codecs."""
    imagecodecs = pytest.importorskip("imagecodecs")
    height, width = tile or array.shape
    stored = array.byteswap() if swapped and order == ">" else array
    grown = np.pad(
        stored, [(0, -extent % size) for extent, size in zip(array.shape, (height, width), strict=True)]
    )
    pieces = [
        imagecodecs.jpeg2k_encode(np.ascontiguousarray(grown[y : y + height, x : x + width]), reversible=True)
        for y in range(0, grown.shape[0], height)
        for x in range(0, grown.shape[1], width)
    ]
    file = io.BytesIO()
    options = {"tile": tile} if tile else {"rowsperstrip": height}
    with tifffile.TiffWriter(file, byteorder=order) as writer:
        options |= {"compression": "jpeg2000", "software": "tifffile.py" if swapped else "another program"}
        writer.write(iter(pieces), shape=array.shape, dtype=array.dtype, **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["uint16", "uint8"])
@pytest.mark.parametrize("tile", [None, (32, 32)])
@pytest.mark.parametrize("order", "<>")
def test_samples_that_tifffile_swaps_in_jpeg_2000_are_refused_and_the_remedy_mends_them(
    order, tile, dtype, tmp_path
):
    array, path = noise((60, 70), dtype), tmp_path / "a.tif"
    path.write_bytes(jpeg_2000(array, order, tile))
    source = cpr.ImageSource.from_path(path)
    if order == ">" and dtype == "uint16":
        for region in (None, np.s_[3, 4:9]):
            with pytest.raises(DecodeError, match="bytes swapped") as caught:
                source.get_data(region=region)
        exec(caught.value.remedy.partition(": ")[2], {"tifffile": tifffile, "path": path})
        source = cpr.ImageSource.from_path(path)
    assert np.array_equal(source.get_data(), array)


def test_samples_that_others_store_right_in_jpeg_2000_are_read(tmp_path):
    array, path = noise((60, 70)), tmp_path / "a.tif"
    path.write_bytes(jpeg_2000(array, ">", swapped=False))
    assert np.array_equal(cpr.ImageSource.from_path(path).get_data(), array)


@pytest.mark.parametrize("flavour", [{"imagej": True}, {"ome": True}, {}])
def test_the_directories_of_pixels_that_lie_together_are_not_parsed(flavour, monkeypatch, tmp_path):
    """Of thousands of pages that takes longer than reading them."""
    array, path = noise((300, 8, 9)), tmp_path / "a.tif"
    tifffile.imwrite(path, array, metadata={"axes": "ZYX"}, **flavour)
    parsed = []
    begin = tifffile.TiffPage.__init__

    def counted(self, *args, **kwargs):
        parsed.append(self)
        begin(self, *args, **kwargs)

    monkeypatch.setattr(tifffile.TiffPage, "__init__", counted)
    source = cpr.ImageSource.from_path(path)
    assert np.array_equal(source.get_data(), array)
    assert np.array_equal(source.get_data(region=np.s_[299, 2:4]), array[299, 2:4])
    assert len(parsed) < 10
    # A cut one is noticed all the same.
    path.write_bytes(path.read_bytes()[: -array[0].nbytes])
    with pytest.raises(DecodeError):
        cpr.ImageSource.from_path(path).get_data()
