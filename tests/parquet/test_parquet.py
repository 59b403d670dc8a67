"""Parquet: the same promises as CSV, in columns."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import sys

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr import io
from cpr.errors import DecodeError, EncodeError, MissingDependencyError
from cpr.parquet.table import Parquet
from cpr.testing import ForwardFile, SeekableBytes
from tests.data.tables.frames import FRAMES, same
from tests.data.tables.table_cases import Laws, TableCases

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


class TestParquet(Laws):
    format = Parquet()
    target_class = cpr.ParquetTarget


class TestUncompressed(Laws):
    format = Parquet(compression=None)
    target_class = cpr.ParquetTarget


class TestTables(TableCases):
    target_class = cpr.ParquetTarget
    ext = ".parquet"


def stored(data, **options):
    target = cpr.ParquetTarget.from_path("memory://parquet/a.parquet", **options)
    target.set_data(data)
    return target.persist()


# Columns of one name, which pandas does not read whoever wrote them.
UNREADABLE = {"index named as a column", "labels that repeat"}
# What pandas does not restore from files of its own either.
OTHERWISE = {
    "every dtype", "every dtype, no rows", "levels of many dtypes",  # whole seconds
    "one column of objects", "index of objects", "index of nullable integers", "one level", "big-endian",
    "labels of times", "labels of categories", "labels of many kinds",
    "Arrow's columns", "index of Arrow's integers",  # two dtypes share the name string[pyarrow]
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FRAMES.keys() - UNREADABLE))
def test_pandas_gives_the_frame_back_with_its_index(name, tmp_path):
    frame = FRAMES[name]
    target = cpr.ParquetTarget.from_path(tmp_path / "a.parquet")
    target.set_data(frame)
    found = pd.read_parquet(target.persist().url)
    assert len(found) == len(frame) and found.shape[1] == frame.shape[1]
    assert found.index.nlevels == frame.index.nlevels or name in OTHERWISE
    if name not in OTHERWISE:
        pd.testing.assert_frame_equal(
            found, frame, check_freq=False, check_index_type="equiv", check_column_type=False
        )
        pd.testing.assert_frame_equal(cpr.ParquetSource.from_path(target.url).get_data(), found)


def test_the_index_of_chunks_comes_back_too(tmp_path):
    frame = FRAMES["levels"]
    target = cpr.ParquetTarget.from_path(tmp_path / "a.parquet")
    target.set_data(frame.iloc[i : i + 1] for i in range(len(frame)))
    pd.testing.assert_frame_equal(pd.read_parquet(target.url), frame)


def test_the_same_content_stored_by_others_verifies():
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, ""], "c": pd.Categorical(["p", "q", "p"])})
    target = stored(frame)
    with io.writing(target.url) as file:
        other = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(frame), other, compression="gzip")
        file.write(other.getvalue().to_pybytes())
    assert same(target.get_data(), frame)


def test_row_groups_are_written_as_they_come():
    class Watched(ForwardFile):
        writes = 0

        def write(self, data):
            self.writes += 1
            return super().write(data)

    def chunks():
        for i in range(40):
            if i == 39:
                before.append(file.writes)
            yield pd.DataFrame(np.random.default_rng(i).normal(size=(50_000, 8)))

    before: list[int] = []
    file = Watched()
    format = Parquet()
    stream = format.stream(chunks())
    format.describe(stream).encode(stream, file)
    assert before[0] > 8
    metadata = pq.ParquetFile(pa.BufferReader(file.getvalue())).metadata
    assert metadata.num_row_groups == 4
    assert metadata.num_rows == 2_000_000


def test_seconds_too_far_away_are_refused():
    with pytest.raises(EncodeError, match="too far away") as caught:
        stored(pd.DataFrame({"t": np.array([2**62], "i8").view("M8[s]")}))
    assert caught.value.field == "t"


def test_without_pyarrow_the_error_names_the_command(monkeypatch):
    good = stored(pd.DataFrame({"a": [1]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for act in (lambda: stored(pd.DataFrame({"a": [1]})), good.get_data):
        with pytest.raises(MissingDependencyError, match=r'pip install "prefect-cpr\[parquet\]"'):
            act()


def test_other_columns_than_recorded_are_refused():
    format = Parquet().describe(pd.DataFrame({"a": [1, 2]}))
    for other in (
        {"b": [1, 2]},
        {"a": [1.5, 2.5]},
        {"a": ["x", "y"]},
        {"a": [1, None]},
        {"a": [1, 2], "b": [1, 2]},
    ):
        file = pa.BufferOutputStream()
        pq.write_table(pa.table(other), file)
        with pytest.raises(DecodeError):
            format.decode(SeekableBytes(file.getvalue().to_pybytes()))


def test_a_file_that_claims_more_rows_is_not_read():
    format = Parquet().describe(pd.DataFrame({"a": [1]}))
    file = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": np.zeros(10_000_000, "i8")}), file)
    with pytest.raises(DecodeError, match="another number of rows"):
        format.decode(SeekableBytes(file.getvalue().to_pybytes()))


class TestForeignFiles:
    def test_is_what_pandas_reads(self, tmp_path):
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index([5, 6], name="n"))
        frame.to_parquet(tmp_path / "a.parquet")
        found = cpr.ParquetSource.from_path(tmp_path / "a.parquet").get_data()
        pd.testing.assert_frame_equal(found, pd.read_parquet(tmp_path / "a.parquet"))

    @pytest.mark.parametrize("bad", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"a,b\n"])
    def test_what_is_not_parquet_is_refused(self, tmp_path, bad):
        (tmp_path / "a.parquet").write_bytes(bad)
        with pytest.raises(DecodeError) as caught:
            cpr.ParquetSource.from_path(tmp_path / "a.parquet").get_data()
        assert caught.value.remedy
        assert caught.value.url


REFUSED = {
    pa.date32(): ([dt.date(2026, 1, 2), None], [pd.Timestamp("2026-01-02"), None]),
    pa.float16(): ([np.float16(0.5), None], [0.5, None]),
    pa.decimal128(10, 2): ([decimal.Decimal("1.50"), None], [1.5, None]),
    pa.time64("us"): ([dt.time(1, 2), None], ["01:02:00", None]),
    pa.dictionary(pa.int32(), pa.string()): (["a", None], ["a", None]),
    pa.list_(pa.int64()): ([[1], None], ["[1]", None]),
    pa.timestamp("us", "+01:00"): ([pd.Timestamp("2026-01-01", tz="UTC"), None],) * 2,
    pa.null(): ([None, None], [None, None]),
}


@pytest.mark.parametrize("kind", REFUSED, ids=str)
@pytest.mark.parametrize("target_class", [cpr.ParquetTarget, cpr.CSVTarget])
def test_arrow_types_that_are_refused_have_a_remedy_that_keeps_the_values(target_class, kind, tmp_path):
    given, kept = REFUSED[kind]
    array = pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(given, kind)]))
    frame = pd.DataFrame({"a": array})
    target = target_class.from_path(tmp_path / f"a{target_class.format_class.extensions[0]}")
    with pytest.raises(cpr.EncodeError) as caught:
        target.set_data(frame)
    column = eval(caught.value.remedy.partition(": ")[2], {"frame": frame, "column": "a"})
    target.set_data(pd.DataFrame({"a": column}))
    found = cpr.load(target.serialize()).get_data()["a"]
    assert [None if pd.isna(one) else one for one in found] == kept


@pytest.mark.parametrize("target_class", [cpr.ParquetTarget, cpr.CSVTarget])
def test_what_pandas_reads_into_arrows_memory_comes_back_there(target_class, tmp_path):
    numbers = pd.array([2**53 + 1, None, -1], dtype="Int64")
    frame = pd.DataFrame({"n": numbers, "x": [0.5, None, np.inf], "s": ["a", None, ""], "b": True})
    frame["t"] = pd.date_range("2026-01-01", periods=3, tz="Europe/Berlin")
    frame.to_parquet(tmp_path / "theirs.parquet")
    theirs = pd.read_parquet(tmp_path / "theirs.parquet", dtype_backend="pyarrow")
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in theirs.dtypes)
    target = target_class.from_path(tmp_path / f"a{target_class.format_class.extensions[0]}")
    target.set_data(theirs)
    record = json.loads(json.dumps(target.serialize()))
    pd.testing.assert_frame_equal(cpr.load(record).get_data(), theirs)
    # Chunks of it are the same table.
    again = target_class.from_path(tmp_path / f"b{target_class.format_class.extensions[0]}")
    again.set_data(theirs.iloc[i : i + 1] for i in range(3))
    assert again.data_hash == target.data_hash


def test_a_record_of_arrows_columns_names_the_package(tmp_path, monkeypatch):
    target = cpr.CSVTarget.from_path(tmp_path / "a.csv")
    target.set_data(pd.DataFrame({"a": pd.array([1, None], dtype="int64[pyarrow]")}))
    record = target.serialize()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "prefect-cpr\[parquet\]"'):
        cpr.load(record).get_data()
