"""TIFF: the laws of every format, any array, every option, parts, and what other programs see."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import hypothesis.extra.numpy as st_numpy
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import cpr
from cpr.errors import DecodeError, EncodeError, FormatError
from cpr.image import layout as layout_module
from cpr.image.tiff import Tiff
from cpr.testing import FormatTests, ForwardFile, SeekableBytes
from tests.array_cases import lazies, noise, same

DTYPES = [
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
    "float16", "float32", "float64", "complex64", "complex128",
]  # fmt: skip
ANY_DTYPE = st.sampled_from(DTYPES).flatmap(
    lambda name: st.sampled_from("<>").map(np.dtype(name).newbyteorder)
)
SHAPES = st_numpy.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=5)
OPTIONS = st.fixed_dictionaries(
    {"compression": st.sampled_from(["zlib", "zstd", "lzw", None]), "imagej": st.sampled_from([None, False])}
)


def encoded(array, **options) -> bytes:
    format = Tiff(**options).describe(array)
    file = ForwardFile()
    format.encode(format.stream(array), file)
    return file.getvalue()


def opened(data: bytes) -> tifffile.TiffFile:
    return tifffile.TiffFile(io.BytesIO(data))


class Laws(FormatTests):
    target_class = cpr.ImageTarget
    samples = [
        np.array(7, "uint8"),
        np.zeros((0, 4), "uint8"),
        np.arange(24, dtype=">u2").reshape(2, 3, 4),
        np.arange(24, dtype="float32").reshape(4, 6)[:, ::2],
        noise((1, 3, 1, 9, 11), "bool"),
        noise((2, 20, 30, 3), "uint8"),
        noise((2, 700, 300), "int16"),
    ]
    refused = [
        np.array(["a"]),
        np.zeros(2, "datetime64[s]"),
        np.zeros((2, 2), [("a", "i4")]),
        np.zeros((2, 2), np.longdouble),
    ]

    def equal(self, a, b) -> bool:
        return same(a, b)

    def encoded(self, data) -> bytes:
        file = ForwardFile()
        format = self.described(data)
        format.encode(format.stream(data), file)
        return file.getvalue()


class TestZlib(Laws):
    format = Tiff()


class TestUncompressed(Laws):
    format = Tiff(compression=None)


class TestZstd(Laws):
    format = Tiff(compression="zstd", level=9)


class TestLzw(Laws):
    format = Tiff(compression="lzw")


class TestNoPredictor(Laws):
    format = Tiff(predictor=False)


class TestPredictorOfFloats(FormatTests):
    format = Tiff(predictor=True)
    samples = [noise((2, 30, 40), "float32"), noise((30, 40), "float64"), noise((30, 40), "float16")]
    equal = Laws.equal


class TestOme(Laws):
    format = Tiff(imagej=False, metadata={"unit": "micron"}, resolution=(7.5, 7.5))


@given(st.data(), OPTIONS)
def test_any_array_comes_back_through_a_record(data, options):
    array = data.draw(st_numpy.arrays(data.draw(ANY_DTYPE), data.draw(SHAPES)))
    if array.ndim > 1 and data.draw(st.booleans()):
        array = array[..., ::-1].swapaxes(0, 1)
    target = cpr.ImageTarget.from_path("memory://tiff/a.tif", **options)
    target.set_data(array)
    record = json.dumps(target.serialize())
    assert len(record) < 1000
    found = cpr.load(record).get_data()
    assert same(found, array)
    assert found.dtype.isnative
    assert found.flags.writeable


@settings(max_examples=200)
@given(st.data(), OPTIONS)
def test_any_region_is_what_indexing_gives(data, options):
    shape = data.draw(st_numpy.array_shapes(min_dims=1, max_dims=5, min_side=1, max_side=6))
    array = np.arange(np.prod(shape), dtype="uint16").reshape(shape)
    region = data.draw(st_numpy.basic_indices(shape, allow_newaxis=False))
    file = encoded(array, **options)
    format = Tiff(**options).describe(array)
    assert same(np.asarray(format.decode_region(SeekableBytes(file), region)), np.asarray(array[region]))


@pytest.mark.parametrize("compression", ["zlib", None])
def test_a_plane_of_many_costs_little_more_than_the_plane(compression):
    array = noise((60, 400, 500))
    data = encoded(array, compression=compression)
    fetched = []

    class Counting(SeekableBytes):
        def read(self, size=-1):
            part = super().read(size)
            fetched.append(len(part))
            return part

        def readinto(self, buffer):
            count = super().readinto(buffer)
            fetched.append(count)
            return count

    format = Tiff(compression=compression).describe(array)
    assert same(format.decode_region(Counting(data), 57), array[57])
    assert sum(fetched) < len(data) / 60 * 1.1 + 5000
    fetched.clear()
    assert same(format.decode_region(Counting(data), np.s_[31, 100:110]), array[31, 100:110])
    # What lies around a plane is read through a buffer of 8 KiB.
    assert sum(fetched) < len(data) / 60 * (0.03 if compression is None else 0.8) + 5000 + 8192


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("imagej", [None, False])
def test_other_programs_see_the_same_pixels(dtype, imagej):
    array = noise((2, 3, 4, 5, 6), dtype)
    with opened(encoded(array, imagej=imagej)) as tiff:
        series = tiff.series[0]
        expected = array.view("uint8") * np.uint8(255) if dtype == "bool" else array
        assert series.axes == "TZCYX"
        assert same(series.asarray(), expected)
        if dtype in {"uint64", "int64", "float16"}:
            assert tiff.is_shaped
        elif imagej is None and dtype in {"bool", "uint8", "uint16", "float32"}:
            assert tiff.is_imagej
        else:
            assert tiff.is_ome
        assert not any("tifffile" in str(tag.value) for tag in tiff.pages[0].tags)


@pytest.mark.parametrize(
    ("shape", "axes", "flavour", "seen"),
    [
        ((6, 5), None, "imagej", ("YX", (6, 5))),
        ((4, 6, 5), None, "imagej", ("ZYX", (4, 6, 5))),
        ((4, 6, 5), "TYX", "imagej", ("TYX", (4, 6, 5))),
        ((2, 3, 6, 5), None, "imagej", ("ZCYX", (2, 3, 6, 5))),
        ((2, 3, 6, 5), "TCYX", "imagej", ("TCYX", (2, 3, 6, 5))),
        ((2, 3, 6, 5), "CZYX", "ome", ("CZYX", (2, 3, 6, 5))),
        ((6, 5, 3), None, "imagej", ("YXS", (6, 5, 3))),
        ((6, 5, 3), "YXC", "imagej", ("YXS", (6, 5, 3))),
        ((6, 5, 3), "ZYX", "imagej", ("ZYX", (6, 5, 3))),
        ((4, 6, 5, 4), None, "ome", ("ZYXS", (4, 6, 5, 4))),
        ((4, 2, 6, 5), "PCYX", "imagej", ("TCYX", (4, 2, 6, 5))),
        ((2, 3, 4, 2, 6, 5), None, "imagej", ("TZCYX", (6, 4, 2, 6, 5))),
        ((1, 1, 6, 5), None, "imagej", ("YX", (6, 5))),
        ((5,), None, "imagej", ("YX", (1, 5))),
    ],
)
def test_axes(shape, axes, flavour, seen):
    array = noise(shape, "uint8")
    metadata = None if axes is None else {"axes": axes}
    with opened(encoded(array, metadata=metadata)) as tiff:
        assert tiff.series[0].kind == flavour
        assert (tiff.series[0].axes, tiff.series[0].shape) == seen
    target = cpr.ImageTarget.from_path("memory://tiff/axes.tif", metadata=metadata)
    target.set_data(array)
    again = cpr.load(target.serialize())
    assert same(again.get_data(), array)
    assert again.get_metadata() == (metadata or {})


@pytest.mark.parametrize(
    ("array", "options", "match"),
    [
        (noise((4, 5), "int32"), {"imagej": True}, r"dtype: ImageJ.*found int32.*astype\('float32'\)"),
        (noise((4, 5), "float64"), {"imagej": True}, "leave out imagej=True"),
        (noise((2, 2, 4, 5)), {"imagej": True, "metadata": {"axes": "CZYX"}}, "order TZCYXS"),
        (noise((4, 5, 4), "uint16"), {"imagej": True, "metadata": {"axes": "YXS"}}, "RGB"),
        (noise((4, 5), "int64"), {"ome": True}, "dtype: OME-TIFF.*found int64"),
        (noise((4, 5)), {"metadata": {"axes": "ZYX"}}, r"one letter.*shape \(4, 5\)"),
        (noise((2, 4, 5)), {"metadata": {"axes": "YXZ"}}, "end in YX"),
        (noise((2, 4, 5)), {"metadata": {"axes": "CYX", "Channel": {"Name": ["a"]}}}, "2 names"),
        (noise((4, 5), "complex64"), {"predictor": True}, "predictor.*complex64"),
        (noise((4, 5)), {"metadata": {"custom": {"note": "a\nimages=9"}}}, "note"),
        *((noise((4, 5)), {"metadata": {"custom": {key: 1}}}, key) for key in ("axes", "rgb", "colormaped")),
        (noise((4, 5)), {"metadata": {"unit": "m"}, "resolution": (1e17, 1e17)}, "resolution"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(array, options, match):
    target = cpr.ImageTarget.from_path("memory://tiff/a.tif", **options)
    with pytest.raises(EncodeError, match=match) as caught:
        target.set_data(array)
    assert caught.value.remedy
    assert caught.value.url


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "jpeg"},
        {"compression": "zlib", "level": 10},
        {"compression": None, "level": 1},
        {"compression": None, "predictor": True},
        {"level": True},
        {"imagej": True, "ome": True},
        {"metadata": {"unit": "furlong"}},
        {"metadata": {"LUTs": np.zeros(3)}},
        {"metadata": {1: 2}},
        {"metadata": {"min": float("nan")}},
        pytest.param({"metadata": {"custom": {"n": 10**5000}}}, id="a long number"),
        pytest.param({"metadata": {10**5000: 1}}, id="a long key"),
        pytest.param({"metadata": {"spacing": 10**5000}}, id="a long spacing"),
        pytest.param({"metadata": {"unit": 10**5000}}, id="a long unit"),
        {"metadata": {"spacing": 0}},
        {"metadata": {"axes": 3}},
        {"resolution": (1,)},
        {"resolution": (0, 1)},
        {"resolution": "ab"},
        {"no_such": 1},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused_at_once(options):
    with pytest.raises(FormatError) as caught:
        cpr.ImageTarget.from_path("memory://tiff/a.tif", **options)
    assert caught.value.remedy
    assert caught.value.field


def test_an_ome_name_is_an_ome_file():
    target = cpr.ImageTarget.from_path("memory://tiff/a.ome.tif")
    assert (target.get_name(), target.ext) == ("a", ".ome.tif")
    target.set_data(noise((3, 4, 5), "uint8"))
    target.persist()
    with cpr.io.reading(target.url) as file, tifffile.TiffFile(io.BytesIO(file.read())) as tiff:
        assert tiff.is_ome
    with pytest.raises(FormatError, match="imagej"):
        cpr.ImageTarget.from_path("memory://tiff/a.ome.tif", imagej=True)


def test_ome_identifiers_name_the_content():
    array = noise((3, 4, 5))

    def identifier(data, **options):
        with opened(encoded(data, imagej=False, **options)) as tiff:
            return tiff.ome_metadata.partition("urn:uuid:")[2][:36]

    assert identifier(array) == identifier(array.copy())
    assert len({identifier(array), identifier(array + 1), identifier(array, resolution=(1, 1))}) == 3


@pytest.mark.parametrize("imagej", [None, False])
@pytest.mark.parametrize("compression", ["zlib", None])
@lazies
def test_streams_are_written_at_once(lazy, compression, imagej, tmp_path):
    array = noise((7, 50, 90))
    target = cpr.ImageTarget.from_path(tmp_path / "a.tif", compression=compression, imagej=imagej)
    target.set_data(lazy(array, tmp_path), shape=array.shape, dtype=array.dtype)
    assert target.checksum is not None
    held = cpr.ImageTarget.from_path(tmp_path / "a.tif")
    held.set_data(array)
    assert held.data_hash == target.data_hash
    assert same(cpr.load(target.serialize()).get_data(), array)
    assert same(tifffile.imread(target.url), array)


def test_a_stream_may_use_one_buffer_again(tmp_path):
    array = noise((9, 300, 400))
    buffer = np.empty_like(array[0])

    def camera():
        for plane in array:
            buffer[:] = plane
            yield buffer

    for compression in ("zlib", None):
        target = cpr.ImageTarget.from_path(tmp_path / "a.tif", compression=compression)
        target.set_data(camera(), shape=array.shape, dtype=array.dtype)
        assert same(cpr.load(target.serialize()).get_data(), array)


def test_large_files_are_bigtiff(monkeypatch):
    array = noise((4, 50, 60))
    with opened(encoded(array)) as tiff:
        assert not tiff.is_bigtiff
    monkeypatch.setattr(layout_module, "_CLASSIC_BYTES", 10_000)
    data = encoded(array)
    with opened(data) as tiff:
        assert tiff.is_bigtiff
        assert tiff.is_ome
        assert same(tiff.asarray(), array)
    format = Tiff().describe(array)
    assert same(format.decode(SeekableBytes(data)), array)
    assert same(format.decode_region(SeekableBytes(data), 3), array[3])
    with pytest.raises(EncodeError, match="4 GiB") as caught:
        Tiff(imagej=True).describe(array)
    # The remedy: in ImageJ's own form for it.
    assert "compression=None" in caught.value.remedy
    Tiff(imagej=True, compression=None).describe(array)


@pytest.mark.parametrize(
    ("axes", "dtype"),
    [
        ("ZYX", "uint8"),
        ("TZCYX", "uint16"),
        ("YX", "int16"),
        ("ZYX", "float32"),
        ("CYX", "bool"),
        ("ZYXS", "uint8"),
    ],
)
def test_large_files_for_imagej_have_one_directory_before_all_pixels(axes, dtype, monkeypatch, tmp_path):
    monkeypatch.setattr(layout_module, "_CLASSIC_BYTES", 1000)
    array = noise(
        tuple({"T": 2, "Z": 4, "C": 2, "Y": 40, "X": 50, "S": 3}[letter] for letter in axes), "uint8"
    )
    array = (array > 100) if dtype == "bool" else array.astype(dtype)
    target = cpr.ImageTarget.from_path(
        tmp_path / "a.tif", imagej=True, compression=None, metadata={"axes": axes}
    )
    target.set_data(array)
    target.persist()
    with tifffile.TiffFile(target.url) as tiff:
        assert not tiff.is_bigtiff
        assert len(tiff.pages) == 1
        assert tiff.series[0].axes == axes
        assert tiff.pages.first.dataoffsets[0] > max(tag.valueoffset for tag in tiff.pages.first.tags)
    again, source = cpr.load(target.serialize()), cpr.ImageSource.from_path(target.url)
    stored = array * np.uint8(255) if dtype == "bool" else array
    for read, expected in ((again, array), (source, stored)):
        assert same(read.get_data(), expected)
        for region in (np.s_[-1], np.s_[..., 3:20, 1:7], np.s_[0, ::-1]):
            assert same(read.get_data(region=region), np.ascontiguousarray(expected[region]))
        assert same(read.get_dask().compute(), expected)
    whole = Path(target.url).read_bytes()
    for size in (len(whole) - 1, len(whole) // 2):
        with pytest.raises(DecodeError):
            target.format.decode(SeekableBytes(whole[:size]))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_names_that_imagej_will_not_show_are_told(compression, tmp_path):
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    options = {"imagej": True, "compression": compression, "metadata": metadata}
    target = cpr.ImageTarget.from_path(tmp_path / "a.tif", **options)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        target.set_data(noise((2, 4, 5)))
    assert [str(one.message)[-16:] for one in told] == (["compression=None"] if compression else [])


def test_dask_planes_are_read_one_by_one(tmp_path):
    array = noise((3, 4, 50, 60))
    target = cpr.ImageTarget.from_path(tmp_path / "a.tif")
    target.set_data(array)
    target.persist()
    lazy = cpr.load(target.serialize()).get_dask()
    assert lazy.shape == array.shape
    assert lazy.dtype == array.dtype
    assert lazy.numblocks == (3, 4, 1, 1)
    assert same(lazy[1, 2].compute(), array[1, 2])
    assert same(lazy.compute(), array)
    with pytest.raises(cpr.NoDataError):
        cpr.ImageTarget.from_path(tmp_path / "empty.tif").get_dask()
    narrow, colours = (
        cpr.ImageTarget.from_path(tmp_path / f"{axes}.tif", metadata={"axes": axes})
        for axes in ("ZYX", "YXS")
    )
    for image, chunks in ((narrow, (1, 30, 3)), (colours, (20, 30, 3))):
        image.set_data(noise((20, 30, 3), "uint8"))
        assert image.get_dask().chunksize == chunks
        assert same(image.get_dask().compute(), noise((20, 30, 3), "uint8"))
    source = cpr.ImageSource.from_path(target.url).get_dask()
    assert same(source[2].compute(scheduler="synchronous"), array[2])


def test_uncompressed_pages_of_imagej_lie_together():
    # ImageJ reads a hyperstack that is not compressed from its first directory alone.
    with opened(encoded(noise((3, 2, 40, 50)), compression=None)) as tiff:
        offsets = [page.dataoffsets[0] for page in tiff.pages]
        assert np.diff(offsets).tolist() == [40 * 50 * 2] * 5


def test_what_imagej_cannot_read_is_not_chosen():
    for dtype, tag in [("uint16", 2), ("float32", 1), ("bool", 1)]:
        with opened(encoded(noise((30, 40), dtype))) as tiff:
            assert tiff.pages[0].predictor == tag
            assert tiff.pages[0].compression == 8


@pytest.mark.parametrize(
    ("dtype", "options"), [("uint16", {"compression": "zstd"}), ("float32", {"predictor": True})], ids=str
)
def test_what_imagej_itself_does_not_read_is_told(dtype, options):
    target = cpr.ImageTarget.from_path("memory://tiff/a.tif", imagej=True, **options)
    with pytest.warns(UserWarning, match="ImageJ itself") as caught:
        target.set_data(np.zeros((4, 5), dtype))
    assert caught[0].filename == __file__
    quiet = cpr.ImageTarget.from_path("memory://tiff/a.tif", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet.set_data(np.zeros((4, 5), dtype))
