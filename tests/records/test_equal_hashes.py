"""Keys of a record that Python cannot tell apart by their hash: no more of them than it has time for."""

from __future__ import annotations

import json

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
