"""OME-Zarr targets: any image in, the same image out with its pyramid; valid in others' eyes; one result."""

from __future__ import annotations

import json
import os
import pickle
import uuid
import warnings
from itertools import combinations
from pathlib import Path
from unittest.mock import patch

import dask.array as da
import numpy as np
import pytest
import yaozarrs
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import cpr
from cpr import io
from cpr.data.image_metadata import Metadata
from cpr.errors import (
    CorruptDataError,
    EncodeError,
    FormatError,
    NoDataError,
    RecordError,
    ResourceNotFoundError,
)
from cpr.zarr.ome.downsample import halve

ALL_AXES = ["".join(some) + "YX" for n in range(4) for some in combinations("TCZ", n)]
DTYPES = [
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
]
METADATA = {"axes": "CZYX", "unit": "micron", "spacing": 0.5, "Channel": {"Name": ["DAPI", "GFP"]}}
DATA = np.random.default_rng(0).integers(0, 4096, (2, 5, 70, 45)).astype("uint16")
CELLS = (np.arange(5 * 70 * 45).reshape(5, 70, 45) // 500).astype("uint16")


@pytest.fixture(params=["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_url")


def made(base: str, data=DATA, announce=None, **options) -> cpr.OMEZarrTarget:
    options = {"metadata": METADATA, "resolution": (4, 5), "levels": 3, **options}
    target = cpr.OMEZarrTarget.from_path(f"{base}/cells.ome.zarr", **options)
    target.set_data(data, **(announce or {}))
    return target


def stored(base: str, data=DATA, announce=None, **options) -> cpr.OMEZarrTarget:
    return cpr.load(json.dumps(made(base, data, announce, **options).serialize()))


def validated(url: str) -> None:
    """By yaozarrs: metadata and storage; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yaozarrs.validate_zarr_store(url)
        group = zarr.open(url, mode="r")
        assert isinstance(group, zarr.Group)
        assert "0" in sorted(group.keys())
        assert np.asarray(group["0"]).shape == group["0"].shape


def pyramid(data: np.ndarray, axes: tuple[int, ...], levels: int, method="mean") -> list[np.ndarray]:
    """The same by the whole array."""
    found = [data]
    while len(found) < levels:
        found.append(halve(found[-1], [a for a in axes if found[-1].shape[a] > 1], method))
    return found


# ---- what is written


@pytest.mark.parametrize("axes", ALL_AXES)
def test_every_combination_of_axes_is_valid(axes, tmp_path):
    shape = tuple({"T": 2, "C": 3, "Z": 4, "Y": 40, "X": 30}[letter] for letter in axes)
    data = np.arange(np.prod(shape)).reshape(shape).astype("uint16")
    target = made(str(tmp_path), data, metadata={"axes": axes, "unit": "nm", "finterval": 2.5})
    for number, dtype in enumerate(["uint8", "int64", "bool"]):
        target.add_labels(f"labels.{number}", (data % 7).astype(dtype))
    if "C" in axes:
        without = axes.replace("C", "")
        target.add_labels("no-channels", data.take(0, axes.index("C")), colors={0: "blue"})
        assert target.labels()["no-channels"].axes == without
    target.persist()
    validated(target.url)
    levels = target.levels()
    assert [level.axes for level in levels] == [tuple(axes.lower())] * 3
    assert target.image().axes == axes
    assert len(target.labels()) == 3 + ("C" in axes)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_valid_and_kept(dtype, tmp_path):
    data = (np.arange(2 * 30 * 41).reshape(2, 30, 41) % 120).astype(dtype)
    target = stored(str(tmp_path), data, metadata={"axes": "CYX"}, chunks=(1, 8, 8))
    validated(target.url)
    for level, expected in zip(target.levels(), pyramid(data, (1, 2), 3), strict=True):
        assert level.data.dtype == dtype
        assert np.array_equal(level.data[...], expected)
    if np.dtype(dtype).kind in "iu":
        target = made(str(tmp_path), data, metadata={"axes": "CYX"})
        target.add_labels("same", data, colors={1: (1, 2, 3, 4), 2: "magenta"}, properties={7: {"area": 1.5}})
        validated(target.persist().url)
        label = target.labels()["same"]
        assert label.levels[2].data.dtype == dtype
        assert dict(label.colors) == {1: (1, 2, 3, 4), 2: (255, 0, 255, 255), 7: (255, 255, 0, 255)}
        assert dict(label.properties) == {7: {"area": 1.5}}


WAYS = {
    "numpy": lambda data, chunks: (data, {}),
    "big-endian": lambda data, chunks: (data.astype(data.dtype.newbyteorder(">")), {}),
    "dask": lambda data, chunks: (da.from_array(data, chunks=chunks), {}),
    "zarr": lambda data, chunks: (zarr.array(data, chunks=chunks), {}),
    "planes": lambda data, chunks: (
        iter(data.reshape(-1, *data.shape[-2:])),
        {"shape": data.shape, "dtype": data.dtype},
    ),
}


@st.composite
def images(draw):
    axes = draw(st.sampled_from(ALL_AXES))
    sides = st.one_of(st.just(1), st.integers(1, 9), st.integers(1, 40))
    shape = tuple(draw(st.integers(1, 5) if letter in "TCZ" else sides) for letter in axes)
    chunks = tuple(draw(st.integers(1, 12)) for _ in axes)
    shards = None
    if draw(st.booleans()):
        shards = tuple(c * draw(st.integers(1, 3)) for c in chunks)
    return axes, shape, chunks, shards


@pytest.mark.slow
@settings(max_examples=40)
@given(
    image=images(),
    dtype=st.sampled_from(["uint8", "int16", "float32", "bool"]),
    levels=st.integers(1, 7),
    downscale=st.sampled_from(["YX", "ZYX"]),
    method=st.sampled_from(["mean", "mode"]),
    ways=st.sets(st.sampled_from(list(WAYS)), min_size=1),
    cell=st.sampled_from([1, 2000, 16 << 20]),
    source=st.data(),
)
def test_pyramids_are_those_of_the_whole_array(image, dtype, levels, downscale, method, ways, cell, source):
    """Whatever the shape, the chunks, and how the pixels come."""
    axes, shape, chunks, shards = image
    data = (np.random.default_rng(sum(shape)).integers(0, 99, shape)).astype(dtype)
    options = {"metadata": {"axes": axes}, "chunks": chunks, "shards": shards, "levels": levels}
    hashes = set()
    for way in ways:
        blocks = tuple(source.draw(st.integers(1, max(1, n))) for n in shape)
        given_data, announce = WAYS[way](data, blocks)
        with patch("cpr.zarr.writing._CELL_BYTES", cell):
            target = made(
                "memory://pyramids", given_data, announce, **options, downscale=downscale, downsample=method
            )
        found = target.levels()
        expected = pyramid(data, [axes.index(a) for a in downscale if a in axes], len(found), method)
        # As many as were asked for, unless there is nothing left to halve.
        assert len(found) == levels or max(expected[-1].shape[-2:]) == 1
        for level, whole in zip(found, expected, strict=True):
            assert np.array_equal(level.data[...], whole)
            # Of a pixel in the middle: where the pixels that it is made of have their middle.
            factors = [a / b for a, b in zip(level.scale, found[0].scale, strict=True)]
            offsets = [(f - 1) / 2 * s for f, s in zip(factors, found[0].scale, strict=True)]
            assert level.translation == pytest.approx(offsets, rel=1e-12)
        hashes.add(target.data_hash)
        assert target.persist().verify() > 0
    assert len(hashes) == 1


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_comes_back(way, base):
    data, announce = WAYS[way](DATA, (1, 2, 32, 32))
    target = made(base, data, announce, chunks=(1, 2, 32, 32))
    with pytest.raises(ResourceNotFoundError):
        io.stat(f"{base}/.cpr/{target.url.rsplit('/', 1)[1]}.blocks")
    target.add_labels("cells", CELLS)
    target.persist()
    again = cpr.load(json.dumps(target.serialize()))
    assert again.identity() == target.identity()
    for level, expected in zip(again.levels(), pyramid(DATA, (2, 3), 3), strict=True):
        assert np.array_equal(level.data[...], expected)
        assert np.array_equal(level.get_dask().compute(), expected)
        assert np.array_equal(pickle.loads(pickle.dumps(level)).data[...], expected)
    for level, expected in zip(
        again.labels()["cells"].levels, pyramid(CELLS, (1, 2), 3, "mode"), strict=True
    ):
        assert np.array_equal(level.data[...], expected)
    assert isinstance(again.get_data(), zarr.Group)
    assert again.get_data(level=-1).shape == (2, 5, 18, 12)
    assert np.array_equal(again.get_data(region=np.s_[1, ::-2, 5]), DATA[1, ::-2, 5])
    assert again.get_data(region=np.s_[0, 0, 0, 0], level=2).shape == ()
    assert np.array_equal(again.get_dask().compute(), DATA)
    again.check()
    again.check(full=True)
    assert len(json.dumps(again.serialize())) < 1000


@pytest.mark.slow
@pytest.mark.parametrize("cell", [1, 1000, 16 << 20])
def test_two_channels_in_one_chunk_pass_plane_by_plane(cell, monkeypatch):
    monkeypatch.setattr("cpr.zarr.writing._CELL_BYTES", cell)
    data = np.random.default_rng(0).integers(0, 99, (3, 4, 6, 20, 21)).astype("uint8")
    for chunks in ((1, 2, 1, 8, 8), (2, 1, 3, 20, 21), (3, 4, 6, 5, 5), (1, 1, 4, 7, 7)):
        for downscale in ("YX", "ZYX"):
            planes = iter(data.reshape(-1, 20, 21))
            announce = {"shape": data.shape, "dtype": "uint8"}
            target = made(
                "memory://five", planes, announce, metadata=None, chunks=chunks, downscale=downscale
            )
            axes = (2, 3, 4) if downscale == "ZYX" else (3, 4)
            for level, expected in zip(target.levels(), pyramid(data, axes, 3), strict=True):
                assert np.array_equal(level.data[...], expected)


# ---- what it says of itself


@pytest.mark.parametrize(
    ("metadata", "resolution", "scale", "unit"),
    [
        ({"unit": "micron", "spacing": 0.5}, (4.0, 5.0), (0.5, 0.2, 0.25), "micrometer"),
        ({"unit": "nm", "spacing": 200}, (0.01, 0.01), (200, 100, 100), "nanometer"),
        ({"unit": "inch"}, (300, 300), (1, 1 / 300, 1 / 300), "inch"),
        ({}, (10000, 5000), (1, 2e-4, 1e-4), "centimeter"),
        ({"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.3, "PhysicalSizeZ": 1}, None, (1, 0.3, 0.2), "micrometer"),
        (
            {"PhysicalSizeX": 0.2, "PhysicalSizeZ": 1500, "PhysicalSizeZUnit": "nm"},
            None,
            (1.5, 0.2, 0.2),
            "micrometer",
        ),
        ({"unit": "pixel"}, (2, 2), (1, 0.5, 0.5), None),
        ({}, None, (1, 1, 1), None),
    ],
    ids=str,
)
def test_physical_sizes_come_out_as_they_went_in(metadata, resolution, scale, unit, tmp_path):
    target = stored(str(tmp_path), np.zeros((3, 30, 30), "uint8"), metadata=metadata, resolution=resolution)
    validated(target.url)
    level = target.levels()[0]
    assert level.scale == pytest.approx(scale)
    assert level.units[-1] == unit
    assert target.get_metadata() == metadata
    image = cpr.ImageTarget.from_path(f"{tmp_path}/a.tif", metadata=metadata or None, resolution=resolution)
    assert target.get_resolution() == image.get_resolution()
    # What any reader makes of it.
    source = cpr.OMEZarrSource.from_path(target.url)
    known, found = (Metadata.of(each.get_metadata(), each.get_resolution()) for each in (target, source))
    for ours, theirs in ((known.x, found.x), (known.y, found.y), (known.z, found.z)):
        assert (ours is None) is (theirs is None)
        if ours is not None:
            assert theirs.to(ours.unit) == pytest.approx(ours.value, rel=1e-12)
    assert source.get_metadata()["axes"] == "ZYX"


def test_what_a_tiff_says_is_said_of_the_zarr(base):
    tiff = cpr.ImageTarget.from_path(f"{base}/a.tif", metadata=METADATA, resolution=(4, 5), imagej=False)
    tiff.set_data(DATA)
    source = cpr.ImageSource.from_path(tiff.persist().url)
    target = cpr.OMEZarrTarget.from_path(
        f"{base}/a.ome.zarr", metadata=source.get_metadata(), resolution=source.get_resolution()
    )
    target.set_data(source.get_data())
    found = cpr.OMEZarrSource.from_path(target.persist().url)
    assert Metadata.of(found.get_metadata(), found.get_resolution()) == Metadata.of(
        {**METADATA, "Channel": {"Name": ["DAPI", "GFP"]}}, (4, 5)
    )


def test_channels_have_names_colors_and_windows(tmp_path):
    channels = stored(str(tmp_path)).image().channels
    assert [channel.label for channel in channels] == ["DAPI", "GFP"]
    assert [channel.color for channel in channels] == ["00FF00", "FF00FF"]
    smallest = pyramid(DATA, (2, 3), 3)[-1]
    assert [channel.window for channel in channels] == [(c.min(), c.max()) for c in smallest]
    target = stored(str(tmp_path), colors=("cyan", "#12abEF"), windows=((0, 100), (5, 4095)))
    assert [(c.color, c.window) for c in target.image().channels] == [
        ("00FFFF", (0, 100)),
        ("12ABEF", (5, 4095)),
    ]
    window = dict(target.get_data().attrs)["ome"]["omero"]["channels"][1]["window"]
    assert window == {"min": 0, "max": 65535, "start": 5, "end": 4095}
    ome = {**METADATA, "Channel": {"Name": ["a", "b"], "Color": [-16776961, 16711935]}}
    assert [c.color for c in stored(str(tmp_path), metadata=ome).image().channels] == ["FF0000", "00FF00"]
    alone = stored(str(tmp_path), DATA[0], metadata=None)
    assert [(c.color, c.label) for c in alone.image().channels] == [("FFFFFF", "channel 0")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        *[(0, dtype) for dtype in DTYPES],
        *[(255, "uint8"), (-128, "int8"), (2**64 - 1, "uint64"), (2**63 - 1, "int64"), (1, "bool")],
        *[(np.nan, "float32"), (np.inf, "float64"), (1e300, "float64"), (-1e300, "float64")],
    ],
)
def test_windows_are_never_empty(value, dtype, tmp_path):
    target = stored(str(tmp_path), np.full((9, 9), value, dtype), metadata=None, levels=None)
    validated(target.url)
    window = dict(target.get_data().attrs)["ome"]["omero"]["channels"][0]["window"]
    assert window["min"] <= window["start"] < window["end"] <= window["max"]


@pytest.mark.slow
def test_names_attributes_and_sharding(tmp_path):
    target = stored(
        str(tmp_path),
        name="embryo 7",
        attributes={"stain": "DAPI"},
        chunks=(1, 1, 8, 8),
        shards=(1, 5, 32, 32),
        compressors="blosc",
    )
    validated(target.url)
    group = zarr.open(target.url, mode="r")
    assert group.attrs["stain"] == "DAPI"
    assert target.image().name == "embryo 7"
    assert [group[str(n)].chunks for n in range(3)] == [(1, 1, 8, 8)] * 3
    assert [group[str(n)].shards for n in range(3)] == [(1, 5, 32, 32), (1, 5, 32, 24), (1, 5, 24, 16)]
    assert stored(str(tmp_path)).image().name == "cells"


@pytest.mark.slow
def test_labels_are_cut_as_their_image_and_filled_with_nothing(tmp_path):
    target = made(
        str(tmp_path),
        DATA.astype("float32"),
        chunks=(1, 1, 8, 8),
        shards=(2, 5, 32, 32),
        fill_value=np.nan,
    )
    target.add_labels("cells", CELLS)
    target.add_labels("plane", CELLS[0], axes="YX")
    validated(target.persist().url)
    cells, plane = (target.labels()[name].levels[0].data for name in ("cells", "plane"))
    assert (cells.chunks, cells.shards, cells.fill_value) == ((1, 8, 8), (5, 32, 32), 0)
    assert (plane.chunks, plane.shards) == ((8, 8), (32, 32))
    assert np.isnan(target.get_data(level=0).fill_value)
    assert np.array_equal(cells[...], CELLS)


def test_default_chunks_hold_one_channel_and_time():
    target = made("memory://defaults", np.zeros((2, 3, 4, 300, 300), "uint8"), metadata=None, levels=None)
    levels = [level.data for level in target.levels()]
    assert [level.chunks for level in levels] == [(1, 1, 4, 300, 300), (1, 1, 4, 150, 150)]
    assert [level.metadata.dimension_names for level in levels] == [("t", "c", "z", "y", "x")] * 2


# ---- labels


def test_labels_are_checked_before_anything_is_written():
    target = made("memory://labels")
    with pytest.raises(EncodeError, match="integers"):
        target.add_labels("cells", CELLS.astype(float))
    for data, axes in ((CELLS[:, :5], None), (CELLS, "TYX"), (CELLS, "YX"), (CELLS[0, 0], None)):
        with pytest.raises(EncodeError, match="do not fit the image"):
            target.add_labels("cells", data, axes=axes)
    with pytest.raises(FormatError):
        target.add_labels("cells", CELLS, axes="XYZ")
    for name in ("", ".", "..", "a/b", "__a", "a b", None):
        with pytest.raises(FormatError) as caught:
            target.add_labels(name, CELLS)
        assert caught.value.field == "name"
    for bad in ({"colors": {"a": "red"}}, {"colors": {1: "pink"}}, {"colors": {1: (1, 2, 3, 256)}}):
        with pytest.raises(FormatError):
            target.add_labels("cells", CELLS, **bad)
    for bad in ({1: 5}, {True: {}}, {1: {"label-value": 2}}, {1: {"a": object()}}):
        with pytest.raises(FormatError):
            target.add_labels("cells", CELLS, properties=bad)
    assert target.labels() == {}
    target.add_labels("cells", CELLS)
    with pytest.raises(FormatError, match="another name"):
        target.add_labels("Cells", CELLS)
    target.add_labels("plane", CELLS[:1])
    target.add_labels("flat", CELLS[0], axes="YX")
    assert list(target.labels()) == ["cells", "plane", "flat"]
    target.persist()
    with pytest.raises(RecordError, match="never changed"):
        target.add_labels("more", CELLS)
    with pytest.raises(NoDataError):
        cpr.OMEZarrTarget.from_path("memory://labels/empty.ome.zarr").add_labels("cells", CELLS)


@pytest.mark.slow
def test_labels_that_fail_leave_the_image_as_it_was(base):
    target = made(base)
    before = target.data_hash

    def planes():
        yield from CELLS[:3]
        raise OSError("the microscope went away")

    def bad(block):
        raise OSError("the microscope went away")

    for data in (planes(), da.from_array(CELLS, chunks=(1, 32, 32)).map_blocks(bad, dtype=CELLS.dtype)):
        with pytest.raises(OSError, match="microscope"):
            announce = {} if hasattr(data, "shape") else {"shape": CELLS.shape, "dtype": CELLS.dtype}
            target.add_labels("cells", data, **announce)
        assert target.data_hash == before
        assert target.labels() == {}
        target.verify()
    target.add_labels("cells", CELLS)
    target.add_labels("mask", CELLS > 3)
    with pytest.raises(OSError, match="microscope"):
        target.add_labels("third", planes(), shape=CELLS.shape, dtype=CELLS.dtype)
    assert sorted(target.labels()) == ["cells", "mask"]
    again = cpr.load(target.serialize())
    again.verify()
    assert np.array_equal(again.labels()["mask"].levels[0].data[...], CELLS > 3)
    if not base.startswith(("memory", "s3")):
        validated(again.url)


# ---- all or nothing, and never wrong data


def test_an_error_on_the_way_leaves_nothing(base):
    def planes():
        yield from DATA.reshape(-1, 70, 45)[:7]
        raise OSError("the microscope went away")

    target = cpr.OMEZarrTarget.from_path(f"{base}/cells.ome.zarr", metadata=METADATA)
    with pytest.raises(OSError, match="microscope"):
        target.set_data(planes(), shape=DATA.shape, dtype=DATA.dtype)
    for count in (9, 11):
        with pytest.raises(EncodeError, match="number of planes"):
            passing = (np.zeros((70, 45), "uint16") for _ in range(count))
            target.set_data(passing, shape=DATA.shape, dtype=DATA.dtype)
    if base.startswith("/"):
        assert not [f for _, _, files in os.walk(base) for f in files]
    else:
        assert list(io.find(f"{base}/**")) == []
    with pytest.raises(NoDataError):
        target.serialize()
    with pytest.raises(NoDataError):
        target.levels()
    target.set_data(DATA)
    assert np.array_equal(cpr.load(target.serialize()).get_data(region=...), DATA)


@pytest.mark.slow
def test_every_lost_swapped_or_flipped_object_is_noticed(tmp_path):
    target = made(str(tmp_path), chunks=(1, 5, 40, 45))
    target.add_labels("cells", CELLS)
    record = target.serialize()
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(target.url) for name in names)
    assert len(files) > 20
    contents = {path: Path(path).read_bytes() for path in files}
    for number, path in enumerate(files):
        good = contents[path]
        other = contents[files[number - 1]]
        for bad in (None, other, good[:-1], good + b"\0", good[:5] + bytes([good[5] ^ 1]) + good[6:]):
            if bad == good:
                continue
            os.remove(path)
            if bad is not None:
                Path(path).write_bytes(bad)
            with pytest.raises((CorruptDataError, ResourceNotFoundError)):
                again = cpr.load(record)
                for image in (again.image(), *again.labels().values()):
                    for level in image.levels:
                        level.data[...]
            with pytest.raises(CorruptDataError):
                cpr.load(record).verify()
            Path(path).write_bytes(good)
    cpr.load(record).verify()


@pytest.mark.slow
def test_the_serializer_publishes_and_looks(base):
    blob = cpr.cpr_serializer().dumps({"image": made(base)})
    assert len(blob) < 1500
    found = cpr.cpr_serializer(verify="full").loads(blob)["image"]
    assert np.array_equal(found.get_data(level=0)[...], DATA)
    io.remove(f"{found.url}/1/c/0/0/0/0")
    with pytest.raises(CorruptDataError):
        cpr.cpr_serializer(verify="full").loads(blob)


def test_metadata_count_in_hashes_and_are_closed_with_the_data():
    first, second = made("memory://meta"), made("memory://meta", resolution=(4, 6))
    assert first.data_hash != second.data_hash
    assert first.identity() != second.identity()
    with pytest.raises(RecordError, match="never changed"):
        first.set_resolution((1, 1))
    target = cpr.OMEZarrTarget.from_path("memory://meta/a.ome.zarr")
    target.set_metadata(METADATA)
    target.set_resolution((4, 5))
    target.set_data(DATA)
    assert target.levels()[0].scale == (1, 0.5, 0.2, 0.25)
    empty = pickle.loads(pickle.dumps(cpr.OMEZarrTarget.from_path("memory://meta/a.ome.zarr", levels=2)))
    assert empty.format.levels == 2


def test_nothing_is_written_through_create():
    with pytest.raises(FormatError, match="set_data"):
        cpr.OMEZarrTarget.from_path("memory://x/a.ome.zarr").create()


def test_levels_that_are_not_there_are_named():
    target = made("memory://levels")
    for level in (3, -4, "0"):
        with pytest.raises(FormatError, match="no such level") as caught:
            target.get_data(level=level)
        assert caught.value.url == target.url


# ---- what is refused


@pytest.mark.parametrize(
    ("data", "options", "field"),
    [
        (np.zeros(5), {}, "data"),
        (np.zeros((1,) * 6), {}, "data"),
        (np.zeros((0, 5)), {}, "data"),
        (np.zeros((40, 50, 3), "uint8"), {}, "metadata['axes']"),
        (np.zeros((4, 5)), {"metadata": {"axes": "CYX"}}, "metadata['axes']"),
        (np.zeros((4, 5)), {"metadata": {"Channel": {"Name": ["a", "b"]}}}, "metadata['Channel']['Name']"),
        (np.zeros((3, 4, 5)), {"colors": ("red",), "metadata": {"axes": "CYX"}}, "colors"),
        (np.zeros((4, 5)), {"windows": ((0, 1), (0, 2))}, "windows"),
        (np.zeros((4, 5)), {"chunks": (1, 2, 3)}, "chunks"),
        (np.zeros((4, 5), "M8[s]"), {}, "dtype"),
        (iter([np.zeros((4, 5))]), {}, "shape, dtype"),
    ],
    ids=range(11),
)
def test_what_cannot_be_stored_is_refused(data, options, field):
    target = cpr.OMEZarrTarget.from_path("memory://refused/a.ome.zarr", **options)
    with pytest.raises(EncodeError) as caught:
        target.set_data(data)
    assert caught.value.field == field
    assert caught.value.remedy
    assert caught.value.url
    assert list(io.find("memory://refused/**")) == []


@pytest.mark.parametrize(
    "options",
    [
        {"levels": 0},
        {"levels": 2.0},
        {"downscale": "XY"},
        {"downsample": "nearest"},
        {"name": ""},
        {"colors": "red"},
        {"colors": ("pink",)},
        {"windows": ((1, 0),)},
        {"windows": (1,)},
        {"attributes": {"ome": {}}},
        {"chunks": (0,)},
        {"compressors": "zip"},
        {"level": 3},
        {"resolution": (0, 1)},
        {"metadata": {"unit": "furlong"}},
        {"metadata": {"unit": "pixel", "PhysicalSizeZ": 1}, "resolution": (1, 1)},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(FormatError):
        cpr.OMEZarrTarget.from_path("memory://x/a.ome.zarr", **options)


@pytest.mark.parametrize(
    ("axes", "remedy"),
    [
        ("YXS", "'YXC' says the same"),
        ("ZX", "leave them out"),
        ("QYX", "leave them out"),
        ("YYX", "leave them out"),
    ],
)
def test_axes_that_ome_zarr_does_not_have_are_refused_with_the_way_out(axes, remedy):
    with pytest.raises(FormatError) as caught:
        cpr.OMEZarrTarget.from_path("memory://x/a.ome.zarr", metadata={"axes": axes})
    assert remedy in caught.value.remedy


def test_records_with_other_values_are_refused():
    record = made("memory://records").serialize()
    for field, value in [("metadata", {"axes": 5}), ("resolution", ["a", 1]), ("manifest", -1), ("x", 1)]:
        with pytest.raises(RecordError):
            cpr.load({"__cpr__": {**record["__cpr__"], field: value}})
