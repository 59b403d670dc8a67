"""Lists that are kept packed behave as lists, whatever their length."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpr.cli.output import print_json
from cpr.errors import CprError, ResourceNotFoundError
from cpr.operations import compact_list
from cpr.operations.compact_list import CompactList


@given(st.lists(st.one_of(st.integers(), st.text(), st.none()), max_size=40), st.integers(1, 9))
def test_it_is_as_a_list(items, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact_list, "_AT_ONCE", at_once)
        packed = CompactList(items[:5])
        for item in items[5:]:
            packed.append(item)
        assert packed == items
        assert list(packed) == items
        assert len(packed) == len(items)
        assert [packed[at] for at in range(-len(items), len(items))] == items * 2
        assert all(item in packed for item in items)
        assert object() not in packed
        assert packed != [*items, 0]
        assert bool(packed) == bool(items)
        for outside in (len(items), -len(items) - 1):
            with pytest.raises(IndexError):
                packed[outside]


def test_errors_come_out_as_they_went_in_and_take_little_memory():
    def error(number: int) -> CprError:
        return ResourceNotFoundError(
            "no such object",
            url=f"s3://bucket/data/cell-{number:016x}.tif",
            expected="an object that is there",
            remedy="run its flow again",
        )

    packed = CompactList(map(error, range(20_000)))
    assert [(type(one), str(one)) for one in packed] == [
        (type(one), str(one)) for one in map(error, range(20_000))
    ]
    nbytes = sum(map(len, packed._packed))
    assert len(packed._last) < 1024
    assert nbytes < 20_000 * 60


def test_json_is_the_same_as_of_a_list(capsys):
    items = [{"a": [1, None, "\x7f"]}, {}, "x"]
    for value in ([], items, items * 700):
        print_json({"wrong": CompactList(value), "more": 1})
        said = capsys.readouterr().out
        print_json({"wrong": value, "more": 1})
        assert said == capsys.readouterr().out
        assert json.loads(said)["wrong"] == value
