"""Records and files of custom-prefect-result load, are verified, and become ours."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

import cpr
import cpr.Serializer
from cpr.errors import CorruptDataError, RecordError, ResourceNotFoundError
from tests.predecessor import written

STACK = (np.arange(3 * 5 * 7) % 251).reshape(3, 5, 7)
TABLE = pd.DataFrame({"label": [1, 2], "area": [0.1, 1 / 3], "name": ["a", "007"]}, index=[4, 9])

IMAGES = [
    (STACK[0].astype("uint8"), {}),
    (STACK.astype("uint16"), {"metadata": {"axes": "ZYX", "unit": "micron", "spacing": 0.5}}),
    (STACK.astype("float32"), {"metadata": {"axes": "CYX", "of my own": 1}, "resolution": [1e4 / 0.134] * 2}),
    (STACK.astype("int32"), {"imagej": False}),
    (STACK.astype("float64"), {"imagej": False, "resolution": [7.4, 7.4]}),
    (STACK > 40, {"imagej": False}),
    (np.stack([STACK] * 2).astype("int16"), {"metadata": {"axes": "ZCYX"}}),
    (STACK[0, :, :, None].repeat(3, axis=2).astype("uint8"), {}),
    (STACK[0, :, :, None].repeat(3, axis=2).astype("uint16"), {}),
]


@pytest.mark.parametrize(
    ("array", "options"), IMAGES, ids=lambda x: f"{x.dtype}{x.shape}" if hasattr(x, "dtype") else ""
)
def test_images(tmp_path, array, options):
    record = written.image_target(tmp_path, array, **options)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    old = cpr.load(json.loads(json.dumps(record)))
    assert type(old) is cpr.ImageTarget
    assert old.data_hash == record["data"]["data_hash"]
    assert (old.metadata, old.imagej) == (options.get("metadata"), options.get("imagej", True))
    for one in (old, pickle.loads(pickle.dumps(old))):
        found = one.get_data()
        assert found.dtype == array.dtype and np.array_equal(found, array)
        assert np.array_equal(one.get_data(region=np.s_[1]), array[1])
    ours = cpr.load(json.loads(json.dumps(old.serialize())))
    assert ours.checksum.startswith("xxh3_128:") and ours.nbytes > 0
    assert np.array_equal(ours.get_data(), array) and ours.get_data().dtype == array.dtype
    assert np.array_equal(ours.get_data(region=np.s_[1:]), array[1:])
    assert np.array_equal(ours.get_dask().compute(), array) if array.shape[-1] != 3 else True
    ours.check(full=True)
    assert ours.identity() == old.identity() == cpr.load(record).identity()
    assert {
        path: path.read_bytes() for path in tmp_path.iterdir()
    } == before  # nothing copied, nothing changed


def test_arrays(tmp_path):
    record = written.numpy_target(tmp_path, STACK.astype("float32"))
    old = cpr.load(record)
    assert np.array_equal(old.get_data(), STACK.astype("float32"))
    assert np.array_equal(cpr.load(old.serialize()).get_data(region=1), STACK[1])
    assert cpr.load(old.serialize()).identity() == old.identity()


@pytest.mark.parametrize(
    "frame", [TABLE, TABLE[["area"]], TABLE.rename_axis("id")], ids=["all", "floats", "named"]
)
def test_tables(tmp_path, frame):
    old = cpr.load(written.csv_target(tmp_path, frame))
    ours = cpr.load(json.dumps(old.serialize()))
    for one in (old, ours):
        pd.testing.assert_frame_equal(one.get_data(), frame, check_dtype=False)
    assert ours.data_hash == old.data_hash == written.table_hash(frame)
    ours.check(full=True)


def test_sources(tmp_path):
    tifffile.imwrite(tmp_path / "raw.stk", STACK.astype("uint8"))
    image = cpr.load(
        written.source("ImageSource", tmp_path / "raw.stk", metadata={"axes": "ZYX"}, resolution=None)
    )
    assert (
        np.array_equal(image.get_data(), STACK)
        and image.metadata == {"axes": "ZYX"}
        and image.resolution is None
    )
    TABLE.to_csv(tmp_path / "plate.csv")
    pd.testing.assert_frame_equal(
        cpr.load(written.source("CSVSource", tmp_path / "plate.csv")).get_data(), TABLE, check_dtype=False
    )
    np.savez(tmp_path / "maps.npz", first=STACK, second=STACK[0])
    arrays = cpr.load(written.source("NumpySource", tmp_path / "maps.npz")).get_data()
    assert list(arrays) == ["first", "second"] and np.array_equal(arrays["second"], STACK[0])
    zarr.create_array(str(tmp_path / "a.zarr"), name="1", data=STACK)
    options = {"group": "1", "slices_start": [0, 1, 2], "slices_stop": [2, 3, 4], "mode": "r"}
    part = cpr.load(written.source("ZarrSource", tmp_path / "a.zarr", **options)).get_data()
    assert np.array_equal(part, STACK[0:2, 1:3, 2:4])
    whole = cpr.load(
        written.source("ZarrSource", tmp_path / "a.zarr", **options | {"slices_start": [], "slices_stop": []})
    )
    assert isinstance(whole.get_data(), zarr.Array) and whole._group == "1"


def old_targets(folder):
    yield written.image_target(folder, STACK.astype("uint8"))
    yield written.numpy_target(folder, STACK)
    yield written.csv_target(folder, TABLE)


@pytest.mark.parametrize("index", range(3))
def test_damage_is_found(tmp_path, index):
    record = list(old_targets(tmp_path))[index]
    path = cpr.load(record).url
    other = list(old_targets(tmp_path / "x"))[index] if (tmp_path / "x").mkdir() is None else None
    assert other == {**record, "data": record["data"] | {"location": str(tmp_path / "x")}}
    with open(path, "rb") as file:
        good = file.read()
    for bad in (
        good[: len(good) // 2],
        b"",
        good[:-9] + b"9" + good[-8:] if index else good[:20] + b"\xff" * 40 + good[60:],
    ):
        with open(path, "wb") as file:
            file.write(bad)
        for call in (
            cpr.load(record).get_data,
            cpr.load(record).persist,
            lambda: cpr.load(record).check(full=True),
        ):
            with pytest.raises(CorruptDataError) as failure:
                call()
            assert failure.value.url == path
    (tmp_path / path).unlink()
    with pytest.raises(ResourceNotFoundError):
        cpr.load(record).get_data()


class Pickled(cpr.Target):
    """Of one's own, in the predecessor's style."""

    def __init__(self, location, name, ext=".pkl", protocol=5, data_hash=None):
        self.protocol = protocol
        super().__init__(location=location, name=name, ext=ext, data_hash=data_hash)

    def _hash_data(self, data):
        return written.table_hash(data)

    def _write_data(self):
        self._data.to_pickle(self.get_path(), protocol=self.protocol)

    def _read_data(self):
        return pd.read_pickle(self.get_path())


def test_results_of_a_class_of_ones_own(tmp_path):
    name = written.table_hash(TABLE)
    TABLE.to_pickle(tmp_path / f"spots-{name}.pkl")
    data = {"location": str(tmp_path), "name": "spots", "ext": ".pkl", "protocol": 4, "data_hash": name}
    record = {"__class__": f"{__name__}.Pickled", "data": data}
    old = cpr.load(json.loads(json.dumps(record)))
    assert type(old) is Pickled and old.protocol == 4
    ours = cpr.load(json.dumps(old.serialize()))
    for one in (old, ours, cpr.Serializer.target_decoder(record)):
        pd.testing.assert_frame_equal(one.get_data(), TABLE)
    assert ours.checksum is not None and ours.protocol == 4
    (TABLE + TABLE).to_pickle(tmp_path / f"spots-{name}.pkl")
    for one in (cpr.load(record), cpr.load(old.serialize())):
        with pytest.raises(CorruptDataError):
            one.get_data()
    with pytest.raises(RecordError, match="import the module"):
        cpr.load({**record, "__class__": "flows.of.somebody.Pickled"})
    with pytest.raises(RecordError, match="no such option"):
        cpr.load({**record, "data": data | {"more": 1}})


ENDS = [
    "/../../secret/key.txt", "/key", "\\..\\key", "::http://evil/x", "::file:///etc/passwd",
    "?X-Amz-Signature=" + "a" * 64, "#x", ".txt\n", ".\0", ".\x1b[2J", ".\u202etxt", "." + "a" * 64, " ",
    "txt", None, 5, [".pkl"], True,
]  # fmt: skip


@pytest.mark.parametrize(
    "cls", [f"{__name__}.Pickled", "cpr.image.ImageTarget.ImageTarget", "cpr.csv.CSVSource.CSVSource"]
)
@pytest.mark.parametrize("ext", ENDS, ids=ascii)
def test_an_extension_leads_nowhere(ext, cls, tmp_path):
    """Above all one of a class of one's own, which may end in anything."""
    (tmp_path / "results" / "a-0000000000000000").mkdir(parents=True)
    data = {"location": str(tmp_path / "results"), "name": "a", "ext": ext}
    if cls != "cpr.csv.CSVSource.CSVSource":
        data["data_hash"] = "0" * 16
    with pytest.raises(RecordError):
        cpr.load({"__class__": cls, "data": data})


def test_a_class_of_ones_own_where_records_name_some_places(tmp_path, monkeypatch):
    """Its scratch folder is named by no record."""
    table = {"records": [f"{tmp_path}/results"]}
    monkeypatch.setenv("CPR_STORAGE", json.dumps(table))
    target = Pickled(str(tmp_path / "results"), "a", ".pkl")
    target.set_data(TABLE)
    record = target.serialize()
    pd.testing.assert_frame_equal(cpr.load(record).get_data(), TABLE)
    with pytest.raises(RecordError):
        cpr.load(record | {"location": str(tmp_path / "others")})


HOSTILE = [
    {"__class__": "os.system", "data": {"command": "true"}},
    {"__class__": "cpr.image.ImageTarget.Other", "data": {}},
    {"__class__": "cpr.cli.app.main", "data": {}},
    {"__class__": ["x"], "data": {}},
    {"__class__": "cpr.image.ImageSource.ImageSource", "data": []},
    {"__class__": "cpr.image.ImageSource.ImageSource", "data": {}, "more": 1},
    *(
        {"__class__": "cpr.image.ImageTarget.ImageTarget", "data": data}
        for data in (
            {},
            {"location": "/x", "name": "../a", "ext": ".tif", "data_hash": "0" * 16},
            {"location": "relative", "name": "a", "ext": ".tif", "data_hash": "0" * 16},
            {"location": "/x", "name": "a", "ext": ".sh", "data_hash": "0" * 16},
            {"location": "/x", "name": "a", "ext": ".tif", "data_hash": None},
            {"location": "/x", "name": "a", "ext": ".tif", "data_hash": "../" * 5 + "a"},
            {"location": "/x", "name": "a", "ext": ".tif", "data_hash": "0" * 16, "format": 1},
            {"location": "/x", "name": "a", "ext": ".tif", "data_hash": "0" * 16, "imagej": "yes", "x": 1},
            {"location": "/x", "name": "a", "ext": ".tif", "data_hash": "0" * 16, "metadata": {1: 2}},
            {"location": "http://evil/x", "name": "a", "ext": ".tif", "data_hash": "0" * 16},
            {"location": 1, "name": None, "ext": ".tif", "data_hash": "0" * 16},
        )
    ),
]


@pytest.mark.parametrize("record", HOSTILE, ids=range(len(HOSTILE)))
def test_records_that_are_none(record):
    modules = set(sys.modules)
    with pytest.raises(RecordError):
        cpr.load(record)
    assert {
        name for name in set(sys.modules) - modules if not name.startswith(("cpr", "tifffile", "imagecodecs"))
    } == set()


def test_a_new_result_in_an_old_target(tmp_path):
    old = cpr.load(written.image_target(tmp_path, STACK.astype("uint8")))
    old.set_data(STACK.astype("uint16"))
    again = cpr.load(old.serialize())
    assert again.url != old.url or again.format.origin is None
    assert np.array_equal(again.get_data(), STACK)
