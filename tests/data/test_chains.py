"""From a source to a target to a source of another format: what is physical stays."""

from __future__ import annotations

import itertools
import uuid
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpr
from cpr.data.image_metadata import Metadata
from cpr.data.units import SYMBOLS

# The formats, each with the class that writes it, the one that reads it, and options.
FORMATS = {
    "ImageJ": (cpr.ImageTarget, cpr.ImageSource, ".tif", {"imagej": True}),
    "OME-TIFF": (cpr.ImageTarget, cpr.ImageSource, ".ome.tif", {}),
    "OME-Zarr": (cpr.OMEZarrTarget, cpr.OMEZarrSource, ".ome.zarr", {}),
}
UNITS = [symbol for symbol in SYMBOLS if symbol != "pixel"]
CHAINS = list(itertools.permutations(FORMATS, 2))
STACK = np.arange(2 * 3 * 2 * 4 * 5, dtype="uint16").reshape(2, 3, 2, 4, 5)


def written(name, data, **options):
    """A source of a file of a format."""
    target_class, source_class, ext, more = FORMATS[name]
    target = target_class.from_path(f"memory://chains/{uuid.uuid4().hex}{ext}", **more, **options)
    target.set_data(data, **({"axes": "TZCYX"} if source_class is cpr.OMEZarrSource else {}))
    return source_class.from_path(target.persist().url)


def physical(image) -> Metadata:
    return Metadata.of(image.get_metadata(), image.get_resolution())


@pytest.mark.parametrize("chain", CHAINS, ids=" to ".join)
@given(
    unit=st.sampled_from(UNITS),
    sizes=st.tuples(*[st.floats(0.001, 2000)] * 3),
    interval=st.one_of(st.none(), st.floats(1e-3, 1e5)),
)
@settings(max_examples=max(6, settings.default.max_examples // 10 - 10))
def test_sizes_unit_interval_and_names_survive(chain, unit, sizes, interval):
    metadata = {"axes": "TZCYX", "Channel": {"Name": ["DAPI", "Größe µm"]}}
    if interval is not None:
        metadata["finterval"] = interval
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pixels that no microscope has
        try:
            first = written(chain[0], STACK, metadata=metadata, pixel_size=sizes, unit=unit)
        except cpr.EncodeError as error:
            # Of a square kilometre ImageJ's tags do not hold how many go into a pixel of some nanometres.
            assert "ImageJ" in chain[0]
            assert error.remedy
            return
        try:
            images = [first, written(chain[1], STACK, like=first, metadata={"axes": "TZCYX"})]
        except cpr.EncodeError:
            assert "ImageJ" in chain[1]
            return
    for image in images:
        found = physical(image)
        for length, size in zip((found.x, found.y, found.z), sizes, strict=True):
            assert length.unit == unit
            assert length.value == pytest.approx(size, rel=1e-8)
        assert found.interval == (None if interval is None else pytest.approx(interval))
        assert found.channels == ("DAPI", "Größe µm")
