"""Remedies that reading TIFF files names."""

from __future__ import annotations

import contextlib
import io
import struct
import tempfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import tifffile

import cpr
from cpr.image.page_index import directories
from cpr.image.tiff import Tiff
from cpr.testing import SeekableBytes
from tests.image.test_foreign_files import TAGS, ifd, jpeg_2000
from tests.image.test_hostile_structure import micro_manager, shared_below
from tests.image.test_vendor_headers import channels, scanimage, strips_below
from tests.remedies.rows import LEFT_OUT, RESTORED, STACK, Row, decoded, image, own, put, tiff

ALONE = "from_path(url, description=False)"
FORMAT, WHOLE = own(cpr.ImageTarget, ".tif", STACK)
PLAIN_FORMAT, PLAIN = own(cpr.ImageTarget, ".tif", STACK[0], compression=None)
CUT = PLAIN.index(STACK[0].tobytes()) + 10
ONE_FORMAT, ONE = own(cpr.ImageTarget, ".tif", STACK[0])
OURS = {"metadata": None, "description": FORMAT._first_page.description, "software": "cpr"}
FOREIGN = tiff(STACK[0], metadata=None)
MASK_FORMAT, MASK = own(cpr.ImageTarget, ".tif", STACK > 7)
BIG = np.arange(60 * 70, dtype="uint16").reshape(60, 70)


def ome_file(change: tuple[str, str], *planes: Any) -> bytes:
    """An OME-TIFF of these planes, in whose XML something is changed."""
    text = tifffile.TiffFile(io.BytesIO(tiff(STACK, ome=True, metadata={"axes": "ZYX"}))).ome_metadata
    assert text is not None and change[0] in text
    return tiff(*(planes or STACK), metadata=None, contiguous=False, description=text.replace(*change))


def restored(bad: bytes, good: bytes, format: Any = None, region: Any = None, named: str = RESTORED) -> Row:
    """A damaged file: what is to be done is to put the whole one there."""
    if format is None:
        return Row(lambda: image(bad, region), named, lambda: image(good, region))
    return Row(lambda: decoded(format, bad, region), named, lambda: decoded(format, good, region))


def alone(data: bytes, named: str = ALONE) -> Row:
    return Row(lambda: image(data), named, lambda: image(data, description=False))


def option(field: str, bad: Any, good: Any, **more: Any) -> Row:
    """Of an option, which is corrected, or left out."""

    def made(**options: Any) -> Any:
        return cpr.ImageTarget.from_path("memory://remedies/a.tif", **options)

    return Row(
        lambda: made(**more, **{field: bad}), LEFT_OUT, lambda: (made(**more, **{field: good}), made())
    )


def _pages_that_share() -> bytes:
    end = 20_000
    tags = dict.fromkeys(range(1000, 1070), (1, end - 10, 8))
    return ifd({**TAGS, **tags}).ljust(end, b"\0")


_SWAPPED = tiff(BIG, metadata=None, compression="zlib", byteorder=">").replace(
    struct.pack(">HHIH", 259, 3, 1, 8), struct.pack(">HHIH", 259, 3, 1, 33003)
)


def _written_again() -> Any:
    """What the remedy for swapped samples says, done."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a.tif"
        Path(path).write_bytes(jpeg_2000(BIG, ">"))
        with pytest.raises(cpr.DecodeError) as caught:
            cpr.ImageSource.from_path(path).get_data()
        exec(str(caught.value.remedy).partition(": ")[2], {"tifffile": tifffile, "path": path})
        found = cpr.ImageSource.from_path(path).get_data()
    assert np.array_equal(found, BIG)
    return found


def _a_set() -> str:
    """An OME-TIFF of which one plane is in another file."""
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:{}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        'SizeX="5" SizeY="4" SizeZ="3" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
    )
    for number in range(3):
        xml += f'<TiffData FirstZ="{number}" PlaneCount="1"><UUID FileName="{number}.ome.tif">'
        xml += f"urn:uuid:{number}</UUID></TiffData>"
    folder = tempfile.mkdtemp()
    for number, plane in enumerate(STACK):
        data = tiff(plane, metadata=None, description=(xml + "</Pixels></Image></OME>").format(number))
        Path(f"{folder}/{number}.ome.tif").write_bytes(data)
    return f"{folder}/0.ome.tif"


def _one_of_a_set() -> Any:
    """What the remedy for a set of files says, done."""
    path = _a_set()
    with pytest.raises(cpr.DecodeError) as caught:
        cpr.ImageSource.from_path(path).get_data()
    call = str(caught.value.remedy).partition("write one: ")[2].partition("; or, ")[0]
    made = path.replace("0.ome", "whole.ome")
    exec(call.replace("whole.ome.tif", made), {"tifffile": tifffile, "path": path})
    found = cpr.ImageSource.from_path(made).get_data()
    assert np.array_equal(found, STACK)
    return found


def _microscope() -> Any:
    """The remedy for a file in a store, done: the copy is read, as far as its reader is here."""
    url = "memory://microscopes/it's.czi"
    with cpr.io.writing(url) as file:
        file.write(b"bytes")
    with pytest.raises(cpr.UnsupportedExtensionError) as caught:
        cpr.ImageSource.from_path(url)
    call = str(caught.value.remedy).partition("read the copy: ")[2]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        exec(call, {"fsspec": fsspec})
        assert Path("it's.czi").read_bytes() == b"bytes"
        with pytest.raises((cpr.DecodeError, cpr.MissingDependencyError), match="bioio-czi"):
            cpr.ImageSource.from_path("it's.czi").get_data()
    return call


PAGES = tiff(*STACK, metadata=None, contiguous=False)
LAST = [offset for offset, _ in directories(SeekableBytes(PAGES))][-1]
TWO_IMAGES = tiff(
    STACK[0], metadata=None,
    description='<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Image ID="Image:0" Name="not here"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
    'SizeX="9" SizeY="9" SizeZ="1" SizeC="1" SizeT="1"><TiffData IFD="0"/></Pixels></Image>'
    '<Image ID="Image:1" Name="here"><Pixels ID="Pixels:1" DimensionOrder="XYZCT" Type="uint16" '
    'SizeX="5" SizeY="4" SizeZ="1" SizeC="1" SizeT="1"><TiffData IFD="0"/></Pixels></Image></OME>',
)  # fmt: skip
SEVERAL = tiff(STACK, BIG, metadata=None)
LESS = ome_file(('SizeZ="3"', 'SizeZ="4"'))
ROWS: dict[str, Row] = {
    "a microscope's own file": Row(
        lambda: cpr.ImageSource.from_path("s3://bucket/a.czi"), "read the copy: ", _microscope
    ),
    "an image's number": Row(
        lambda: image(FOREIGN, image=-1), LEFT_OUT, lambda: (image(FOREIGN, image=0), image(FOREIGN))
    ),
    "no such image": Row(
        lambda: image(SEVERAL, image=2), "ImageSource.images(url)",
        lambda: [one.get_data() for one in cpr.ImageSource.images(put(SEVERAL, "a.tif"))],
    ),
    "several images": Row(
        lambda: image(SEVERAL), "image=0", lambda: image(SEVERAL, image=0)
    ),
    "pages without an order": alone(ome_file(("<TiffData", "<Nothing"), *STACK)),
    "pages that are not named": alone(ome_file(("x", "x"), *STACK, BIG[:4, :5])),
    "pages that are missing": alone(ome_file(("x", "x"), *STACK[:2])),
    "planes in other files": alone(LESS),
    "a cut stack of ImageJ": alone(tiff(STACK[0], description="ImageJ=1.54f\nimages=3\nslices=3\n")),
    "other OME-XML": alone(ome_file(('SizeX="5"', 'SizeX="6"'))),
    "JSON that describes other things": alone(
        tiff(STACK[0], metadata=None, description='{"shape": [4, 5], "a": [' + "0," * 60_000 + "0]}")
    ),
    "JSON with a shape that is none": alone(
        tiff(STACK[0], metadata=None, description='{"shape": [[0], 20]}')
    ),
    "Micro-Manager's index of a cube": restored(
        micro_manager((549, 549, 549, 0)), FOREIGN,
        named="write it again with Micro-Manager, or with tifffile from its pages",
    ),
    "settings of ScanImage that claim much": restored(
        scanimage(channels("zeros(100000,100000)")), FOREIGN,
        named="write it again with the program that made it, or with tifffile from its pages",
    ),
    "headers that lead to the same bytes": restored(
        strips_below(20_000, 50_000), FOREIGN,
        named="write it again with the program that made it, or with tifffile from its pages",
    ),
    "ImageJ's numbers that are none": restored(
        tiff(STACK[0], metadata=None, description="ImageJ=1.54f\nimages=1e308\nslices=nan\nchannels=inf\n"),
        FOREIGN,
    ),
    "lengths of ImageJ's texts": restored(
        tiff(STACK[0], metadata=None, extratags=[(50838, 9, 2, (12, 0), True)]), FOREIGN
    ),
    "many pages below pages": restored(shared_below(40, 20_000), FOREIGN),
    "OME-XML that is none": alone(ome_file(("<Pixels ", "<Pixels < "))),
    "OME-XML with entities": restored(
        ome_file(("<OME ", "<!DOCTYPE x><OME ")), ome_file(("x", "x"))
    ),
    "tags that share bytes": restored(_pages_that_share(), FOREIGN),
    "directories in a circle": restored(
        ifd({**TAGS, 256: (4, 1, 10), 257: (4, 1, 10), 278: (4, 1, 10), 259: (3, 1, 1)}, 8) + bytes(300),
        FOREIGN,
    ),
    "a set of files": Row(
        lambda: cpr.ImageSource.from_path(_a_set()).get_data(), "write one: tifffile.imwrite", _one_of_a_set
    ),
    "one plane of a set of files": Row(
        lambda: cpr.ImageSource.from_path(_a_set()).get_data(), ALONE,
        lambda: cpr.ImageSource.from_path(_a_set(), description=False).get_data(),
    ),
    "images that are not there": alone(TWO_IMAGES),
    "images of one page": Row(
        lambda: cpr.ImageSource.from_path(put(TWO_IMAGES, "a.tif")).get_metadata(), ALONE,
        lambda: cpr.ImageSource.from_path(put(TWO_IMAGES, "a.tif"), description=False).get_metadata(),
    ),
    "OME-XML that describes other things": restored(
        ome_file(("</OME>", f"{'<a/>' * 100_000}</OME>")), FOREIGN, named="remove what does not describe"
    ),
    "OME-XML that describes other things, left alone": alone(
        ome_file(("</OME>", f"{'<a/>' * 100_000}</OME>"))
    ),
    "XML that describes other things": restored(
        tiff(STACK[0], metadata=None, description=f"<scn>{'<a/>' * 100_000}</scn>"), FOREIGN,
        named="remove what does not describe",
    ),
    "swapped samples": Row(lambda: image(_SWAPPED), "write it again", _written_again),
    "another magic number": restored(b"II\x55" + FOREIGN[3:], FOREIGN),
    "a directory that is cut": restored(PAGES[: LAST + 20], PAGES),
    "no TIFF": restored(b"PK\3\4" + bytes(99), FOREIGN),
    "a directory outside": restored(b"II*\0" + struct.pack("<I", 99), FOREIGN),
    "values outside": restored(ifd({**TAGS, 273: (4, 50, 999)}) + bytes(99), FOREIGN),
    "the next directory outside": restored(ifd(TAGS, 99_999) + bytes(99), FOREIGN),
    "pixels outside": restored(FOREIGN[:-2], FOREIGN),
    "a bomb": restored((ifd(TAGS) + bytes(500))[:394], FOREIGN),
    "no pixels": restored(ifd({**TAGS, 256: (4, 1, 0), 259: (3, 1, 1)}) + bytes(500), FOREIGN),
    "what no reader reads": restored(ifd({**TAGS, 259: (3, 1, 1), 258: (3, 1, 77)}) + bytes(500), FOREIGN),
    "no index": restored(WHOLE[:-8], WHOLE, FORMAT),
    "pages of another shape": restored(tiff(BIG, **OURS), WHOLE, FORMAT),
    "pages of another shape, in part": restored(
        tiff(BIG, **OURS), WHOLE, FORMAT, region=1
    ),
    "another image": restored(tiff(BIG, metadata=None), WHOLE, FORMAT),
    "pixels that are cut": restored(PLAIN[:CUT], PLAIN, PLAIN_FORMAT),
    "pixels that are cut, in part": restored(PLAIN[:CUT], PLAIN, PLAIN_FORMAT, region=np.s_[:, :]),
    "strips that are cut": restored(ONE[: ONE.rfind(b"cprpages") - 20], ONE, ONE_FORMAT, region=np.s_[:, :]),
    "fewer pages": restored(
        tiff(STACK[0], **OURS), WHOLE, FORMAT, region=2
    ),
    "a page of another shape": restored(
        tiff(STACK[0], BIG, BIG, **OURS), WHOLE, FORMAT, region=1
    ),
    "a small file": Row(
        lambda: decoded(Tiff(shape=(3000, 4000, 5000), dtype="uint16"), FOREIGN), RESTORED,
        lambda: decoded(FORMAT, WHOLE),
    ),
    "compression": option("compression", "zip", "zlib"),
    "level": option("level", 99, 6),
    "predictor without compression": option("predictor", True, None, compression=None),
    "two flavours": option("imagej", True, None, ome=True),
    "half a description": Row(
        lambda: Tiff(shape=(3,)).require_sound(False), LEFT_OUT, lambda: (Tiff().require_sound(False), 1)
    ),
    "too many axes": Row(
        lambda: Tiff(shape=(1,) * 99, dtype="uint8").require_sound(True), LEFT_OUT,
        lambda: (Tiff(shape=(1, 1), dtype="uint8").require_sound(True), 1),
    ),
    "no dtype of images": Row(
        lambda: Tiff(shape=(1, 1), dtype="M8[s]").require_sound(True), LEFT_OUT,
        lambda: (Tiff(shape=(1, 1), dtype="uint8").require_sound(True), 1),
    ),
    "too many bytes": Row(
        lambda: Tiff(shape=(1 << 31, 1 << 31), dtype="uint8").require_sound(True), LEFT_OUT,
        lambda: (Tiff(shape=(1 << 9, 1 << 9), dtype="uint8").require_sound(True), 1),
    ),
    "shape and axes of a record": Row(
        lambda: Tiff(shape=(1, 1), dtype="uint8", metadata={"axes": "ZYX"}).require_sound(True), LEFT_OUT,
        lambda: (Tiff(shape=(1, 1), dtype="uint8").require_sound(True), 1),
    ),
}  # fmt: skip
