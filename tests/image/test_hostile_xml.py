"""XML in TIFFs of strangers: whatever it claims, time and memory are in proportion to the file's size."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import tifffile

import cpr
from cpr.errors import DecodeError
from cpr.image import reading, xml_limits
from cpr.image.page_index import most_claimed
from cpr.image.series import SelfContainedTiff

STACK = np.arange(2 * 16 * 16, dtype="uint8").reshape(2, 16, 16)
NBYTES = 2_000_000
OME = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">%s</OME>'
PIXELS = (
    '<Image ID="Image:0"><Pixels SizeX="16" SizeY="16" SizeZ="%s" SizeC="1" SizeT="1" Type="uint8" '
    'DimensionOrder="XYZCT">%s</Pixels></Image>'
)
MODULO = (
    '<StructuredAnnotations><XMLAnnotation ID="a" Namespace="modulo"><Value><Modulo>'
    '<ModuloAlongZ Type="lifetime" Start="0" End="%s" Step="%s"/></Modulo></Value></XMLAnnotation>'
    "</StructuredAnnotations>"
)


def many(text: str) -> str:
    return text * (NBYTES // len(text))


HOSTILE = {
    "elements": OME % many("<a/>"),
    "elements of an image": OME % (PIXELS % (2, "<TiffData/>" + many("<a/>"))),
    "pieces": OME % (PIXELS % (2, many("<TiffData/>"))),
    "numbered pieces": OME % (PIXELS % (2, many('<TiffData IFD="0"/>'))),
    "channels": OME % (PIXELS % (2, "<TiffData/>" + many('<Channel Name="a"/>'))),
    "comments": OME % many("<!---->"),
    "instructions": OME % many("<?x y?>"),
    "depth": OME % ("<a>" * (NBYTES // 7) + "</a>" * (NBYTES // 7)),
    "one name after the other": OME % "".join(f"<a{i}/>" for i in range(200_000)),
    "attributes of one element": OME % ("<a " + " ".join(f"a{i}=''" for i in range(40_000)) + "/>"),
    "attributes after a sign that ends tags": OME
    % ("<a b='>' " + " ".join(f"a{i} = ''" for i in range(40_000)) + "/>"),
    "planes of a piece": OME % (PIXELS % (2, '<TiffData IFD="0" PlaneCount="1000000000"/>')),
    "planes of a piece by their old name": OME % (PIXELS % (2, '<TiffData IFD="0" NumPlanes="1000000000"/>')),
    "planes of an image": OME % (PIXELS % (100_000_000, "<TiffData/>")),
    "planes of many images": OME % ((PIXELS % (1000, "<TiffData/>")) * 100),
    "images": OME % many(PIXELS % (1, "<TiffData/>")),
    "a far end along an axis": OME % (PIXELS % (2, "<TiffData/>") + MODULO % ("1e9", "1")),
    "small steps along an axis": OME % (PIXELS % (2, "<TiffData/>") + MODULO % ("1", "1e-9")),
    "Leica's": f"<scn>{many('<a/>')}</scn>",
    "MetaMorph's": f"<MetaData>{many('<a/>')}</MetaData>",
}


def tiff_of(path, description):
    tifffile.imwrite(path, STACK, description=description.encode(), metadata=None, photometric="minisblack")
    return path


@pytest.mark.parametrize("kind", HOSTILE)
def test_xml_out_of_proportion_is_refused(kind, tmp_path):
    path = tiff_of(tmp_path / "a.tif", HOSTILE[kind])
    source = cpr.ImageSource.from_path(path)
    for read in (source.get_data, source.get_metadata, source.get_dask, lambda: source.get_data(region=(0,))):
        with pytest.raises(DecodeError, match="its XML has more") as caught:
            read()
    if "OME" in HOSTILE[kind]:
        assert "from_path(url, description=False)" in caught.value.remedy
        alone = cpr.ImageSource.from_path(path, description=False)
        np.testing.assert_array_equal(alone.get_data(), STACK)
        alone.get_metadata()


def test_xml_that_tells_of_every_plane_is_in_proportion(tmp_path, monkeypatch):
    """A file of any number of small planes has room for what is said of them."""
    monkeypatch.setattr(xml_limits, "most_claimed", lambda nbytes: most_claimed(nbytes, 0))
    count = 1000
    planes = "".join(
        f'<TiffData FirstZ="{i}" IFD="{i}" PlaneCount="1"><UUID>urn:uuid:1</UUID></TiffData>'
        f'<Plane TheC="0" TheT="0" TheZ="{i}"/>'
        for i in range(count)
    )
    notes = "<StructuredAnnotations>" + "<XMLAnnotation/>" * count + "</StructuredAnnotations>"
    xml = (OME % (PIXELS % (count, planes) + notes)).replace("<OME", '<OME UUID="urn:uuid:1"')
    path = tmp_path / "a.ome.tif"
    stack = np.arange(count, dtype="uint8")[:, None, None] + np.zeros((1, 16, 16), "uint8")
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            stack, description=xml.encode(), metadata=None, photometric="minisblack", contiguous=False
        )
    np.testing.assert_array_equal(cpr.ImageSource.from_path(path).get_data(), stack)


@pytest.mark.parametrize("pieces", ["", "<TiffData/>"])
def test_xml_is_parsed_by_us_once(pieces, tmp_path, monkeypatch):
    path = tiff_of(tmp_path / "a.ome.tif", OME % (PIXELS % (2, pieces)))
    asked = []
    bare = SelfContainedTiff.ome_metadata.func
    counted = SelfContainedTiff.__dict__["ome_metadata"]
    monkeypatch.setattr(counted, "func", lambda self: asked.append(1) or bare(self))
    with warnings.catch_warnings(), reading.opened(io.BytesIO(path.read_bytes())) as tiff:
        warnings.simplefilter("ignore")
        roots = {id(tiff.ome_root) for _ in range(3)}
        texts = {id(tiff.ome_metadata) for _ in range(3)}
        assert tiff.series[0].kind == "ome"
    assert (len(roots), len(texts), len(asked)) == (1, 1, 1)
