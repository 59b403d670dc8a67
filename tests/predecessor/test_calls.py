# ruff: noqa: E501, PLC3002 - a table, a call on each line
"""Sixty calls of custom-prefect-result: each does here what it did, or names the line that changes."""

from __future__ import annotations

import hashlib
import json
import warnings

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from prefect.serializers import JSONSerializer

import cpr
from cpr.csv.CSVSource import CSVSource
from cpr.csv.CSVTarget import CSVTarget
from cpr.errors import CorruptDataError, CprError, ResourceNotFoundError
from cpr.image.ImageSource import ImageSource
from cpr.image.ImageTarget import ImageTarget
from cpr.numpy.NumpySource import NumpySource
from cpr.numpy.NumpyTarget import NumpyTarget
from cpr.Resource import Resource
from cpr.Serializer import cpr_serializer, target_decoder, target_encoder
from cpr.Target import Target
from cpr.utilities.utilities import hash_objects
from cpr.zarr.ZarrSource import ZarrSource
from tests.predecessor import written

IMAGE = np.arange(35, dtype="uint16").reshape(5, 7)
TABLE = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
METADATA = {"axes": "YX", "unit": "micron"}


@pytest.fixture
def place(tmp_path):
    """A folder with files of others, and the predecessor's."""
    tifffile.imwrite(tmp_path / "raw.tif", IMAGE)
    for name in ("raw.stk", "raw.lsm", "raw.svs", "raw.qptiff", "raw"):
        (tmp_path / name).write_bytes((tmp_path / "raw.tif").read_bytes())
    TABLE.to_csv(tmp_path / "table.csv")
    np.save(tmp_path / "array.npy", IMAGE)
    np.savez(tmp_path / "arrays.npz", first=IMAGE)
    group = zarr.open_group(str(tmp_path / "image.zarr"), mode="w", zarr_format=2)
    group.create_array("0", data=IMAGE)
    group.create_array("1", data=IMAGE[::2, ::2])
    group.create_array("A/1/0/0", data=IMAGE)
    group.attrs["multiscales"] = [{"datasets": [{"path": "0"}, {"path": "1"}]}]
    written.image_target(tmp_path, IMAGE)
    written.numpy_target(tmp_path, IMAGE)
    written.csv_target(tmp_path, TABLE)
    return str(tmp_path)


def filled(cls, place, data, **options):
    target = cls(
        location=place, name="new", ext={CSVTarget: ".csv", NumpyTarget: ".npy"}.get(cls, ".tif"), **options
    )
    target.set_data(data)
    return target


def zarr_at(place, **options):
    return ZarrSource.from_path(f"{place}/image.zarr", **{"group": "0", **options})


def written_in_place(place, mode):
    zarr_at(place, mode=mode).get_data()[0, 0] = 99
    return zarr.open_array(f"{place}/image.zarr/0", mode="r")[0, 0] == 99


def through_json(serializer, value):
    return serializer.loads(serializer.dumps(value))


PREFECTS = JSONSerializer(
    object_encoder="cpr.Serializer.target_encoder", object_decoder="cpr.Serializer.target_decoder"
)
HASH = written.array_hash(IMAGE)

# What is called -> whether it does what it did.
SAME = {
    "ImageSource by words": lambda p: np.array_equal(ImageSource(location=p, name="raw", ext=".tif").get_data(), IMAGE),
    "ImageSource in order": lambda p: np.array_equal(ImageSource(p, "raw", ".tif").get_data(), IMAGE),
    "ImageSource with metadata": lambda p: ImageSource(location=p, name="raw", ext=".tif", metadata=METADATA, resolution=[7.4, 7.4]).metadata == METADATA,
    "ImageSource.resolution": lambda p: list(ImageSource(location=p, name="raw", ext=".tif", metadata=METADATA, resolution=[7.4, 7.4]).resolution) == [7.4, 7.4],
    "ImageSource.metadata of none": lambda p: ImageSource(p, "raw", ".tif").metadata is None,
    "ImageSource.from_path": lambda p: ImageSource.from_path(f"{p}/raw.tif", metadata=METADATA, resolution=[7.4, 7.4]).get_metadata() == METADATA,
    "ImageSource.imagej": lambda p: ImageSource(p, "raw", ".tif").imagej is True,
    "a .stk": lambda p: np.array_equal(ImageSource.from_path(f"{p}/raw.stk").get_data(), IMAGE),
    "a .lsm": lambda p: np.array_equal(ImageSource.from_path(f"{p}/raw.lsm").get_data(), IMAGE),
    "a .svs": lambda p: np.array_equal(ImageSource.from_path(f"{p}/raw.svs").get_data(), IMAGE),
    "a .qptiff": lambda p: np.array_equal(ImageSource.from_path(f"{p}/raw.qptiff").get_data(), IMAGE),
    "an image without extension": lambda p: np.array_equal(ImageSource.from_path(f"{p}/raw").get_data(), IMAGE),
    "get_name": lambda p: ImageSource.from_path(f"{p}/raw.tif").get_name() == "raw",
    "get_path": lambda p: ImageSource.from_path(f"{p}/raw.tif").get_path() == f"{p}/raw.tif",
    "get_data(cache=True)": lambda p: np.array_equal(ImageSource.from_path(f"{p}/raw.tif").get_data(cache=True), IMAGE),
    "location, name, ext": lambda p: (lambda s: (s.location, s.name, s.ext))(ImageSource.from_path(f"{p}/raw.tif")) == (p, "raw", ".tif"),
    "ImageSource(**record)": lambda p: ImageSource(**ImageSource.from_path(f"{p}/raw.tif", metadata=METADATA).serialize()).metadata == METADATA,
    "no data_hash in a source's record": lambda p: "data_hash" not in ImageSource.from_path(f"{p}/raw.tif").serialize(),
    "ImageTarget by words": lambda p: filled(ImageTarget, p, IMAGE, metadata=METADATA, resolution=[7.4, 7.4], imagej=True, data_hash=None).get_metadata() == METADATA,
    "ImageTarget of a stored file": lambda p: np.array_equal(ImageTarget(location=p, name="cell", ext=".tif", data_hash=HASH).get_data(), IMAGE),
    "its path": lambda p: ImageTarget(location=p, name="cell", ext=".tif", data_hash=HASH).get_path() == f"{p}/cell-{HASH}.tif",
    "ImageTarget(imagej=False)": lambda p: filled(ImageTarget, p, IMAGE, imagej=False).imagej is False,
    "ImageTarget.imagej": lambda p: ImageTarget.from_path(f"{p}/new.tif").imagej is True,
    "ImageTarget.data_hash": lambda p: filled(ImageTarget, p, IMAGE).data_hash == HASH,
    "data_hash before set_data": lambda p: ImageTarget.from_path(f"{p}/new.tif").data_hash is None,
    "compute_data_hash": lambda p: (lambda t: (t.compute_data_hash(), t.data_hash)[1])(filled(ImageTarget, p, IMAGE)) == HASH,
    "compute_data_hash of changed data": lambda p: recomputed(p) == written.array_hash(IMAGE + 1),
    "set_metadata": lambda p: (lambda t: (t.set_metadata(METADATA), t.metadata)[1])(ImageTarget.from_path(f"{p}/a.tif")) == METADATA,
    "metadata =": lambda p: assigned(p, "metadata", METADATA) == METADATA,
    "resolution =": lambda p: list(assigned(p, "resolution", (1 / 0.134, 1 / 0.134))) == [1 / 0.134] * 2,
    "imagej =": lambda p: assigned(p, "imagej", False) is False,
    "serialize writes": lambda p: np.array_equal(ImageTarget(**filled(ImageTarget, p, IMAGE).serialize()).get_data(), IMAGE),
    "a target's record through JSON": lambda p: np.array_equal(ImageTarget(**json.loads(json.dumps(filled(ImageTarget, p, IMAGE).serialize()))).get_data(), IMAGE),
    "data_hash in a target's record": lambda p: filled(ImageTarget, p, IMAGE).serialize()["data_hash"] == HASH,
    "a target used again": lambda p: np.array_equal(reused(p).get_data(), IMAGE * 2),
    "NumpyTarget by words": lambda p: np.array_equal(cpr.load(filled(NumpyTarget, p, IMAGE).serialize()).get_data(), IMAGE),
    "NumpyTarget(**d)": lambda p: np.array_equal(NumpyTarget(location=p, name="flow", ext=".npy", data_hash=HASH).get_data(), IMAGE),
    "NumpyTarget.data_hash": lambda p: filled(NumpyTarget, p, IMAGE).data_hash == HASH,
    "NumpySource of .npy": lambda p: np.array_equal(NumpySource(p, "array", ".npy").get_data(), IMAGE),
    "NumpySource of .npz": lambda p: np.array_equal(NumpySource(p, "arrays", ".npz").get_data()["first"], IMAGE),
    "CSVSource(**d)": lambda p: CSVSource(location=p, name="table", ext=".csv").get_data().equals(TABLE),
    "CSVSource without ext": lambda p: CSVSource(location=p, name="table").get_data().equals(TABLE),
    "CSVTarget of a stored file": lambda p: CSVTarget(location=p, name="cells", data_hash=written.table_hash(TABLE)).get_data().equals(TABLE),
    "CSVTarget": lambda p: cpr.load(filled(CSVTarget, p, TABLE).serialize()).get_data().equals(TABLE),
    "ZarrSource of an image": lambda p: np.array_equal(zarr_at(p).get_data()[...], IMAGE),
    "ZarrSource(group=)": lambda p: np.array_equal(zarr_at(p, group="1").get_data()[...], IMAGE[::2, ::2]),
    "the default group": lambda p: np.array_equal(ZarrSource.from_path(f"{p}/image.zarr").get_data(), IMAGE),
    "a region of the default group": lambda p: np.array_equal(ZarrSource.from_path(f"{p}/image.zarr", slices_start=[1], slices_stop=[2]).get_data(), IMAGE[1:2]),
    "the default group, to be written to": lambda p: (ZarrSource.from_path(f"{p}/image.zarr", mode="w").get_data().__setitem__((0, 0), 99), zarr.open_array(f"{p}/image.zarr/0", mode="r")[0, 0] == 99)[1],
    "others beside the default group": lambda p: np.array_equal(ZarrSource.from_path(f"{p}/image.zarr").get_data()["1"], IMAGE[::2, ::2]),
    "its name": lambda p: ZarrSource.from_path(f"{p}/image.zarr")._group == "0",
    "a group that is a number": lambda p: np.array_equal(ZarrSource.from_path(f"{p}/image.zarr", group=1).get_data(), IMAGE[::2, ::2]),
    "ZarrSource._slices": lambda p: (zarr_at(p, slices_start=[1], slices_stop=[2])._slices, zarr_at(p)._slices) == ((slice(1, 2),), None),
    "ZarrSource._mode": lambda p: zarr_at(p, mode="w")._mode == "w",
    "ZarrSource._group": lambda p: (zarr_at(p)._group, zarr_at(p, group="1")._group) == ("0", "1"),
    "ZarrSource by words": lambda p: np.array_equal(ZarrSource(location=p, name="image", ext=".zarr", group="0", slices_start=[1, 2], slices_stop=[3, 4], mode="r").get_data(), IMAGE[1:3, 2:4]),
    "no slices are all": lambda p: isinstance(ZarrSource(location=p, name="image", ext=".zarr", group="0", slices_start=[], slices_stop=[]).get_data(), zarr.Array),
    "ZarrSource(**record)": lambda p: np.array_equal(ZarrSource(**zarr_at(p, slices_start=[1], slices_stop=[2]).serialize()).get_data(), IMAGE[1:2]),
    "ZarrSource(mode='w')": lambda p: written_in_place(p, "w"),
    "ZarrSource(mode='r+')": lambda p: written_in_place(p, "r+"),
    "ZarrSource(mode='a')": lambda p: written_in_place(p, "a"),
    "ZarrSource.from_path in order": lambda p: np.array_equal(ZarrSource.from_path(f"{p}/image.zarr", "0", [1, 2], [2, -2]).get_data(), IMAGE[1:2, 2:-2]),
    "ZarrSource in order": lambda p: np.array_equal(ZarrSource(p, "image", ".zarr", "0", [1], [3], "r").get_data(), IMAGE[1:3]),
    "a whole plate, to be written to": lambda p: grouped(p) == ["0", "projections"],
    "a group by its number": lambda p: np.array_equal(zarr_at(p, group="/", mode="w").get_data()["A"]["1"][0]["0"][:], IMAGE),
    "_data before get_data": lambda p: zarr_at(p)._data is None,
    "_data = None": lambda p: emptied(p) == (True, None, (1, 7)),
    "ImageSource.from_path in order": lambda p: ImageSource.from_path(f"{p}/raw.tif", METADATA, [7.4, 7.4]).get_metadata() == METADATA,
    "ImageSource with all in order": lambda p: ImageSource(p, "raw", ".tif", METADATA, [7.4, 7.4]).metadata == METADATA,
    "ImageTarget.from_path in order": lambda p: list(ImageTarget.from_path(f"{p}/a.tif", METADATA, [7.4, 7.4]).resolution) == [7.4, 7.4],
    "ImageTarget with all in order": lambda p: np.array_equal(ImageTarget(p, "cell", ".tif", None, None, HASH).get_data(), IMAGE),
    "NumpyTarget in order": lambda p: np.array_equal(NumpyTarget(p, "flow", ".npy", HASH).get_data(), IMAGE),
    "CSVTarget in order": lambda p: CSVTarget(p, "cells", ".csv", written.table_hash(TABLE)).get_data().equals(TABLE),
    "set_metadata after set_data": lambda p: described_late(p) == (METADATA, [7.4, 7.4]),
    "metadata that are changed": lambda p: (lambda s: (s.get_metadata().update(mine=1), s.get_metadata())[1])(ImageSource(p, "raw", ".tif", METADATA)) == METADATA,
    "a file beside a result": lambda p: (lambda t: t.get_path())(filled(ImageTarget, p, IMAGE)).startswith(f"{p}/new-"),
    "a result and numbers": lambda p: through_json(cpr_serializer(), (filled(ImageTarget, p, IMAGE), [1.5, 2.0]))[1] == [1.5, 2.0],
    "data that were set": lambda p: filled(NumpyTarget, p, IMAGE).get_data().shape == (5, 7),
    "a table of tables": lambda p: cpr.load(filled(CSVTarget, p, pd.concat([TABLE, TABLE])).serialize()).get_data().equals(pd.concat([TABLE, TABLE])),
    "target_decoder of the package": lambda p: cpr.Serializer.target_decoder({"a": 1}) == {"a": 1},
    "cpr_serializer()": lambda p: np.array_equal(through_json(cpr_serializer(), [filled(ImageTarget, p, IMAGE)])[0].get_data(), IMAGE),
    "cpr_serializer(dumps_kwargs=)": lambda p: cpr_serializer(dumps_kwargs={"sort_keys": True}).dumps({"b": 1, "a": 2}).startswith(b'{"__cpr__":["value",{"a"'),
    "Prefect's JSONSerializer": lambda p: np.array_equal(through_json(PREFECTS, {"a": filled(ImageTarget, p, IMAGE)})["a"].get_data(), IMAGE),
    "with values that are no resources": lambda p: through_json(PREFECTS, {"at": pd.Timestamp("2024-01-02").to_pydatetime(), "s": {1}}) == {"at": pd.Timestamp("2024-01-02").to_pydatetime(), "s": {1}},
    "target_encoder, target_decoder": lambda p: json.loads(json.dumps([ImageSource(p, "raw", ".tif")], default=target_encoder), object_hook=target_decoder)[0].get_path() == f"{p}/raw.tif",
    "a file of the folder one is in": lambda p: ImageSource(location="", name="a", ext=".tif").get_path() == ImageSource.from_path("a.tif").get_path(),
    "serialize of one's own": lambda p: cpr.load(own(p, serialize=lambda self: {**Target.serialize(self), "n": 3}).serialize()).get_data() == "text",
    "an old record decoded": lambda p: target_decoder({"__class__": "cpr.image.ImageSource.ImageSource", "data": {"location": p, "name": "raw", "ext": ".tif", "metadata": None, "resolution": None}}).get_name() == "raw",
    "hash_objects": lambda p: hash_objects(1, b=2) == hash_objects(1, b=2) != hash_objects(1, b=3),
    "hash_objects(hash_algo=)": lambda p: len(hash_objects(1, hash_algo=hashlib.sha512)) == 128,
}  # fmt: skip

# What is called -> what is raised, and what of the line that changes the error names.
CHANGED = {
    "an extension without its dot": (lambda p: ImageTarget(location=p, name="a", ext="tif"), CprError, "ext='.tif'"),
    "a target without extension": (lambda p: ImageTarget.from_path(f"{p}/raw", metadata=METADATA), CprError, "/raw.tif')"),
    "a target of a name with dots": (lambda p: ImageTarget.from_path(f"{p}/plate.A01"), CprError, "/plate.A01.tif')"),
    "imagej among the metadata": (lambda p: ImageTarget.from_path(f"{p}/a.tif", metadata={**METADATA, "imagej": True}), CprError, "imagej=..."),
    "imagej set among the metadata": (lambda p: ImageTarget.from_path(f"{p}/a.tif").set_metadata({"imagej": True}), CprError, "imagej=..."),
    "an array of a group": (lambda p: ZarrSource.from_path(f"{p}/image.zarr", group="A/1").get_data()[0:1], CprError, "get_data()['path/of/array']"),
    "the shape of a group": (lambda p: ZarrSource.from_path(f"{p}/image.zarr", group="A/1/0").get_data().shape, CprError, "group='path/of/array'"),
    "a group as an array": (lambda p: np.squeeze(ZarrSource.from_path(f"{p}/image.zarr", group="A/1/0").get_data()), CprError, "group='0'"),
    "_read_data": (lambda p: ImageSource(p, "raw", ".tif")._read_data(), CprError, "get_data()"),
    "_write_data": (lambda p: filled(ImageTarget, p, IMAGE)._write_data(), CprError, "persist()"),
    "_hash_data": (lambda p: ImageTarget(p, "a", ".tif")._hash_data(IMAGE), CprError, "data_hash"),
    "an image that is read otherwise": (lambda p: type("Own", (ImageSource,), {"_read_data": lambda self: 1}), CprError, "class Own(Source)"),
    "an image that is written otherwise": (lambda p: type("Own", (ImageTarget,), {"_write_data": lambda self: 1}), CprError, "class Own(Target)"),
    "a class that writes nothing": (lambda p: own(p, _write_data=None), CprError, "def _write_data(self)"),
    "a class that writes two files": (lambda p: own(p, _write_data=lambda self: [open(self.get_path() + end, "w").close() for end in ("", ".md")]), CprError, "a class for each kind of file"),
    "a record of a class that is not defined": (lambda p: cpr.load({"__class__": "koopaflows.cpr_parquet.Gone", "data": {"location": p, "name": "a", "ext": ".parq", "data_hash": HASH}}), CprError, "import the module"),
    "one more without its name": (lambda p: ImageTarget.from_path(f"{p}/a.tif", METADATA, None, True), CprError, "ImageTarget.from_path(path, compression=...)"),
    "one without its name": (lambda p: CSVSource.from_path(f"{p}/table.csv", 0), CprError, "each with its name"),
    "an option twice": (lambda p: ZarrSource.from_path(f"{p}/image.zarr", "0", group="1"), CprError, "ZarrSource.from_path(path, group=...)"),
    "a path alone": (lambda p: ImageTarget(f"{p}/raw.tif"), CprError, "ImageTarget.from_path("),
    "metadata of any key": (lambda p: ImageTarget(location=p, name="a", ext=".tif", metadata={"mine": 1}), CprError, "metadata={'custom': {'mine': ...}}"),
    "a source of a target's record": (lambda p: ImageSource(**filled(ImageTarget, p, IMAGE).serialize()), CprError, "cpr.load(record)"),
    "a class of Resource alone": (lambda p: type("Own", (Resource,), {"_read_data": lambda self: 1}), CprError, "class Own(Source)"),
    "a hash that is none": (lambda p: own(p, _hash_data=lambda self, data: "x"), CprError, "xxhash.xxh3_64"),
    "a file that is gone": (lambda p: ImageTarget(location=p, name="none", ext=".tif", data_hash=HASH).get_data(), ResourceNotFoundError, "none-"),
    "a file of other content": (lambda p: ImageTarget(location=p, name="cell", ext=".tif", data_hash="0" * 16).persist(), FileNotFoundError, "cell-0000"),
    "damage": (lambda p: damaged(p).get_data(), CorruptDataError, HASH),
    "a .npz written": (lambda p: NumpyTarget(location=p, name="a", ext=".npz"), CprError, "ext='.npy'"),
    "an option that is none": (lambda p: NumpyTarget.from_path(f"{p}/a.npy", imagej=True), CprError, "imagej"),
}  # fmt: skip


def grouped(place):
    plate = zarr_at(place, group="/", mode="w").get_data()
    plate["A"]["1"][0].create_group("projections")
    return sorted(zarr_at(place, group="A/1/0").get_data())


def emptied(place):
    source = zarr_at(place, slices_start=[1], slices_stop=[2])
    source.get_data(cache=True)
    was_held = source._data is not None
    source._data = None
    return was_held, source._data, source.get_data().shape


def described_late(place):
    target = filled(ImageTarget, place, IMAGE)
    target.set_metadata(METADATA)
    target.set_resolution([7.4, 7.4])
    found = through_json(cpr_serializer(), target)
    return found.get_metadata(), list(found.get_resolution())


def recomputed(place):
    data = IMAGE.copy()
    target = filled(ImageTarget, place, data)
    data += 1
    target.compute_data_hash()
    return target.data_hash


def assigned(place, name, value):
    target = ImageTarget.from_path(f"{place}/a.tif", metadata={"unit": "micron"})
    setattr(target, name, value)
    return getattr(target, name)


def reused(place):
    target = filled(ImageTarget, place, IMAGE)
    target.serialize()
    target.set_data(IMAGE * 2)
    return cpr.load(target.serialize())


def damaged(place):
    target = ImageTarget(location=place, name="cell", ext=".tif", data_hash=HASH)
    tifffile.imwrite(target.get_path(), IMAGE + 1)
    return target


def own(place, **methods):
    """A stored result of a class of one's own."""

    def write(self):
        with open(self.get_path(), "w") as file:
            file.write(self._data)

    def read(self):
        with open(self.get_path()) as file:
            return file.read()

    usual = {"_hash_data": lambda self, data: "0" * 15 + "1", "_write_data": write, "_read_data": read}
    members = {name: one for name, one in (usual | methods).items() if one is not None}
    target = type("Own", (Target,), {**members, "__module__": __name__}).from_path(f"{place}/a.x")
    target.set_data("text")
    return target.persist()


def test_there_are_sixty():
    assert len(SAME) + len(CHANGED) >= 60


@pytest.mark.parametrize("call", SAME)
def test_as_before(place, call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert SAME[call](place) is True or SAME[call](place) == True  # noqa: E712 - numpy's too


@pytest.mark.parametrize("call", CHANGED)
def test_refused_with_the_line_that_changes(place, call):
    function, error, line = CHANGED[call]
    with pytest.raises(error) as failure:
        function(place)
    assert line in str(failure.value)


@pytest.mark.parametrize("cls", [cpr.ZarrTarget, cpr.OMEZarrTarget])
def test_results_that_it_did_not_have_come_back_from_their_records_too(cls, tmp_path):
    target = cls.from_path(tmp_path / "a.ome.zarr")
    target.set_data(IMAGE)
    record = json.loads(json.dumps(target.serialize()))
    assert np.array_equal(cls(**record).get_data(region=slice(None)), IMAGE)


class _Labels(cpr.Source):
    """In the predecessor's style: it keeps what it has read, and asks whether it has."""

    def __init__(self, location, name, ext=".labels"):
        super().__init__(location=location, name=name, ext=ext)

    def get_data(self):
        if self._data is None:
            with open(self.get_path()) as file:
                self._data = file.read().split()
        return self._data


@pytest.mark.parametrize("place", ["local", "memory"])
def test_a_source_of_ones_own_keeps_what_it_has_read(place, tmp_path):
    url = f"{tmp_path}/a.labels" if place == "local" else "memory://labels-of-ones-own/a.labels"
    with cpr.io.writing(url) as file:
        file.write(b"nucleus cell")
    source = _Labels.from_path(url)
    assert source._data is None and source.get_data() == ["nucleus", "cell"]
    assert cpr.load(source.serialize()).get_data(cache=True) == ["nucleus", "cell"]
