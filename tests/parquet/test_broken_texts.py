"""Texts in Parquet files that are none: told when the file is read, not when somebody looks at one."""

from __future__ import annotations

import pytest

import cpr
from cpr.errors import DecodeError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TEXTS = pa.array(["good", "MARK", None, "good"] * 5)
COLUMNS = {
    "texts": TEXTS,
    "large texts": TEXTS.cast(pa.large_string()),
    "categories": TEXTS.dictionary_encode(),
    "lists": pa.array([["good", "MARK"]] * 20),
    "structs": pa.array([{"a": "MARK"}] * 20),
    "maps": pa.array([[("MARK", 1)]] * 20, pa.map_(pa.string(), pa.int64())),
}
WAYS = {
    "plain": {"use_dictionary": False},
    "dictionary": {},
    "unknown schema": {"store_schema": False},
    "second version": {"data_page_version": "2.0"},
}
BROKEN = {"no UTF-8": b"M\xffRK", "half a character": b"MAR\xc3", "surrogate": b"\xed\xa0\x80K"}


@pytest.mark.parametrize("bad", BROKEN)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("place", ["file", "folder"])
def test_what_is_no_text_is_told(column, way, bad, place, tmp_path):
    path = tmp_path / "cells" / "a.parquet"
    path.parent.mkdir()
    options = {"compression": "none", "write_statistics": False, **WAYS[way]}
    pq.write_table(pa.table({"n": range(20), "a": COLUMNS[column]}), path, **options)
    source = cpr.ParquetSource.from_path(path if place == "file" else path.parent)
    assert len(source.get_data()) == 20
    path.write_bytes(path.read_bytes().replace(b"MARK", BROKEN[bad]))
    with pytest.raises(DecodeError) as caught:
        cpr.ParquetSource.from_path(source.url).get_data()
    assert "read_table" in caught.value.remedy
