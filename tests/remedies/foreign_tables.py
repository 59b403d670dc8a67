"""Remedies that reading tables of other programs names."""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import cpr
from tests.remedies.rows import LEFT_OUT, TABLE, Row, put, source

TEXT = b"a;b\n1,5;x\n2,5;y\n"
LATIN = "a\n\xe4\n".encode("latin-1")
DECIMALS = b"a;b\n1,5;x\n2,5,6;y\n3,5,6,7;z\n"
RAGGED = b"a,b\n1,2\n3,4,5\n"
PLAIN = b"a,b\n1,x\n2,y\n"


def made(**options: Any) -> Any:
    return cpr.CSVSource.from_path("memory://remedies/a.csv", **options)


def read(data: bytes = PLAIN, **options: Any) -> Any:
    return source(cpr.CSVSource, data, "a.csv", **options)


def option(field: str, bad: Any, good: Any, named: str = LEFT_OUT, **more: Any) -> Row:
    """Of an option, which is corrected, or left out."""
    return Row(
        lambda: made(**{field: bad}, **more), named, lambda: (read(**{field: good}, **more), read(**more))
    )


def _by_pandas() -> Any:
    """What the remedy for an option that only pandas has says, done."""
    one = cpr.CSVSource.from_path(put(PLAIN, "a.csv"))
    try:
        cpr.CSVSource.from_path(one.url, nrows=1)
    except cpr.FormatError as error:
        called = str(error.remedy).replace("pandas.read_csv", "found = pandas.read_csv")
    known: dict[str, Any] = {"cpr": cpr, "pandas": pd, "source": one}
    exec(called, known)
    assert len(known["found"]) == 1
    return known["found"]


class _Folder:
    """A folder of Parquet files whose columns differ, or that changes."""

    def __init__(self, *frames: pd.DataFrame) -> None:
        self.path = Path(mkdtemp())
        for number, frame in enumerate(frames):
            self.add(number, frame)
        self.source = cpr.ParquetSource.from_path(self.path)

    def add(self, number: int, frame: pd.DataFrame) -> None:
        file = io.BytesIO()
        frame.to_parquet(file)
        (self.path / f"{number}.parquet").write_bytes(file.getvalue())

    def concatenated(self) -> Any:
        """What the remedy says, done."""
        try:
            self.source.get_data()
        except cpr.DecodeError as error:
            called = str(error.remedy)
        return eval(called, {"pandas": pd, "ParquetSource": cpr.ParquetSource})

    def changed(self) -> Any:
        self.source.version()
        self.add(9, TABLE)
        return self.source.get_data()

    def again(self) -> Any:
        self.add(9, TABLE)
        return cpr.ParquetSource.from_path(self.path).get_data()


ROWS: dict[str, Row] = {
    "an option of pandas'": Row(lambda: made(nrows=1), "pandas.read_csv(file, nrows=1)", _by_pandas),
    "a separator, twice": Row(
        lambda: made(sep=";", separator=","), "leave one of them out", lambda: read(sep=",")
    ),
    "a category with values": Row(
        lambda: made(dtype=pd.CategoricalDtype(["x", "y"])), "set_categories afterwards",
        lambda: read(dtype={"b": "category"})["b"].cat.set_categories(["y", "x"]),
    ),
    "columns by what is none": option("usecols", [1.5], ["a"]),
    "names that are none": option("names", [1], ["a", "b"], "names=['a', 'b']"),
    "missing values that are none": option("na_values", [1], ["x"], "na_values=['a', 'b']"),
    "lines that are none": option("skiprows", -1, 1, "skiprows=1"),
    "a header that is none": option("header", -1, 1, "header=1"),
    "an encoding": option("encoding", "utf-99", "utf-8", "correct its spelling"),
    "a decimal sign": option("decimal", "'", "."),
    "a decimal sign that separates": Row(
        lambda: made(decimal=","), "sep=';', decimal=','", lambda: read(TEXT, sep=";", decimal=",")
    ),
    "a quote of two": option("quotechar", "''", "'"),
    "a comment that separates": Row(
        lambda: made(comment=","), "leave out comment= or separator=",
        lambda: (read(), read(sep=";", comment=",")),
    ),
    "thousands of decimals": Row(
        lambda: made(thousands="."), "leave out thousands= or decimal=",
        lambda: (read(), read(TEXT, sep=";", decimal=",", thousands=".")),
    ),
    "a dtype": Row(
        lambda: made(dtype="datetime64[ns]"), "parse_dates=['day']",
        lambda: read(b"id,day\n007,2026-01-01\n", dtype={"id": "str"}, parse_dates=["day"]),
    ),
    "a separator": option("sep", "ab", ";", "choose ',', ';' or '\\t'"),
    "another encoding": Row(
        lambda: read(LATIN), "encoding='latin-1'", lambda: read(LATIN, encoding="latin-1")
    ),
    "an empty file": Row(lambda: read(b""), "names=['a', 'b']", lambda: read(b"", names=["a", "b"])),
    "another separator": Row(lambda: read(DECIMALS), "sep=None", lambda: read(DECIMALS, sep=None)),
    "rows of several lengths": Row(
        lambda: read(RAGGED), "names=['a', 'b', 'c'], skiprows=1",
        lambda: read(RAGGED, names=["a", "b", "c"], skiprows=1),
    ),
    "a column that is not there": Row(
        lambda: read(usecols=["z"]), "correct or leave out", lambda: (read(usecols=["b"]), read())
    ),
    "times of nanoseconds": Row(
        lambda: source(cpr.ParquetSource, _nanoseconds(), "a.parquet"), "pyarrow.parquet.read_table(file)",
        lambda: _arrow_of(put(_nanoseconds(), "a.parquet")),
    ),
    "times of nanoseconds in a folder": Row(
        lambda: _with_nanoseconds().source.get_data(), "each of its files",
        lambda: _arrow_of(f"{_with_nanoseconds().path}/n.parquet"),
    ),
    "columns that the first file has not": Row(
        lambda: _Folder(TABLE, TABLE.assign(c=1)).source.get_data(), "pandas.concat",
        lambda: _Folder(TABLE, TABLE.assign(c=1)).concatenated(),
    ),
    "a folder that changed": Row(
        lambda: _Folder(TABLE).changed(), "from_path()", lambda: _Folder(TABLE).again()
    ),
    "no Parquet": Row(
        lambda: source(cpr.ParquetSource, b"none", "a.parquet"), "restore the file",
        lambda: source(cpr.ParquetSource, _parquet(), "a.parquet"),
    ),
}  # fmt: skip


def _nanoseconds() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": pa.array([1], pa.time64("ns"))}), file)
    return file.getvalue()


def _with_nanoseconds() -> _Folder:
    folder = _Folder()
    (folder.path / "n.parquet").write_bytes(_nanoseconds())
    return folder


def _arrow_of(url: str) -> Any:
    with cpr.io.reading(url) as file:
        return pq.read_table(file)


def _parquet() -> bytes:
    file = io.BytesIO()
    TABLE.to_parquet(file)
    return file.getvalue()
