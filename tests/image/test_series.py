"""Several images in one file, and files that hold only a part: chosen, or refused with the true reason."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import tifffile

import cpr
from cpr.errors import DecodeError, FormatError
from cpr.image.image_selection import SeveralImagesWarning

STACK = np.arange(3 * 20 * 30, dtype="uint8").reshape(3, 20, 30)
FIELD = np.arange(2 * 40 * 50, dtype="uint16").reshape(2, 40, 50)


@pytest.fixture(params=["ome", "generic", "shaped"])
def several(request, tmp_path):
    """A file of two images, and what they are called."""
    path = tmp_path / f"several{'.ome' if request.param == 'ome' else ''}.tif"
    with tifffile.TiffWriter(path, ome=request.param == "ome") as writer:
        for name, array, axes, size in (("first", STACK, "ZYX", 0.1), ("second", FIELD, "CYX", 0.2)):
            metadata = {"axes": axes}
            if request.param == "ome":
                metadata |= {"Name": name, "PhysicalSizeX": size, "PhysicalSizeY": size}
            writer.write(
                array,
                photometric="minisblack",
                metadata=None if request.param == "generic" else metadata,
                resolution=(1e4 / size, 1e4 / size),
                resolutionunit="CENTIMETER",
            )
    return path, ["first", "second"] if request.param == "ome" else [0, 1]


def test_every_image_can_be_had(several):
    path, names = several
    with tifffile.TiffFile(path) as tiff:
        expected = [one.asarray() for one in tiff.series]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cpr.ImageSource.images(path)
        assert [one.format.image for one in found] == names
        for number, (one, array) in enumerate(zip(found, expected, strict=True)):
            by_number = cpr.ImageSource.from_path(path, image=number)
            for source in (one, by_number, cpr.load(one.serialize())):
                np.testing.assert_array_equal(source.get_data(), array)
                np.testing.assert_array_equal(source.get_data(region=np.s_[1, 2:5]), array[1, 2:5])
                assert source.get_dask().shape == array.shape
                size = 1 / source.get_resolution()[0]
                assert size * (1e4 if source.get_resolution().unit == "cm" else 1) == pytest.approx(
                    [0.1, 0.2][number]
                )
        assert found[0].identity() != found[1].identity()


def test_the_first_of_several_is_told(several):
    path, _ = several
    for name, options in (("get_data", {}), ("get_metadata", {}), ("get_data", {"region": np.s_[0]})):
        source = cpr.ImageSource.from_path(path)
        with pytest.warns(SeveralImagesWarning, match=r"ImageSource\.images") as caught:
            getattr(source, name)(**options)
        assert caught[0].filename == __file__


def test_an_image_that_is_not_there(several):
    path, names = several
    for image in (2, "third"):
        with pytest.raises(FormatError, match=str(names[0])) as caught:
            cpr.ImageSource.from_path(path, image=image).get_data()
        assert caught.value.field == "image"
    for image in (-1, True, 1.5):
        with pytest.raises(FormatError):
            cpr.ImageSource.from_path(path, image=image)
    with pytest.raises(FormatError, match="option"):
        cpr.ImageTarget.from_path("memory://several/a.tif", image=1)


def cut_stack(tmp_path, nbytes):
    """As ImageJ saves what is larger than 4 GB: one directory, and all planes behind it."""
    stack = np.arange(6 * 50 * 70, dtype=">u2").reshape(6, 50, 70)
    path = tmp_path / "ij.tif"
    description = "ImageJ=1.54f\nimages=6\nslices=6\nhyperstack=true\n"
    tifffile.imwrite(path, stack[0], byteorder=">", metadata=None, description=description)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[0]
    path.write_bytes(path.read_bytes()[:start] + stack.tobytes()[: stack.nbytes - nbytes])
    return path, stack


@pytest.mark.parametrize("nbytes", [0, 1, 1000, 7000, 35000])
def test_stacks_of_imagejs_in_one_directory(tmp_path, nbytes):
    path, stack = cut_stack(tmp_path, nbytes)
    source = cpr.ImageSource.from_path(path)
    if not nbytes:
        np.testing.assert_array_equal(source.get_data(), stack)
        return
    for read in (source.get_data, source.get_metadata, lambda: source.get_data(region=np.s_[0])):
        with pytest.raises(DecodeError, match="6 planes") as caught:
            read()
    assert "description=False" in caught.value.remedy
    np.testing.assert_array_equal(cpr.ImageSource.from_path(path, description=False).get_data(), stack[0])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_that_were_taken_out_of_imagejs_stack(tmp_path, compression):
    path = tmp_path / "split.tif"
    description = tifffile.tifffile.imagej_description((6, 20, 30), axes="ZYX")
    with tifffile.TiffWriter(path) as writer:
        for plane in STACK:
            writer.write(
                plane, compression=compression, metadata=None, description=description, contiguous=False
            )
            description = None
    with pytest.raises(DecodeError, match="6 planes"):
        cpr.ImageSource.from_path(path).get_data()
    np.testing.assert_array_equal(cpr.ImageSource.from_path(path, description=False).get_data(), STACK)


def tiff_data(*lines):
    return lambda xml: re.sub("<TiffData[^>]*/>", "".join(lines), xml)


OTHER = '<TiffData IFD="{0}" FirstZ="{0}" PlaneCount="1"><UUID FileName="{1}">urn:uuid:1</UUID></TiffData>'
BINARY_ONLY = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
    '<BinaryOnly MetadataFile="plate.companion.ome" UUID="urn:uuid:2"/></OME>'
)
PARTIAL = {
    "metadata in a companion": (lambda _: BINARY_ONLY, "plate.companion.ome"),
    "fewer planes": (lambda xml: xml.replace('PlaneCount="3"', 'PlaneCount="2"'), "leaves planes out"),
    "a plane left out": (
        tiff_data('<TiffData IFD="0" FirstZ="0"/>', '<TiffData IFD="2" FirstZ="2"/>'), "leaves planes"
    ),
    "more planes": (
        lambda xml: xml.replace('SizeZ="3"', 'SizeZ="5"').replace('PlaneCount="3"', 'PlaneCount="5"'),
        "not there",
    ),
    "other files": (
        tiff_data(OTHER.format(0, "a.ome.tif"), OTHER.format(1, "b.ome.tif")), "in other files.*b.ome.tif"
    ),
    "other sizes": (lambda xml: xml.replace('SizeX="30"', 'SizeX="29"'), "29 x 20"),
    "no pixels": (lambda xml: re.sub("<Image.*</Image>", "", xml), "Pixels"),
    "broken": (lambda xml: xml.replace("</Image>", ""), "OME-XML"),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTIAL)
def test_ome_tiffs_that_do_not_say_all_are_refused_with_the_reason(name, tmp_path):
    change, match = PARTIAL[name]
    xml = tifffile.OmeXml()
    xml.addimage("uint8", (3, 20, 30), (3, 1, 1, 20, 30, 1), axes="ZYX")
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, STACK, description=change(xml.tostring()).encode(), metadata=None, photometric="minisblack"
    )
    source = cpr.ImageSource.from_path(path)
    for read in (source.get_data, source.get_metadata, lambda: source.get_data(region=np.s_[0])):
        with pytest.raises(DecodeError, match=match) as caught:
            read()
    assert "description=False" in caught.value.remedy
    as_they_lie = cpr.ImageSource.from_path(path, description=False)
    np.testing.assert_array_equal(as_they_lie.get_data(), STACK)
    assert cpr.load(as_they_lie.serialize()).get_data().shape == STACK.shape


@pytest.mark.parametrize("metadata", [None, {}], ids=["generic", "shaped"])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("samples", [3, 4])
def test_colours_in_planes_of_their_own_stay_colours(metadata, count, samples, tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (count, samples, 20, 30), "uint8")
    colours = colours[0] if count == 1 else colours
    extra = {"extrasamples": ["unassalpha"]} if samples == 4 else {}
    tifffile.imwrite(
        tmp_path / "p.tif", colours, photometric="rgb", planarconfig="separate", metadata=metadata, **extra
    )
    source = cpr.ImageSource.from_path(tmp_path / "p.tif")
    copy = cpr.ImageTarget.from_path(tmp_path / "copy.tif", metadata=source.get_metadata())
    copy.set_data(source.get_data())
    with tifffile.TiffFile(copy.persist().url) as tiff:
        axes = tiff.series[0].axes
        assert (axes, tiff.series[0].shape) == (("CYX" if count == 1 else "ZCYX"), colours.shape)
        np.testing.assert_array_equal(tiff.asarray(), colours)


@pytest.mark.parametrize("order", ["XYZCT", "XYCZT", "XYTCZ"])
def test_without_tiffdata_pages_are_planes_in_order_as_bioformats_has_it(order, tmp_path):
    array = np.arange(2 * 3 * 4 * 20 * 30, dtype="uint16").reshape(2, 3, 4, 20, 30)
    axes = order[::-1]
    path = tmp_path / "a.ome.tif"
    xml = tifffile.OmeXml()
    xml.addimage("uint16", array.shape, (24, 1, 1, 20, 30, 1), axes=axes, PhysicalSizeX=0.25)
    without = re.sub("<TiffData[^>]*/>", "", xml.tostring())
    tifffile.imwrite(path, array, description=without.encode(), metadata=None, photometric="minisblack")
    for region in (None, np.s_[1, 2, 3]):
        with pytest.warns(UserWarning, match="DimensionOrder"):
            found = cpr.ImageSource.from_path(path).get_data(region=region)
        np.testing.assert_array_equal(found, array if region is None else array[region])
    with pytest.warns(UserWarning, match="DimensionOrder"):
        assert cpr.ImageSource.from_path(path).get_metadata()["axes"] == axes
    cut = tmp_path / "cut.ome.tif"
    tifffile.imwrite(cut, array[0], description=without.encode(), metadata=None, photometric="minisblack")
    with pytest.warns(UserWarning, match="DimensionOrder"), pytest.raises(DecodeError, match="24"):
        cpr.ImageSource.from_path(cut).get_data()


def test_pages_that_ome_xml_does_not_name_are_told(tmp_path):
    path = tmp_path / "a.ome.tif"
    xml = tifffile.OmeXml()
    xml.addimage("uint8", (2, 20, 30), (2, 1, 1, 20, 30, 1), axes="ZYX")
    options = {"description": xml.tostring().encode(), "metadata": None, "photometric": "minisblack"}
    tifffile.imwrite(path, STACK, **options)
    source = cpr.ImageSource.from_path(path)
    with pytest.warns(UserWarning, match="3 pages, of which its OME-XML names 2.*description=False"):
        np.testing.assert_array_equal(source.get_data(), STACK[:2])
    np.testing.assert_array_equal(cpr.ImageSource.from_path(path, description=False).get_data(), STACK)


def test_signed_pixels_of_imagejs_are_signed(tmp_path):
    # As ImageJ 1.54p writes a stack of the type "16-bit signed".
    lines = "ImageJ=1.54p\nimages=3\nslices=3\ncf=0\nc0=-32768.0\nc1=1.0\nvunit=Gray Value\nloop=false\n"
    signed = np.linspace(-32768, 32767, 3 * 20 * 30).astype("int16").reshape(3, 20, 30)
    stored = (signed.astype("int32") + 32768).astype("uint16")
    for name, description, expected in (
        ("signed", lines, signed),
        ("optical density", lines.replace("-32768.0", "1.5"), stored),
    ):
        for options in ({}, {"compression": "zlib"}):
            path = tmp_path / f"{name}.tif"
            options |= {"description": description, "metadata": None, "photometric": "minisblack"}
            tifffile.imwrite(path, stored, **options)
            source = cpr.ImageSource.from_path(path)
            assert source.get_data().dtype == source.get_dask().dtype == expected.dtype
            np.testing.assert_array_equal(source.get_data(), expected)
            np.testing.assert_array_equal(source.get_data(region=np.s_[1:, 3]), expected[1:, 3])
            np.testing.assert_array_equal(source.get_dask()[2].compute(), expected[2])


def test_thousands_of_small_pages_are_no_more_than_some_requests(tmp_path, monkeypatch):
    path = tmp_path / "many.tif"
    with tifffile.TiffWriter(path) as writer:
        for number in range(2000):
            writer.write(np.full((16, 16), number, "uint16"), contiguous=False, metadata=None)
    reads = []
    whole = cpr.io.seekable_files.ArrivingFile.readinto
    monkeypatch.setattr(
        cpr.io.seekable_files.ArrivingFile, "readinto", lambda *args: reads.append(1) or whole(*args)
    )
    found = cpr.ImageSource.from_path(path).get_data()
    np.testing.assert_array_equal(found[:, 3, 3], np.arange(2000))
    assert len(reads) < 2000 * 1.5, "tifffile's reads of a few bytes come out of a buffer"


@pytest.mark.parametrize("missing", ["empty", "of another size"])
@pytest.mark.parametrize("there", [0, 1])
def test_an_image_of_the_xml_that_is_not_in_the_file_lends_no_size(tmp_path, missing, there):
    """The metadata are those of the image whose pixels are read, whichever of them the file lacks."""
    images = []
    for number, size in enumerate((0.1, 0.2)):
        width, tiff_data = (30, '<TiffData IFD="0"/>') if number == there else (31, '<TiffData IFD="1"/>')
        if number != there and missing == "empty":
            tiff_data = ""
        images.append(
            f'<Image ID="Image:{number}" Name="image {number}"><Pixels ID="Pixels:{number}" Type="uint8" '
            f'DimensionOrder="XYZCT" SizeX="{width}" SizeY="20" SizeZ="1" SizeC="1" SizeT="1" '
            f'PhysicalSizeX="{size}" PhysicalSizeY="{size}">{tiff_data}</Pixels></Image>'
        )
    path = tmp_path / "a.ome.tif"
    xml = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{"".join(images)}</OME>'
    tifffile.imwrite(path, STACK[0], description=f'<?xml version="1.0"?>{xml}', metadata=None)
    with pytest.warns(UserWarning, match="describes 2 images, of which 1") as told:  # noqa: PT031
        source = cpr.ImageSource.from_path(path)
        np.testing.assert_array_equal(source.get_data(), STACK[0])
        assert source.get_resolution()[0] == pytest.approx(1 / (0.1, 0.2)[there])
    assert "description=False" in str(told[0].message)
