"""Parquet: the same promises as CSV, in columns."""

from __future__ import annotations

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


@pytest.mark.parametrize("name", ["levels", "strings", "labels of integers", "labels in levels"])
def test_pandas_opens_it(name):
    target = stored(FRAMES[name])
    with io.reading(target.url) as file:
        found = pd.read_parquet(__import__("io").BytesIO(file.read()))
    assert len(found) == len(FRAMES[name])


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
