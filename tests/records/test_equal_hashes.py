"""Keys of a record that Python cannot tell apart by their hash: no more of them than it has time for."""

from __future__ import annotations

import json
import time

import pytest

from cpr.errors import RecordError
from cpr.records import unpack as module
from cpr.records.pack import pack
from cpr.records.unpack import unpack

MODULUS = 2**61 - 1  # multiples of it have the hash 0

KINDS = {
    "numbers": lambda n: dict.fromkeys((MODULUS * i for i in range(n)), "x"),
    "tuples": lambda n: {(MODULUS * i, "a"): i for i in range(n)},
    "a set": lambda n: {MODULUS * i for i in range(n)},
    "a frozenset": lambda n: frozenset(MODULUS * i for i in range(n)),
    "inside another": lambda n: {"a": [{MODULUS * i: i for i in range(n)}]},
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_so_many_with_one_hash_are_refused(make, monkeypatch):
    monkeypatch.setattr(module, "_MOST_ALIKE", 500)
    packed = json.loads(json.dumps(pack(make(501))))
    with pytest.raises(RecordError, match="ValueError") as caught:
        unpack(packed)
    assert caught.value.remedy
    value = make(500)
    assert unpack(json.loads(json.dumps(pack(value))))[0] == value


def test_any_number_of_others_is_read(monkeypatch):
    monkeypatch.setattr(module, "_MOST_ALIKE", 500)
    for value in ({i: i for i in range(5000)}, {(i, str(i)) for i in range(5000)}):
        assert unpack(json.loads(json.dumps(pack(value))))[0] == value


LONG_KEYS = {
    "tuples that begin alike": lambda n: {(*[0.5] * n, MODULUS * i) for i in range(n)},
    "keys of a dict": lambda n: {(*[0.5] * n, MODULUS * i): i for i in range(n)},
    "long texts in tuples": lambda n: {("x" * 64 * n, MODULUS * i) for i in range(n)},
    "tuples in tuples": lambda n: {((0, ("a", *[0.5] * n)), MODULUS * i) for i in range(n)},
    "sets in a set": lambda n: {frozenset(MODULUS * (i * n + k) for k in range(n)) for i in range(n)},
    "many small sets": lambda n: [{(*[0.5] * n, MODULUS * i) for i in range(8)} for _ in range(n * n // 64)],
}


@pytest.mark.parametrize("make", LONG_KEYS.values(), ids=LONG_KEYS)
def test_keys_with_one_hash_may_be_long_or_many(make, monkeypatch):
    """They are compared part by part: what counts is how many steps that takes, in the whole record."""
    value = make(40)
    packed = json.loads(json.dumps(pack(value)))
    monkeypatch.setattr(module, "_MOST_STEPS", 40**3 // 2)
    with pytest.raises(RecordError, match="ValueError"):
        unpack(packed)
    monkeypatch.setattr(module, "_MOST_STEPS", 40**3 * 50)
    assert unpack(packed)[0] == value


def test_a_small_record_does_not_take_minutes():
    """3 MB of such keys took 95 s."""
    numbers = ({"__cpr__": ["int", hex(MODULUS * i)]} for i in range(10_000))
    keys = [{"__cpr__": ["tuple", [*[1.5] * 50, number]]} for number in numbers]
    began = time.process_time()
    with pytest.raises(RecordError):
        unpack({"__cpr__": ["set", keys]})
    assert time.process_time() - began < 60
