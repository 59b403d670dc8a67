"""Zarr sources: both formats, groups, regions, identities."""

from __future__ import annotations

import json
import os
import pickle
import uuid

import numpy as np
import pytest
import zarr

import cpr
from cpr.errors import FormatError, RecordError, ResourceNotFoundError

DATA = np.random.default_rng(0).integers(0, 9, (6, 40, 60)).astype("uint16")


@pytest.fixture(params=["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_url")


@pytest.fixture(params=[2, 3])
def plate(request, base):
    """A hierarchy as zarr writes it."""
    url = f"{base}/plate.zarr"
    group = zarr.open_group(url, mode="w", zarr_format=request.param)
    group.attrs["name"] = "plate 1"
    group.create_array("A/1", data=DATA, chunks=(2, 20, 30))
    return url


def test_arrays_and_groups_are_read(plate):
    group = cpr.ZarrSource.from_path(plate).get_data()
    assert isinstance(group, zarr.Group)
    assert group.attrs["name"] == "plate 1"
    assert np.array_equal(group["A/1"][...], DATA)
    for source in (cpr.ZarrSource.from_path(plate, group="A/1"), cpr.ZarrSource.from_path(f"{plate}/A/1")):
        lazy = source.get_data()
        assert isinstance(lazy, zarr.Array)
        assert lazy.read_only
        assert np.array_equal(lazy[...], DATA)
        assert np.array_equal(pickle.loads(pickle.dumps(lazy))[...], DATA)
        assert np.array_equal(source.get_data(region=np.s_[2, ::-1]), DATA[2, ::-1])
        assert np.array_equal(source.get_dask().compute(), DATA)
        assert cpr.load(json.dumps(source.serialize())).identity() == source.identity()
        assert source.get_name() == "plate"


def test_the_first_array_stands_for_a_group_of_arrays(plate):
    group = zarr.open_group(plate, mode="r+")
    for name in ("0", "1"):
        group.create_array(name, data=DATA[: 6 - int(name)])
    source = cpr.ZarrSource.from_path(plate)
    for lazy in (source.get_data(), pickle.loads(pickle.dumps(source.get_data()))):
        assert isinstance(lazy, zarr.Array) and np.array_equal(lazy[1], DATA[1])
        assert np.array_equal(lazy["1"][...], DATA[:5]) and np.array_equal(lazy["A/1"][...], DATA)
        assert sorted(lazy.array_keys()) == ["0", "1"]
        with pytest.raises(AttributeError, match="nonsense"):
            _ = lazy.nonsense
    assert np.array_equal(source.get_data(region=np.s_[2]), DATA[2])
    assert np.array_equal(source.get_dask().compute(), DATA)
    for options in ({"group": "/"}, {"group": ""}, {"group": "A"}):
        assert isinstance(cpr.ZarrSource.from_path(plate, **options).get_data(), zarr.Group)
    before = cpr.hash_objects(source)
    group["1"][0] = 7
    assert cpr.hash_objects(cpr.ZarrSource.from_path(plate)) != before


def test_slices_are_read(plate):
    source = cpr.ZarrSource.from_path(plate, group="A/1", slices_start=(1, None, -20), slices_stop=(4, 30))
    expected = DATA[1:4, :30, -20:]
    again = cpr.load(json.dumps(source.serialize()))
    for each in (source, again):
        found = each.get_data()
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, expected)
        assert np.array_equal(each.get_dask().compute(), expected)
        for region in (0, np.s_[-1, ::-2], np.s_[..., 3:5]):
            assert np.array_equal(each.get_data(region=region), expected[region])
    assert np.array_equal(source.get_data(cache=True), expected)
    assert np.array_equal(source.get_data(region=1), expected[1])
    assert source.identity() != cpr.ZarrSource.from_path(plate, group="A/1").identity()


# That it is no part of the specification, of format 3.
@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated_metadata_is_used(zarr_format, base, monkeypatch):
    from cpr.zarr.stores.url_store import UrlStore

    url = f"{base}/plate.zarr"
    group = zarr.open_group(url, mode="w", zarr_format=zarr_format)
    group.create_array("A/1", data=DATA)
    group.create_array("A/2", data=DATA)
    zarr.consolidate_metadata(url, zarr_format=zarr_format)
    asked = []
    get = UrlStore.get

    async def counting(self, key, prototype, byte_range=None):
        asked.append(key)
        return await get(self, key, prototype, byte_range)

    monkeypatch.setattr(UrlStore, "get", counting)
    found = cpr.ZarrSource.from_path(url).get_data()
    assert found.metadata.consolidated_metadata is not None
    opened = set(asked)
    assert not any("/" in key for key in opened)
    assert sorted(path for path, _ in found.members(max_depth=None)) == ["A", "A/1", "A/2"]
    one = found["A/1"]
    assert set(asked) == opened
    assert np.array_equal(one[...], DATA)
    assert set(asked) - opened == {"A/1/c/0/0/0" if zarr_format == 3 else "A/1/0.0.0"}


def test_a_changed_array_is_another_source(base):
    url = f"{base}/a.zarr"
    seen = set()
    for attributes in ({}, {"a": 1}, {"a": 2}):
        zarr.create_array(url, data=DATA, attributes=attributes, overwrite=True)
        seen.add(cpr.hash_objects(cpr.ZarrSource.from_path(url)))
    assert len(seen) == 3
    assert cpr.hash_objects(cpr.ZarrSource.from_path(url)) in seen


def test_a_target_is_a_source_by_its_manifest(base):
    targets = []
    for data in (DATA, DATA + 1):
        target = cpr.ZarrTarget.from_path(f"{base}/a.zarr")
        target.set_data(data)
        targets.append(target.persist())
    first, second = (cpr.ZarrSource.from_path(target.url) for target in targets)
    assert np.array_equal(first.get_data()[...], DATA)
    assert any(name.startswith("manifest") for name in first.version())
    assert first.version() != second.version()


def test_glob_finds_hierarchies(base):
    for name in ("b.zarr", "a.zarr"):
        zarr.create_array(f"{base}/{name}", data=DATA)
    zarr.open_group(f"{base}/c.zarr", mode="w", zarr_format=2)
    zarr.create_array(f"{base}/plain", data=DATA)
    found = cpr.ZarrSource.glob(f"{base}/*.zarr")
    assert [source.get_name() for source in found] == ["a", "b", "c"]
    assert np.array_equal(found[0].get_data()[...], DATA)
    assert cpr.ZarrSource.glob(f"{base}/*.none", empty="ignore") == []
    plain = cpr.ZarrSource.from_path(f"{base}/plain")
    assert np.array_equal(cpr.load(plain.serialize()).get_data()[...], DATA)


def test_what_is_not_there_is_named(base):
    source = cpr.ZarrSource.from_path(f"{base}/none.zarr", group="a")
    for ask in (source.get_data, source.identity, source.get_dask):
        with pytest.raises(ResourceNotFoundError) as caught:
            ask()
        assert caught.value.url == f"{base}/none.zarr/a"


@pytest.mark.parametrize(
    "options", [{"mode": "x"}, {"group": "../x"}, {"slices_start": ("a",)}, {"slice": (1,)}], ids=str
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(FormatError):
        cpr.ZarrSource.from_path("memory://x/a.zarr", **options)
    record = cpr.ZarrSource.from_path("memory://x/a.zarr").serialize()
    with pytest.raises(RecordError):
        cpr.load({"__cpr__": {**record["__cpr__"], **options}})


def test_groups_have_no_regions(plate):
    source = cpr.ZarrSource.from_path(plate)
    with pytest.raises(FormatError):
        source.get_data(region=0)
    with pytest.raises(FormatError):
        source.get_dask()


def test_a_slice_transfers_its_chunks_and_the_metadata(tmp_path, monkeypatch):
    """Of a target: two chunks of 24 and one page; of shards: the blocks that hold the chunk."""
    from cpr.zarr.stores.local import FastLocalStore

    data = np.random.default_rng(1).integers(0, 1 << 16, (8, 512, 512)).astype("uint16")
    read = []
    get, get_sync = FastLocalStore.get, FastLocalStore.get_sync

    def counted(key, value):
        read.append((key, 0 if value is None else len(value)))
        return value

    async def counting(self, key, prototype=None, byte_range=None):
        return counted(key, await get(self, key, prototype, byte_range))

    monkeypatch.setattr(FastLocalStore, "get", counting)
    monkeypatch.setattr(
        FastLocalStore, "get_sync", lambda self, key, **options: counted(key, get_sync(self, key, **options))
    )
    target = cpr.ZarrTarget.from_path(f"{tmp_path}/a.zarr", chunks=(1, 256, 256), compressors=None)
    target.set_data(data)
    target.persist()
    read.clear()
    assert np.array_equal(
        cpr.load(target.serialize()).get_data()[3, 100:200, 200:300], data[3, 100:200, 200:300]
    )
    assert sorted(key for key, _ in read) == ["c/3/0/0", "c/3/0/1", "zarr.json"]

    target = cpr.ZarrTarget.from_path(
        f"{tmp_path}/a.zarr", chunks=(1, 128, 128), shards=(8, 512, 512), compressors=None
    )
    target.set_data(data)
    target.persist()
    read.clear()
    assert np.array_equal(cpr.load(target.serialize()).get_data()[3, 5:9, 200:300], data[3, 5:9, 200:300])
    total = sum(nbytes for _, nbytes in read)
    # Two chunks of 32 KiB lie in at most four blocks of 128 KiB, the index in one more; the shard is 4 MiB.
    assert total <= 5 * (128 << 10) + 4096
    assert os.path.getsize(f"{target.url}/c/0/0/0") > 4 << 20
