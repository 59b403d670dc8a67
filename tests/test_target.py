"""Records, pickles, names and states of resources, on the smallest format there is."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import sys
import threading
import uuid

import pytest

import cpr
from cpr import io
from cpr.errors import (
    CorruptDataError,
    DuplicateTypeError,
    FormatError,
    NoDataError,
    RecordError,
    ResourceNotFoundError,
    UnsupportedExtensionError,
)
from cpr.records.registry import load_record, lookup, register
from cpr.testing import FormatTests
from tests.text_format import Text, TextSource, TextTarget


@pytest.fixture
def target():
    target = TextTarget.from_path(f"memory://{uuid.uuid4().hex}/a.txt", encoding="utf-16")
    target.set_data("text")
    return target


class TestText(FormatTests):
    format = Text()
    samples = ["", "text", "Text", "täxt\n" * 1000]
    target_class = TextTarget


def test_the_record_is_as_designed(target):
    record = target.serialize()
    assert record.pop("data_hash") == record["__cpr__"]["data_hash"]
    assert record == {
        "__cpr__": {
            "type": "TextTarget",
            "location": target.location,
            "name": "a",
            "ext": ".txt",
            "key": target.key,
            "data_hash": target.data_hash,
            "content_digest": target.checksum,  # of a format whose stream tells none
            "checksum": target.checksum,
            "nbytes": 10,
            "encoding": "utf-16",
            "seal": record["__cpr__"]["seal"],
        }
    }
    assert target.url == f"{target.location}/a-{target.key}.txt"
    assert len(target.data_hash) == len(target.key) == 16


def test_options_are_part_of_the_name(target):
    other = TextTarget.from_path(f"{target.location}/a.txt")
    other.set_data("text")
    assert other.data_hash == target.data_hash
    assert other.url != target.url


def test_no_data_travels_in_a_pickle(target):
    target.set_data("x" * 10_000_000)
    assert len(pickle.dumps(target)) < 1000
    assert target._data is None


def test_an_empty_target_pickles_as_a_declaration():
    empty = pickle.loads(pickle.dumps(TextTarget.from_path("memory://x/a.txt", encoding="utf-16")))
    assert empty.format.encoding == "utf-16"
    assert empty.data_hash is None


@pytest.mark.parametrize(
    "use", [TextTarget.persist, TextTarget.get_data, TextTarget.serialize, TextTarget.identity]
)
def test_an_empty_target_is_of_no_use(use):
    with pytest.raises(NoDataError, match="set_data") as caught:
        use(TextTarget.from_path("memory://x/a.txt"))
    assert caught.value.url == "memory://x/a.txt"


def test_copies_share_the_data_and_write_nothing(target):
    for twin in (copy.copy(target), copy.deepcopy(target)):
        assert twin.get_data() is target.get_data()
        assert twin.identity() == target.identity()
    assert io.find(f"{target.location}/*") == {}


def test_cache_keeps_the_data(target):
    target.persist()
    assert target.get_data() is not target.get_data()
    assert target.get_data(cache=True) is target.get_data()


def test_setting_again_makes_another_object(target):
    first = target.persist().url
    target.set_data("other")
    assert target.persist().url != first
    assert set(io.find(f"{target.location}/*")) == {first, target.url}


def test_a_record_is_of_one_filling_whatever_other_threads_do():
    """Filled anew while another thread stores it: before, one record in fifty had a name and no checksum."""
    switches = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for turn in range(300):
            target = TextTarget.from_path(f"memory://{uuid.uuid4().hex}/a.txt")
            texts = [f"{turn} {number}" for number in range(4)]
            target.set_data(texts[0])
            records, begin = [], threading.Barrier(4)

            def fill(text, target=target, begin=begin):
                begin.wait()
                target.set_data(text)

            def store(text, target=target, begin=begin, records=records):
                begin.wait()
                records.extend([target.serialize(), pickle.loads(pickle.dumps(target)).serialize()])

            calls = [(fill, texts[1]), (fill, texts[2]), (fill, texts[3]), (store, "")]
            threads = [threading.Thread(target=call, args=(text,)) for call, text in calls]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(records) == 2
            for record in records:
                found = cpr.load(json.loads(json.dumps(record)))
                assert found.get_data() in texts
                assert found.data_hash == record["data_hash"]
    finally:
        sys.setswitchinterval(switches)


def test_data_changed_between_set_and_write():
    target = TextTarget.from_path(f"memory://{uuid.uuid4().hex}/a.txt")
    target.set_data("text")
    target._data = "Text"
    with pytest.raises(CorruptDataError, match="changed between set_data and the write"):
        target.persist()
    assert io.find(f"{target.location}/*") == {}


def test_apersist(target):
    assert asyncio.run(target.apersist()) is target
    assert io.stat(target.url).nbytes == target.nbytes


def test_data_of_a_gone_object(target):
    record = target.serialize()
    io.remove(target.url)
    with pytest.raises(ResourceNotFoundError, match="runs again"):
        cpr.load(record).get_data()


def test_load_takes_records_text_and_urls(target):
    record = target.serialize()
    url = f"{target.location}/record.json"
    with io.writing(url) as file:
        file.write(json.dumps(record).encode())
    for given in (record, json.dumps(record), url):
        assert cpr.load(given).get_data() == "text"


HOSTILE = {
    "type": ["", "os.system", "Target", None, 3, ["TextTarget"], "cpr.Target.Target"],
    "location": [
        "", ".", "x", "../x", "/a/../b", "s3://a/../b", "http://h/x", "https://h/x", "ftp://h/x", None, 3,
        "s3://", "simplecache::s3://a/b", "zip://x::s3://a", "reference://", "data:text/plain,x", "/a\x00", "s3://a\nb",
        "file:///etc", "github://x:y@z/", "memory", "a" * 5000, "S3://b/c",
        "s3://b/c/", "\ud800",
    ],
    "name": ["", ".", "..", "../x", "/x", "a/b", "a\\b", "a\x00", None, 3, "a\n", "x" * 5000],
    "ext": ["", ".py", "txt", None, 3, "/../x.txt", ".txt/../../x"],
    "key": ["", "../..", "g" * 16, "0" * 15, None, 3, "0" * 17, "A" * 16],
    "data_hash": ["", None, 3, "0" * 15, "x" * 16],
    "checksum": ["", None, 3, "md5:0", "xxh3_128:0", "xxh3_128:" + "g" * 32, "sha256:" + "0" * 63],
    "nbytes": [None, "3", -1, 1.5, True, 1 << 63, 10**400, float("nan")],
    "encoding": [None, 3, ["utf-8"], {}, True],
    "unknown": [None, 1, "x"],
    "__class__": ["x"],
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in HOSTILE.items() for v in values])
def test_hostile_records_are_refused(target, field, value):
    record = target.serialize()
    record["__cpr__"][field] = value
    with pytest.raises(RecordError) as caught:
        load_record(record)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "field", ["type", "location", "name", "ext", "key", "data_hash", "checksum", "nbytes"]
)
def test_records_that_lack_a_field_are_refused(target, field):
    record = target.serialize()
    del record["__cpr__"][field]
    with pytest.raises(RecordError):
        load_record(record)


@pytest.mark.parametrize(
    "record", [None, 3, [], {}, "x", {"__cpr__": 3}, {"__cpr__": []}, {"__cpr__": {}, "x": 1}]
)
def test_what_is_no_record_is_refused(record):
    with pytest.raises(RecordError):
        load_record(record)


def test_a_type_can_be_claimed_once():
    with pytest.raises(DuplicateTypeError, match="TextTarget"):
        register(type("TextTarget", (TextTarget,), {}))
    with pytest.raises(DuplicateTypeError, match="ImageTarget"):
        register(type("ImageTarget", (TextTarget,), {}))
    assert register(TextTarget) is TextTarget
    assert lookup("TextTarget") is TextTarget


def test_extensions():
    assert TextSource.from_path("/a/b.TXT").ext == ".TXT"
    for bad in ("/a/b.tif", "/a/b", "/a/.txt"):
        with pytest.raises(UnsupportedExtensionError, match=r"ending in \.txt") as caught:
            TextSource.from_path(bad)
        assert caught.value.url == bad


def test_unknown_options():
    with pytest.raises(FormatError, match="colour"):
        TextSource.from_path("/a/b.txt", colour="red")


def test_paths_of_all_kinds(tmp_path):
    from upath import UPath

    for path in (
        tmp_path / "a.txt",
        str(tmp_path / "a.txt"),
        f"file://{tmp_path}/a.txt",
        UPath(tmp_path / "a.txt"),
    ):
        assert TextSource.from_path(path).url == str(tmp_path / "a.txt")
    assert TextSource.from_path(UPath("memory://x/a.txt")).url == "memory://x/a.txt"
    with pytest.warns(UserWarning, match="storage options"):
        TextSource.from_path(UPath("s3://bucket/a.txt", secret="canary"))


def test_a_source_asks_for_its_version_once(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one")
    source = TextSource.from_path(path)
    first = source.identity()
    path.write_text("three")
    assert source.identity() == first
    assert TextSource.from_path(path).identity() != first
    assert TextSource.deserialize(source.serialize()).identity() != first


@pytest.mark.parametrize(
    "path", ["memory://t/a\\b.txt", "simplecache::memory://t/a.txt", "http://host/a.txt"]
)
def test_what_no_record_may_name_is_refused_before_it_is_written(path):
    with pytest.raises(RecordError) as caught:
        TextTarget.from_path(path)
    assert caught.value.url
    assert "choose another" in caught.value.remedy


@pytest.mark.parametrize("name", ["a b", "a#b", "a%20b", "a+b", "é", "日本", "a[1]*?", "..a", "-"])
@pytest.mark.parametrize("base", ["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def test_names_of_all_sorts_come_back(name, base, tmp_path, request):
    """Also in the name of the folder, and with digests of parts beside the object."""
    place = {"memory": f"memory://{uuid.uuid4().hex}", "local": str(tmp_path)}.get(base)
    url = f"{place or request.getfixturevalue('s3_url')}/in {name}/{name}.txt"
    text = "0123456789" * 150_000
    target = TextTarget.from_path(url)
    target.set_data(text)
    again = cpr.load(json.dumps(target.serialize()))
    assert again.blocks is not None
    again.check()
    assert again.get_data() == text
    assert TextSource.from_path(again.url).get_data() == text
    twin = TextTarget.from_path(url)
    twin.set_data(text)
    assert twin.persist().checksum == target.checksum
