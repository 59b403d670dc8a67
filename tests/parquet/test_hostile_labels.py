"""Labels of columns in several levels, which pyarrow takes for literals of Python: typed errors, in time."""

from __future__ import annotations

import json
import time
import tracemalloc

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cpr
from cpr.errors import CprError, DecodeError


def put(path, *names: str, **said: str):
    table = pa.table({name: pa.array([1, 2]) for name in names})
    text = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {"pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    metadata = {
        "index_columns": [],
        "column_indexes": [{"name": "x", "field_name": None, **text, **said}] * (1 if said else 2),
        "columns": [{"name": name, "field_name": name, **number} for name in names],
        "creator": {"library": "pyarrow", "version": "1"},
        "pandas_version": "3.0",
    }
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(metadata)}), path)
    return cpr.ParquetSource.from_path(path)


@pytest.mark.parametrize(
    "name",
    ["'a'" * 100_000, "(" + "1," * 100_000 + ")", "[" + "1," * 100_000 + "]"],
    ids=["a text", "a tuple", "a list"],
)
def test_labels_in_many_levels_are_refused_at_once(name, tmp_path):
    source = put(tmp_path / "a.parquet", name, "('b', '1')")
    begin = time.process_time()
    with pytest.raises(DecodeError) as caught:
        source.get_data()
    assert time.process_time() - begin < 5
    assert caught.value.remedy


@pytest.mark.parametrize(
    "name",
    [
        "(" * 200,
        "-" * 200 + "1",
        "1+" * 100 + "1j",
        "a.b",
        "{1: 2}",
        "__import__('pathlib').Path('run').touch()",
    ],
)
def test_literals_that_are_none_run_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = put(tmp_path / "a.parquet", name, "('b', '1')")
    try:
        source.get_data()
    except CprError as error:
        assert error.remedy
    assert not (tmp_path / "run").exists()


def test_labels_in_levels_come_back(tmp_path):
    columns = pd.MultiIndex.from_tuples([("a" * 300, "1"), ("b, c, (d)", "2")], names=["x", "y"])
    frame = pd.DataFrame([[1, 2], [3, 4]], columns=columns, index=pd.Index(["r" * 300, "s"], name="i" * 300))
    frame.to_parquet(tmp_path / "a.parquet")
    found = cpr.ParquetSource.from_path(tmp_path / "a.parquet").get_data()
    pd.testing.assert_frame_equal(found, pd.read_parquet(tmp_path / "a.parquet"))
    target = cpr.ParquetTarget.from_path(tmp_path / "b.parquet")
    target.set_data(frame)
    pd.testing.assert_frame_equal(cpr.load(target.serialize()).get_data(), frame)


WIDE = [
    "S200000000",
    "U50000000",
    "<U50000000",
    "V900000000",
    "a1000",
    "(1000,1000)f8",
    "1000000f8",
    "8000S9999",
]


@pytest.mark.parametrize("key", ["pandas_type", "numpy_type"])
@pytest.mark.parametrize("said", WIDE)
def test_labels_of_any_width_are_refused(said, key, tmp_path):
    """Of labels pyarrow makes an array of the type that the file says."""
    source = put(tmp_path / "a.parquet", "a", "b", "c", "d", **{key: said})
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError) as caught:
            source.get_data()
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert caught.value.remedy


LABELS = [
    pd.Index(["a", "b"]),
    pd.Index(["a", "b"], dtype="string"),
    pd.Index(["a", "b"], dtype="string[pyarrow]"),
    pd.Index([1, 2]),
    pd.Index([1, 2], dtype="uint8"),
    pd.Index([1.5, 2.5]),
    pd.Index([True, False]),
    pd.Index([b"a", b"b"]),
    pd.Index([1, "b"]),
    pd.CategoricalIndex(["a", "b"]),
    pd.DatetimeIndex(["2026-01-01", "2026-01-02"]),
    pd.DatetimeIndex(["2026-01-01", "2026-01-02"], tz="Europe/Berlin"),
    pd.TimedeltaIndex(["1s", "2s"]),
    pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]),
    pd.RangeIndex(2),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("labels", LABELS, ids=lambda one: f"{type(one).__name__} {one.dtype}")
def test_labels_that_pandas_writes_come_back(labels, tmp_path):
    frame = pd.DataFrame([[1, 2], [3, 4]], columns=labels)
    try:
        frame.to_parquet(tmp_path / "a.parquet")
        expected = pd.read_parquet(tmp_path / "a.parquet")
    except Exception:
        pytest.skip("pandas itself does not")
    pd.testing.assert_frame_equal(cpr.ParquetSource.from_path(tmp_path / "a.parquet").get_data(), expected)
