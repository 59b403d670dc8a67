"""The table of record fields, and what follows from it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import cpr
from cpr.errors import FormatError, RecordError
from cpr.operations.records import Reference
from cpr.records.record_fields import RESERVED, FileFields, FolderFields, names_of
from cpr.records.registry import RECORD_KEY
from cpr.testing import FormatTests
from tests.text_format import Text, TextTarget


def a_format(name: str) -> type:
    """One with an option of this name."""
    extensions = (".txt",)
    return dataclasses.make_dataclass(
        "Named", [(name, str, "x")], bases=(Text,), frozen=True, namespace={"extensions": extensions}
    )


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_format_takes_a_name_that_records_use_themselves(name):
    """Neither as a target, registered or not, nor as a source; and its author's tests say so."""
    named = a_format(name)
    for base in (cpr.Target, cpr.Source):
        with pytest.raises(FormatError, match="rename") as caught:
            type("Other", (base,), {"format_class": named})
        assert caught.value.field == name

    class Tests(FormatTests):
        format = named()
        samples = ("",)

    with pytest.raises(FormatError, match="rename"):
        Tests().test_is_a_frozen_dataclass_of_json_values()
    type("Other", (cpr.Target,), {"format_class": a_format(name + "_")})


def record(**changes: object) -> dict[str, object]:
    target = TextTarget.from_path("memory://record-fields/a.txt")
    target.set_data("some text")
    return {**target.serialize()[RECORD_KEY], **changes}


BAD = [
    ("type", 1, "type"),
    ("type", "a.b", "type"),
    ("type", "TextTarget\n", "type"),
    ("ext", "/../x", "ext"),
    ("ext", ".txt\n", "ext"),
    ("name", "../a", "name"),
    ("location", ["memory://a"], "location"),
    ("key", "0123456789ABCDEF", "key"),
    ("key", "0123456789abcdef\n", "key"),
    ("key", b"0123456789abcdef", "key"),
    ("data_hash", None, "data_hash"),
    ("checksum", "md5:" + 32 * "0", "checksum"),
    ("checksum", "sha256:" + 32 * "0", "checksum"),
    ("nbytes", -1, "nbytes"),
    ("nbytes", 1 << 63, "nbytes"),
    ("nbytes", True, "nbytes"),
    ("nbytes", 9.0, "nbytes"),
    ("nbytes", "9", "nbytes"),
    ("nbytes", 10**5000, "nbytes"),
    ("blocks", "", "blocks"),
    ("blocks", "\ud800", "blocks"),
]


@pytest.mark.parametrize(("field", "value", "named"), BAD, ids=range(len(BAD)))
def test_each_field_is_validated_with_and_without_its_class(field, value, named):
    bad = record(**{field: value})
    for load in (Reference.of, lambda fields: TextTarget.deserialize({RECORD_KEY: fields})):
        with pytest.raises(RecordError) as caught:
            load(bad)
        assert caught.value.field == named
        assert caught.value.remedy


@pytest.mark.parametrize("field", ["type", "ext", "data_hash", "checksum", "nbytes"])
def test_no_field_may_be_missing(field):
    bad = record()
    del bad[field]
    for load in (Reference.of, lambda fields: TextTarget.deserialize({RECORD_KEY: fields})):
        with pytest.raises(RecordError) as caught:
            load(bad)
        assert caught.value.field == field


def test_fields_of_other_kinds_of_targets_are_refused():
    with pytest.raises(RecordError, match="unknown field"):
        TextTarget.deserialize({RECORD_KEY: record(manifest=9)})
    assert "manifest" in names_of(FolderFields)
    assert "manifest" not in names_of(FileFields)


def test_a_record_has_the_fields_of_the_table_in_its_order(tmp_path):
    target = TextTarget.from_path(f"{tmp_path}/a.txt", encoding="latin-1")
    target.set_data("x")
    fields = target.serialize()[RECORD_KEY]
    common = [name for name in names_of(FileFields) if name in fields and name != "seal"]
    assert list(fields) == [*common, "encoding", "seal"]
    assert (
        TextTarget.deserialize({RECORD_KEY: json.loads(json.dumps(fields))}).serialize()[RECORD_KEY] == fields
    )


def test_the_place_of_a_record_is_looked_at_once(monkeypatch):
    """A hit on many targets costs what looking at their places costs."""
    from cpr.predecessor import results_without_checksum
    from cpr.records import record_fields

    looked = []
    for module in (results_without_checksum, record_fields):
        safe = module.require_safe
        monkeypatch.setattr(
            module, "require_safe", lambda *place, safe=safe: looked.append(place) or safe(*place)
        )
    target = cpr.NumpyTarget.from_path("memory://once/a.npy")
    target.set_data(np.zeros(3))
    record = target.serialize()
    looked.clear()
    assert cpr.load(record).url == target.url
    assert len(looked) == 1
