"""Values of equal look: what code can see makes another key, what nobody is shown does not."""

from __future__ import annotations

import struct

import numpy as np
import pandas as pd
import pytest

from cpr import hash_objects

_NAN = 0x7FF8000000000000
_BITS = {"usual": _NAN, "payload": _NAN + 5, "sign": _NAN | 1 << 63}


def number(bits: int) -> float:
    return struct.unpack(">d", struct.pack(">Q", bits))[0]


def as_seen(value) -> bytes:
    """What code sees of the numbers in it: their bits."""
    if isinstance(value, complex):
        return struct.pack(">dd", value.real, value.imag)
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, (list, tuple)):
        return b"".join(map(as_seen, value))
    if isinstance(value, dict):
        return as_seen([*value, *value.values()])
    if isinstance(value, np.ma.MaskedArray):
        return as_seen([np.asarray(value.data), value.fill_value])
    array = np.asarray(value)
    return as_seen(array.ravel().tolist()) if array.dtype.hasobject else array.tobytes()


HOLDERS = {
    "float": lambda x: x,
    "real part": lambda x: complex(x, 1),
    "imaginary part": lambda x: complex(1, x),
    "list": lambda x: [1.5, x],
    "key": lambda x: {x: 1},
    "value": lambda x: {"a": x},
    "numpy scalar": np.float64,
    "array": lambda x: np.array([1, x]),
    "single precision": lambda x: np.array([x], "f4").view("u4").view("f4"),
    "array of complex": lambda x: np.array([complex(x, x)]),
    "array of objects": lambda x: np.array([None, x], object)[1:],
    "field": lambda x: np.array([(1, x)], "i4,f8"),
    "masked": lambda x: np.ma.array([1, x], mask=[0, 1]),
    "fill value": lambda x: np.ma.array([1.0], fill_value=x),
    "series": lambda x: pd.Series([x]),
    "series of objects": lambda x: pd.Series([x], dtype=object),
    "index": lambda x: pd.Index([x]),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_numbers_of_other_bits_have_another_key(holder):
    made = [HOLDERS[holder](number(bits)) for bits in (*_BITS.values(), 0, 1 << 63)]
    seen = [as_seen(one) for one in made]
    keys = [hash_objects(one) for one in made]
    assert len(set(seen)) >= 4  # a payload of one does not fit into single precision
    for i in range(len(made)):
        for k in range(len(made)):
            assert (keys[i] == keys[k]) is (seen[i] == seen[k]), (i, k)


def test_the_usual_nan_counts_as_ever():
    assert hash_objects(float("nan")) == hash_objects(number(_NAN)) == hash_objects(np.nan)


def _masked_numbers(hidden):
    return pd.arrays.IntegerArray(np.array([1, hidden]), np.array([False, True]))


def _with_gaps(gap):
    array = np.zeros(2, {"names": ["a", "b"], "formats": ["u1", "u4"], "offsets": [0, 4], "itemsize": 8})
    array.view("u1").reshape(2, 8)[:, 1:4] = gap
    return array


def _frozen(array):
    array.flags.writeable = False
    return array


#: Pairs of which either stands for the other.
ALIKE = {
    "hidden in a nullable array": (lambda: _masked_numbers(2), lambda: _masked_numbers(3)),
    "hidden in a nullable series": (
        lambda: pd.Series(_masked_numbers(2)),
        lambda: pd.Series(_masked_numbers(3)),
    ),
    "hidden in nullable booleans": (
        lambda: pd.arrays.BooleanArray(np.array([False]), np.array([True])),
        lambda: pd.arrays.BooleanArray(np.array([True]), np.array([True])),
    ),
    "gaps of a struct": (lambda: _with_gaps(0), lambda: _with_gaps(7)),
    "gaps of one": (lambda: _with_gaps(0)[0], lambda: _with_gaps(7)[0]),
    "gaps of a masked struct": (lambda: np.ma.array(_with_gaps(0)), lambda: np.ma.array(_with_gaps(7))),
    "booleans of other bytes": (lambda: np.array([True]), lambda: np.array([2], "u1").view(bool)),
    "no mask": (lambda: np.ma.array([1]), lambda: np.ma.array([1], mask=[False])),
    "byte order": (lambda: np.arange(3), lambda: np.arange(3).astype(">i8")),
    "layout": (lambda: np.ones((2, 3)), lambda: np.asfortranarray(np.ones((2, 3)))),
    "read only": (lambda: np.ones(2), lambda: _frozen(np.ones(2))),
}
#: Pairs that code can tell apart.
APART = {
    "under a mask": (lambda: np.ma.array([1, 2], mask=[0, 1]), lambda: np.ma.array([1, 3], mask=[0, 1])),
    "missing or hidden": (lambda: _masked_numbers(2), lambda: pd.array([1, 2], dtype="Int64")),
    "size of nullable numbers": (
        lambda: pd.array([1, None], dtype="Int64"),
        lambda: pd.array([1, None], dtype="Int32"),
    ),
    "array or series": (lambda: _masked_numbers(2), lambda: pd.Series(_masked_numbers(2))),
    "who keeps texts": (
        lambda: pd.Series(["a"], dtype=pd.StringDtype("python")),
        lambda: pd.Series(["a"], dtype=pd.StringDtype("pyarrow")),
    ),
    "who keeps texts of a column": (
        lambda: pd.DataFrame({"a": ["a"]}, dtype=pd.StringDtype("python")),
        lambda: pd.DataFrame({"a": ["a"]}, dtype=pd.StringDtype("pyarrow")),
    ),
    "who keeps texts of an index": (
        lambda: pd.Index(["a"], dtype=pd.StringDtype("python")),
        lambda: pd.Index(["a"], dtype=pd.StringDtype("pyarrow")),
    ),
    "records with attributes": (
        lambda: np.zeros(1, [("a", "i4")]),
        lambda: np.zeros(1, np.dtype((np.record, [("a", "i4")]))),
    ),
    "a record with attributes": (
        lambda: np.zeros(1, [("a", "i4")])[0],
        lambda: np.zeros(1, np.dtype((np.record, [("a", "i4")])))[0],
    ),
}


@pytest.mark.parametrize("pair", ALIKE)
def test_what_nobody_is_shown_does_not_count(pair):
    one, other = ALIKE[pair]
    assert hash_objects(one()) == hash_objects(one()) == hash_objects(other())


@pytest.mark.parametrize("pair", APART)
def test_what_code_can_see_counts(pair):
    one, other = APART[pair]
    assert hash_objects(one()) == hash_objects(one()) != hash_objects(other()) == hash_objects(other())
