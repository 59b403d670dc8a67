"""The journal of results: what is written comes back, from any place; nothing that is read is believed."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import uuid
from contextlib import suppress

import fsspec
import pytest

from cpr import io
from cpr.errors import RecordError
from cpr.provenance import inputs_journal
from cpr.provenance.inputs_journal import (
    Entries,
    FileSystemFolder,
    UrlFolder,
    append,
    folder_of,
    read,
    read_journal,
    read_tasks,
)
from cpr.provenance.journal_entries import decode
from cpr.provenance.provenance_record import Input, Made
from cpr.provenance.why_not_reused import line_digests

FOLDER = folder_of("Lab.denoise")


def entries(*numbers: int) -> Entries:
    made = [Made(task="denoise", key=str(n), source="1" * 16, inputs={"n": Input("int", n)}) for n in numbers]
    return Entries("denoise", made, {"1" * 16: line_digests("def f(n):\n    return n\n")})


@pytest.fixture(params=["memory", "local", "fsspec", pytest.param("s3", marks=pytest.mark.s3)])
def place(request, tmp_path):
    if request.param == "fsspec":
        return FileSystemFolder(fsspec.filesystem("memory"), f"memory://{uuid.uuid4().hex}/records/")
    url = {"memory": f"memory://{uuid.uuid4().hex}/records", "local": str(tmp_path / "rec[1]*")}.get(
        request.param
    )
    return UrlFolder(url or request.getfixturevalue("s3_url"))


def test_comes_back_in_order(place, monkeypatch):
    for number in (1, 2):
        monkeypatch.setattr(inputs_journal.time, "time", lambda number=number: 1795500000 + number)
        append(place, FOLDER, entries(number, number + 10))
    found = read(place, FOLDER)
    assert found.made == entries(1, 11, 2, 12).made
    assert found.task == "denoise"
    assert {digest: list(lines) for digest, lines in found.lines.items()} == entries().lines
    assert read(place, folder_of("other")) == Entries()


def test_what_was_made_again_is_kept_once_and_last(place):
    append(place, FOLDER, entries(1, 2, 1))
    assert read(place, FOLDER).made == entries(2, 1).made


def test_many_become_one(place, monkeypatch):
    monkeypatch.setattr(inputs_journal, "_MOST_OBJECTS", 3)
    for number in range(4):
        monkeypatch.setattr(inputs_journal.time, "time", lambda number=number: 1795500000 + number)
        append(place, FOLDER, entries(number))
    assert len(read(place, FOLDER).made) == len(place.names(FOLDER)) == 4
    assert read(place, FOLDER, compact=True).made == entries(0, 1, 2, 3).made
    assert len(place.names(FOLDER)) == 1
    assert read(place, FOLDER, compact=True).made == entries(0, 1, 2, 3).made


def test_by_url_for_whoever_asks(tmp_path):
    place = UrlFolder(str(tmp_path))
    append(place, FOLDER, entries(1))
    append(place, folder_of("other"), Entries("other", [Made(key="k")]))
    assert sorted((one.task, len(one.made)) for one in read_journal(str(tmp_path))) == [
        ("denoise", 1),
        ("other", 1),
    ]


def test_two_tasks_have_two_folders():
    names = ["a.b", "a-b", "<lambda>", "f.<locals>.g", "日", "x" * 300, "../../etc", ""]
    folders = [folder_of(name) for name in names]
    assert len(set(folders)) == len(names)
    assert all(len(one) < 80 and ".." not in one and one.count("/") == 2 for one in folders)


GOOD = {"task": "t", "lines": {}, "made": []}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        gzip.compress(b"no json"),
        gzip.compress(b"[" * 100_000),
        gzip.compress(json.dumps({**GOOD, "made": [{"task": 3}]}).encode()),
        gzip.compress(json.dumps({**GOOD, "lines": {"1": 3}}).encode()),
        gzip.compress(json.dumps({**GOOD, "lines": {"1": "x" * 100_000}}).encode()),
        gzip.compress(json.dumps({"task": "t"}).encode()),
        gzip.compress(json.dumps(GOOD).encode())[:-20],
        gzip.compress(bytes(100 << 20)),
    ],
    ids=range(10),
)
def test_what_a_stranger_left_is_passed_over(data):
    place = UrlFolder(f"memory://{uuid.uuid4().hex}")
    append(place, FOLDER, entries(1))
    place.write(f"{FOLDER}/1795500000000-{'0' * 16}.json.gz", data)
    place.write(f"{FOLDER}/notes.txt", b"mine")
    assert read(place, FOLDER).made == entries(1).made


def test_no_more_is_read_than_somebody_waits_for(monkeypatch):
    monkeypatch.setattr(inputs_journal, "_MOST_READ", 100)
    place = UrlFolder(f"memory://{uuid.uuid4().hex}")
    for number in range(3):
        monkeypatch.setattr(inputs_journal.time, "time", lambda number=number: 1795500000 + number)
        append(place, FOLDER, entries(number))
    assert read(place, FOLDER).made == entries(2).made


def test_it_is_no_orphan(tmp_path):
    from datetime import timedelta

    append(UrlFolder(str(tmp_path)), FOLDER, entries(1))
    assert io.find_orphans(str(tmp_path), timedelta(0)) == []


def test_the_journals_of_some_tasks_are_found_by_the_names_of_their_functions_and_others_by_looking(tmp_path):
    place = UrlFolder(str(tmp_path))
    of = {
        "denoise": "denoise",
        "lab.<locals>.denoise": "denoise",
        "smooth": "Smooth, again",
        "other": "other",
    }
    for function, task in of.items():
        append(place, folder_of(function), Entries(task, [Made(task=task, source="0" * 16)]))
    found = read_tasks(place, {"denoise"})
    assert {task: len(several) for task, several in found.items()} == {"denoise": 2}
    assert read_tasks(place, {"Smooth, again"}).keys() == {"Smooth, again"}
    assert read_tasks(place, {"nobody"}) == {}
    assert read_tasks(UrlFolder(str(tmp_path / "none")), {"denoise"}) == {}


def test_what_a_stranger_packed_takes_no_more_than_its_share():
    place = UrlFolder(f"memory://{uuid.uuid4().hex}")
    wide = b'{"task": "t", "lines": {}, "made": [], "x": [' + b"[]," * (1 << 20) + b"[]]}"
    place.write(f"f/{1:013d}-{'0' * 16}.json.gz", gzip.compress(wide))
    # Read as JSON it takes 80 MiB.
    tracemalloc.start()
    try:
        assert read(place, "f").task == ""
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def objects(count: int, one: str) -> str:
    return ", ".join(f'"{number:016x}": {one}' for number in range(count))


@pytest.mark.parametrize(
    "fields",
    [
        f'"made": [], "lines": {{{objects(10, json.dumps("a" * 59_994))}}}',
        f'"lines": {{}}, "made": [{", ".join(["{}"] * 10)}], "uses": {{{objects(5000, "{}")}}}',
        f'"lines": {{}}, "made": [{{"inputs": {{{objects(20_000, "1")}}}}}]',
        f'"lines": {{}}, "made": [], "first": {{{objects(20_000, "1")}}}',
    ],
    ids=["lines", "uses", "inputs", "numbers of lines"],
)
def test_what_a_stranger_says_of_results_takes_no_more_than_its_share(fields):
    text = f'{{"task": "t", {fields}}}'.encode()
    tracemalloc.start()
    try:
        with suppress(RecordError):
            decode(text)
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < 16 * len(text)
    finally:
        tracemalloc.stop()


def test_of_more_results_than_are_kept_the_latest_are_taken(monkeypatch):
    monkeypatch.setattr("cpr.provenance.journal_entries.MAX_ENTRIES", 3)
    made = json.dumps([one.to_json() for one in entries(*range(10)).made])
    assert decode(f'{{"task": "t", "lines": {{}}, "made": {made}}}'.encode()).made == entries(7, 8, 9).made


def test_more_values_than_are_written_are_passed_over(monkeypatch):
    monkeypatch.setattr("cpr.provenance.journal_entries._MOST_VALUES", 100)
    with pytest.raises(RecordError, match="not an object of the journal"):
        decode(f'{{"task": "t", "lines": {{}}, "made": [], "first": {{{objects(100, "1")}}}}}'.encode())


def test_the_latest_of_more_results_than_are_read_are_kept(monkeypatch):
    place = UrlFolder(f"memory://{uuid.uuid4().hex}")
    append(place, FOLDER, entries(*range(10)))
    for limit in ("MAX_BYTES", "_MOST_VALUES"):
        with monkeypatch.context() as patch:
            patch.setattr(f"cpr.provenance.journal_entries.{limit}", 700 if limit == "MAX_BYTES" else 40)
            append(place, f"{FOLDER}{limit}", entries(*range(10)))
            kept = read(place, f"{FOLDER}{limit}").made
        assert 0 < len(kept) < 10
        assert kept == entries(*range(10)).made[-len(kept) :]


def test_digests_of_lines_are_a_sequence(place):
    append(place, FOLDER, entries(1))
    found, expected = read(place, FOLDER).lines["1" * 16], line_digests("def f(n):\n    return n\n")
    assert list(found) == expected
    assert (len(found), found[-1], found[1:]) == (len(expected), expected[-1], expected[1:])
    with pytest.raises(IndexError):
        found[len(expected)]


def test_what_is_unpacked_of_a_task_has_a_limit(monkeypatch):
    names: list[str] = []
    monkeypatch.setattr("cpr.provenance.inputs_journal._MOST_UNPACKED", 1 << 16)
    place = UrlFolder(f"memory://{uuid.uuid4().hex}")
    for number in range(8):
        text = b'{"task": "t", "lines": {}, "made": [], "x": "' + bytes([65 + number]) * (1 << 16) + b'"}'
        place.write(f"f/{number:013d}-{'0' * 16}.json.gz", gzip.compress(text))
    monkeypatch.setattr(
        UrlFolder, "read", lambda self, name, read=UrlFolder.read: names.append(name) or read(self, name)
    )
    assert read(place, "f").task == "t"
    assert len(names) == 1
