"""Zarr targets: any array in, the same array out, verified; a small record; no warning for other readers."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import uuid
import warnings

import dask.array as da
import numpy as np
import pytest
import zarr

import cpr
from cpr.errors import (
    CorruptDataError,
    EncodeError,
    FormatError,
    NoDataError,
    RecordError,
    ResourceNotFoundError,
    UnsupportedExtensionError,
)
from cpr.zarr.stores.manifest import manifest_url

DATA = np.random.default_rng(0).integers(0, 9, (20, 100, 130)).astype("uint16")
SHARDS = {"chunks": (2, 40, 50), "shards": (4, 80, 100)}


@pytest.fixture(
    params=[
        *("memory", "local"),
        pytest.param("s3", marks=pytest.mark.s3),
        pytest.param("gs", marks=pytest.mark.gcs),
    ]
)
def base(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else request.getfixturevalue(f"{request.param}_url")


def stored(base: str, data, announce=None, **options):
    target = cpr.ZarrTarget.from_path(f"{base}/cells.zarr", **options)
    target.set_data(data, **(announce or {}))
    return cpr.load(json.dumps(target.serialize()))


def opened_by_zarr(url: str):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return zarr.open(url, mode="r")


CASES = {
    "numpy": (DATA, {}),
    "chunks": (DATA, {"chunks": (3, 40, 50)}),
    "shards": (DATA, SHARDS),
    "shards alone": (DATA, {"shards": (4, 50, 65)}),
    "format 2": (DATA, {"chunks": (3, 40, 50), "zarr_format": 2}),
    "blosc": (DATA, {"compressors": "blosc"}),
    "blosc, format 2": (DATA, {"compressors": "blosc", "zarr_format": 2}),
    "gzip": (DATA, {"compressors": "gzip", "level": 1}),
    "gzip, format 2": (DATA, {"compressors": "gzip", "zarr_format": 2}),
    "not compressed": (DATA, {"compressors": None}),
    "big-endian": (DATA.astype(">u2"), {}),
    "not contiguous": (DATA.T[::2, ::-1], {}),
    "bool": (DATA > 4, {}),
    "float": (DATA / 7, {}),
    "complex": (DATA[0] * 1j, {}),
    "one axis": (DATA[0, 0], {}),
    "no axis": (np.float32(3), {}),
    "empty": (np.zeros((0, 4), "uint8"), {}),
    "fill values": (np.zeros((300, 300)), {"chunks": (10, 100)}),
    "other fill value": (np.full((30, 30), 7), {"chunks": (10, 10), "fill_value": 7}),
    "a list": ([[1, 2], [3, 4]], {}),
    "dask": (da.from_array(DATA, chunks=(3, 40, 70)), {}),
    "dask, irregular": (da.from_array(DATA, chunks=((7, 13), (1, 99), (50, 80))), {}),
    "dask, rechunked": (da.from_array(DATA, chunks=(3, 40, 70)), {"chunks": (2, 30, 30)}),
    "dask, shards": (da.from_array(DATA, chunks=(3, 40, 70)), SHARDS),
    "dask, big-endian": (da.from_array(DATA.astype(">u2"), chunks=(5, 50, 65)), {}),
    "dask, no axis": (da.from_array(np.float32(3)), {}),
    "dask, empty": (da.zeros((0, 4)), {}),
    "zarr": (zarr.array(DATA, chunks=(5, 50, 50)), {}),
    "zarr, other chunks": (zarr.array(DATA, chunks=(5, 50, 50)), {"chunks": (2, 64, 64)}),
}


@pytest.mark.parametrize("case", CASES)
def test_comes_back(case, base):
    data, options = CASES[case]
    target = stored(base, data, **options)
    expected = np.asarray(data)
    lazy = target.get_data()
    assert isinstance(lazy, zarr.Array)
    assert lazy.dtype == expected.dtype.newbyteorder("=")
    for found in (lazy[...], target.get_dask().compute(), opened_by_zarr(target.url)[...]):
        assert np.array_equal(found, expected)
    assert np.array_equal(pickle.loads(pickle.dumps(lazy))[...], expected)
    target.check()
    target.check(full=True)
    assert len(json.dumps(target.serialize())) < 1000


@pytest.mark.parametrize("chunks", [None, (1, 50, 50), (6, 50, 50), (20, 100, 130)])
def test_planes_and_slabs_pass(chunks, base):
    slabs = (DATA[start : start + 3] for start in range(0, 20, 3))
    for data in ((plane for plane in DATA), slabs):
        target = stored(base, data, {"shape": DATA.shape, "dtype": DATA.dtype}, chunks=chunks)
        assert np.array_equal(target.get_data()[...], DATA)


def test_a_stream_of_five_axes():
    data = np.arange(2 * 3 * 5 * 8 * 9).reshape(2, 3, 5, 8, 9)
    for chunks in (None, (1, 1, 2, 8, 4), (1, 2, 2, 8, 4), (2, 1, 1, 3, 3)):
        planes = data.reshape(-1, 8, 9)
        target = stored(
            "memory://five", iter(planes), {"shape": data.shape, "dtype": data.dtype}, chunks=chunks
        )
        assert np.array_equal(target.get_data()[...], data)


def test_memmaps_are_copied_piece_by_piece(tmp_path):
    mapped = np.memmap(tmp_path / "raw", "uint16", "w+", shape=DATA.shape)
    mapped[...] = DATA
    assert np.array_equal(stored(str(tmp_path), mapped).get_data()[...], DATA)


def test_equal_data_has_an_equal_hash(base):
    first, second = stored(base, DATA, **SHARDS), stored(base, DATA, **SHARDS)
    assert first.url != second.url
    assert first.data_hash == second.data_hash
    assert first.checksum == second.checksum
    assert first.identity() == second.identity()
    # However it was written.
    blocks = stored(base, da.from_array(DATA, chunks=(8, 80, 100)), **SHARDS)
    planes = stored(base, iter(DATA), {"shape": DATA.shape, "dtype": DATA.dtype}, **SHARDS)
    assert {blocks.identity()["data_hash"], planes.identity()["data_hash"]} == {first.data_hash}
    changed = DATA.copy()
    changed[-1, -1, -1] += 1
    assert stored(base, changed, **SHARDS).data_hash != first.data_hash


def test_what_is_stored_describes_itself(base):
    options = {"attributes": {"stain": "DAPI"}, "dimension_names": ("z", "y", "x"), "fill_value": 3}
    target = stored(base, DATA, **options)
    lazy = opened_by_zarr(target.url)
    assert lazy.attrs["stain"] == "DAPI"
    assert lazy.metadata.dimension_names == ("z", "y", "x")
    assert lazy.fill_value == 3
    fields = "type location name ext key data_hash content_digest checksum nbytes manifest"
    assert set(target.serialize()["__cpr__"]) == set(fields.split())


@pytest.mark.parametrize("case", ["numpy", "shards", "format 2"])
@pytest.mark.parametrize(
    "region", [3, np.s_[3, 10:20], np.s_[..., 5], np.s_[::-3, ::2, -1], np.s_[:0], np.s_[-1, -1, -1]], ids=str
)
def test_regions_are_numpys(case, region):
    data, options = CASES[case]
    found = stored("memory://regions", data, **options).get_data(region=region)
    assert isinstance(found, np.ndarray)
    assert found.shape == data[region].shape
    assert np.array_equal(found, data[region])


def test_nothing_is_there_before_persist(base):
    target = cpr.ZarrTarget.from_path(f"{base}/cells.zarr")
    with pytest.raises(NoDataError):
        target.get_data()
    target.set_data(DATA)
    assert target.checksum is None
    assert cpr.io.lookup(manifest_url(target.url)) is None
    identity = target.identity()
    # Readable by its maker, elsewhere too.
    assert np.array_equal(pickle.loads(pickle.dumps(target.get_data()))[...], DATA)
    assert target.verify() > 0
    record = target.serialize()
    assert cpr.io.lookup(manifest_url(target.url)).nbytes == record["__cpr__"]["manifest"]
    assert target.identity() == identity
    url = target.url
    target.persist()
    assert target.url == url


def test_a_pickled_target_is_published_and_small():
    target = cpr.ZarrTarget.from_path("memory://pickled/cells.zarr")
    empty = pickle.loads(pickle.dumps(target))
    assert empty.checksum is None
    target.set_data(DATA)
    again = pickle.dumps(target)
    assert len(again) < 1000
    assert np.array_equal(pickle.loads(again).get_data()[...], DATA)


def test_nbytes_is_what_is_stored(tmp_path):
    target = stored(str(tmp_path), DATA)
    sizes = [os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(tmp_path) for f in files]
    assert target.nbytes == sum(sizes)


def test_a_second_attempt_takes_the_place_of_the_first(tmp_path):
    target = cpr.ZarrTarget.from_path(f"{tmp_path}/cells.zarr")
    target.set_data(DATA)
    first = target.url
    target.set_data(DATA + 1)
    assert not [f for _, _, files in os.walk(first) for f in files]
    assert np.array_equal(target.get_data()[...], DATA + 1)
    kept = target.persist().url
    target.set_data(DATA)
    assert os.path.exists(kept)


def test_a_hierarchy_of_ones_own(base):
    target = cpr.ZarrTarget.from_path(f"{base}/plate.zarr", attributes={"plate": 1})
    group = target.create()
    group.create_array("a", data=DATA, chunks=(5, 50, 50))
    well = group.create_group("A/1", attributes={"well": "A1"})
    well.create_array("0", shape=(100, 100), dtype="uint8", chunks=(10, 10), shards=(100, 100))
    well["0"][5:95, 3] = 7
    group["a"][0, 0] = 3
    del group["a"]
    group.create_array("b", data=DATA[0])
    again = cpr.load(json.dumps(target.serialize()))
    found = again.get_data()
    assert isinstance(found, zarr.Group)
    assert dict(found.attrs) == {"plate": 1}
    assert sorted(found.keys()) == ["A", "b"]
    assert np.array_equal(found["b"][...], DATA[0])
    assert found["A/1/0"][5:95, 3].tolist() == [7] * 90
    assert found["A/1"].attrs["well"] == "A1"
    again.verify()
    theirs = opened_by_zarr(target.url)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(theirs.keys()) == ["A", "b"]
    with pytest.raises(FormatError, match="group"):
        again.get_data(region=0)
    with pytest.raises(FormatError, match="group"):
        again.get_dask()


def test_persist_closes_a_hierarchy(base):
    target = cpr.ZarrTarget.from_path(f"{base}/plate.zarr")
    group = target.create()
    array = group.create_array("a", data=DATA)
    with pytest.raises(NoDataError):
        target.get_data()
    target.persist()
    with pytest.raises(RecordError, match="never changed"):
        array[0] = 1
    with pytest.raises(RecordError, match="never changed"):
        del group["a"]
    assert np.array_equal(cpr.load(target.serialize()).get_data()["a"][...], DATA)


def test_an_open_hierarchy_that_is_pickled_or_hashed_is_closed():
    target = cpr.ZarrTarget.from_path("memory://open/plate.zarr")
    target.create().create_array("a", data=DATA)
    assert pickle.loads(pickle.dumps(target)).checksum
    target = cpr.ZarrTarget.from_path("memory://open/plate.zarr")
    target.create().create_array("a", data=DATA)
    assert cpr.hash_objects(target)
    assert target.checksum


def test_writes_past_the_group_are_noticed(base):
    target = cpr.ZarrTarget.from_path(f"{base}/plate.zarr")
    group = target.create()
    group.create_array("a", shape=(4, 4), chunks=(2, 2), dtype="uint8")
    zarr.open(target.url, mode="a")["a"][...] = 1
    with pytest.raises(CorruptDataError, match="not written through the group"):
        target.persist()


def test_an_error_on_the_way_leaves_nothing(base):
    def planes():
        yield from DATA[:7]
        raise OSError("the microscope went away")

    target = cpr.ZarrTarget.from_path(f"{base}/cells.zarr")
    with pytest.raises(OSError, match="microscope"):
        target.set_data(planes(), shape=DATA.shape, dtype=DATA.dtype)
    with pytest.raises(EncodeError, match="number of planes"):
        target.set_data(iter(DATA[:7]), shape=DATA.shape, dtype=DATA.dtype)

    def bad(block):
        raise OSError("the microscope went away")

    with pytest.raises(OSError, match="microscope"):
        target.set_data(da.from_array(DATA, chunks=(5, 50, 50)).map_blocks(bad, dtype=DATA.dtype))
    if base.startswith("/"):
        assert not [f for _, _, files in os.walk(base) for f in files]
    else:
        assert list(cpr.io.find(f"{base}/**")) == []
    with pytest.raises(NoDataError):
        target.serialize()
    target.set_data(DATA)
    assert np.array_equal(cpr.load(target.serialize()).get_data()[...], DATA)


@pytest.mark.parametrize(
    ("data", "options", "field"),
    [
        (np.array(["a"]), {}, "dtype"),
        (np.array(["2026-01-01"], "datetime64[s]"), {}, "dtype"),
        (np.array([{}]), {}, "dtype"),
        (DATA, {"chunks": (1, 1)}, "chunks"),
        (DATA, {"dimension_names": ("y", "x")}, "dimension_names"),
        (np.ma.masked_array([1], [True]), {}, "data"),
        (iter(DATA), {}, "shape, dtype"),
    ],
    ids=range(7),
)
def test_what_cannot_be_stored_is_refused(data, options, field):
    target = cpr.ZarrTarget.from_path("memory://refused/cells.zarr", **options)
    with pytest.raises(EncodeError) as caught:
        target.set_data(data)
    assert caught.value.field == field
    assert caught.value.remedy
    assert list(cpr.io.find("memory://refused/**")) == []


def test_zarrs_own_refusals_are_typed():
    target = cpr.ZarrTarget.from_path("memory://refused/cells.zarr", chunks=(3, 3, 3), shards=(4, 4, 4))
    with pytest.raises(EncodeError) as caught:
        target.set_data(DATA)
    assert caught.value.url == "memory://refused/cells.zarr"


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (0,)},
        {"chunks": 5},
        {"zarr_format": 4},
        {"compressors": "zip"},
        {"zarr_format": 2, "shards": (1,)},
        {"zarr_format": 2, "dimension_names": ("x",)},
        {"colour": 1},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(FormatError) as caught:
        cpr.ZarrTarget.from_path("memory://x/cells.zarr", **options)
    assert caught.value.field in options


def test_dask_blocks_of_unknown_size_are_refused():
    lazy = da.from_array(DATA, chunks=(5, 50, 50))
    unknown = lazy[lazy[:, 0, 0] > 3]
    target = cpr.ZarrTarget.from_path("memory://refused/cells.zarr")
    with pytest.raises(EncodeError, match="unknown size") as caught:
        target.set_data(unknown)
    assert "compute_chunk_sizes" in caught.value.remedy


def test_bad_names_and_records_are_refused():
    with pytest.raises(UnsupportedExtensionError):
        cpr.ZarrTarget.from_path("memory://x/cells.tif")
    record = stored("memory://records", DATA).serialize()
    for field, value in [
        ("manifest", -1),
        ("manifest", "x"),
        ("checksum", "md5:00"),
        ("name", "../x"),
        ("x", 1),
    ]:
        bad = {"__cpr__": {**record["__cpr__"], field: value}}
        with pytest.raises(RecordError):
            cpr.load(bad)


def test_what_was_deleted_is_no_hit(base):
    target = stored(base, DATA)
    root = f"{target.url}/zarr.json"
    cpr.io.remove(manifest_url(target.url))
    for ask in (target.check, target.get_data, target.verify):
        with pytest.raises(ResourceNotFoundError) as caught:
            ask()
        assert caught.value.url == target.url
    target = stored(base, DATA)
    root = f"{target.url}/zarr.json"
    cpr.io.remove(root)
    with pytest.raises(ResourceNotFoundError):
        target.check()
    with pytest.raises(CorruptDataError) as caught:
        target.get_data()
    assert caught.value.url == root


@pytest.mark.s3
def test_a_bucket_that_does_not_exist_is_named(s3_server):
    bucket = f"missing-{uuid.uuid4().hex}"
    for data in (DATA, da.from_array(DATA, chunks=(5, 50, 50))):
        target = cpr.ZarrTarget.from_path(f"s3://{bucket}/cells.zarr")
        with pytest.raises(ResourceNotFoundError, match="no such bucket"):
            target.set_data(data)
    assert bucket not in {found["Name"] for found in s3_server.client().list_buckets()["Buckets"]}


@pytest.mark.s3
def test_no_secret_travels(s3_server, s3_url):
    target = stored(s3_url, DATA, chunks=(5, 50, 50))
    for thing in (target, target.get_data(), target.get_data().store, target.get_dask()):
        for text in (pickle.dumps(thing), repr(thing).encode(), str(thing).encode()):
            for secret in (s3_server.secret_key, s3_server.access_key, s3_server.endpoint):
                assert secret.encode() not in text


def test_another_process_reads_it(tmp_path):
    record = json.dumps(stored(str(tmp_path), DATA).serialize())
    code = "import sys, cpr; print(int(cpr.load(sys.argv[1]).get_data()[...].sum()))"
    found = subprocess.run([sys.executable, "-c", code, record], capture_output=True, text=True, check=True)
    assert int(found.stdout) == DATA.sum()
    assert found.stderr == ""


@pytest.mark.s3
def test_another_process_reads_and_writes_s3_and_ends_quietly(s3_url):
    record = json.dumps(stored(s3_url, DATA).serialize())
    code = (
        "import sys, cpr; z = cpr.load(sys.argv[1]).get_data()[...]; print(int(z.sum()))\n"
        "t = cpr.ZarrTarget.from_path(sys.argv[2]); t.set_data(z); t.persist()\n"
    )
    command = [sys.executable, "-X", "dev", "-c", code, record, f"{s3_url}/again.zarr"]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(found.stdout) == DATA.sum()
    assert "nclosed" not in found.stderr


def test_the_serializer_publishes_and_looks(base):
    """A stored result is a hit while it is there; what is missing or damaged is none."""
    serializer = cpr.cpr_serializer()
    target = cpr.ZarrTarget.from_path(f"{base}/cells.zarr")
    target.set_data(DATA)
    blob = serializer.dumps({"cells": target})
    assert len(blob) < 1000
    found = serializer.loads(blob)["cells"]
    assert np.array_equal(found.get_data()[...], DATA)
    assert cpr.cpr_serializer(verify="full").loads(blob)
    chunk = next(url for url in cpr.io.find(f"{target.url}/c/**"))
    cpr.io.remove(chunk)
    with pytest.raises(CorruptDataError):
        cpr.cpr_serializer(verify="full").loads(blob)
    cpr.io.remove(manifest_url(target.url))
    with pytest.raises(ResourceNotFoundError):
        serializer.loads(blob)


def test_a_manifest_is_an_orphan_only_without_its_hierarchy(base):
    from datetime import timedelta

    from cpr.io.orphans import find_orphans

    target = stored(base, DATA)
    assert find_orphans(base, timedelta(seconds=-60)) == []
    for url in cpr.io.find(f"{target.url}/**"):
        cpr.io.remove(url)
    assert [orphan.url for orphan in find_orphans(base, timedelta(seconds=-60))] == [manifest_url(target.url)]


@pytest.mark.parametrize("compressors", ["zstd", "blosc", "gzip", None])
def test_codecs_of_format_2_are_those_that_its_readers_know(compressors, tmp_path):
    """tensorstore and zarr 2 refuse options of later codecs; without them both read these."""
    target = cpr.ZarrTarget.from_path(tmp_path / "a.zarr", zarr_format=2, compressors=compressors)
    target.set_data(np.arange(12, dtype="uint16"))
    found = json.loads((tmp_path / target.persist().url.rpartition("/")[2] / ".zarray").read_text())
    known = {"zstd": {"id", "level"}, "gzip": {"id", "level"}}
    known["blosc"] = {"id", "cname", "clevel", "shuffle", "blocksize"}
    assert set(found["compressor"] or {}) - {"typesize"} == known.get(compressors, set())
