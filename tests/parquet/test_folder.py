"""Folders of Parquet files as one table, as pandas reads them."""

from __future__ import annotations

import json
import os
import pickle
import threading
import uuid

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr import io
from cpr.errors import DecodeError, FormatError, ResourceNotFoundError, SourceChangedError
from cpr.io.transfer_width import TransferWidth
from cpr.io.version_pinning import Pinned

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

FRAME = pd.DataFrame(
    {
        "plate": ["p 1", "p 1", "ü/x", "q", "ü/x", "p 1"],
        "year": [2024, 2025, 2024, 2025, 2025, 2024],
        "well": ["A1", None, "B1", "B2", "A1", "C3"],
        "area": [1.5, np.nan, 2.5, 3.5, 4.5, 2**53 + 1.0],
        "day": pd.date_range("2026-01-01", periods=6),
        "n": pd.array([1, None, 3, 4, 5, 6], dtype="Int64"),
    }
)


def parts(folder, **more):
    folder.mkdir()
    for i, name in enumerate(["part-10", "part-2", "part-1"]):
        FRAME.iloc[2 * i : 2 * i + 2].to_parquet(folder / f"{name}.parquet", **more)


def by_dask(folder):
    dask = pytest.importorskip("dask.dataframe")
    dask.from_pandas(FRAME, npartitions=3).to_parquet(folder)


def by_dask_in_partitions(folder):
    dask = pytest.importorskip("dask.dataframe")
    dask.from_pandas(FRAME, npartitions=2).to_parquet(folder, partition_on=["year"])


def by_polars(folder):
    polars = pytest.importorskip("polars")
    polars.from_pandas(FRAME).write_parquet(folder, partition_by=["year"])


def by_duckdb(folder):
    duckdb = pytest.importorskip("duckdb")
    frame = FRAME  # noqa: F841 - DuckDB finds it
    duckdb.sql("select * from frame").write_parquet(str(folder), partition_by=["plate", "year"])


def like_spark(folder):
    """With markers, checksums and files without rows."""
    parts(folder)
    FRAME.iloc[:0].to_parquet(folder / "part-0.parquet")
    (folder / "_SUCCESS").touch()
    (folder / ".part-1.parquet.crc").write_bytes(b"crc")
    (folder / "_temporary").mkdir()
    (folder / "_temporary" / "part-9.parquet").write_bytes(b"half of one")


def with_an_index(folder):
    folder.mkdir()
    for i in range(3):
        FRAME.iloc[2 * i : 2 * i + 2].set_index(["well"]).to_parquet(folder / f"{i}.parquet")


FOLDERS = {
    "parts": parts,
    "parts without pandas' index": lambda folder: parts(folder, index=False),
    "a column in folders": lambda folder: FRAME.to_parquet(folder, partition_cols=["year"]),
    "two columns in folders": lambda folder: FRAME.to_parquet(folder, partition_cols=["plate", "year"]),
    "an index": with_an_index,
    "Spark's": like_spark,
    "dask's": by_dask,
    "dask's in partitions": by_dask_in_partitions,
    "polars'": by_polars,
    "DuckDB's": by_duckdb,
}


CASES = [(name, "cells") for name in FOLDERS] + [
    ("a column in folders", called) for called in ("cells.parquet", "run=5", "a [b] *")
]


@pytest.mark.parametrize(("name", "called"), CASES)
def test_is_what_pandas_reads(name, called, tmp_path):
    folder = tmp_path / called
    FOLDERS[name](folder)
    source = cpr.ParquetSource.from_path(folder)
    # pandas finds two types for a column of polars' that is in the files and in the names of folders.
    expected = pd.read_parquet(folder, **({"partitioning": None} if name == "polars'" else {}))
    assert len(expected) == len(FRAME)
    pd.testing.assert_frame_equal(source.get_data(), expected)
    again = cpr.load(json.loads(json.dumps(source.serialize())))
    pd.testing.assert_frame_equal(again.get_data(cache=True), expected)
    again.get_data(cache=True).insert(0, "more", 1)
    pd.testing.assert_frame_equal(again.get_data(), expected)


def put(url, frame):
    frame.to_parquet(sink := pa.BufferOutputStream())
    with io.writing(url) as file:
        file.write(sink.getvalue().to_pybytes())


def test_columns_that_are_in_files_and_folders(tmp_path):
    for year in (2024, 2025):
        (tmp_path / "cells" / f"year={year}" / "kind=a").mkdir(parents=True)
        pd.DataFrame({"x": [1], "year": [year]}).to_parquet(tmp_path / f"cells/year={year}/kind=a/0.parquet")
    found = cpr.ParquetSource.from_path(tmp_path / "cells").get_data()
    assert found["year"].tolist() == [2024, 2025] and found["kind"].tolist() == ["a", "a"]


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.s3), "sftp"])
def folder(request, tmp_path):
    base = {"local": lambda: str(tmp_path), "memory": lambda: "memory://folders"}.get(
        request.param, lambda: request.getfixturevalue(f"{request.param}_url")
    )()
    url = f"{base}/{uuid.uuid4().hex}/cells.parquet"
    for i in range(3):
        put(f"{url}/year={i}/part-{i}.parquet", FRAME.iloc[2 * i : 2 * i + 2].drop(columns="year"))
    return url


def test_on_every_store(folder):
    source = cpr.ParquetSource.from_path(folder)
    found = source.get_data()
    assert found["well"].tolist()[2:] == FRAME["well"].tolist()[2:]
    assert found["year"].tolist() == [0, 0, 1, 1, 2, 2]
    key = source.identity()
    assert key["version"]["files"] == 3 and source.get_data().equals(found)
    assert cpr.ParquetSource.from_path(folder).identity() == key


@pytest.mark.parametrize("change", ["other", "more", "fewer", "none"])
def test_a_changed_folder_is_another_source(folder, change):
    source = cpr.ParquetSource.from_path(folder)
    key = source.identity()
    travelled = pickle.loads(pickle.dumps(source))
    if change == "none":
        assert travelled.identity() == key and len(travelled.get_data()) == 6
        return
    first = f"{folder}/year=0/part-0.parquet"
    if change == "fewer":
        io.remove(first)
    else:
        put(
            first if change == "other" else f"{folder}/year=0/more.parquet",
            FRAME.iloc[:5].drop(columns="year"),
        )
    for one in (source, travelled):
        with pytest.raises(SourceChangedError):
            one.get_data()
    assert cpr.ParquetSource.from_path(folder).identity() != key
    # As a task that is tried again does.
    travelled.confirm_version()
    assert len(travelled.get_data()) == {"other": 9, "more": 11, "fewer": 4}[change]


def test_a_file_that_is_replaced_while_the_folder_is_read(folder, monkeypatch):
    source = cpr.ParquetSource.from_path(folder)
    source.version()
    from cpr.parquet import folder as module

    dataset = module._dataset

    def replaced(files):
        put(f"{folder}/year=1/part-1.parquet", FRAME.iloc[:3].drop(columns="year"))
        return dataset(files)

    monkeypatch.setattr(module, "_dataset", replaced)
    with pytest.raises(SourceChangedError):
        source.get_data()


def test_a_file_whose_columns_the_first_does_not_have(folder):
    put(f"{folder}/year=2/part-9.parquet", FRAME.iloc[:2].drop(columns="year").assign(more=1))
    with pytest.raises(DecodeError, match="columns that the first") as caught:
        cpr.ParquetSource.from_path(folder).get_data()
    assert caught.value.url.endswith("part-9.parquet")
    found = eval(caught.value.remedy, {"pandas": pd, "ParquetSource": cpr.ParquetSource})
    assert len(found) == 8 and found["more"].sum() == 2


def test_what_is_no_table(folder):
    with io.writing(f"{folder}/readme.txt") as file:
        file.write(b"not a table")
    with pytest.raises(DecodeError) as caught:
        cpr.ParquetSource.from_path(folder).get_data()
    assert caught.value.url.endswith("readme.txt")


def test_nothing_there(tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "_SUCCESS").touch()
    for name in ("cells", "cells.parquet", "other"):
        source = cpr.ParquetSource.from_path(tmp_path / name)
        for act in (source.get_data, source.version):
            with pytest.raises(ResourceNotFoundError):
                act()
    with pytest.raises(FormatError):
        cpr.ParquetSource.from_path(tmp_path / "cells.csv")


def test_a_file_without_an_extension_is_a_file_and_not_globbed(tmp_path):
    FRAME.to_parquet(tmp_path / "cells")
    pd.testing.assert_frame_equal(
        cpr.ParquetSource.from_path(tmp_path / "cells").get_data(), pd.read_parquet(tmp_path / "cells")
    )
    with pytest.raises(cpr.UnsupportedExtensionError):
        cpr.ParquetSource.glob(os.fspath(tmp_path / "*"))


def test_texts_that_were_repeated_in_few_bytes_are_read_in_parts(tmp_path, monkeypatch):
    (tmp_path / "cells").mkdir()
    frame = pd.DataFrame({"s": ["x" * 1000] * 100_000})
    frame.to_parquet(tmp_path / "cells" / "a.parquet")
    monkeypatch.setenv("CPR_MEMORY", "40M")
    with pytest.raises(DecodeError, match="memory"):
        cpr.ParquetSource.from_path(tmp_path / "cells").get_data()


def test_what_pandas_cannot_read_either(tmp_path):
    """Missing values among the names of folders, and columns of two types."""
    FRAME.assign(plate=["a", "a", None, "b", "b", "b"]).to_parquet(tmp_path / "a", partition_cols=["plate"])
    (tmp_path / "b").mkdir()
    pd.DataFrame({"x": [1, 2]}).to_parquet(tmp_path / "b" / "0.parquet")
    pd.DataFrame({"x": ["y"]}).to_parquet(tmp_path / "b" / "1.parquet")
    for name in "ab":
        with pytest.raises(pa.ArrowException):
            pd.read_parquet(tmp_path / name)
        with pytest.raises(DecodeError) as caught:
            cpr.ParquetSource.from_path(tmp_path / name).get_data()
        assert caught.value.url == str(tmp_path / name) and "Arrow" in caught.value.actual


def test_a_large_file_is_fetched_side_by_side(monkeypatch):
    folder = f"memory://{uuid.uuid4().hex}"
    frame = pd.DataFrame({"x": np.random.default_rng(0).random(2 << 20)})  # 16 MiB
    put(f"{folder}/large.parquet", frame)
    monkeypatch.setattr(TransferWidth, "block_bytes", 1 << 20)
    fetch, lock, met = Pinned.fetch, threading.Lock(), threading.Event()
    under_way = 0

    def meeting(self, start, stop):
        nonlocal under_way
        if stop > self.nbytes - (2 << 20):  # the footer is asked for first, and alone
            return fetch(self, start, stop)
        with lock:
            under_way += 1
            if under_way > 1:
                met.set()
        assert met.wait(60), "one after another"
        return fetch(self, start, stop)

    monkeypatch.setattr(Pinned, "fetch", meeting)
    pd.testing.assert_frame_equal(cpr.ParquetSource.from_path(folder).get_data(), frame)
    assert met.is_set()
