"""Pixel sizes, units and intervals come back as given, in every format, or raise and store nothing."""

from __future__ import annotations

import uuid
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cpr
import cpr.data.pixel_size
from cpr.data.image_metadata import Metadata
from cpr.data.units import SYMBOLS, Length
from cpr.errors import EncodeError, FormatError

_PRECISION = 1e-7  # rational tags of TIFF are two whole numbers of 32 bits
FORMATS = {
    "ImageJ": (".tif", {"imagej": True}, "uint16"),
    "OME": (".ome.tif", {}, "uint16"),
    "plain": (".tif", {"imagej": False}, "uint16"),
    "neither": (".tif", {}, "float64"),
    "OME-Zarr": (".ome.zarr", {"levels": 3}, "uint16"),
}
AXES = {"YX": (8, 9), "ZYX": (2, 8, 9), "TYX": (2, 8, 9), "TZYX": (2, 2, 8, 9)}

_sizes = st.one_of(
    st.sampled_from([0.25, 1 / 3, 1.0, 0.65, 1e-9, 1.4e-9, 3.9e9]),
    st.floats(-8, 4).map(lambda power: 10**power),
    st.floats(-307, 307.5).map(lambda power: 10**power),
)
_units = st.sampled_from(SYMBOLS)


@st.composite
def calibrations(draw):
    """Axes, metadata and resolution: in ImageJ's words, in OME's, or with a unit for each axis."""
    axes = draw(st.sampled_from(sorted(AXES)))
    metadata, resolution = {"axes": axes}, None
    words = draw(st.sampled_from(["ImageJ", "OME", "each"]))
    if words == "OME":
        for axis in [axis for axis in "XYZ" if axis in axes and draw(st.booleans())]:
            metadata[f"PhysicalSize{axis}"] = draw(_sizes)
            metadata[f"PhysicalSize{axis}Unit"] = draw(_units)
    else:
        names = ["unit"] if words == "ImageJ" else ["xunit", "yunit", "zunit"]
        metadata |= {name: draw(_units) for name in names if draw(st.integers(0, 3))}
        if draw(st.integers(0, 3)):
            resolution = (1 / draw(_sizes), 1 / draw(_sizes))
        if "Z" in axes and draw(st.booleans()):
            metadata["spacing"] = draw(_sizes)
    if "T" in axes and draw(st.booleans()):
        metadata["finterval"] = draw(_sizes)
    return axes, metadata, resolution


def _is_close(given, found) -> bool:
    if given is None or found is None:
        return given is found
    if isinstance(given, Length):
        return found.fits(given.unit) and _is_close(given.value, found.to(given.unit))
    return abs(given - found) <= _PRECISION * given


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=150, deadline=None)
@given(calibrations())
@example(("YX", {"axes": "YX", "unit": "pixel"}, (4.0, 2.0)))
@example(("ZYX", {"axes": "ZYX", "unit": "pixel", "spacing": 3.0}, None))
@example(("ZYX", {"axes": "ZYX", "unit": "km", "spacing": 1e300}, (4.0, 2.0)))
@example(("ZYX", {"axes": "ZYX", "unit": "fm", "spacing": 1e-300}, (4.0, 2.0)))
@example(("ZYX", {"axes": "ZYX", "unit": "fm", "spacing": 1e-300}, None))
@example(("YX", {"axes": "YX", "unit": "fm"}, (1e304, 1e304)))
@example(("YX", {"axes": "YX", "unit": "m"}, (6e-308, 6e-308)))
@example(
    ("ZYX", {"axes": "ZYX", "PhysicalSizeX": 1.0, "PhysicalSizeXUnit": "fm",
             "PhysicalSizeZ": 1e306, "PhysicalSizeZUnit": "Mm"}, None)
)  # fmt: skip
@example(
    ("ZYX", {"axes": "ZYX", "PhysicalSizeX": 1.0, "PhysicalSizeXUnit": "pixel", "PhysicalSizeZ": 2.0}, None)
)
def test_it_comes_back_or_raises(name, calibration):
    axes, metadata, resolution = calibration
    ext, options, dtype = FORMATS[name]
    kinds = (
        (cpr.OMEZarrTarget, cpr.OMEZarrSource) if name == "OME-Zarr" else (cpr.ImageTarget, cpr.ImageSource)
    )
    place = f"memory://{uuid.uuid4().hex}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cpr.data.pixel_size.PixelSizeWarning)
        try:
            target = kinds[0].from_path(
                f"{place}/a{ext}", metadata=metadata, resolution=resolution, **options
            )
            target.set_data(np.zeros(AXES[axes], dtype))
            target.persist()
        except (EncodeError, FormatError):
            assert not cpr.io.find(f"{place}/**", hidden=True)
            return
    said = Metadata.of(metadata, resolution)
    source = kinds[1].from_path(target.url)
    for image in (source, target, cpr.load(target.serialize())):
        found = Metadata.of(image.get_metadata(), image.get_resolution())
        for field in ("x", "y", "z", "interval"):
            assert _is_close(getattr(said, field), getattr(found, field)), (field, said, found)
    assert source.get_metadata()["axes"] == axes


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("unit", ["micron", "nm", "mm", "inch", "pixel", None])
@pytest.mark.filterwarnings("ignore::cpr.data.pixel_size.PixelSizeWarning")
def test_usual_sizes_are_stored(name, unit):
    """None raises: what the other test lets through."""
    ext, options, dtype = FORMATS[name]
    kind = cpr.OMEZarrTarget if name == "OME-Zarr" else cpr.ImageTarget
    metadata = {"axes": "TZYX", "spacing": 1.5, "finterval": 0.5} | ({"unit": unit} if unit else {})
    target = kind.from_path(
        f"memory://{uuid.uuid4().hex}/a{ext}", metadata=metadata, resolution=(4, 2), **options
    )
    target.set_data(np.zeros(AXES["TZYX"], dtype))
    target.persist()
