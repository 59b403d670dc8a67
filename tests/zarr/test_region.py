"""A region of a stored Zarr is read as it says, and is known by the objects that it touches alone."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import uuid
import warnings

import numpy as np
import pytest
import zarr

import cpr
from cpr import io
from cpr.errors import CorruptDataError, FormatError, RecordError, ResourceNotFoundError, UsageError
from cpr.zarr.parts.regions import bounds_of, slices_of
from cpr.zarr.regions.content import content_of
from cpr.zarr.ZarrRegion import ZarrRegion

SHAPE = (6, 25, 35)
DATA = np.random.default_rng(0).integers(1, 2**16, SHAPE, dtype="uint16")
LAYOUTS = [
    {"chunks": (2, 10, 10)},
    {"chunks": (1, 5, 10), "shards": (2, 10, 20)},
    {"chunks": (2, 10, 10), "zarr_format": 2, "compressors": "blosc"},
]
REGIONS = [np.s_[:], np.s_[:, 1], np.s_[2:5, 3:19, -1], np.s_[-1, ..., 4:6], np.s_[0, 0, 0], np.s_[..., :30]]


def url(ext: str = ".zarr") -> str:
    return f"memory://{uuid.uuid4().hex}/cells{ext}"


def stored(data, cls=cpr.ZarrTarget, ext=".zarr", where=None, **options):
    target = cls.from_path(where or url(ext), **options)
    target.set_data(data)
    return target.persist()


def same_place(target):
    """Where another target of the same name is, in the same folder: keys count names and locations."""
    return f"{target.location}/{target.name}{target.ext}"


@pytest.mark.parametrize("region", REGIONS, ids=str)
@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_a_region_is_read_as_numpy_would(options, region):
    target = stored(DATA, **options)
    expected = DATA[region]
    given = target.region(region)
    for one in (
        given,
        cpr.load(json.loads(json.dumps(given.serialize()))),
        pickle.loads(pickle.dumps(given)),
    ):
        assert (one.shape, one.dtype) == (expected.shape, expected.dtype)
        assert np.array_equal(one.get_data(), expected)
        assert one.identity() == given.identity()
        one.check()
        one.check(full=True)
    pytest.importorskip("dask")
    assert np.array_equal(given.get_dask().compute(), expected)


@pytest.mark.parametrize(
    "part", [np.s_[0], np.s_[::-2, 3], np.s_[..., 5:1:-1], np.s_[1:, ::3], np.s_[4:2]], ids=str
)
@pytest.mark.parametrize("cache", [False, True])
def test_a_part_of_a_region(part, cache):
    region = stored(DATA, **LAYOUTS[0]).region(np.s_[1:, 3, 2:30])
    if cache:
        region.get_data(cache=True)
    assert np.array_equal(region.get_data(region=part), DATA[1:, 3, 2:30][part])


def test_data_that_is_kept_cannot_be_changed():
    region = stored(DATA, **LAYOUTS[0]).region(np.s_[0])
    kept = region.get_data(cache=True)
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0] = 7


def test_a_region_of_one_element_of_an_array_without_axes():
    for options in ({}, {"zarr_format": 2}):
        first = stored(np.array(7, "int64"), **options)
        other = stored(np.array(8, "int64"), where=same_place(first), **options)
        assert first.region(np.s_[()]).get_data() == 7
        assert first.region(()).identity() != other.region(()).identity()


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_what_is_outside_does_not_count(options):
    first = stored(DATA, **options)
    changed = DATA.copy()
    changed[2:4, 20:] += 1
    second = stored(changed, where=same_place(first), **options)
    assert first.identity() != second.identity()
    for region in (np.s_[0:2], np.s_[5], np.s_[:, :20], np.s_[2:4, :20, 3]):
        assert first.region(region).identity() == second.region(region).identity(), region
    for region in (np.s_[2], np.s_[:, 20], np.s_[3, 24, 34], np.s_[...]):
        assert first.region(region).identity() != second.region(region).identity(), region


def test_regions_of_equal_data_are_different_regions():
    target = stored(np.ones(SHAPE, "uint8"), **LAYOUTS[0])
    regions = [np.s_[0], np.s_[0:1], np.s_[1], np.s_[0, 1], np.s_[0, 1:2]]
    assert len({json.dumps(target.region(region).identity()) for region in regions}) == len(regions)


@pytest.mark.parametrize(
    "changes",
    [
        {"chunks": (2, 10, 20)},
        {"chunks": (2, 10, 10), "compressors": "gzip"},
        {"chunks": (2, 10, 10), "level": 5},
        {"chunks": (2, 10, 10), "fill_value": 3},
        {"chunks": (2, 10, 10), "shards": (2, 20, 20)},
        {"chunks": (2, 10, 10), "zarr_format": 2},
        {"chunks": (2, 10, 10), "dtype": "uint32"},
    ],
    ids=str,
)
@pytest.mark.parametrize("fill", [0, 9])
def test_how_it_is_read_counts(changes, fill):
    """Of chunks that are not stored as well: what they hold is in the metadata."""
    changes = dict(changes)
    first = stored(np.full(SHAPE, fill, "uint16"), chunks=(2, 10, 10))
    data = np.full(SHAPE, fill, changes.pop("dtype", "uint16"))
    other = stored(data, where=same_place(first), **changes)
    assert first.region(np.s_[0, 0]).data_hash != other.region(np.s_[0, 0]).data_hash


@pytest.mark.parametrize(
    "options", [{"attributes": {"stain": "DAPI"}}, {"dimension_names": ("z", "y", "x")}], ids=str
)
def test_notes_do_not_count(options):
    first = stored(DATA, chunks=(2, 10, 10))
    other = stored(DATA, where=same_place(first), chunks=(2, 10, 10), **options)
    assert first.region(np.s_[0]).identity() == other.region(np.s_[0]).identity()


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_an_array_that_has_grown_has_the_same_regions(options):
    first = stored(DATA, **options)
    grown = np.zeros((9, 25, 60), "uint16")
    grown[:6, :, :35] = DATA
    grown[:, :, 40:] = 5
    other = stored(grown, where=same_place(first), **options)
    for region in (np.s_[0:6, :, 0:35], np.s_[1, 3, 7]):
        assert first.region(region).identity() == other.region(region).identity()
    assert first.region(np.s_[:]).identity() != other.region(np.s_[:]).identity()
    # 36 to 39 of the chunk, or shard, that was cut before.
    grown[0, 0, 36] = 1
    other = stored(grown, where=same_place(first), **options)
    assert first.region(np.s_[0, 0, 30:35]).identity() != other.region(np.s_[0, 0, 30:35]).identity()
    assert first.region(np.s_[0, 0, :20]).identity() == other.region(np.s_[0, 0, :20]).identity()


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_chunks_that_are_not_stored_come_and_go(options):
    empty = np.zeros(SHAPE, "uint16")
    first = stored(empty, **options)
    region = np.s_[0:2, 0:10]
    assert np.array_equal(first.region(region).get_data(), empty[region])
    some = empty.copy()
    some[0, 0, 34] = 1
    other = stored(some, where=same_place(first), **options)
    assert first.region(region).identity() != other.region(region).identity()
    assert first.region(np.s_[2:]).identity() == other.region(np.s_[2:]).identity()


def test_of_an_array_with_more_chunks_than_objects():
    """Not every chunk is asked for; what is found is the same."""
    target = cpr.ZarrTarget.from_path(url(), attributes={})
    group = target.create()
    for name, parameters in (("v3", {}), ("v3dot", {"chunk_key_encoding": {"name": "v2", "separator": "."}})):
        array = group.create_array(name, shape=(1 << 20, 1 << 20), chunks=(4, 4), dtype="u1", **parameters)
        array[8:12, 1000:1004] = 7
        array[0, 0] = 1
    target.persist()
    for name in ("v3", "v3dot"):
        few, many = np.s_[8:10, 998:1006], np.s_[8:1000, :]
        assert target.region(few, path=name).verify() == target.region(many, path=name).verify() == 1
        assert target.region(np.s_[:], path=name).verify() == 2
        assert target.region(few, path=name).get_data()[0].tolist() == [0, 0, 7, 7, 7, 7, 0, 0]


def test_levels_and_labels_of_an_image():
    image = cpr.OMEZarrTarget.from_path(
        url(".ome.zarr"), metadata={"axes": "CYX"}, levels=2, chunks=(1, 50, 50)
    )
    data = np.random.default_rng(1).integers(0, 900, (3, 100, 80), dtype="uint16")

    def written(values, labelled):
        target = cpr.OMEZarrTarget.from_path(
            same_place(image), metadata={"axes": "CYX"}, levels=2, chunks=(1, 50, 50)
        )
        target.set_data(values)
        target.add_labels("nuclei", labelled)
        return target  # region() persists it

    labelled = (data[0] > 800).astype("uint8")
    first, changed = written(data, labelled), data.copy()
    changed[2] //= 2
    second = written(changed, labelled)
    third = written(data, 1 - labelled)
    assert np.array_equal(first.region(np.s_[1]).get_data(), data[1])
    small = first.get_data(level=1)[1]
    assert np.array_equal(first.region(np.s_[1], level=1).get_data(), small)
    assert np.array_equal(first.region(np.s_[1], level=-1).get_data(), small)
    assert np.array_equal(first.region(np.s_[:], labels="nuclei").get_data(), labelled)
    for level in (0, 1):
        # The channel's display range is another one, in the group's metadata: not what was asked for.
        assert first.region(np.s_[1], level).identity() == second.region(np.s_[1], level).identity()
        assert first.region(np.s_[2], level).identity() != second.region(np.s_[2], level).identity()
        own, others = (one.region(np.s_[:], level, "nuclei").identity() for one in (first, third))
        assert own != others
    assert first.region(np.s_[:], 0).identity() != first.region(np.s_[:], 1).identity()
    with pytest.raises(FormatError, match=r"no such level.*0 to 1"):
        first.region(np.s_[0], level=2)
    with pytest.raises(FormatError, match=r"no such labels.*nuclei"):
        first.region(np.s_[0], labels="cells")


def test_what_has_been_assembled_of_parts_has_regions():
    options = {"shape": SHAPE, "dtype": "uint16", "chunks": (1, 10, 10)}
    first = None
    for factor in (1, 2):
        whole = cpr.ZarrTarget.from_path(url() if first is None else same_place(first), **options)
        parts = [whole.part(np.s_[n : n + 1]) for n in range(6)]
        for n, part in enumerate(parts):
            part.set_data(DATA[n : n + 1] * np.uint16(factor if n == 3 else 1))
        found = whole.assemble(parts)
        first = first or found
    for n in range(6):
        assert (first.region(np.s_[n]).identity() == found.region(np.s_[n]).identity()) is (n != 3)


def test_what_is_no_region():
    target = stored(DATA, **LAYOUTS[0])
    for region in (np.s_[::2], np.s_[3:3], np.s_[0, 0, 0, 0], np.s_[6], np.s_[::-1], "x", np.s_[[0, 1]]):
        with pytest.raises(FormatError, match="no such region"):
            target.region(region)
    with pytest.raises(ResourceNotFoundError, match="no Zarr array or group here"):
        target.region(np.s_[0], path="raw")
    for path in ("../other", "a//b", "a/./b"):
        with pytest.raises(FormatError, match="path inside the Zarr"):
            target.region(np.s_[0], path=path)
    hierarchy = cpr.ZarrTarget.from_path(url())
    hierarchy.create().create_array("raw", shape=(4,), dtype="u1")[:] = 1
    with pytest.raises(FormatError, match="a group has no regions"):
        hierarchy.region(np.s_[0])
    region = hierarchy.region(np.s_[1:], path="raw")
    assert region.get_data().tolist() == [1, 1, 1]
    with pytest.raises(UsageError, match="never written"):
        region.set_data(np.ones(3))
    with pytest.raises(UsageError, match="is of a stored Zarr"):
        cpr.ZarrRegion.from_path("a.zarr")
    with pytest.raises(FormatError, match="no such region"):
        region.get_data(region=np.s_[7])


def test_elements_that_are_no_numbers_are_told_by_the_array():
    target = cpr.ZarrTarget.from_path(url())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's: not every reader knows them
        array = target.create().create_array("names", shape=(3,), dtype=[("id", "i4"), ("size", "f8")])
    array[:] = np.array([(1, 2.5), (3, 4.5), (5, 6.5)], array.dtype)
    region = cpr.load(target.region(np.s_[1], path="names").serialize())
    assert region.dtype == array.dtype
    assert region.get_data()["size"] == 4.5


def test_damage_is_seen_where_the_region_touches_it():
    target = stored(DATA, **LAYOUTS[0])
    touched, other = target.region(np.s_[0:2]), target.region(np.s_[2:])
    key = next(name for name in io.find(f"{target.url}/c/0/**"))
    with io.writing(key) as file:
        file.write(b"else")
    with pytest.raises(CorruptDataError):
        touched.get_data()
    with pytest.raises(CorruptDataError):
        touched.check(full=True)
    assert np.array_equal(other.get_data(), DATA[2:])
    other.check(full=True)
    io.remove(io.join(target.url, "zarr.json"))
    with pytest.raises(ResourceNotFoundError):
        other.check()


@pytest.mark.parametrize(
    "field", [{"path": "../x"}, {"region": [[0, 9]]}, {"dtype": "nothing"}, {"region": [[3, 1]] * 3}], ids=str
)
def test_a_record_that_was_altered_is_refused(field):
    record = stored(DATA, **LAYOUTS[0]).region(np.s_[0]).serialize()
    with pytest.raises(RecordError):
        cpr.load({"__cpr__": {**record["__cpr__"], **field}})


def test_a_record_of_a_region_that_the_array_does_not_have():
    """One that somebody wrote anew, with a seal of its own."""
    from cpr.records.record_digest import seal_of

    fields = stored(DATA, **LAYOUTS[0]).region(np.s_[0:2]).serialize()["__cpr__"]
    for region in ([[0, 7], [0, 25], [0, 35]], [[0, 6]]):
        forged = {**fields, "region": region, "dropped": [False] * len(region)}
        del forged["seal"]
        loaded = cpr.load({"__cpr__": {**forged, "seal": seal_of(forged)}})
        with pytest.raises(CorruptDataError, match="does not have this region"):
            loaded.get_data()
    forged = {**fields, "region": [[0, 3], [0, 25], [0, 35]]}
    del forged["seal"]
    with pytest.raises(CorruptDataError, match="others than its record says"):
        cpr.load({"__cpr__": {**forged, "seal": seal_of(forged)}}).check(full=True)


def test_a_copy_is_whole_and_has_the_region(tmp_path):
    region = stored(DATA, **LAYOUTS[0]).region(np.s_[2:4, 5])
    twin = region.copy_to(str(tmp_path / "elsewhere"))
    assert np.array_equal(twin.get_data(), DATA[2:4, 5])
    assert np.array_equal(zarr.open(twin.url, mode="r")[...], DATA)
    twin.check(full=True)


def test_a_worker_that_has_only_the_bucket_reads_it(s3_url):
    target = stored(DATA, where=f"{s3_url}/cells.zarr", **LAYOUTS[1])
    record = json.dumps(target.region(np.s_[1:3, 4]).serialize())
    code = "import cpr, json, sys; print(cpr.load(json.loads(sys.argv[1])).get_data().astype('int64').sum())"
    done = subprocess.run([sys.executable, "-c", code, record], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == int(DATA[1:3, 4].astype("int64").sum())


def edits_and_regions(count: int, seed: int) -> tuple[int, int]:
    """Random edits of random arrays, each seen by 80 random regions: how many keys change, and stay.

    A key has to change if and only if an element of an object that the region touches was changed: never
    stays one that should not, and none changes needlessly, but where an object is shared.
    """
    random = np.random.default_rng(seed)
    changed = kept = 0

    def box(shape):
        corners = [np.sort(random.choice(n + 1, 2, replace=False)) for n in shape]
        return tuple(slice(int(a), int(b)) if random.integers(4) else int(a) for a, b in corners)

    while changed + kept < count:
        ndim = int(random.integers(1, 4))
        shape = tuple(int(n) for n in random.integers(3, 14, ndim))
        chunks = tuple(int(n) for n in random.integers(1, 5, ndim))
        shards = tuple(n * int(random.integers(1, 4)) for n in chunks) if random.integers(2) else None
        version = 2 if shards is None and random.integers(2) else 3
        options = {"chunks": chunks, "shards": shards, "zarr_format": version, "compressors": None}
        before = random.integers(0, 3, shape).astype("uint8")
        before[box(shape)] = 0
        edited, where = before.copy(), box(shape)
        edited[where] = random.integers(0, 2) * random.integers(0, 3, before[where].shape)
        first = stored(before, **options)
        second = stored(edited, where=same_place(first), **options)
        stores = [one._store() for one in (first, second)]
        arrays = [one.get_data() for one in (first, second)]
        unit = shards or chunks
        for at in range(80):
            region = box(shape)
            bounds, _ = bounds_of(region, shape)
            hashes = [
                ZarrRegion._named(content_of(array, bounds, store), store.manifest.algorithm)
                for array, store in zip(arrays, stores, strict=True)
            ]
            if not at:
                regions = [one.region(region) for one in (first, second)]
                assert hashes == [(one.data_hash, one.content_digest) for one in regions]
            touched = tuple(slice(a // u * u, -(-b // u) * u) for (a, b), u in zip(bounds, unit, strict=True))
            is_stale = not np.array_equal(before[slices_of(bounds)], edited[slices_of(bounds)])
            is_other = not np.array_equal(before[touched], edited[touched])
            assert (hashes[0] != hashes[1]) == is_other, (options, shape, where, region)
            assert hashes[0] != hashes[1] or not is_stale
            changed, kept = changed + is_other, kept + (not is_other)
    return changed, kept


def test_2000_random_edits():
    changed, kept = edits_and_regions(2_000, seed=0)
    assert changed > 200
    assert kept > 200


@pytest.mark.long
def test_10000_random_edits():
    changed, kept = edits_and_regions(10_000, seed=1)
    assert changed > 1000
    assert kept > 1000
