"""Values around resources come back with the types they had; records are not trusted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cpr
from cpr.errors import EncodeError, RecordError, TransferError
from cpr.records.pack import MAX_DEPTH, pack, persist_all, resources_in
from cpr.records.registry import RECORD_KEY
from cpr.records.unpack import unpack
from tests.record_values import (
    Box,
    Cell,
    Colour,
    Frozen,
    Loose,
    Loud,
    Measured,
    Names,
    Pair,
    Point,
    nested,
    same,
    text_target,
)
from tests.text_format import Text

HERE = "tests.record_values"


def there_and_back(value):
    return unpack(json.loads(json.dumps(pack(value), allow_nan=False)))[0]


@given(nested())
def test_what_was_packed_comes_back(value):
    assert same(value, there_and_back(value))


@pytest.mark.parametrize(
    "value",
    [
        Measured(Name="a", tags={"x"}),
        Measured(),
        Box[int](content=3),
        Box[list[int] | None](content=[1]),
        Box[Box[str]](content=Box[str](content="x")),
        Names(["a", "b"]),
        Loose(value=(1,), other={2}),
        Colour.SCARLET,
        np.str_(""),
        np.bytes_(b""),
        {"__cpr__": {"type": "TextTarget"}},
        {"__cpr__": ["tuple", []]},
        {"__cpr__": 1, "data": 2},
        (),
        {},
    ],
    ids=repr,
)
def test_single_values(value):
    assert same(value, there_and_back(value))


def test_an_integer_of_more_digits_than_python_reads():
    assert there_and_back([10**5000]) == [10**5000]


def test_models_hold_targets_and_keep_which_fields_were_set():
    model = Measured(image=text_target(), Name="cell")
    back = there_and_back(model)
    assert back.image.get_data() == "hello"
    assert back.model_fields_set == {"image", "name"}


def test_code_of_a_dataclass_does_not_run():
    loud = Loud(1)
    assert there_and_back(loud).value == [1]


def test_every_target_is_persisted_and_found():
    targets = [text_target(f"text {i}") for i in range(20)]
    packed = pack({"a": targets[:10], ("b",): Cell(tuple(targets[10:]))})
    value, resources = unpack(packed)
    assert all(target.checksum is not None for target in targets)
    assert sorted(r.get_data() for r in resources) == sorted(f"text {i}" for i in range(20))
    assert value["a"][3].get_data() == "text 3"


def test_one_failing_upload_is_raised_after_the_others_are_done():
    class Refused(TransferError):
        pass

    class Failing:
        checksum = None

        def persist(self):
            raise Refused("no")

    good = [text_target(f"after {i}") for i in range(8)]
    with pytest.raises(Refused):
        persist_all([Failing(), *good])
    assert all(target.checksum is not None for target in good)


class NotFromHere:
    pass


def generator():
    yield 1


LOCAL = dataclasses.make_dataclass("LOCAL", ["x"])
LOCAL.__qualname__ = "test.<locals>.LOCAL"


@dataclasses.dataclass
class Half:
    x: int
    y: int = dataclasses.field(init=False)


@dataclasses.dataclass
class Dict(dict):
    x: int = 1


UNSTORABLE = [
    ([0, {"x": np.zeros(3)}], "result[1]['x']", "NumpyTarget"),
    (Point(1, pd.DataFrame()), "result.y", "CSVTarget"),
    (Cell(NotFromHere()), "result.image", "dataclass"),
    ({(1, 2): [generator()]}, "result[(1, 2)][0]", "dataclass"),
    ({1: [NotFromHere]}, "result[1][0]", "dataclass"),
    (Loose(value=len), "result.value", "dataclass"),
    (LOCAL(1), "result", "move the class"),
    ([Half(1)], "result[0]", "set every field"),
    ([Dict()], "result[0]", "hold the built-in"),
    ([b"x" * 70_000], "result[0]", "NumpyTarget"),
    ([np.longdouble(1)], "result[0]", "float"),
    ([pd.Timestamp(0)], "result[0]", "dataclass"),
]


@pytest.mark.parametrize(("value", "field", "remedy"), UNSTORABLE, ids=[f"{f}-{r}" for _, f, r in UNSTORABLE])
def test_what_cannot_be_stored_is_named_by_its_place(value, field, remedy):
    with pytest.raises(EncodeError) as caught:
        pack(value)
    assert caught.value.field == field
    assert remedy in caught.value.remedy
    assert caught.value.expected is not None
    assert caught.value.actual is not None


def test_a_value_that_contains_itself():
    value: list = []
    value.append({"again": value})
    with pytest.raises(EncodeError, match="contains itself"):
        pack(value)
    assert resources_in(value) == []


def test_a_value_nested_too_deeply():
    value: list = []
    for _ in range(MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(EncodeError, match="deep"):
        pack(value)


def test_deepest_value():
    value: object = 1
    for _ in range(MAX_DEPTH):
        value = (value,)
    assert there_and_back(value) == value


def test_an_unregistered_resource_is_refused_when_it_is_stored():
    class StrayTarget(cpr.Target):
        format_class = Text

    target = StrayTarget.from_path("memory://flows/stray.txt")
    target.set_data("x")
    with pytest.raises(EncodeError, match=r"result\[0\].*registers this type"):
        pack([target])


def test_resources_are_found_among_what_cannot_be_stored():
    target = text_target()
    assert resources_in({"a": [np.zeros(3), Cell(target), object()], "b": target}) == [target, target]


def test_upath():
    upath = pytest.importorskip("upath")
    path = upath.UPath("s3://bucket/key")
    assert same(there_and_back([path]), [path])
    with pytest.raises(EncodeError, match="storage options"):
        pack(upath.UPath("s3://bucket/key", key="canary"))
    with pytest.raises(RecordError):
        unpack({RECORD_KEY: ["UPath", "http://somewhere/key"]})


def tagged(*parts):
    return {RECORD_KEY: list(parts)}


DEEP: object = 1
for _ in range(MAX_DEPTH + 2):
    DEEP = [DEEP]

HOSTILE = {
    "unknown tag": tagged("exec", "x"),
    "no tag": tagged(),
    "tag is no text": tagged(["tuple"], []),
    "two keys": {RECORD_KEY: ["tuple", []], "x": 1},
    "neither record nor tag": {RECORD_KEY: 3},
    "unknown resource": {RECORD_KEY: {"type": "os"}},
    "class not there": tagged("dataclass", "nowhere:Thing", []),
    "no such name": tagged("dataclass", f"{HERE}:Thing", []),
    "class of another kind": tagged("dataclass", "subprocess:Popen", [["args", "true"]]),
    "function, not class": tagged("dataclass", "os:system", []),
    "enum as dataclass": tagged("dataclass", f"{HERE}:Colour", []),
    "dataclass as enum": tagged("enum", f"{HERE}:Cell", "RED"),
    "dataclass as model": tagged("model", f"{HERE}:Cell", [], []),
    "model as named tuple": tagged("namedtuple", f"{HERE}:Loose", []),
    "tuple as named tuple": tagged("namedtuple", "builtins:tuple", []),
    "private path": tagged("dataclass", f"{HERE}:Cell.__init__.__globals__", []),
    "name through another module": tagged(
        "dataclass", "tests.records.test_containers:Cell", [["image", 1], ["area", 1]]
    ),
    "field missing": tagged("dataclass", f"{HERE}:Cell", [["image", 1]]),
    "field too many": tagged("dataclass", f"{HERE}:Cell", [["image", 1], ["area", 1], ["__class__", 1]]),
    "field twice": tagged("dataclass", f"{HERE}:Cell", [["image", 1], ["area", 1], ["area", 2]]),
    "field name no text": tagged("dataclass", f"{HERE}:Cell", [[1, 1], ["area", 1]]),
    "named tuple short": tagged("namedtuple", f"{HERE}:Pair", [["first", 1]]),
    "no such member": tagged("enum", f"{HERE}:Colour", "BLUE"),
    "member by value": tagged("enum", f"{HERE}:Colour", 1),
    "flag out of range": tagged("enum", f"{HERE}:Mode", 64),
    "model with an unknown field": tagged("model", f"{HERE}:Measured", [["nobody", "a1"]], []),
    "model that lacks a field": tagged("model", f"{HERE}:Box", [], []),
    "type arguments of no generic": tagged("model", [f"{HERE}:Loose", ["builtins:int"]], [], []),
    "type arguments too deep": tagged("model", [f"{HERE}:Box", [DEEP]], [], []),
    "unhashable in set": tagged("set", [[1]]),
    "unhashable key": tagged("dict", [[[1], 2]]),
    "text for items": tagged("tuple", "abc"),
    "dict of triples": tagged("dict", [[1, 2, 3]]),
    "finite float": tagged("float", "1.5"),
    "float no text": tagged("float", None),
    "int no hex": tagged("int", "x"),
    "bad base64": tagged("bytes", "?"),
    "bad date": tagged("date", "2026-13-01"),
    "zone from a file": tagged("datetime", "2026-01-01T00:00:00", 0, "../../etc/passwd"),
    "timedelta out of range": tagged("timedelta", 10**12, 0, 0),
    "bad uuid": tagged("UUID", "x"),
    "uuid no text": tagged("UUID", {}),
    "decimal no text": tagged("Decimal", ["x"]),
    "bad path kind": tagged("path", "open", "/etc/passwd"),
    "numpy object": tagged("numpy", "|O", "00"),
    "numpy void": tagged("numpy", "|V2", "0000"),
    "numpy size": tagged("numpy", "<U100000000", "00000000"),
    "numpy bytes missing": tagged("numpy", "<f8", "00"),
    "too deep": DEEP,
    "hostile location": {RECORD_KEY: {"type": "TextSource", "location": "/a/..", "name": "x", "ext": ".txt"}},
}


@pytest.mark.parametrize("packed", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_records_raise_and_import_nothing(packed):
    before = set(sys.modules)
    with pytest.raises(RecordError):
        unpack(packed)
    assert set(sys.modules) - before <= {"upath"}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from([RECORD_KEY, "type", "x"]), inner, max_size=2),
        st.tuples(
            st.sampled_from(
                "int float complex bytes bytearray date time datetime timedelta UUID Decimal path UPath "
                "numpy tuple set frozenset dict enum namedtuple dataclass model value".split()
            ),
            st.one_of(
                inner, st.sampled_from([f"{HERE}:{n}" for n in ("Cell", "Colour", "Mode", "Pair", "Box")])
            ),
            inner,
        ).map(lambda parts: {RECORD_KEY: list(parts)}),
    ),
    max_leaves=10,
)


@given(JSON)
def test_whatever_is_in_a_record_only_our_errors_come_out(packed):
    with contextlib.suppress(RecordError):
        unpack(packed)


def test_modules_with_lazy_names_are_not_asked(monkeypatch):
    module = types.ModuleType("lazy_one")
    module.__getattr__ = lambda name: pytest.fail(f"asked for {name}")
    monkeypatch.setitem(sys.modules, "lazy_one", module)
    with pytest.raises(RecordError, match="import the module"):
        unpack(tagged("dataclass", "lazy_one:Cell", []))


def test_classes_of_a_function_that_came_by_value_are_found():
    @dataclasses.dataclass
    class Shipped:
        x: int

    Shipped.__module__, Shipped.__qualname__ = "__main__", "Shipped"
    packed = pack(Shipped(3))
    with pytest.raises(RecordError):
        unpack(packed)
    assert unpack(packed, {"Shipped": Shipped})[0] == Shipped(3)


def test_a_class_that_has_changed_says_so(monkeypatch):
    packed = pack(Frozen(1))
    changed = dataclasses.make_dataclass("Frozen", ["value", "derived", "added"])
    changed.__module__, changed.__qualname__ = HERE, "Frozen"
    monkeypatch.setattr(sys.modules[HERE], "Frozen", changed)
    with pytest.raises(RecordError, match="added"):
        unpack(packed)


def test_named_tuples_and_tuples_are_told_apart():
    assert same(there_and_back([Pair(1, 2), (1, 2), Point(1)]), [Pair(1, 2), (1, 2), Point(1)])


def test_keys_of_more_digits_than_python_writes_are_stored():
    value = {10**5000: "a", (1, -(10**5000)): {"b": [10**5000]}}
    assert unpack(json.loads(json.dumps(pack(value))))[0] == value
    with pytest.raises(EncodeError, match="a record cannot hold this"):
        pack({10**5000: object()})
