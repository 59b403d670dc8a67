"""Labels of odd names, data, axes and colors: they are written as they are, or refused."""

from __future__ import annotations

import os

import numpy as np
import pytest

import cpr
from cpr.errors import CprError

MASK = np.ones((16, 16), "uint16")
ODD = [
    *(
        {"name": name}
        for name in (
            "../x",
            "a/b",
            "",
            "\0",
            ".",
            "..",
            "x" * 300,
            "zarr.json",
            "Zarr.JSON",
            "a b",
            "\ud800",
            5,
            None,
            b"a",
            ["a"],
        )
    ),
    *({"data": data} for data in (MASK.astype("f4"), MASK[:8], np.ones(3, "u1"), np.array(5), 5, None, "a")),
    *({"axes": axes} for axes in ("zyx", "y", "yy", 5, ["y", "x"], ("y",), 1.5)),
    *(
        {"colors": colors}
        for colors in (5, [1], "red", {"a": "red"}, {1: 5}, {1: (300, 0, 0, 0)}, {True: "red"})
    ),
    *({"properties": some} for some in (5, [1], "red", {"a": {}}, {1: 5}, {1: [1]}, {1: {"label-value": 2}})),
]
GOOD = [
    *({"name": name} for name in ("labels", "zarr.json.0", "0", "CON", "-x", "a.")),
    *({"data": MASK.astype(dtype)} for dtype in ("bool", "int8", "int32", "uint8")),
    *({"axes": "yx"}, {"axes": "xy"}, {"colors": {1: "green"}}, {"properties": {1: {"area": 5}}}),
]


def _image(folder):
    image = cpr.OMEZarrTarget.from_path(folder / "image.ome.zarr", levels=1)
    image.set_data(MASK)
    return image


@pytest.mark.parametrize("given", ODD, ids=lambda given: ascii(given)[:40])
def test_what_is_none_is_refused_and_the_image_stays(tmp_path, given):
    image = _image(tmp_path)
    with pytest.raises(CprError) as caught:
        image.add_labels(**{"name": "n", "data": MASK, **given})
    assert caught.value.remedy
    image.persist()
    read = cpr.load(image.serialize())
    assert read.labels() == {}
    assert np.array_equal(read.get_data(level=0)[:], MASK)
    assert {name for name in os.listdir(tmp_path) if "image" not in name} <= {".cpr"}


@pytest.mark.parametrize("given", GOOD, ids=lambda given: ascii(given)[:40])
def test_what_is_some_is_read_back(tmp_path, given):
    image = _image(tmp_path)
    image.add_labels(**{"name": "n", "data": MASK, **given})
    read = cpr.load(image.persist().serialize())
    assert list(read.labels()) == [given.get("name", "n")]
    assert read.verify() > 4
