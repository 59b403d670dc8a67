"""What the serializer stores, and what it makes of objects that are gone, changed or out of reach."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from prefect.serializers import JSONSerializer

import cpr
from cpr.errors import (
    CorruptDataError,
    EncodeError,
    RecordError,
    ResourceNotFoundError,
    TransferError,
)
from cpr.Serializer import target_decoder, target_encoder
from tests.record_values import Cell, same, text_target
from tests.text_format import TextSource, TextTarget


@pytest.fixture
def serializer():
    return cpr.cpr_serializer()


@pytest.fixture
def checks(monkeypatch):
    """The targets that were looked for."""
    seen = []
    original = cpr.Target.check

    def check(self, full=False):
        seen.append(self.url)
        return original(self, full)

    monkeypatch.setattr(cpr.Target, "check", check)
    return seen


@pytest.mark.parametrize(
    "value", [None, 1, "text", [1, (2,)], {}, {"data": 1, "metadata": 2}, {"a": {1: 2}}], ids=repr
)
def test_values_without_resources(serializer, value):
    assert same(serializer.loads(serializer.dumps(value)), value)


def test_a_result_that_is_one_resource_is_its_record(serializer, tmp_path):
    target = text_target(base=str(tmp_path))
    blob = serializer.dumps(target)
    assert json.loads(blob) == {"__cpr__": target.serialize()["__cpr__"]}
    assert cpr.load(blob.decode()).get_data() == "hello"


@pytest.mark.parametrize("value", [None, 3, [1], {"data": 1}, {"__cpr__": {}}, (1,)], ids=repr)
def test_always_one_top_level_key(serializer, value):
    assert list(json.loads(serializer.dumps(value))) == ["__cpr__"]


def test_dumps_persists_and_lets_go_of_the_data(serializer, tmp_path):
    target = cpr.NumpyTarget.from_path(tmp_path / "a.npy")
    target.set_data(np.zeros(1 << 20))
    blob = serializer.dumps({"a": [target]})
    assert target._data is None
    assert os.path.exists(target.url)
    assert len(blob) < 1000
    assert len(pickle.dumps(target)) < 1000
    assert serializer.loads(blob)["a"][0].get_data().shape == (1 << 20,)


def test_what_cannot_be_stored_names_its_place(serializer, caplog):
    with pytest.raises(EncodeError, match=r"result\[0\]\['x'\].*NumpyTarget"):
        serializer.dumps([{"x": np.zeros(3)}])
    # Prefect's own message does not say why.
    assert "result[0]['x']" in caplog.text


def test_a_missing_object_raises(serializer, tmp_path, caplog):
    targets = [text_target(f"text {i}", str(tmp_path)) for i in range(50)]
    blob = serializer.dumps(targets)
    os.remove(targets[33].url)
    with caplog.at_level(logging.INFO), pytest.raises(ResourceNotFoundError) as caught:
        serializer.loads(blob)
    assert caught.value.url == targets[33].url
    assert any(targets[33].url in record.getMessage() for record in caplog.records)


def test_another_size_raises(serializer, tmp_path):
    target = text_target(base=str(tmp_path))
    blob = serializer.dumps(target)
    with open(target.url, "ab") as file:
        file.write(b"!")
    with pytest.raises(CorruptDataError):
        serializer.loads(blob)


def test_a_flipped_byte_is_found_in_full_only(tmp_path):
    target = text_target(base=str(tmp_path))
    blob = cpr.cpr_serializer().dumps([target, text_target("other", str(tmp_path))])
    with open(target.url, "wb") as file:
        file.write(b"hellO")
    cpr.cpr_serializer().loads(blob)
    with pytest.raises(CorruptDataError):
        cpr.cpr_serializer(verify="full").loads(blob)


def test_verify_takes_nothing_else():
    with pytest.raises(ValueError, match="verify"):
        cpr.cpr_serializer(verify="sizes")


@pytest.mark.parametrize("count", [1, 40])
def test_an_outage_is_no_miss(serializer, tmp_path, monkeypatch, caplog, count):
    blob = serializer.dumps([text_target(f"text {i}", str(tmp_path)) for i in range(count)])
    asked = []

    def refuse(self, full=False):
        asked.append(self)
        time.sleep(0.01)
        raise TransferError("the store refused", url=self.url)

    monkeypatch.setattr(cpr.Target, "check", refuse)
    with caplog.at_level(logging.WARNING):
        assert len(serializer.loads(blob)) == count
    warnings = [record for record in caplog.records if "could not be looked for" in record.getMessage()]
    assert len(warnings) == 1
    assert f"{count} of {count}" in warnings[0].getMessage()
    assert len(asked) <= 32


def test_a_missing_object_counts_during_an_outage_of_another_store(serializer, tmp_path, monkeypatch):
    targets = [text_target("one", str(tmp_path)), text_target("two", str(tmp_path))]
    blob = serializer.dumps(targets)
    original = cpr.Target.check

    def check(self, full=False):
        if self.url == targets[0].url:
            time.sleep(0.05)
            raise TransferError("the store refused", url=self.url)
        original(self, full)

    monkeypatch.setattr(cpr.Target, "check", check)
    os.remove(targets[1].url)
    with pytest.raises(ResourceNotFoundError):
        serializer.loads(blob)


def test_each_object_is_looked_for_once(serializer, tmp_path, checks):
    target = text_target(base=str(tmp_path))
    blob = serializer.dumps([target, Cell(target), {1: target}])
    serializer.loads(blob)
    assert checks == [target.url]


def test_sources_are_not_looked_for(serializer, checks):
    back = serializer.loads(serializer.dumps([TextSource.from_path("memory://flows/none.txt")]))
    assert back[0].url == "memory://flows/none.txt"
    assert checks == []


def test_ten_thousand_targets_are_looked_for_side_by_side(serializer, tmp_path, monkeypatch):
    targets = []
    for index in range(10_000):
        target = TextTarget.deserialize(text_target("x", str(tmp_path)).serialize()) if index == 0 else None
        targets.append(target or TextTarget.deserialize(_renamed(targets[0].serialize(), f"n{index}")))
    blob = serializer.dumps(targets)
    under_way, most = set(), 0

    def check(self, full=False):
        nonlocal most
        under_way.add(threading.get_ident())
        most = max(most, len(under_way))
        time.sleep(0.001)
        under_way.discard(threading.get_ident())

    monkeypatch.setattr(cpr.Target, "check", check)
    assert len(serializer.loads(blob)) == 10_000
    assert most >= 4


def _renamed(record, name):
    return {"__cpr__": {**record["__cpr__"], "name": name}}


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"{",
        b"\xff",
        b"3",
        b"[]",
        b"{}",
        b'{"data": 1}',
        b'{"__cpr__": 1}',
        b'{"__cpr__": {"type": "TextTarget"}, "x": 1}',
        b'{"__cpr__": ["value"]}',
        b'{"__cpr__": ["value", NaN]}',
        b'{"__cpr__": ["value", ' + b"9" * 5000 + b"]}",
        b"[" * 100_000,
        b'{"__cpr__": ["value", ' + b"[" * 500 + b"]" * 500 + b"]}",
        b'{"__cpr__": ["value", ["value", 1], 1]}',
    ],
    ids=lambda blob: blob[:30],
)
def test_bytes_that_are_no_result(serializer, blob):
    with pytest.raises(RecordError):
        serializer.loads(blob)


def test_encoder_and_decoder_for_json(tmp_path):
    target = text_target(base=str(tmp_path))
    text = json.dumps({"a": [target]}, default=target_encoder)
    back = json.loads(text, object_hook=target_decoder)
    assert back["a"][0].get_data() == "hello"
    assert target_decoder({"x": 1}) == {"x": 1}
    with pytest.raises(TypeError):
        json.dumps(object(), default=target_encoder)
    with pytest.raises(RecordError):
        json.loads('{"__cpr__": {"type": "os"}}', object_hook=target_decoder)


def test_encoder_and_decoder_in_prefects_serializer(tmp_path):
    old = JSONSerializer(
        object_encoder="cpr.Serializer.target_encoder", object_decoder="cpr.Serializer.target_decoder"
    )
    assert old.loads(old.dumps([text_target(base=str(tmp_path))]))[0].get_data() == "hello"


def test_a_fresh_process_reads_it(serializer, tmp_path):
    target = cpr.NumpyTarget.from_path(tmp_path / "a.npy")
    target.set_data(np.arange(4))
    code = (
        "import sys\n"
        "from cpr.Serializer import cpr_serializer\n"
        "print(cpr_serializer().loads(sys.stdin.buffer.read())[0]['x'].get_data().sum())"
    )
    blob = serializer.dumps([{"x": target}])
    done = subprocess.run(
        [sys.executable, "-c", code], input=blob, capture_output=True, check=True, timeout=120
    )
    assert done.stdout.strip() == b"6"
