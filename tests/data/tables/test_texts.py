"""Text in Arrow's memory: the same digests and the same columns as of str objects, from its own bytes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cpr.data.tables import frames
from cpr.data.tables.columns import ColumnType
from cpr.data.tables.table_digest import _Digest
from cpr.data.tables.texts import ArrowTexts
from cpr.data.tables.values import Values, from_pandas
from cpr.errors import EncodeError
from cpr.parquet.columns import array_of

pa = pytest.importorskip("pyarrow")

TEXTS = ["", "a", None, "ä€😀", "a\0b", None, "x" * 1000, " "]


def nulls_with_bytes() -> object:
    """Arrow may keep anything where nothing is."""
    whole = pa.array(["" if text is None else text for text in TEXTS], pa.large_string())
    wrong = pa.array(["hidden" if text is None else text for text in TEXTS], pa.large_string())
    there = pa.array([text is not None for text in TEXTS]).buffers()[1]
    found = pa.LargeStringArray.from_buffers(len(TEXTS), *wrong.buffers()[1:], there)
    assert found.fill_null("").equals(whole)
    assert found.buffers()[2].size > whole.buffers()[2].size
    return found


ARRAYS = {
    "whole": lambda: pa.array(TEXTS, pa.large_string()),
    "small offsets": lambda: pa.array(TEXTS, pa.string()),
    "a slice": lambda: pa.array(["before", *TEXTS, "after"], pa.large_string())[1:-1],
    "a slice of nothing missing": lambda: pa.array(["b", "a", "😀"], pa.large_string())[1:],
    "in chunks": lambda: pa.chunked_array([TEXTS[:3], [], TEXTS[3:]], pa.large_string()),
    "no chunk": lambda: pa.chunked_array([], pa.large_string()),
    "nothing": lambda: pa.array([], pa.string()),
    "all missing": lambda: pa.array([None, None], pa.large_string()),
    "bytes of what is missing": nulls_with_bytes,
}


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS)
def test_they_are_what_str_objects_are(make):
    texts = make()
    expected = texts.to_pylist()
    missing = np.array([text is None for text in expected], bool)
    objects = np.array(["" if text is None else text for text in expected], object)
    found = ArrowTexts(texts, "t")
    assert found.tolist() == objects.tolist()
    assert np.array_equal(np.asarray(found), objects)
    absent = missing if missing.any() else None
    column = ColumnType.named("string[pyarrow]")
    plain, quick = Values(objects, absent), Values(found, absent)
    digests = [_Digest(), _Digest()]
    for digest, values in zip(digests, (plain, quick), strict=True):
        digest.update(values, "t")
    assert digests[0].digest() == digests[1].digest()
    assert digests[0].second() == digests[1].second()
    arrays = [array_of(values, column, "t") for values in (plain, quick)]
    assert arrays[0].equals(arrays[1])
    assert arrays[1].to_pylist() == expected
    arrays[1].validate(full=True)


@pytest.mark.parametrize("dtype", ["str", "string[pyarrow]", pd.ArrowDtype(pa.string())], ids=str)
def test_no_str_is_made_where_arrow_has_the_text(dtype):
    frame = pd.DataFrame({"t": pd.array(["a", None], dtype=dtype)})
    (piece,) = frames.Frames(frame)
    assert isinstance(piece.columns[-1].data, ArrowTexts)


def test_what_passes_is_a_copy():
    offsets, text = np.array([0, 1, 2], np.int64), bytearray(b"ab")
    array = pa.LargeStringArray.from_buffers(2, pa.py_buffer(offsets), pa.py_buffer(text))
    found = ArrowTexts(array, "t")
    text[0] = ord("x")
    assert array.to_pylist() == ["x", "b"]
    assert found.tolist() == found.arrow(None).to_pylist() == ["a", "b"]


def test_bytes_that_are_no_text_are_refused():
    broken = pa.LargeStringArray.from_buffers(1, pa.py_buffer(np.array([0, 1])), pa.py_buffer(b"\xff"))
    with pytest.raises(EncodeError, match="UTF-8") as caught:
        from_pandas(pd.array(broken, dtype="string[pyarrow]"), ColumnType.named("string[pyarrow]"), "cells")
    assert caught.value.field == "cells"
