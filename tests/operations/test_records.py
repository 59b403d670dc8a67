"""Records are found under a URL, whatever else is there; a bad one stops no other and names nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cpr import io
from cpr.errors import RecordError
from cpr.operations.object_names import owner_of
from cpr.operations.scan import find_records, list_pages, read_all, read_record, scan, walk
from tests.stored_flow import prefect_record, put, store

GOOD = {
    "type": "NumpyTarget",
    "location": "/data",
    "name": "a",
    "ext": ".npy",
    "key": "0" * 16,
    "data_hash": "1" * 16,
    "checksum": "xxh3_128:" + "2" * 32,
    "nbytes": 3,
}


def test_records_are_found_among_everything_else(tmp_path):
    done = store(str(tmp_path), ("small", "chunks"))
    put(f"{tmp_path}/records/json", prefect_record("[1, 2]", "json"))
    put(f"{tmp_path}/README.md", "# Results")
    put(f"{tmp_path}/settings.json", '{"metadata": {"of": "something else"}}')
    put(f"{tmp_path}/data.bin", bytes(100_000))
    found = {record.url: record for record in find_records(str(tmp_path))}
    assert set(found) == {*done.records.values(), done.flow, f"{tmp_path}/records/json"}
    assert [one.url for one in found[done.flow].targets] == [one.url for one in done.targets.values()]
    assert found[done.records["small"]].is_cache_entry
    assert not found[done.flow].is_cache_entry
    assert found[f"{tmp_path}/records/json"].is_foreign
    assert not any(record.problems for record in found.values())
    everything = list(scan(str(tmp_path)))
    assert len(everything) > len(found)


def test_a_record_of_many_targets_is_read_whole(tmp_path):
    many = [{"__cpr__": {**GOOD, "name": f"a{number}"}} for number in range(2000)]
    put(f"{tmp_path}/many", prefect_record(many))
    (record,) = find_records(str(tmp_path))
    assert record.nbytes > 1 << 18
    assert len(record.targets) == 2000


BAD = {
    "a location that forwards": {"location": "simplecache::s3://b"},
    "a name that leaves": {"name": "../etc"},
    "a type that is no name": {"type": "os.system"},
    "a type that is none": {"type": 3},
    "a key that is none": {"key": "../../../../x"},
    "a checksum of nothing": {"checksum": "crc:1"},
    "a size that is none": {"nbytes": -1},
    "an extension with a path": {"ext": "/x"},
    "provenance that is none": {"made": {"task": 1}},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_a_bad_resource_is_told_and_stops_no_other(tmp_path, change):
    put(f"{tmp_path}/bad", prefect_record([{"__cpr__": {**GOOD, **change}}, {"__cpr__": GOOD}]))
    put(f"{tmp_path}/good", prefect_record({"__cpr__": GOOD}))
    found = {io.split(record.url)[1]: record for record in find_records(str(tmp_path))}
    assert [one.url for one in found["bad"].targets] == [f"/data/a-{'0' * 16}.npy"]
    assert len(found["bad"].problems) == 1
    assert found["good"].problems == ()


TEXTS = {
    "cut": prefect_record({"__cpr__": GOOD})[:-20],
    "nested": '{"__cpr__": ' + "[" * 100_000,
    "not a number": '{"__cpr__": ["value", NaN]}',
    "no result": json.dumps({"metadata": {"serializer": {"type": "cpr"}}}),
    "another result": prefect_record("not JSON"),
    "two keys": '{"__cpr__": ["value", 1], "more": 2}',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_cannot_be_read_is_told(tmp_path, text):
    place = put(f"{tmp_path}/bad", text)
    (record,) = find_records(str(tmp_path))
    assert record.url == place
    (problem,) = record.problems
    assert isinstance(problem, RecordError)
    assert problem.remedy


def test_a_record_that_is_deleted_meanwhile_is_none(tmp_path, monkeypatch):
    from cpr.io.stores.local import LocalStore

    done = store(str(tmp_path), ("small",))
    walk = LocalStore.walk

    def walk_and_delete(self, path):
        entries = list(walk(self, path))
        io.remove(done.records["small"])
        yield from entries

    monkeypatch.setattr(LocalStore, "walk", walk_and_delete)
    assert [record.url for record in find_records(str(tmp_path))] == [done.flow]


def test_one_record(tmp_path):
    done = store(str(tmp_path), ("small",))
    record = read_record(done.flow)
    assert record is not None
    assert record.targets[0].load().get_data().tolist() == list(range(100))
    assert read_record(done.targets["small"].url) is None


KEY = "64320e5f606d65a8"
BELONG = [
    (f"s3://b/r/cell-{KEY}.tif", f"s3://b/r/cell-{KEY}.tif"),
    (f"s3://b/r/.cpr/cell-{KEY}.tif.blocks", f"s3://b/r/cell-{KEY}.tif"),
    (f"/r/.cpr/cell-{KEY}.ome.tif.{KEY}.made.json", f"/r/cell-{KEY}.ome.tif"),
    (f"/r/s-{KEY}.zarr/c/0/0", f"/r/s-{KEY}.zarr"),
    (f"/r/s-{KEY}.zarr/x-{KEY}.tif", f"/r/s-{KEY}.zarr"),
    (f"/r/.cpr/s-{KEY}.zarr.blocks", f"/r/s-{KEY}.zarr"),
    (f"/r/cell-{KEY}.txt", None),
    ("/r/cell.tif", None),
    (f"/r/.cpr/made/task-{KEY}/1-{KEY}.json.gz", None),
    (f"/r/.cpr/marked/{KEY}{KEY}.json", None),
]


@pytest.mark.parametrize(("url", "target"), BELONG)
def test_belonging(url, target):
    found = owner_of(url)
    assert (found and found.target) == target


def test_reading_records_imports_no_class(tmp_path):
    store(str(tmp_path), ("small", "table"))
    code = (
        "import sys\nfrom cpr.operations.scan import find_records\n"
        f"assert sum(len(r.targets) for r in find_records({str(tmp_path)!r})) == 4\n"
        "print([m for m in ('prefect', 'pandas', 'numpy', 'tifffile', 'zarr', 's3fs') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("where", ["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
@pytest.mark.parametrize("count", [1, 200], ids=["small", "larger than what is read first"])
def test_a_record_that_is_replaced_by_a_longer_one_meanwhile_is_whole(request, tmp_path, where, count):
    """Not cut where the one that was listed ended."""
    url = {"local": str(tmp_path), "memory": f"memory:/{tmp_path}"}.get(where)
    url = url or request.getfixturevalue("s3_url")
    fields = {"type": "ImageSource", "location": "s3://bucket/raw", "name": "a", "ext": ".tif"}
    for number in range(40):
        put(f"{url}/{number:032x}", prefect_record({"__cpr__": fields}))
    pages, entries = list(list_pages(url)), list(walk(url))
    longer = [{"__cpr__": {**fields, "name": f"{number:0400}"}} for number in range(count)]
    listed = [put(f"{url}/{number:032x}", prefect_record(longer)) for number in range(0, 40, 3)]
    for found in (list(scan(url, pages)), list(read_all(url, entries))):
        assert [record.url for record in found] == [entry.url for entry in entries]
        assert not [record.problems for record in found if record.problems]
        names = {record.url: [one.fields["name"] for one in record.resources] for record in found}
        assert all(len(of) == (count if place in listed else 1) for place, of in names.items())
        assert {place for place, of in names.items() if of[0] != "a"} == set(listed)
