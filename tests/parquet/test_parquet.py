"""Parquet: the same promises as CSV, in columns."""

from __future__ import annotations

import re
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
    assert metadata.num_row_groups == 2
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


def test_a_folder_of_parts_is_refused_and_the_remedy_reads_it(tmp_path):
    folder = tmp_path / "cells.parquet"
    folder.mkdir()
    for number in range(3):
        pd.DataFrame({"label": [2 * number, 2 * number + 1]}).to_parquet(folder / f"part-{number}.parquet")
    with pytest.raises(cpr.ResourceNotFoundError, match="folder") as caught:
        cpr.ParquetSource.from_path(folder).get_data()
    pattern = re.search(r"glob\('(.*)'\)", caught.value.remedy)[1]
    found = pd.concat(part.get_data() for part in cpr.ParquetSource.glob(pattern))
    assert found["label"].tolist() == list(range(6))


ARROW = {
    "int64[pyarrow]": [1, None, 2**60 + 1],
    "uint8[pyarrow]": [1, None, 255],
    "double[pyarrow]": [0.1, None, 1e300],
    "bool[pyarrow]": [True, None, False],
    "uint64[pyarrow]": [1, None, 2**64 - 1],
    "float[pyarrow]": [0.5, None, 3.0],
    "duration[ns][pyarrow]": [pd.Timedelta("1 day"), None, pd.Timedelta("3 ns")],
    "timestamp[us, UTC][pyarrow]": [pd.Timestamp("2026-01-02 03:04:05", tz="UTC"), None],
    pd.ArrowDtype(pa.string()): ["a", None, "b"],
    pd.ArrowDtype(pa.large_string()): ["a", None, "b"],
    "timestamp[ns][pyarrow]": [pd.Timestamp("2026-01-02 03:04:05"), None, pd.Timestamp("1999-12-31")],
}


@pytest.mark.parametrize("name", ARROW, ids=str)
@pytest.mark.parametrize("target_class", [cpr.ParquetTarget, cpr.CSVTarget])
def test_columns_of_arrows_are_refused_and_the_remedy_keeps_their_values(target_class, name, tmp_path):
    frame = pd.DataFrame({"a": pd.array(ARROW[name], dtype=name)})
    target = target_class.from_path(tmp_path / f"a{target_class.format_class.extensions[0]}")
    with pytest.raises(cpr.EncodeError) as caught:
        target.set_data(frame)
    column = eval(caught.value.remedy.partition(": ")[2], {"frame": frame, "column": "a"})
    target.set_data(pd.DataFrame({"a": column}))
    found = cpr.load(target.serialize()).get_data()["a"]
    assert [None if pd.isna(one) else one for one in found] == ARROW[name]
