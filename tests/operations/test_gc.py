"""What a collection marks, deletes and leaves alone, step by step; time is what the test says it is."""

from __future__ import annotations

import base64
import gzip
import json
import os
import pickle
import time
import uuid
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import fsspec
import numpy as np
import pytest

import cpr
from cpr import io
from cpr.cli.app import run
from cpr.errors import CprError
from cpr.io import gc_mark_lists
from cpr.io.gc_mark_lists import decode, encode, is_marked
from cpr.operations.gc import collect
from cpr.operations.gc_find_garbage import survey
from cpr.operations.scan import find_records
from tests.stored_flow import get, prefect_record, put, store

WEEK = timedelta(days=7)


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch):
    """Marks are read anew each time: here a minute passes in no time."""
    monkeypatch.setattr(gc_mark_lists._Folder, "is_fresh", lambda _: False)


def age(place: Path | str, days: float) -> None:
    """Everything there was written so many days earlier."""
    for folder, _, names in os.walk(place):
        for name in names:
            path = os.path.join(folder, name)
            then = os.stat(path).st_mtime - days * 86400
            os.utime(path, (then, then))


def names(found) -> list[str]:
    return sorted(io.split(one.url)[1].partition("-")[0] for one in found)


def orphaned(tmp_path, *kinds):
    """Old results of all kinds, those of some without a record."""
    done = store(str(tmp_path))
    for kind in kinds:
        io.remove(done.records[kind])
    io.remove(done.flow)
    age(tmp_path, 30)
    return done


def files(place) -> set[str]:
    found = {path for path in Path(place).rglob("*") if path.is_file()}
    return {str(path.relative_to(place)) for path in found if ".cpr/marked" not in str(path)}


def test_nothing_is_touched_unless_told(tmp_path):
    orphaned(tmp_path, "small", "chunks")
    before = {path: path.stat().st_mtime for path in tmp_path.rglob("*")}
    done = collect([str(tmp_path)])
    assert done.dry
    assert names(done.marked) == ["chunks", "small"]
    assert {path: path.stat().st_mtime for path in tmp_path.rglob("*")} == before


def test_marked_then_deleted_then_forgotten(tmp_path):
    kept = orphaned(tmp_path, "small", "large", "chunks")
    before = files(tmp_path)
    first = collect([str(tmp_path)], delete=True)
    assert names(first.marked) == ["chunks", "large", "small"]
    assert first.deleted == []
    assert files(tmp_path) == before
    age(tmp_path, 6)
    again = collect([str(tmp_path)], delete=True)
    assert (again.marked, again.deleted, again.waiting) == ([], [], 3)
    age(tmp_path, 2)
    third = collect([str(tmp_path)], delete=True)
    assert names(third.deleted) == ["chunks", "large", "small"]
    assert third.freed > 1_600_000
    gone = before - files(tmp_path)
    assert all(name.startswith(("data/small", "data/large", "data/chunks", "data/.cpr/")) for name in gone)
    assert "data/.cpr" in {str(Path(name).parent) for name in gone}
    # Names stay marked for another grace period, and then nothing is left of it.
    assert is_marked(kept.targets["small"].url)
    age(tmp_path, 8)
    collect([str(tmp_path)], delete=True)
    assert not is_marked(kept.targets["small"].url)
    assert list((tmp_path / "data/.cpr/marked").rglob("*")) == []
    for record in find_records(str(tmp_path)):
        for one in record.targets:
            one.load().get_data()


def test_what_a_writer_adopts_or_writes_meanwhile(tmp_path):
    done = orphaned(tmp_path, "small")
    collect([str(tmp_path)], delete=True)
    target = cpr.NumpyTarget.from_path(f"{tmp_path}/data/small.npy")
    target.set_data(np.arange(100))
    assert target.url == done.targets["small"].url
    target.persist()
    assert target.url != done.targets["small"].url
    put(f"{tmp_path}/records/new", prefect_record(target.serialize()))
    age(tmp_path, 8)
    assert names(collect([str(tmp_path)], delete=True).deleted) == ["small"]
    assert cpr.load(target.serialize()).get_data().tolist() == list(range(100))


def test_what_is_referred_to_by_now_is_kept(tmp_path):
    """A writer that had looked before it was marked, and stored its record after."""
    done = orphaned(tmp_path, "small", "image")
    collect([str(tmp_path)], delete=True)
    put(done.records["small"], prefect_record(done.targets["small"].serialize()))
    age(tmp_path, 8)
    swept = collect([str(tmp_path)], delete=True)
    assert names(swept.deleted) == ["image"]
    assert swept.acquitted == [done.targets["small"].url]
    assert not is_marked(done.targets["small"].url)


def test_what_was_written_since_it_was_marked_is_kept(tmp_path):
    done = orphaned(tmp_path, "small")
    collect([str(tmp_path)], delete=True)
    age(tmp_path, 8)
    blob = get(done.targets["small"].url)
    put(done.targets["small"].url, blob)
    assert collect([str(tmp_path)], delete=True).deleted == []


def test_young_objects_are_nobodys_garbage(tmp_path):
    done = store(str(tmp_path), ("small", "image"))
    io.remove(done.records["small"])
    io.remove(done.flow)
    assert collect([str(tmp_path)], delete=True).marked == []


def test_only_targets_are_ever_deleted(tmp_path):
    orphaned(tmp_path, "small")
    others = ["raw/cell.tif", "data/notes.txt", "data/cell-0123456789abcdef.txt", "data/.cpr/other"]
    for name in others:
        put(f"{tmp_path}/{name}", b"mine")
    age(tmp_path, 30)
    for _ in range(3):
        collect([str(tmp_path)], delete=True)
        age(tmp_path, 8)
    assert set(others) <= files(tmp_path)
    assert not any("small" in name for name in files(tmp_path))


def test_old_records_go_with_their_data(tmp_path):
    done = store(str(tmp_path), ("small", "image", "table"))
    io.remove(done.flow)
    put(f"{tmp_path}/records/number", prefect_record(3))
    age(tmp_path, 100)
    young = done.records["table"]
    os.utime(young)
    older_than = timedelta(days=90)
    first = collect([str(tmp_path)], older_than, delete=True)
    assert first.old_records == 3
    assert names(first.marked) == ["image", "small"]
    assert [io.split(url)[1] for url in first.deleted_records] == ["number"]
    age(tmp_path, 8)
    second = collect([str(tmp_path)], older_than, delete=True)
    assert names(second.deleted) == ["image", "small"]
    assert set(second.deleted_records) == {done.records["small"], done.records["image"]}
    assert [record.url for record in find_records(str(tmp_path))] == [young]


def test_an_old_record_that_was_made_again_stays(tmp_path):
    done = store(str(tmp_path), ("small", "image"))
    io.remove(done.flow)
    age(tmp_path, 100)
    collect([str(tmp_path)], timedelta(days=90), delete=True)
    age(tmp_path, 8)
    os.utime(done.records["small"])
    swept = collect([str(tmp_path)], timedelta(days=90), delete=True)
    assert names(swept.deleted) == ["image"]
    assert swept.deleted_records == [done.records["image"]]
    assert swept.acquitted == [done.targets["small"].url]


def test_shared_data_outlives_an_old_record(tmp_path):
    done = store(str(tmp_path), ("small",))
    age(tmp_path, 100)
    os.utime(done.flow)
    for _ in range(3):
        collect([str(tmp_path)], timedelta(days=90), delete=True)
        age(tmp_path, 8)
        os.utime(done.flow)
    assert [record.url for record in find_records(str(tmp_path))] == [done.flow]
    assert done.targets["small"].get_data().size == 100


def test_records_elsewhere_are_told_of(tmp_path):
    done = store(str(tmp_path), ("small",))
    found = collect([f"{tmp_path}/records"])
    assert found.elsewhere == {f"{tmp_path}/data": 2}
    with pytest.raises(CprError, match="no record here"):
        collect([f"{tmp_path}/data"])
    assert collect([f"{tmp_path}/data", f"{tmp_path}/records"]).elsewhere == {}
    assert done


OPAQUE = {
    "cut": prefect_record(1)[:-9],
    "compressed in an unknown way": prefect_record(
        base64.encodebytes(bytes(range(256))).decode(), "compressed/pickle"
    ),
    "compressed and cut": prefect_record(
        base64.encodebytes(gzip.compress(os.urandom(500))[:400]).decode(), "compressed/pickle"
    ),
    "base64 that is cut": prefect_record("gASVBAAAAA", "pickle"),
    "a flow's, in an unknown way": base64.encodebytes(bytes(range(256))).decode(),
    "gzip that is cut": gzip.compress(os.urandom(500))[:400],
    "of a plug-in's serializer": prefect_record("something", "mine"),
}


@pytest.mark.parametrize("text", OPAQUE.values(), ids=OPAQUE)
def test_what_cannot_be_looked_into_stops_it(tmp_path, text):
    orphaned(tmp_path, "small")
    put(f"{tmp_path}/records/opaque", text)
    with pytest.raises(CprError, match="not every record or result") as caught:
        collect([str(tmp_path)], delete=True)
    assert "without-unreadable" in caught.value.remedy
    assert len(collect([str(tmp_path)], without_unreadable=True).marked) == 1


def test_targets_in_pickles_json_and_records_of_others_are_in_use(tmp_path):
    done = orphaned(tmp_path, "small", "image", "table", "chunks")
    blob = pickle.dumps({"result": done.targets["small"]})
    put(f"{tmp_path}/records/p", prefect_record(base64.encodebytes(blob).decode(), "pickle"))
    url = done.targets["image"].url
    put(f"{tmp_path}/records/j", prefect_record(json.dumps({"url": url}), "json"))
    plug_in = done.targets["table"].serialize()
    plug_in["__cpr__"]["location"] = "unknown::"
    put(f"{tmp_path}/records/r", prefect_record(plug_in))
    assert names(collect([str(tmp_path)]).marked) == ["chunks"]


@pytest.mark.slow
def test_a_hit_on_what_is_marked_is_none(tmp_path):
    from cpr.Serializer import cpr_serializer

    done = store(str(tmp_path), ("small",))
    text = json.loads(get(done.records["small"]))["result"].encode()
    assert cpr_serializer().loads(text)
    age(tmp_path, 100)
    collect([str(tmp_path)], timedelta(days=90), delete=True)
    with pytest.raises(cpr.ResourceNotFoundError, match="about to be deleted"):
        cpr_serializer().loads(text)


def test_a_list_that_is_none_makes_writers_careful_and_collections_not(tmp_path):
    store(str(tmp_path), ("small",))
    put(f"{tmp_path}/data/.cpr/marked/{'0' * 32}.json", b"{")
    assert is_marked(f"{tmp_path}/data/anything-0123456789abcdef.npy")
    hostile = {"format": "cpr marked 1", "names": ["../../x-0123456789abcdef.tif", "/etc/passwd", "notes"]}
    put(f"{tmp_path}/data/.cpr/marked/{'1' * 32}.json", json.dumps(hostile))
    age(tmp_path, 30)
    assert collect([str(tmp_path)], delete=True).deleted == []


@pytest.mark.parametrize(
    "names",
    [
        '["\\ud800"]',
        "[" + "[]," * 20_000 + "[]]",
        '["",' + '"a",' * 20_000 + '""]',
        "[" * 100_000,
        "9" * 10_000,
    ],
    ids=["a lone surrogate", "lists in a list", "tiny names", "deep", "a long number"],
)
def test_a_list_of_a_stranger_stops_no_writer(names, tmp_path):
    store(str(tmp_path), ("small",))
    put(
        f"{tmp_path}/data/.cpr/marked/{'0' * 32}.json",
        f'{{"format": "cpr marked 1", "names": {names}}}'.encode(),
    )
    target = cpr.NumpyTarget.from_path(tmp_path / "data/a.npy")
    target.set_data(np.arange(3))
    target.persist()
    record = json.dumps(target.serialize()).encode()
    put(f"{tmp_path}/records/mine", record)
    assert target.get_data().tolist() == [0, 1, 2]
    assert collect([str(tmp_path)], delete=True).deleted == []


def test_a_list_takes_memory_in_proportion_to_its_text():
    # Lists in a list would take 27 times as much.
    with pytest.raises(ValueError, match="not a list"):
        decode(b'{"format": "cpr marked 1", "names": [' + b"[]," * 1000 + b'""]}')
    odd = [f"[{n}]{{'\"}}-{n:016x}.tif" for n in range(1000)]
    assert decode(encode(odd)) == sorted(odd)


def test_a_collection_that_is_held_up_gives_up(tmp_path, monkeypatch):
    orphaned(tmp_path, "small")
    collect([str(tmp_path)], delete=True)
    age(tmp_path, 8)
    before = files(tmp_path)
    now = time.time

    def slow(*args):
        found = survey(*args)
        monkeypatch.setattr(time, "time", lambda: now() + 4 * 86400)
        return found

    monkeypatch.setattr("cpr.operations.gc.survey", slow)
    with pytest.raises(CprError, match="takes too long"):
        collect([str(tmp_path)], delete=True)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "grace", [WEEK, timedelta(days=800), timedelta.max], ids=["week", "years", "for ever"]
)
@pytest.mark.parametrize(
    "older_than", [None, timedelta(days=800), timedelta.max], ids=["none", "years", "ever"]
)
@pytest.mark.parametrize("year", [1, 1969, 2400, 9998])
def test_no_time_of_an_object_stops_it_whatever_the_spans(year, older_than, grace):
    """One object is of a time that a stranger has set, or a clock that was wrong."""
    base = f"memory://{uuid.uuid4().hex}"
    done = store(base, ("small", "table"))
    odd, objects = datetime(year, 12, 30, tzinfo=UTC), fsspec.filesystem("memory").store
    old = datetime.now(UTC) - timedelta(days=30)
    for url in (done.flow, done.records["table"]):
        io.remove(url)
    for one in (path for path in objects if path.startswith(base.removeprefix("memory:/"))):
        objects[one].created = old
    objects[done.records["small"].removeprefix("memory:/")].created = odd
    assert not collect([base], older_than, grace).deleted
    collect([base], older_than, grace, delete=True)
    for one in (
        path for path in objects if "/marked/" in path and path.startswith(base.removeprefix("memory:/"))
    ):
        objects[one].created = odd
    for delete in (False, True):
        found = collect([base], older_than, grace, delete=delete)
        assert found.next_due is None or found.next_due.astimezone(timezone(timedelta(hours=14)))
    assert io.lookup(done.targets["small"].url) or (older_than == timedelta(days=800) and year < 2000)


@pytest.mark.parametrize("text", ["99999999d", "9" * 400 + "w", "999999999999999d", "1e9d", "-1d", "7", "d"])
@pytest.mark.parametrize("option", ["--older-than", "--grace"])
def test_a_span_is_none_or_one_that_works(option, text, tmp_path, capsys):
    done = store(str(tmp_path), ("small",))
    assert run(["gc", str(tmp_path), option, text]) == (0 if text == "99999999d" else 2)
    assert "Traceback" not in capsys.readouterr().err
    assert done.targets["small"].get_data().size


def test_too_short_a_grace_period_is_refused(tmp_path):
    with pytest.raises(CprError, match="too short"):
        collect([str(tmp_path)], grace=timedelta(minutes=5))


@pytest.mark.s3
def test_the_stores_clock_counts(s3_url, monkeypatch):
    """On a store whose objects cannot be aged: a grace period of a second."""
    monkeypatch.setattr("cpr.operations.gc.REMEMBERED_SECONDS", 0.1)
    done = store(s3_url, ("small", "large", "chunks"))
    io.remove(done.records["small"])
    io.remove(done.records["chunks"])
    io.remove(done.flow)
    marked, deleted = [], []
    deadline = time.monotonic() + 60
    while len(deleted) < 2 and time.monotonic() < deadline:
        time.sleep(1.1)
        found = collect([s3_url], grace=timedelta(seconds=2), delete=True)
        marked += found.marked
        deleted += found.deleted
    assert names(marked) == names(deleted) == ["chunks", "small"]
    left = io.find(f"{s3_url}/data/**")
    assert any("large" in url for url in left)
    assert not any("small" in url or "chunks" in url for url in left)


@pytest.mark.s3
def test_many_are_deleted_with_few_requests(s3_url, monkeypatch):
    from cpr.io.clients.s3fs import S3Client
    from cpr.io.objects import remove_many

    urls = [put(f"{s3_url}/many/{number:04} ü+&.txt", b"x") for number in range(40)]
    calls = []
    call = S3Client.call

    def counted(self, method, **arguments):
        calls.append(method)
        return call(self, method, **arguments)

    monkeypatch.setattr(S3Client, "call", counted)
    remove_many([*urls, f"{s3_url}/many/gone"])
    assert calls == ["delete_objects"]
    assert io.find(f"{s3_url}/many/*") == {}


def test_deletions_are_told_of_when_one_fails(tmp_path, monkeypatch):
    """What was deleted by then is in the result that was handed in."""
    from cpr.operations import gc

    orphaned(tmp_path, "small", "image", "table")
    collect([str(tmp_path)], delete=True)
    age(tmp_path, 8)
    monkeypatch.setattr(gc, "_AT_ONCE", 1)
    remove_many = gc.remove_many
    left = [2]

    def fail_later(urls):
        left[0] -= 1
        if left[0] < 0:
            raise cpr.TransferError("the store could not delete the object")
        remove_many(urls)

    monkeypatch.setattr(gc, "remove_many", fail_later)
    done = gc.Collection(dry=False)
    with pytest.raises(cpr.TransferError):
        collect([str(tmp_path)], delete=True, done=done)
    assert len(done.deleted) == 2
