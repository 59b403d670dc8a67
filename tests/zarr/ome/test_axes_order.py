"""Axes in any order: of what others wrote, and of data that is stored as OME-Zarr has them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import yaozarrs
import zarr

import cpr
from cpr import OMEZarrSource, OMEZarrTarget
from cpr.data.units import length_symbol
from cpr.errors import EncodeError, FormatError

SIZES = {"t": 2, "c": 3, "z": 4, "y": 20, "x": 30}
STEPS = {"t": 5.0, "c": 1.0, "z": 2.0, "y": 0.5, "x": 0.25}
TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
ORDERS = ["xyz", "zxy", "yx", "xy", "cxy", "xyc", "tzcyx", "tczyx", "xyzct", "ctzxy"]


def foreign(
    place: Path, order: str, unit: str | None = "micrometer", *, types: bool = True, names=None
) -> None:
    """An image as another program writes it, with axes in its own order."""
    group = zarr.open_group(str(place), mode="w", zarr_format=2)
    shape = tuple(SIZES[name] for name in order)
    group.create_array("0", shape=shape, dtype="u2")[...] = np.arange(np.prod(shape)).reshape(shape)
    axes = []
    for name in order:
        axis = {"name": (names or {}).get(name, name)}
        if types:
            axis["type"] = TYPES[name]
        if TYPES[name] == "space" and unit is not None:
            axis["unit"] = unit
        if name == "t":
            axis["unit"] = "second"
        axes.append(axis)
    scale = {"type": "scale", "scale": [STEPS[name] for name in order]}
    image = {
        "version": "0.4",
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }
    (place / ".zattrs").write_text(json.dumps({"multiscales": [image]}))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("types", [True, False])
def test_each_axis_of_a_foreign_image_keeps_its_size(order, types, tmp_path):
    foreign(tmp_path / "a.zarr", order, types=types)
    source = OMEZarrSource.from_path(tmp_path / "a.zarr")
    metadata = source.get_metadata()
    assert metadata["axes"] == order.upper()
    assert source.get_resolution() == (4, 2)
    assert metadata["unit"] == "micron"
    assert metadata.get("spacing") == (2.0 if "z" in order else None)
    assert metadata.get("finterval") == (5.0 if "t" in order else None)
    assert source.levels()[0].scale == tuple(STEPS[name] for name in order)
    source.preview()


def test_axes_of_other_names_are_taken_by_their_place(tmp_path):
    foreign(tmp_path / "a.zarr", "zyx", names={"z": "depth", "y": "i", "x": "j"})
    source = OMEZarrSource.from_path(tmp_path / "a.zarr")
    assert source.get_metadata() == {"axes": "ZYX", "unit": "micron", "spacing": 2.0}
    assert source.get_resolution() == (4, 2)


@pytest.mark.parametrize(
    ("unit", "pixels"),
    [
        ("micrometer", (4, 2)), ("um", (4, 2)), ("µm", (4, 2)), ("μm", (4, 2)), ("micron", (4, 2)),
        ("Micrometer", (4, 2)), ("micrometre", (4, 2)), ("nanometer", (4, 2)), ("nm", (4, 2)),
        ("angstrom", (4, 2)), ("Å", (4, 2)), ("inch", (4, 2)), ("mm", (4, 2)), ("pixel", (4, 2)),
        ("furlong", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_units_in_any_spelling(unit, pixels, tmp_path):
    foreign(tmp_path / "a.zarr", "zyx", unit)
    source = OMEZarrSource.from_path(tmp_path / "a.zarr")
    assert source.get_resolution() == pixels
    if pixels is not None:
        metadata = source.get_metadata()
        assert length_symbol(metadata["unit"]) == length_symbol(unit)
        assert metadata["spacing"] == 2.0


@pytest.mark.parametrize("unit", ["second", "s", "sec", "Seconds"])
def test_intervals_in_any_spelling(unit, tmp_path):
    foreign(tmp_path / "a.zarr", "tyx")
    path = tmp_path / "a.zarr" / ".zattrs"
    path.write_text(path.read_text().replace('"second"', json.dumps(unit)))
    assert OMEZarrSource.from_path(tmp_path / "a.zarr").get_metadata()["finterval"] == 5.0


class Elsewhere:
    """A lazy array that is not zarr's."""

    def __init__(self, array):
        self.shape, self.dtype, self._array = array.shape, array.dtype, array
        self.chunks = tuple(max(1, n // 2) for n in array.shape)

    def __getitem__(self, region):
        return self._array[region]


def as_planes(array):
    planes = array.reshape(-1, *array.shape[-2:])
    buffer = np.empty(planes.shape[1:], planes.dtype)
    for plane in planes:
        buffer[...] = plane
        yield buffer
        buffer[...] = 9


KINDS = {
    "numpy": lambda array, _: (array, {}),
    "dask": lambda array, _: (da.from_array(array, chunks=tuple(-(-n // 2) for n in array.shape)), {}),
    "zarr": lambda array, _: (zarr.array(array, chunks=tuple(-(-n // 3) for n in array.shape), store={}), {}),
    "elsewhere": lambda array, _: (Elsewhere(array), {}),
    "memmap": lambda array, path: (mapped(array, path), {}),
    "planes": lambda array, _: (as_planes(array), {"shape": array.shape, "dtype": array.dtype}),
}


def mapped(array, path):
    np.save(path / "a.npy", array)
    return np.load(path / "a.npy", mmap_mode="r")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("by", ["metadata", "argument"])
def test_data_of_any_order_is_stored_in_one(kind, order, by, tmp_path):
    shape = tuple(SIZES[name] for name in order)
    array = np.arange(np.prod(shape), dtype="uint16").reshape(shape)
    stored = "".join(name for name in "tczyx" if name in order)
    expected = array.transpose([order.index(name) for name in stored])
    chunks = (*(1,) * (len(shape) - 2), 10, 16)
    metadata = {"unit": "micron"} | ({"axes": order.upper()} if by == "metadata" else {})
    target = OMEZarrTarget.from_path(
        tmp_path / "a.ome.zarr",
        metadata=metadata,
        resolution=(4, 2),
        levels=2,
        chunks=chunks,
    )
    data, announced = KINDS[kind](array, tmp_path)
    with dask.config.set(scheduler="threads"):
        target.set_data(data, **announced, **({} if by == "metadata" else {"axes": order}))
    assert len(target.data_hash) == 16
    image = cpr.load(target.serialize())
    assert np.array_equal(image.get_data(region=np.s_[:]), expected)
    assert image.levels()[0].axes == tuple(stored)
    assert image.get_metadata().get("axes", stored.upper()) == stored.upper()
    assert target.get_metadata() == image.get_metadata()
    assert image.get_resolution() == (4, 2)
    yaozarrs.validate_zarr_store(image.url)


def test_equal_data_in_another_order_is_the_same_image(tmp_path):
    array = np.arange(24 * 600, dtype="uint16").reshape(2, 3, 4, 20, 30)
    hashes = set()
    for order in ("tzcyx", "tczyx", "ctzyx", "yxtcz"):
        axes = order.upper()
        target = OMEZarrTarget.from_path(tmp_path / "a.ome.zarr", metadata={"axes": axes}, name="a")
        target.set_data(array.transpose(["tczyx".index(name) for name in order]))
        again = target.data_hash
        target.set_data(array.transpose(["tczyx".index(name) for name in order]))  # as a retry does
        assert target.data_hash == again
        hashes.add(again)
        assert target.persist().get_metadata() == {"axes": "TCZYX"}
    assert len(hashes) == 1


def test_an_imagej_stack_becomes_an_ome_zarr_with_one_call(tmp_path):
    stack = np.arange(2 * 4 * 3 * 20 * 30, dtype="uint16").reshape(2, 4, 3, 20, 30)
    tiff = cpr.ImageTarget.from_path(
        tmp_path / "stack.tif",
        metadata={"axes": "TZCYX", "unit": "micron", "spacing": 2.0, "finterval": 5.0},
        resolution=(4, 4),
    )
    tiff.set_data(stack)
    source = cpr.ImageSource.from_path(tiff.persist().url)
    target = OMEZarrTarget.from_path(tmp_path / "image.ome.zarr", like=source)
    target.set_data(source.get_data())
    image = cpr.load(target.serialize())
    assert np.array_equal(image.get_data(region=np.s_[:]), stack.transpose(0, 2, 1, 3, 4))
    assert image.levels()[0].scale == (5.0, 1.0, 2.0, 0.25, 0.25)
    foreign_view = OMEZarrSource.from_path(image.url)
    assert foreign_view.get_metadata()["spacing"] == 2.0
    assert foreign_view.get_resolution() == (4, 4)


def test_labels_in_any_order(tmp_path):
    target = OMEZarrTarget.from_path(tmp_path / "a.ome.zarr", metadata={"axes": "ZCYX"})
    target.set_data(np.zeros((4, 3, 20, 30), "uint8"))
    labels = np.arange(4 * 20 * 30, dtype="uint32").reshape(4, 20, 30)
    target.add_labels("plain", labels)
    target.add_labels("turned", labels.transpose(2, 1, 0), axes="xyz")
    found = cpr.load(target.serialize()).labels()
    for name in ("plain", "turned"):
        assert np.array_equal(found[name].levels[0].data[...], labels)


@pytest.mark.parametrize("axes", ["ZX", "YXS", "QYX", "YYX", "ZYXZ", ""])
def test_axes_that_ome_zarr_does_not_have(axes, tmp_path):
    with pytest.raises((FormatError, EncodeError)):
        OMEZarrTarget.from_path(tmp_path / "a.ome.zarr", metadata={"axes": axes}).set_data(
            np.zeros((3,) * len(axes))
        )


def test_colours_are_channels_once_they_are_called_so(tmp_path):
    colour = np.arange(20 * 30 * 3, dtype="uint8").reshape(20, 30, 3)
    with pytest.raises(FormatError) as caught:
        OMEZarrTarget.from_path(tmp_path / "a.ome.zarr", metadata={"axes": "YXS"})
    assert "'YXC'" in caught.value.remedy
    target = OMEZarrTarget.from_path(tmp_path / "a.ome.zarr", metadata={"axes": "YXC"})
    target.set_data(colour)
    assert np.array_equal(target.get_data(region=np.s_[:]), colour.transpose(2, 0, 1))


@pytest.mark.parametrize("order", [*itertools.permutations("tczyx")], ids="".join)
def test_planes_of_every_order(order, tmp_path):
    shape = tuple(SIZES[name] for name in order)
    array = np.arange(np.prod(shape), dtype="uint16").reshape(shape)
    target = OMEZarrTarget.from_path(tmp_path / "a.ome.zarr", levels=1)
    target.set_data(as_planes(array), shape=shape, dtype="uint16", axes="".join(order))
    expected = array.transpose([order.index(name) for name in "tczyx"])
    assert np.array_equal(target.get_data(region=np.s_[:]), expected)


@pytest.mark.parametrize(
    ("colors", "properties"),
    [({1: "red", 2: "green"}, {2: {"area": 3}, 5: {"area": 4}}), ({1: "red"}, None), (None, {3: {"a": 1}})],
)
def test_colors_and_properties_name_the_same_labels(colors, properties, tmp_path):
    target = OMEZarrTarget.from_path(tmp_path / "a.ome.zarr")
    target.set_data(np.zeros((20, 30), "uint8"))
    target.add_labels("cells", np.ones((20, 30), "uint8"), colors=colors, properties=properties)
    image = cpr.load(target.serialize())
    label = image.get_data()["labels/cells"].attrs["ome"]["image-label"]
    if colors and properties:
        named = [{row["label-value"] for row in label[key]} for key in ("colors", "properties")]
        assert named == [{1, 2, 5}] * 2
    found = image.labels()["cells"]
    assert set(found.colors) == (set(colors or ()) | set(properties or ()) if colors else set())
    assert all(len(color) == 4 for color in found.colors.values()), "ome-zarr-models refuses others"
    assert dict(found.properties) == (properties or {})
    yaozarrs.validate_zarr_store(image.url)
