"""Files of microscopes: what ImageSource makes of bioio, stood in for or real."""

from __future__ import annotations

import importlib.util
import os
import pickle
import struct
import sys
import warnings

import numpy as np
import pytest

import cpr
from cpr.image.image_selection import SeveralImagesWarning
from tests.image import fake_bioio

EXTENSIONS = [".czi", ".nd2", ".lif"]
RANDOM = np.random.default_rng(7)
STACK = RANDOM.integers(0, 1 << 16, (2, 3, 4, 20, 30), dtype="uint16")
SNAP = RANDOM.integers(0, 256, (1, 1, 1, 8, 9), dtype="uint8")
RGB = RANDOM.integers(0, 256, (1, 1, 2, 8, 9, 3), dtype="uint8")
MODULES = ["bioio", "bioio_czi", "bioio_nd2", "bioio_lif"]
REGIONS = [
    np.s_[1], np.s_[:, 2], np.s_[..., 3:9, -5:], np.s_[0, 1, 2, 3, 4], np.s_[::-1, ::2, 3:0:-2], np.s_[5:, :],
    np.s_[-1, ..., ::7], np.s_[...],
]  # fmt: skip


@pytest.fixture
def stand_ins(tmp_path_factory, monkeypatch):
    """bioio and its readers, stood in for."""
    folder = tmp_path_factory.mktemp("packages")
    fake_bioio.install(folder)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(folder))
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        yield folder
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture(params=EXTENSIONS)
def path(request, stand_ins, tmp_path):
    found = tmp_path / f"embryo{request.param}"
    fake_bioio.write(found, stack=("TCZYX", STACK))
    return found


def test_pixels_and_what_is_known_of_them(path):
    source = cpr.ImageSource.from_path(path)
    assert repr(source) == f"ImageSource({str(path)!r})"
    assert source.get_name() == "embryo"
    data = source.get_data()
    assert data.dtype == np.uint16
    assert np.array_equal(data, STACK)
    assert source.get_metadata() == {
        "axes": "TCZYX",
        "unit": "micron",
        "spacing": 0.5,
        "finterval": 1.5,
        "Channel": {"Name": ["dye 0", "dye 1", "dye 2"]},
    }
    assert source.get_resolution() == pytest.approx((10, 5))
    assert source.details()["shape"] == "2 x 3 x 4 x 20 x 30"
    assert source.preview().png.startswith(b"\x89PNG")
    assert source.get_data(cache=True) is not None
    assert np.array_equal(source.get_data(region=np.s_[1, 2]), STACK[1, 2])


@pytest.mark.parametrize("region", REGIONS, ids=str)
def test_parts(path, region):
    assert np.array_equal(cpr.ImageSource.from_path(path).get_data(region=region), STACK[region])


def test_a_region_that_is_none(path):
    with pytest.raises(cpr.FormatError, match="no such region"):
        cpr.ImageSource.from_path(path).get_data(region=np.s_[2])


def test_a_lazy_array_reads_planes(path):
    lazy = cpr.ImageSource.from_path(path).get_dask()
    assert lazy.chunksize == (1, 1, 1, 20, 30)
    assert np.array_equal(lazy.compute(scheduler="threads"), STACK)


def test_an_image_goes_into_a_target_with_its_metadata(path, tmp_path):
    source = cpr.ImageSource.from_path(path)
    target = cpr.ImageTarget.from_path(tmp_path / "copy.ome.tif", like=source)
    target.set_data(source.get_data())
    again = cpr.ImageSource.from_path(target.persist().url)
    assert np.array_equal(again.get_data(), STACK)
    assert again.get_metadata()["Channel"] == source.get_metadata()["Channel"]
    assert again.get_resolution() == pytest.approx(source.get_resolution())


@pytest.mark.parametrize("ext", EXTENSIONS)
def test_axes_of_one_element_are_left_out_and_scenes_are_images(ext, stand_ins, tmp_path):
    path = tmp_path / f"scenes{ext}"
    fake_bioio.write(path, field=("TCZYX", STACK), snap=("TCZYX", SNAP), histology=("TCZYXS", RGB))
    field, snap, histology = cpr.ImageSource.images(path)
    assert [one.format.image for one in (field, snap, histology)] == ["field", "snap", "histology"]
    assert np.array_equal(snap.get_data(), SNAP[0, 0, 0])
    assert snap.get_metadata() == {"axes": "YX", "unit": "micron"}
    assert np.array_equal(histology.get_data(), RGB[0, 0])
    assert histology.get_metadata()["axes"] == "ZYXS"
    assert np.array_equal(histology.get_data(region=np.s_[::-1, 2, ..., 1]), RGB[0, 0, ::-1, 2, ..., 1])
    assert np.array_equal(cpr.ImageSource.from_path(path, image=1).get_data(), SNAP[0, 0, 0])
    with pytest.warns(SeveralImagesWarning, match="'field', 'snap', 'histology'"):
        assert np.array_equal(cpr.ImageSource.from_path(path).get_data(), STACK)
    for image in (3, "nobody"):
        with pytest.raises(cpr.FormatError, match=r"ImageSource\.images"):
            cpr.ImageSource.from_path(path, image=image).get_data()
    keys = {str(one.identity()) for one in (field, snap, histology)}
    assert len(keys) == 3


def test_axes_that_bioio_leaves_out_are_told(stand_ins, tmp_path):
    path = tmp_path / "phases.czi"
    fake_bioio.write(path, scene=("HZYX", STACK[0]))
    with pytest.warns(UserWarning, match=r"the first along H \(3\) alone"):
        data = cpr.ImageSource.from_path(path).get_data()
    assert np.array_equal(data, STACK[0, 0])


def test_pixels_are_read_of_a_file_that_lacks_the_rest(stand_ins, tmp_path):
    path = tmp_path / "bare.czi"
    fake_bioio.write(path, **{"no sizes": ("TCZYX", SNAP)})
    source = cpr.ImageSource.from_path(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(source.get_data(), SNAP[0, 0, 0])
    with pytest.warns(UserWarning, match="cannot tell the file's physical_pixel_sizes"):
        assert source.get_metadata() == {"axes": "YX"}


def test_a_file_that_is_replaced_is_not_read(path):
    source = cpr.ImageSource.from_path(path)
    before = source.identity()
    fake_bioio.write(path, stack=("TCZYX", STACK[:1]))
    calls = (
        source.get_data,
        lambda: source.get_data(region=np.s_[0]),
        source.get_metadata,
        pickle.loads(pickle.dumps(source)).get_data,
    )
    for call in calls:
        with pytest.raises(cpr.SourceChangedError):
            call()
    now = cpr.ImageSource.from_path(path)
    assert now.identity() != before
    assert np.array_equal(now.get_data(), STACK[0])


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_file_that_is_replaced_while_it_is_read_is_an_error(path, is_whole):
    source = cpr.ImageSource.from_path(path)
    next_one = path.with_name(path.name + ".next")
    if is_whole:
        fake_bioio.write(next_one, stack=("TCZYX", STACK + 1))
    else:
        next_one.write_bytes(b"no archive")
    with pytest.raises(cpr.SourceChangedError):
        source.get_data(region=None if is_whole else np.s_[1])
    assert not next_one.exists()


def test_a_damaged_file_is_an_error_that_names_the_reader(path):
    path.write_bytes(b"nothing that anybody reads")
    with pytest.raises(cpr.DecodeError) as caught:
        cpr.ImageSource.from_path(path).get_data()
    assert caught.value.url == str(path)
    assert f"bioio bioio-{path.suffix[1:]}" in caught.value.remedy
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_file_that_is_not_there(path):
    path.unlink()
    with pytest.raises(cpr.ResourceNotFoundError):
        cpr.ImageSource.from_path(path).get_data()


def test_more_pixels_than_there_is_memory_for_are_not_asked_for(stand_ins, tmp_path, monkeypatch):
    path = tmp_path / "large.nd2"
    fake_bioio.write(path, plane=("YX", np.zeros((4000, 5000), "uint8")))
    monkeypatch.setenv("CPR_MEMORY", "17MiB")
    source = cpr.ImageSource.from_path(path)
    with pytest.raises(cpr.DecodeError, match="the pixels"):
        source.get_data()
    assert source.get_data(region=np.s_[:10, :10]).shape == (10, 10)


def test_the_pages_of_a_tiff_are_none_of_theirs(path):
    with pytest.raises(cpr.FormatError, match="leave it out"):
        cpr.ImageSource.from_path(path, description=False)


def test_glob_finds_them_beside_tiffs(path):
    cpr.ImageTarget.from_path(path.parent / "other.tif").set_data(SNAP[0, 0, 0])
    found = cpr.ImageSource.glob(f"{path.parent}/embryo*")
    assert [one.url for one in found] == [str(path)]
    assert np.array_equal(found[0].get_data(), STACK)


def test_a_package_that_cannot_be_imported_is_missing(path, stand_ins):
    (stand_ins / f"bioio_{path.suffix[1:]}.py").write_text("import no_such_package_of_anybody")
    with pytest.raises(cpr.MissingDependencyError, match=f"pip install bioio bioio-{path.suffix[1:]}"):
        cpr.ImageSource.from_path(path).get_data()


@pytest.mark.parametrize("ext", [".czi", ".nd2", ".LIF"])
def test_without_bioio_the_packages_are_named_at_once(ext, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(cpr.MissingDependencyError, match=f"pip install bioio bioio-{ext[1:].lower()};"):
        cpr.ImageSource.from_path(tmp_path / f"a{ext}")


def test_a_record_is_loaded_where_bioio_is_not(path, monkeypatch):
    record = cpr.ImageSource.from_path(path, image=0).serialize()
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        source = cpr.load(record)
        with pytest.raises(cpr.MissingDependencyError):
            source.get_data()
    assert np.array_equal(source.get_data(), STACK)


@pytest.mark.parametrize("url", ["s3://bucket/raw/a.czi", "memory://raw/a.nd2", "https://example.org/a.lif"])
def test_a_file_in_a_store_is_to_be_copied_first(url):
    with pytest.raises(cpr.UnsupportedExtensionError, match="copy it to this machine"):
        cpr.ImageSource.from_path(url)


def _lif(path, *scenes: tuple[str, np.ndarray]) -> None:
    """A file as Leica's program lays it out: XML that describes images, then a block of memory for each."""
    elements, blocks = "", b""
    for number, (name, array) in enumerate(scenes):
        t, c, z, y, x = array.shape
        plane = y * x * array.itemsize
        # Elements, bytes from one to the next, distance, unit, for X, Y, Z and T.
        axes = [
            (1, x, array.itemsize, 1e-7, "m"), (2, y, x * array.itemsize, 2e-7, "m"),
            (3, z, plane * c, 5e-7, "m"), (4, t, plane * c * z, 1.5, "s"),
        ]  # fmt: skip
        dimensions = "".join(
            f'<DimensionDescription DimID="{axis}" NumberOfElements="{count}" Origin="0" '
            f'Length="{step * (count - 1)}" Unit="{unit}" BitInc="0" BytesInc="{stride}"/>'
            for axis, count, stride, step, unit in axes
            if count > 1
        )
        channels = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * array.itemsize}" Unit="" '
            f'LUTName="dye {channel}" NameOfMeasuredQuantity="" Min="0" Max="255" IsLUTInverted="0" '
            f'BytesInc="{channel * plane}" BitInc="0"/>'
            for channel in range(c)
        )
        elements += (
            f'<Element Name="{name}" Visibility="1"><Data><Image TextDescription=""><ImageDescription>'
            f"<Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
            f'<Memory Size="{array.nbytes}" MemoryBlockID="MemBlock_{number}"/><Children/></Element>'
        )
        label = f"MemBlock_{number}"
        head = struct.pack("<IIBQBI", 0x70, 14 + 2 * len(label), 0x2A, array.nbytes, 0x2A, len(label))
        blocks += head + label.encode("utf-16-le") + array.transpose(0, 2, 1, 3, 4).tobytes()
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="a.lif" Visibility="1"><Data>'
        '<Experiment Path="a"/></Data>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_x"/><Children>{elements}</Children></Element>'
        "</LMSDataContainerHeader>"
    )
    head = struct.pack("<IIBI", 0x70, 2 * len(xml) + 5, 0x2A, len(xml))
    path.write_bytes(head + xml.encode("utf-16-le") + blocks)


def _czi(path, array: np.ndarray) -> None:
    """A file that ZEISS's own library writes, of axes TCZYX and maybe S."""
    czi = pytest.importorskip("pylibCZIrw.czi")
    with czi.create_czi(os.fspath(path)) as document:
        for t, c, z in np.ndindex(array.shape[:3]):
            plane = array[t, c, z]
            document.write(plane if plane.ndim == 3 else plane[..., None], plane={"T": t, "C": c, "Z": z})
        names = {channel: f"dye {channel}" for channel in range(array.shape[1])}
        document.write_metadata("a", channel_names=names, scale_x=1e-7, scale_y=2e-7, scale_z=5e-7)


@pytest.fixture(params=["czi", "lif"])
def real(request, tmp_path):
    pytest.importorskip("bioio")
    pytest.importorskip(f"bioio_{request.param}")
    path = tmp_path / f"real.{request.param}"
    if request.param == "czi":
        _czi(path, STACK)
    else:
        _lif(path, ("field", STACK), ("snap", SNAP))
    return cpr.ImageSource.images(path)[0]


def test_real_files(real):
    assert np.array_equal(real.get_data(), STACK)
    for region in REGIONS:
        assert np.array_equal(real.get_data(region=region), STACK[region]), region
    assert np.array_equal(real.get_dask()[1, 2].compute(), STACK[1, 2])
    assert real.get_metadata() == {
        "axes": "TCZYX",
        "unit": "micron",
        "spacing": pytest.approx(0.5),
        "Channel": {"Name": ["dye 0", "dye 1", "dye 2"]},
    }
    assert real.get_resolution() == pytest.approx((10, 5))


def test_real_files_that_are_cut(real):
    with open(real.url, "r+b") as file:
        file.truncate(os.path.getsize(real.url) // 2)
    with pytest.raises(cpr.DecodeError, match="bioio"):
        cpr.ImageSource.from_path(real.url, image=0).get_data()


def test_a_real_file_in_colour(tmp_path):
    pytest.importorskip("bioio")
    pytest.importorskip("bioio_czi")
    _czi(tmp_path / "rgb.czi", RGB)
    source = cpr.ImageSource.from_path(tmp_path / "rgb.czi")
    data = source.get_data()
    assert np.array_equal(data, RGB[0, 0])
    assert source.get_metadata()["axes"] == "ZYXS"
    assert np.array_equal(source.get_data(region=np.s_[1, ::2, 3:, :]), data[1, ::2, 3:, :])
    assert np.array_equal(source.get_dask().compute(), data)


def test_real_scenes(tmp_path):
    pytest.importorskip("bioio")
    pytest.importorskip("bioio_lif")
    _lif(tmp_path / "a.lif", ("field", STACK), ("snap", SNAP))
    field, snap = cpr.ImageSource.images(tmp_path / "a.lif")
    assert np.array_equal(field.get_data(), STACK)
    assert np.array_equal(snap.get_data(), SNAP[0, 0, 0])
