"""Axes, pixel sizes and channel names: what goes in comes out as the same physical size."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile

import cpr
from cpr.data.image_metadata import Metadata
from cpr.data.units import Length
from tests.array_cases import noise

NAN = float("nan")
METRES = {"µm": 1e-6, "nm": 1e-9, "mm": 1e-3, "cm": 1e-2, "in": 0.0254}


def written(shape=(3, 4, 5), dtype="uint16", ext=".tif", **options) -> str:
    target = cpr.ImageTarget.from_path(f"memory://metadata/a{ext}", **options)
    target.set_data(np.random.default_rng(0).integers(0, 99, shape).astype(dtype))
    return target.persist().url


def tiff_of(url: str) -> tifffile.TiffFile:
    with cpr.io.reading(url) as file:
        return tifffile.TiffFile(io.BytesIO(file.read()))


def metres(source) -> tuple[float, ...]:
    """Width and height of a pixel and step in Z, by what a source says."""
    metadata, resolution = source.get_metadata(), source.get_resolution()
    found = Metadata.of(metadata, resolution)
    # NaN for what is not known.
    return tuple(
        float("nan") if size is None else size.value * METRES[size.unit]
        for size in (found.x, found.y, found.z)
    )


@pytest.mark.parametrize("imagej", [None, False])
@pytest.mark.parametrize(
    ("metadata", "resolution", "expected"),
    [
        ({"unit": "micron", "spacing": 0.5}, (1 / 0.134, 1 / 0.15), (0.134e-6, 0.15e-6, 0.5e-6)),
        ({"unit": "µm"}, (4, 4), (0.25e-6, 0.25e-6, NAN)),
        ({"unit": "nm", "spacing": 200}, (0.01, 0.01), (100e-9, 100e-9, 200e-9)),
        ({"unit": "mm"}, (1000.0, 500.0), (1e-6, 2e-6, NAN)),
        ({"unit": "inch"}, (300, 300), (0.0254 / 300, 0.0254 / 300, NAN)),
        ({}, (10000, 10000), (1e-6, 1e-6, NAN)),
        ({"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.3}, None, (0.2e-6, 0.3e-6, NAN)),
        (
            {"PhysicalSizeX": 200, "PhysicalSizeXUnit": "nm", "PhysicalSizeZ": 1.5, "unit": "mm"},
            (1, 1),
            (200e-9, 1e-3, 1.5e-6),
        ),
    ],
    ids=str,
)
def test_physical_sizes_come_out_as_they_went_in(metadata, resolution, expected, imagej):
    for dtype in ("uint16", "float64", "int64"):
        options = {} if dtype != "uint16" else {"imagej": imagej}
        url = written(dtype=dtype, metadata=metadata, resolution=resolution, **options)
        found = metres(cpr.ImageSource.from_path(url))
        assert found == pytest.approx(expected, rel=1e-6, nan_ok=True)
        # A target made of it, in the other flavour, has the same.
        source = cpr.ImageSource.from_path(url)
        twin = cpr.ImageTarget.from_path(
            "memory://metadata/b.ome.tif", metadata=source.get_metadata(), resolution=source.get_resolution()
        )
        twin.set_data(np.zeros((3, 4, 5), "uint8"))
        twin.persist()
        assert metres(cpr.ImageSource.from_path(twin.url)) == pytest.approx(expected, rel=1e-6, nan_ok=True)
        assert metres(cpr.load(twin.serialize())) == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_imagej_sees_unit_and_resolution():
    metadata = {
        "axes": "ZCYX",
        "unit": "micron",
        "spacing": 0.5,
        "finterval": 2.0,
        "Channel": {"Name": ["DAPI", "GFP"]},
    }
    with tiff_of(written((3, 2, 4, 5), metadata=metadata, resolution=(7.5, 7.5))) as tiff:
        lines = tiff.imagej_metadata
        assert lines["unit"] == "micron"
        assert lines["spacing"] == 0.5
        assert lines["finterval"] == 2.0
        assert (lines["slices"], lines["channels"], lines["images"]) == (3, 2, 6)
        assert lines["mode"] == "composite"
        assert lines["Labels"] == ["DAPI", "GFP"] * 3
        for page in tiff.pages:
            assert page.tags["XResolution"].value == (15, 2)
            assert page.tags["ResolutionUnit"].value == 1


def test_ome_readers_see_sizes_and_channels():
    metadata = {
        "axes": "ZCYX", "unit": "micron", "spacing": 0.5, "finterval": 2.0,
        "Channel": {"Name": ["DAPI", "GFP"]},
        "custom": {"objective": "63x"},
    }  # fmt: skip
    url = written((3, 2, 4, 5), metadata=metadata, resolution=(8, 4), imagej=False)
    with tiff_of(url) as tiff:
        image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
        pixels = image["Pixels"]
        assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"], pixels["PhysicalSizeZ"]) == (
            0.125,
            0.25,
            0.5,
        )
        assert {pixels[f"PhysicalSize{axis}Unit"] for axis in "XYZ"} == {"µm"}
        assert (pixels["TimeIncrement"], pixels["TimeIncrementUnit"]) == (2.0, "s")
        assert [channel["Name"] for channel in pixels["Channel"]] == ["DAPI", "GFP"]
        # Readers that know no OME go by the tags, which are per centimetre.
        assert tiff.pages[0].tags["XResolution"].value == (80000, 1)
        assert tiff.pages[0].tags["ResolutionUnit"].value == 3
    source = cpr.ImageSource.from_path(url)
    assert source.get_metadata() == {
        "axes": "ZCYX", "unit": "micron", "spacing": 0.5, "finterval": 2.0,
        "Channel": {"Name": ["DAPI", "GFP"]},
    }  # fmt: skip
    assert source.get_resolution() == (8, 4)


def test_tifffiles_own_files_are_understood(tmp_path):
    array = np.zeros((3, 2, 4, 5), "uint16")
    metadata = {"axes": "ZCYX", "unit": "um", "spacing": 0.5, "finterval": 0, "Labels": ["a", "b"] * 3}
    tifffile.imwrite(tmp_path / "ij.tif", array, imagej=True, resolution=(4, 4), metadata=metadata)
    source = cpr.ImageSource.from_path(tmp_path / "ij.tif")
    assert source.get_metadata() == {
        "axes": "ZCYX", "unit": "micron", "spacing": 0.5, "Channel": {"Name": ["a", "b"]},
    }  # fmt: skip
    assert source.get_resolution() == (4, 4)
    ome = {
        "axes": "TCYX",
        "PhysicalSizeX": 0.1,
        "PhysicalSizeXUnit": "µm",
        "TimeIncrement": 100,
        "TimeIncrementUnit": "ms",
    }
    tifffile.imwrite(tmp_path / "x.ome.tif", array, metadata=ome)
    source = cpr.ImageSource.from_path(tmp_path / "x.ome.tif")
    assert source.get_metadata() == {"axes": "TCYX", "unit": "micron", "finterval": 0.1}
    assert source.get_resolution() == pytest.approx((10, 10))
    tifffile.imwrite(
        tmp_path / "plain.tif", array[0, 0], resolution=(254, 254), resolutionunit="INCH", metadata=None
    )
    source = cpr.ImageSource.from_path(tmp_path / "plain.tif")
    assert source.get_metadata() == {"unit": "cm"}
    assert source.get_resolution() == pytest.approx((100, 100))
    tifffile.imwrite(tmp_path / "bare.tif", array[0, 0], metadata=None)
    source = cpr.ImageSource.from_path(tmp_path / "bare.tif")
    assert source.get_metadata() == {}
    assert source.get_resolution() is None


def test_metadata_can_be_replaced_until_it_is_stored():
    target = cpr.ImageTarget.from_path("memory://metadata/set.tif")
    assert target.get_metadata() == {}
    assert target.get_resolution() is None
    target.set_metadata({"unit": "nm"})
    target.set_resolution((2, 3))
    target.set_data(np.zeros((4, 5), "uint8"))
    named = target.url
    target.set_resolution((2.0, 2.0))
    assert target.url != named, "images that differ in pixel size alone must not meet at one object"
    assert (target.get_metadata(), target.get_resolution()) == ({"unit": "nm"}, (2, 2))
    target.persist()
    with pytest.raises(cpr.RecordError, match="stored"):
        target.set_resolution((1, 1))
    source = cpr.ImageSource.from_path(target.url)
    assert source.get_resolution() == (2, 2)
    source.set_resolution((5, 5))
    assert source.get_resolution() == (5, 5)


def test_numpy_numbers_become_json():
    target = cpr.ImageTarget.from_path(
        "memory://metadata/np.tif",
        metadata={"spacing": np.float32(0.5), "unit": "um"},
        resolution=np.array([1, 2]),
    )
    target.set_data(np.zeros((4, 5), "uint8"))
    again = cpr.load(target.serialize())
    assert again.get_metadata() == {"spacing": 0.5, "unit": "um"}
    assert again.get_resolution() == (1.0, 2.0)


def test_lengths_are_converted():
    assert Length(2.0, "mm").to("µm") == pytest.approx(2000)
    assert Length(0.1, "µm").to("µm") == 0.1
    with pytest.raises(cpr.FormatError, match="pixels have no length"):
        Length(1, "pixel").to("nm")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("imagej", [None, False])
@pytest.mark.parametrize("dtype", ["uint8", "int64"])
@pytest.mark.parametrize(
    "metadata", [None, {"unit": "micron"}, {"unit": "micron", "spacing": 2.0}, {"unit": "pixel"}], ids=str
)
def test_where_no_size_is_known_no_tags_say_one(metadata, dtype, imagej, compression):
    url = written(dtype=dtype, metadata=metadata, imagej=imagej, compression=compression)
    with tiff_of(url) as tiff:
        for page in tiff.pages:
            assert not {282, 283, 296} & {tag.code for tag in page.tags}
        assert "unit" not in (tiff.imagej_metadata or {})
        assert tiff.asarray().shape == (3, 4, 5)
    source = cpr.ImageSource.from_path(url)
    assert source.get_resolution() is None
    spacing = (metadata or {}).get("spacing")
    assert source.get_metadata().get("spacing") == spacing
    assert source.get_metadata().get("unit") == (None if spacing is None else "micron")


@pytest.mark.parametrize("metadata", [None, {}], ids=["nothing said", "tifffile's shape"])
@pytest.mark.parametrize("samples", [2, 3, 4, 5])
@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_interleaved_samples_stay_colours_in_a_copy(tmp_path, leading, samples, metadata):
    """Whoever wrote them: a copy whose last axis was taken for X would have rows for pages."""
    array = noise((*leading, 20, 30, samples), "float32")
    kind = "rgb" if samples > 2 else "minisblack"
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, array, photometric=kind, planarconfig="contig", metadata=metadata, resolution=(4, 4)
    )
    source = cpr.ImageSource.from_path(path)
    assert source.get_metadata()["axes"] == {0: "", 1: "Z", 2: "ZC"}[source.get_data().ndim - 3] + "YXS"
    copy = cpr.ImageTarget.from_path(tmp_path / "copy.tif", like=source)
    copy.set_data(source.get_data())
    with tifffile.TiffFile(copy.persist().url) as tiff:
        assert tiff.pages.first.shape == (20, 30, samples)
