"""What a record says of its result's origin: small, without data, and nothing of a stranger is believed."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import uuid
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cpr
from cpr import io
from cpr.errors import CorruptDataError, RecordError, ResourceNotFoundError
from cpr.io.filesystems import filesystem
from cpr.provenance.provenance_record import Input, Made
from cpr.provenance.storage import RECORD_BYTES, made_url, read_whole
from cpr.records.registry import load_record
from tests.text_format import TextTarget

IMAGE = Input(
    "ImageSource",
    digest="0123456789abcdef",
    url="s3://bucket/raw/a.tif",
    version={"size": 123, "etag": "d41d8cd98f00b204e9800998ecf8427e"},
)
SMALL = Made(
    task="denoise",
    flow="analyse",
    flow_run="0" * 32,
    task_run="1" * 32,
    at=1795500000,
    cpr="0.1.0",
    key="2" * 32,
    source="3" * 16,
    inputs={"image": IMAGE, "sigma": Input("float", 2.5), "n": Input("NoneType"), "token": Input("secret")},
)
LARGE = Made(
    task="combine",
    flow_run="0" * 32,
    at=1795500000,
    inputs={"images": Input("list", digest="4" * 16, holds=(IMAGE,) * 1000), "m": Input("str", "max")},
    uses={"SIGMA": Input("int", 2)},
)


def target_of(made: Made | None, base: str | None = None, name: str = "a") -> TextTarget:
    target = TextTarget.from_path(f"{base or f'memory://{uuid.uuid4().hex}'}/{name}.txt")
    target.set_data("text")
    if made is not None:
        target.set_made(made)
    return target


def files(target: TextTarget) -> list[str]:
    fs, path = filesystem(target.location)
    return sorted(found.rpartition(path)[2] for found in fs.find(path))


@pytest.mark.parametrize("made", [SMALL, LARGE, Made(), Made(inputs={"x": Input("str", "")})])
def test_comes_back_as_it_was(made):
    assert Made.parse(json.loads(json.dumps(made.to_json()))) == made


def test_numbers_and_texts_stand_for_themselves():
    assert SMALL.to_json()["inputs"] == {
        "image": {
            "type": "ImageSource",
            "digest": "0123456789abcdef",
            "url": "s3://bucket/raw/a.tif",
            "version": {"size": 123, "etag": "d41d8cd98f00b204e9800998ecf8427e"},
        },
        "sigma": 2.5,
        "n": None,
        "token": "secret",
    }
    plain = dataclasses.replace(IMAGE, version={})
    assert plain.to_json() == "ImageSource 0123456789abcdef s3://bucket/raw/a.tif"
    assert Input("ndarray", digest="4" * 16).to_json() == "ndarray 4444444444444444"
    assert Input("PosixPath", "/a b=c").to_json() == "PosixPath=/a b=c"


def test_a_record_without_is_as_it_was():
    assert "made" not in target_of(None).serialize()["__cpr__"]


def test_a_small_one_is_in_the_record_and_costs_no_object():
    target = target_of(SMALL)
    again = cpr.load(json.dumps(target.serialize()))
    image = dataclasses.replace(IMAGE, version={})
    expected = dataclasses.replace(SMALL, inputs={**SMALL.inputs, "image": image})
    assert again.made == again.get_made() == expected
    assert pickle.loads(pickle.dumps(again)).made == expected
    assert copy.copy(again).made == expected
    assert again.serialize() == target.serialize()
    assert files(target) == [f"/a-{target.key}.txt"]


def test_of_a_zarr():
    zarr = pytest.importorskip("zarr")
    target = cpr.ZarrTarget.from_path(f"memory://{uuid.uuid4().hex}/a.zarr")
    target.set_data(np.ones((3, 4)))
    target.set_made(LARGE)
    record = target.serialize()
    again = cpr.load(json.dumps(record))
    assert again.get_made() == LARGE
    assert isinstance(again.get_data(), zarr.Array)
    assert again.identity() == target.identity()
    assert target.seconds > 0
    assert io.find_orphans(target.location, timedelta(0)) == []


def test_what_writing_took_is_known_where_it_was_done():
    target = target_of(None).persist()
    assert target.seconds >= 0
    again = TextTarget.from_path(f"{target.location}/a.txt")
    again.set_data("text")
    assert again.persist().seconds is None
    assert cpr.load(target.serialize()).seconds is None


def test_it_is_no_part_of_identity_and_name():
    signed, plain = target_of(SMALL, "memory://made"), target_of(None, "memory://made")
    assert (signed.identity(), signed.url) == (plain.identity(), plain.url)
    assert cpr.hash_objects(signed) == cpr.hash_objects(plain)
    signed.persist()
    assert cpr.hash_objects(cpr.load(signed.serialize())) == cpr.hash_objects(plain)


def test_what_was_said_first_stays_until_the_data_is_set_anew():
    target = target_of(SMALL)
    target.set_made(LARGE)
    assert target.made == SMALL
    target.set_data("other")
    assert target.made is None


def test_a_large_one_is_kept_beside_the_result():
    target = target_of(LARGE)
    record = target.serialize()
    digest = record["__cpr__"]["made"]["more"]
    assert record["__cpr__"]["made"] == {
        "task": "combine",
        "flow_run": "0" * 32,
        "at": 1795500000,
        "more": digest,
    }
    assert files(target) == [f"/.cpr/a-{target.key}.txt.{digest}.made.json", f"/a-{target.key}.txt"]
    again = cpr.load(record)
    assert (again.made.task, again.made.inputs) == ("combine", {})
    assert again.get_made() == LARGE
    # Handed on, it needs nothing that is beside it, and writes nothing.
    io.remove(made_url(target.url, digest))
    assert cpr.load(again.serialize()).serialize() == record
    with pytest.raises(ResourceNotFoundError):
        again.get_made()


def test_it_is_written_once(monkeypatch):
    target = target_of(LARGE)
    target.serialize()
    monkeypatch.setattr(io, "writing", lambda *_: pytest.fail("written again"))
    pickle.dumps(target)
    target.serialize()


LONG = Input("x" * 100, digest="5" * 16, url="s3://" + "b" * 4000)
NASTY = {
    "a thousand images": LARGE,
    "many arguments": Made(task="t", inputs={f"argument_{i}": Input("str", "y" * 128) for i in range(256)}),
    "long names": Made(task="t" * 200, flow="f" * 200, key="k" * 200, cpr="v" * 64, at=1, flow_run="0" * 32),
    "long url": Made(task="t", inputs={"a": LONG}),
    "beyond ascii": Made(task="日" * 200, inputs={"日" * 100: Input("str", "本" * 128)}),
    "more than is kept": Made(
        task="t", inputs={f"a{i}": Input("list", holds=(LONG,) * 1000) for i in range(3)}
    ),
    "far more": Made(task="t", inputs={f"a{i}": LONG for i in range(256)}),
}


@pytest.mark.parametrize("made", NASTY.values(), ids=NASTY)
@pytest.mark.parametrize("location", ["r", "r" * 200])
@pytest.mark.parametrize("name", ["a", "n" * 120])
def test_a_record_stays_under_a_kilobyte(made, location, name):
    target = target_of(made, f"memory://{location}", name)
    record = target.serialize()
    assert len(json.dumps(json.dumps(record, separators=(",", ":")))) <= RECORD_BYTES
    found = cpr.load(record).get_made()
    if made in (NASTY["more than is kept"], NASTY["far more"]):
        assert found.task == "t"
        assert all(one.left_out + len(one.holds) == 1000 for one in found.inputs.values())
    else:
        assert found == made


def test_where_the_url_leaves_no_room_the_reference_is_all():
    target = target_of(LARGE, f"memory://{'r' * 1500}")
    assert list(target.serialize()["__cpr__"]["made"]) == ["more"]
    assert cpr.load(target.serialize()).get_made() == LARGE


def test_a_name_that_leaves_no_room_for_another_file(tmp_path):
    target = target_of(LARGE, str(tmp_path), "n" * 230)
    record = target.serialize()
    assert len(json.dumps(json.dumps(record, separators=(",", ":")))) <= RECORD_BYTES
    assert cpr.load(record).get_made().task == "combine"
    assert files(target) == [f"/{'n' * 230}-{target.key}.txt"]


HOSTILE = [
    None, 3, [], "x", {"x": 1}, {"task": 3}, {"task": "a\nb"}, {"task": "t" * 201}, {"task": None},
    {"flow_run": "0" * 31}, {"flow_run": "../" + "0" * 29}, {"task_run": 0}, {"at": -1}, {"at": True},
    {"at": 1.5}, {"at": 10**400}, {"at": 10**5000}, {"cpr": "v" * 65}, {"key": "\x1b[2J"},
    {"source": "0" * 15}, {"more": "../../../etc/pass"}, {"more": "0" * 17}, {"inputs": []},
    {"inputs": {3: 1}}, {"inputs": {"a\0": 1}}, {"inputs": {"a": float("nan")}},
    {"inputs": {"a": float("inf")}}, {"inputs": {"a": 1 << 63}}, {"inputs": {"a": "x" * 129}},
    {"inputs": {"a": ""}}, {"inputs": {"a": "x y"}},
    {"inputs": {"a": "x =y"}}, {"inputs": {"a": "NoneType"}}, {"inputs": {"a": "x=" + "y" * 129}},
    {"inputs": {"a": "\ud800"}}, {"inputs": {"a": "\u2028"}}, {"inputs": {"a": []}}, {"inputs": {"a": {}}},
    {"inputs": {"a": {"value": 1}}}, {"inputs": {"a": {"type": 1}}},
    {"inputs": {"a": {"type": "x", "digest": "x"}}}, {"inputs": {"a": {"type": "x", "url": "u" * 4097}}},
    {"inputs": {"a": {"type": "x", "url": "s3://a\nb"}}},
    {"inputs": {"a": {"type": "x", "version": {"a": [1]}}}},
    {"inputs": {"a": {"type": "x", "version": {"a": None}}}},
    {"inputs": {"a": {"type": "x", "version": [1]}}}, {"inputs": {"a": {"type": "x", "holds": 1}}},
    {"inputs": {"a": {"type": "x", "holds": [1] * 1001}}},
    {"inputs": {"a": {"type": "x", "holds": [{"type": "x", "holds": [1]}]}}},
    {"inputs": {"a": {"type": "x", "left_out": -1}}}, {"inputs": {"a": {"type": "x", "unknown": 1}}},
    {"inputs": {str(i): 1 for i in range(257)}}, {"uses": {"a": {}}}, {"__class__": "x"},
]  # fmt: skip


@pytest.mark.parametrize("made", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_provenance_is_refused(made):
    record = target_of(None).serialize()
    record["__cpr__"]["made"] = made
    with pytest.raises(RecordError) as caught:
        load_record(record)
    assert caught.value.field.startswith("made")
    assert caught.value.remedy


def test_depth_is_no_danger():
    deep: dict = {"type": "x"}
    for _ in range(100_000):
        deep = {"type": "x", "holds": [deep]}
    record = target_of(None).serialize()
    record["__cpr__"]["made"] = {"inputs": {"a": deep}}
    with pytest.raises(RecordError):
        load_record(record)
    while "holds" in deep:  # Python takes a deep structure apart by recursion otherwise
        deep = deep.pop("holds")[0]


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["task", "at", "inputs", "uses", "more", "type", "value", "digest", "holds", "url"])
        | st.text(),
        inner,
        max_size=4,
    ),
))  # fmt: skip
def test_whatever_is_accepted_comes_back(made):
    try:
        parsed = Made.parse(made)
    except RecordError:
        return
    assert Made.parse(json.loads(json.dumps(parsed.to_json(), allow_nan=False))) == parsed


@pytest.mark.parametrize(
    ("text", "error"),
    [(b"{}", CorruptDataError), (b"x" * (2 << 20), CorruptDataError), (b"", CorruptDataError)],
)
def test_what_is_beside_is_not_believed_unchecked(text, error):
    target = target_of(LARGE)
    again = cpr.load(target.serialize())
    with io.writing(made_url(target.url, again.made.more)) as file:
        file.write(text)
    with pytest.raises(error) as caught:
        again.get_made()
    assert caught.value.url.endswith(".made.json")


@pytest.mark.parametrize("text", [b"not json", b"[" * 100_000, b'{"task": 3}', b'{"at": NaN}'])
def test_a_forged_object_beside_is_refused(text):
    from cpr.io.hashing import hex16

    target = target_of(None).persist()
    made = Made(more=hex16(text))
    with io.writing(made_url(target.url, made.more)) as file:
        file.write(text)
    with pytest.raises(RecordError):
        read_whole(made, target.url)


@pytest.mark.parametrize("base", ["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def test_orphans(base, tmp_path, request):
    place = {"memory": f"memory://{uuid.uuid4().hex}", "local": str(tmp_path)}.get(base)
    place = place or request.getfixturevalue("s3_url")
    now = timedelta(0)
    kept, gone = target_of(LARGE, place, "kept"), target_of(LARGE, place, "gone")
    records = [one.serialize() for one in (kept, gone)]
    # The same content, made again by another run.
    twin = target_of(Made(task="again", inputs=LARGE.inputs), place, "kept")
    twins = [kept.made, twin.made]
    twin.serialize()
    assert io.find_orphans(place, now) == []
    io.remove(gone.url)
    assert io.find_orphans(place) == []
    (orphan,) = io.remove_orphans(place, now)
    assert orphan.url == made_url(gone.url, records[1]["__cpr__"]["made"]["more"])
    assert [cpr.load(one.serialize()).get_made() for one in (kept, twin)] == twins
