"""Physical size, however it is said, is never lost or misread without a word."""

from __future__ import annotations

import json
import pickle
import warnings

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import cpr
from cpr.data.image_metadata import Metadata
from cpr.data.pixel_size import PixelSizeWarning
from cpr.data.pixels_per_unit import Resolution
from cpr.data.units import SYMBOLS, length_symbol, seconds
from cpr.errors import FormatError
from cpr.prefect.cache_keys import hash_objects
from cpr.records.pack import pack
from cpr.records.unpack import unpack

METRES = {"fm": 1e-15, "pm": 1e-12, "Å": 1e-10, "nm": 1e-9, "µm": 1e-6, "mm": 1e-3, "cm": 1e-2, "dm": 0.1,
          "m": 1.0, "km": 1e3, "Mm": 1e6, "in": 0.0254, "ft": 0.3048}  # fmt: skip
PHYSICAL = [symbol for symbol in SYMBOLS if symbol != "pixel"]


def target(name="a.tif", **options):
    return cpr.ImageTarget.from_path(f"memory://pixel_size/{name}", **options)


def stored(shape=(4, 5), **options):
    made = target(**options)
    made.set_data(np.zeros(shape, "uint8"))
    return cpr.ImageSource.from_path(made.persist().url)


def known(image):
    return Metadata.of(image.get_metadata(), image.get_resolution())


def metres(image):
    found = known(image)
    return [None if size is None else size.value * METRES[size.unit] for size in (found.x, found.y, found.z)]


@pytest.mark.parametrize("symbol", PHYSICAL)
@pytest.mark.parametrize("ext", [".tif", ".ome.tif"])
def test_the_unit_goes_with_the_resolution(symbol, ext):
    size = 250e-9 / METRES[symbol]
    raw = stored(name=f"raw{ext}", pixel_size=(size, 2 * size), unit=symbol, metadata={"axes": "YX"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for again in (
            target(resolution=raw.get_resolution()),
            target(resolution=pickle.loads(pickle.dumps(raw.get_resolution()))),
            target(resolution=unpack(json.loads(json.dumps(pack([raw.get_resolution()]))))[0][0]),
            target(resolution=raw.get_resolution(), metadata={"unit": "nm"}),
            target(like=raw),
            stored(name="b.ome.tif", resolution=raw.get_resolution()),
        ):
            assert metres(again) == [pytest.approx(250e-9), pytest.approx(500e-9), None]
    filled = target()
    filled.set_resolution(raw.get_resolution())
    assert metres(filled) == [pytest.approx(250e-9), pytest.approx(500e-9), None]
    filled.set_metadata({"axes": "YX"})
    assert metres(filled)[0] == pytest.approx(250e-9)


def test_a_resolution_is_a_pair_that_knows_its_unit():
    image = target(pixel_size=(0.25, 0.5), unit="micron")
    resolution = image.get_resolution()
    x, y = resolution
    assert resolution == (4, 2) == (x, y) and resolution.unit == "micron"
    assert json.dumps(resolution) == "[4.0, 2.0]"
    per_nm = target(pixel_size=(0.25, 0.5), unit="nm").get_resolution()
    assert per_nm == resolution and hash_objects(per_nm) != hash_objects(resolution)
    image.set_data(np.zeros((2, 2), "uint8"))
    fields = image.serialize()["__cpr__"]
    assert (fields["metadata"], fields["resolution"]) == ({"unit": "micron"}, [4.0, 2.0])


def test_a_resolution_without_a_unit_is_told():
    with pytest.warns(PixelSizeWarning, match="unit='micron'") as caught:
        image = target(resolution=(6.15, 6.15))
    assert caught[0].filename == __file__
    assert metres(image)[0] == pytest.approx(0.01 / 6.15)
    with pytest.warns(PixelSizeWarning, match="no unit"):
        target(metadata={"spacing": 2})
    with pytest.warns(PixelSizeWarning, match="no unit"):
        target().set_resolution((4, 4))
    record = {"__cpr__": {**image_record(), "resolution": [4.0, 4.0]}}
    del record["__cpr__"]["seal"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cpr.load(record).get_resolution() == (4, 4)  # as earlier versions wrote it
        # The remedies.
        target(resolution=(6.15, 6.15), unit="micron")
        target(pixel_size=0.25, unit="micron")


def image_record():
    image = target()
    image.set_data(np.zeros((4, 5), "uint8"))
    return image.serialize()["__cpr__"]


@pytest.mark.parametrize(
    ("options", "field", "remedy"),
    [
        ({"metadata": "ZYX"}, "metadata", "metadata={'axes': 'ZYX'}"),
        ({"metadata": ["ZYX"]}, "metadata", "dict"),
        ({"metadata": {"Axes": "YX"}}, "metadata['Axes']", "'axes'"),
        ({"metadata": {"Unit": "nm"}}, "metadata['Unit']", "'unit'"),
        ({"metadata": {"PhysicalSizex": 1}}, "metadata['PhysicalSizex']", "'PhysicalSizeX'"),
        ({"metadata": {"spacings": 1}}, "metadata['spacings']", "'spacing'"),
        ({"metadata": {"operator": "me"}}, "metadata['operator']", "{'custom': {'operator': ...}}"),
        ({"metadata": {"custom": 1}}, "metadata['custom']", "correct"),
        ({"pixel_size": 0.25}, "unit", "pixel_size=0.25, unit='micron'"),
        ({"pixel_size": 0, "unit": "micron"}, "pixel_size", "(0.25, 0.25)"),
        ({"pixel_size": "big", "unit": "micron"}, "pixel_size", "(0.25, 0.25)"),
        ({"pixel_size": (1,), "unit": "micron"}, "pixel_size", "(0.25, 0.25)"),
        ({"pixel_size": -1, "unit": "micron"}, "resolution", "leave"),
        ({"pixel_size": 1, "resolution": (1, 1), "unit": "micron"}, "pixel_size", "leave one"),
        ({"pixel_size": (1, 1, 2), "metadata": {"spacing": 3}, "unit": "nm"}, "pixel_size", "spacing"),
        ({"unit": "micron", "metadata": {"unit": "nm"}}, "unit", "leave one"),
        ({"unit": "parsnip", "pixel_size": 1}, "metadata['unit']", "convert"),
        ({"like": "a.tif"}, "like", "ImageSource.from_path"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(options, field, remedy):
    for cls in (cpr.ImageTarget, cpr.OMEZarrTarget):
        ext = ".tif" if cls is cpr.ImageTarget else ".ome.zarr"
        with pytest.raises(FormatError) as caught:
            cls.from_path(f"memory://pixel_size/no{ext}", **options)
        assert caught.value.field == field and remedy in caught.value.remedy


def test_keys_of_ones_own():
    for options in ({"custom": {"objective": "63x"}}, {"metadata": {"custom": {"objective": "63x"}}}):
        for ext in (".tif", ".ome.tif"):
            source = stored(name=f"own{ext}", unit="micron", resolution=(4, 4), **options)
            with cpr.io.reading(source.url) as file:
                assert b"63x" in file.read()
        image = target(**options)
        assert target(metadata=image.get_metadata()).get_metadata() == image.get_metadata()


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"metadata": {"unit": "micron"}, "resolution": (1e4 / 0.25, 1e4 / 0.25)}, "not 1e4 / size"),
        ({"metadata": {"unit": "cm"}, "resolution": (4, 1 / 40)}, "Check|Likely"),
        ({"metadata": {"unit": "cm"}, "resolution": (1 / 40, 1 / 40)}, "Check|Likely"),
        ({"pixel_size": 0.5, "unit": "pm"}, "0.5 pm"),
        ({"pixel_size": 2, "unit": "m"}, "2 m"),
    ],
    ids=str,
)
def test_pixels_of_no_microscope_are_told(options, hint):
    with pytest.warns(PixelSizeWarning, match=hint):
        target(**options)


def test_like_carries_all_that_is_physical():
    metadata = {
        "axes": "TZCYX", "unit": "nm", "spacing": 700, "finterval": 120, "Channel": {"Name": ["DAPI", "GFP"]},
    }  # fmt: skip
    raw = stored((2, 3, 2, 4, 5), metadata=metadata, pixel_size=(65, 130), unit="nm")
    same = target("like.ome.tif", like=raw)
    same.set_data(np.ones((2, 3, 2, 4, 5), "float32"))
    assert known(cpr.ImageSource.from_path(same.persist().url)) == known(raw) == known(target(like=same))
    # What is given wins, in whatever unit; what has no axis is left out.
    projected = target("projected.tif", like=raw, metadata={"axes": "YX"})
    assert projected.get_metadata() == {"axes": "YX", "unit": "nm"}
    projected.set_data(np.zeros((4, 5), "uint16"))
    assert metres(cpr.ImageSource.from_path(projected.persist().url))[:2] == pytest.approx([65e-9, 130e-9])
    binned = target("binned.tif", like=raw, pixel_size=0.26, unit="micron")
    assert metres(binned) == pytest.approx([260e-9, 260e-9, 700e-9])
    assert binned.get_metadata()["Channel"] == metadata["Channel"]
    image = cpr.OMEZarrTarget.from_path(
        "memory://pixel_size/like.ome.zarr", like=raw, metadata={"axes": "TCZYX"}
    )
    assert metres(image) == pytest.approx([65e-9, 130e-9, 700e-9])


SPELLINGS = {
    "µm": ["µm", "μm", "um", "micron", "microns", "Micrometer", "micrometres",
           "\\u00B5m", "\\u00b5m", "\\u03bcm", "\\u03BCm"],
    "Å": ["Å", "\u212b", "angstrom", "Ångström", "\\u00C5"],
    "nm": ["nm", "nanometers"],
    "mm": ["mm", "millimetre"],
    "in": ["in", "inch", "inches", "Inch"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("symbol", "spelling"), [(s, text) for s, texts in SPELLINGS.items() for text in texts]
)
def test_spellings_of_units(symbol, spelling, tmp_path):
    assert length_symbol(spelling) == symbol
    if spelling.isascii():
        metadata = {"axes": "YX", "unit": spelling}
        tifffile.imwrite(
            tmp_path / "a.tif", np.zeros((4, 5), "uint8"), imagej=True, resolution=(4, 2), metadata=metadata
        )
        found = cpr.ImageSource.from_path(tmp_path / "a.tif")
        assert metres(found)[:2] == pytest.approx([0.25 * METRES[symbol], 0.5 * METRES[symbol]])


def test_case_decides_between_units_that_it_tells_apart():
    assert length_symbol("Mm") == "Mm" and length_symbol("mm") == "mm"
    for unit in ("Pm", "", " ", 5, None, "parsec"):
        with pytest.raises(FormatError):
            length_symbol(unit)


LINES = st.fixed_dictionaries(
    {"unit": st.sampled_from(["um", "nm", "\\u03bcm", "inch"])},
    optional={
        "yunit": st.sampled_from(["nm", "mm", "um"]),
        "zunit": st.sampled_from(["nm", "mm", "um", "pixel", "furlong"]),
        "spacing": st.sampled_from([0.5, 500]),
        "finterval": st.sampled_from([2, 0.25]),
        "tunit": st.sampled_from(["sec", "min", "ms", "hours", "fortnight"]),
    },
)


@settings(max_examples=60, deadline=None)
@given(LINES)
def test_units_of_every_axis_count(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("units") / "a.tif"
    tifffile.imwrite(
        path, np.zeros((3, 4, 5), "u1"), imagej=True, resolution=(10, 4), metadata={"axes": "ZYX", **lines}
    )
    found = known(cpr.ImageSource.from_path(path))
    unit = {axis: lines.get(f"{axis}unit", lines["unit"]) for axis in "xyz"}
    metre = {
        axis: METRES.get(length_symbol(u)) if u not in {"pixel", "furlong"} else None
        for axis, u in unit.items()
    }
    assert found.x.to("m") == pytest.approx(metre["x"] / 10) and found.y.to("m") == pytest.approx(
        metre["y"] / 4
    )
    if "spacing" in lines and unit["z"] != "furlong":
        expected = None if metre["z"] is None else pytest.approx(lines["spacing"] * metre["z"])
        assert (found.z and found.z.to("m")) == expected
    if "finterval" in lines:
        tunit = lines.get("tunit", "sec")
        assert found.interval == (
            None if tunit == "fortnight" else pytest.approx(seconds(lines["finterval"], tunit))
        )
    if unit["z"] not in {"pixel", "furlong"} and lines.get("tunit") != "fortnight":
        said = Metadata.of({"axes": "ZYX", **lines}, (10, 4))
        for told, size in ((said.x, found.x), (said.y, found.y), (said.z, found.z)):
            assert (told and told.to("m")) == (size and pytest.approx(size.to("m")))


def test_the_classes_of_resolutions_have_names():
    for symbol in SYMBOLS:
        made = Resolution.per(symbol)(1.0, 2.0)
        assert pickle.loads(pickle.dumps(made)) == made and length_symbol(made.unit) == symbol
    assert Resolution(1.0, 2.0).unit is None


@settings(max_examples=60, deadline=None)
@given(LINES)
def test_units_of_every_axis_count_in_what_is_given(lines):
    unknown = lines.get("zunit") in {"pixel", "furlong"} or lines.get("tunit") == "fortnight"
    lines = {key: value for key, value in lines.items() if not (unknown and key in {"zunit", "tunit"})}
    said = Metadata.of(lines, (10, 4))
    first = target(metadata=lines, resolution=(10, 4))
    again = target(metadata=first.get_metadata(), resolution=first.get_resolution())
    alone = target(resolution=again.get_resolution())
    later = target()
    later.set_metadata(lines)
    later.set_resolution(first.get_resolution())
    for image in (first, again, target(like=again), alone, later):
        found = known(image)
        pairs = [(said.x, found.x), (said.y, found.y), (said.z, None if image is alone else found.z)]
        for told, size in pairs[: 2 if image is alone else 3]:
            assert (told and pytest.approx(told.to("m"))) == (size and size.to("m"))
        if image is not alone and "finterval" in lines:
            assert found.interval == pytest.approx(said.interval)


def test_omes_sizes_go_with_the_resolution_too():
    metadata = {"PhysicalSizeX": 200, "PhysicalSizeXUnit": "nm", "unit": "mm"}
    image = target(metadata=metadata, resolution=(1000, 1000))
    for again in (image, target(resolution=image.get_resolution()), target(like=image)):
        assert metres(again)[:2] == pytest.approx([200e-9, 1e-6])
