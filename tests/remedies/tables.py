"""Remedies that targets of tables name, and reading what they stored."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import cpr
from cpr.csv.table import CSV
from cpr.data.tables.columns import ColumnType
from tests.remedies.arrays import chunks
from tests.remedies.rows import RESTORED, STACK, TABLE, Row, column, csv, decoded, own, parquet, place

MANY = pd.Categorical([f"label number {i}" for i in range(9999)])
TIMES = pd.date_range("2026-01-01", periods=2)
ODD_ZONE = column(TIMES.tz_localize(dt.timezone(dt.timedelta(seconds=90))))
FAR = np.array([2**62], "i8").view("M8[s]")
HALF = "\ud800x"
NO_TEXT = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 2], "i4")), pa.py_buffer(b"\xffx"))
CSV_FORMAT, CSV_FILE = own(cpr.CSVTarget, ".csv", TABLE)
PARQUET_FORMAT, PARQUET_FILE = own(cpr.ParquetTarget, ".parquet", TABLE)
GZIP_FORMAT, GZIP_FILE = own(cpr.CSVTarget, ".csv.gz", TABLE)
TIMES_FORMAT, TIMES_FILE = own(cpr.CSVTarget, ".csv", column(TIMES))
_, OTHER_PARQUET = own(cpr.ParquetTarget, ".parquet", TABLE[["b"]])
_, MORE_PARQUET = own(cpr.ParquetTarget, ".parquet", pd.concat([TABLE, TABLE], ignore_index=True))
INDEXED = TABLE.set_axis(pd.RangeIndex(0, 2, name="n"))
INDEXED_FORMAT, INDEXED_FILE = own(cpr.CSVTarget, ".csv", INDEXED)
PREDECESSOR = dataclasses.replace(CSV_FORMAT, origin="predecessor")


def objects(first: Any, second: Any = None) -> pd.DataFrame:
    return column(pd.Series([first, second], dtype=object))


def own_dtype(name: str, *values: Any) -> Row:
    return Row(
        lambda: csv(objects(*values)), f"astype('{name}')",
        lambda: csv(column(objects(*values)["column"].astype(name))),
    )  # fmt: skip


def arrow(kind: Any, values: list[Any], remedy: str) -> Row:
    """A column in Arrow's memory, of a type that tables on disk have not."""
    frame = column(pd.Series(pa.array(values, kind), dtype=pd.ArrowDtype(kind)))

    def followed() -> Any:
        return csv(column(eval(f"frame['column'].{remedy}", {"frame": frame})))

    return Row(lambda: csv(frame), remedy, followed)


def damaged(
    bad: bytes, good: bytes = CSV_FILE, format: Any = CSV_FORMAT, named: str = "restore the file"
) -> Row:
    return Row(lambda: decoded(format, bad), named, lambda: decoded(format, good))


ROWS: dict[str, Row] = {
    "name of an index": Row(
        lambda: csv(TABLE.rename_axis([("a",)])), "rename_axis", lambda: csv(TABLE.rename_axis("a"))
    ),
    "label": Row(
        lambda: csv(TABLE.set_axis([b"a", "b"], axis=1)), "rename(columns=...)",
        lambda: csv(TABLE.set_axis([b"a", "b"], axis=1).rename(columns={b"a": "a"})),
    ),
    "infinite categories": Row(
        lambda: csv(column(pd.Categorical([np.inf, 1]))), "rename_categories(str)",
        lambda: csv(column(pd.Categorical([np.inf, 1]).rename_categories(str))),
    ),
    "infinite labels": Row(
        lambda: csv(TABLE.set_axis([np.inf, 1.0], axis=1)), "rename(columns=str)",
        lambda: csv(TABLE.set_axis([np.inf, 1.0], axis=1).rename(columns=str)),
    ),
    "many categories": Row(
        lambda: csv(column(MANY)), "astype(", lambda: csv(column(pd.Series(MANY).astype("str"))),
    ),
    "several sorts of missing": Row(
        lambda: csv(column(pd.Series(["x", None, np.nan], dtype=object))), "astype('str')",
        lambda: csv(column(pd.Series(["x", None, np.nan], dtype=object).astype("str"))),
    ),
    "another sort of missing": Row(
        lambda: csv(chunks(objects("x"), objects("x", np.nan))), "astype('str')",
        lambda: csv(chunks(objects("x").astype("str"), objects("x", np.nan).astype("str"))),
    ),
    "booleans as objects": own_dtype("boolean", True),
    "integers as objects": own_dtype("Int64", 1),
    "integers among missing": own_dtype("Int64", 1, np.nan),
    "floats as objects": own_dtype("float64", 1.5),
    "numbers as objects": own_dtype("float64", 1.5, 1),
    "decimals as objects": own_dtype("float64", decimal.Decimal("1.5"), decimal.Decimal(2)),
    "decimals as text": Row(
        lambda: csv(objects(decimal.Decimal("1.5"), decimal.Decimal(2))), "astype('str')",
        lambda: csv(objects(decimal.Decimal("1.5"), decimal.Decimal(2)).astype("str")),
    ),
    "lists": Row(
        lambda: csv(objects([1], [2])), "frame[column].astype('str')",
        lambda: csv(objects([1], [2]).astype("str")),
    ),
    "dates as objects": Row(
        lambda: csv(column([time.date() for time in TIMES])), "pandas.to_datetime",
        lambda: csv(column(pd.to_datetime([time.date() for time in TIMES]))),
    ),
    "times as objects": Row(
        lambda: csv(objects(TIMES[0].to_pydatetime(), TIMES[1].to_pydatetime())), "pandas.to_datetime",
        lambda: csv(column(pd.to_datetime(objects(TIMES[0].to_pydatetime())["column"]))),
    ),
    "sparse": Row(
        lambda: csv(column(pd.arrays.SparseArray([0, 1]))), "sparse.to_dense()",
        lambda: csv(column(pd.Series(pd.arrays.SparseArray([0, 1])).sparse.to_dense())),
    ),
    "complex": Row(
        lambda: csv(column([1j])), "the real and the imaginary part",
        lambda: csv(column([0.0], imaginary=[1.0])),
    ),
    "periods": Row(
        lambda: csv(column(pd.period_range("2026", periods=2, freq="D"))), "astype('str')",
        lambda: csv(column(pd.Series(pd.period_range("2026", periods=2, freq="D")).astype("str"))),
    ),
    "zones without a name": Row(
        lambda: csv(ODD_ZONE), "tz_convert('UTC')",
        lambda: csv(column(ODD_ZONE["column"].dt.tz_convert("UTC"))),
    ),
    "dates of Arrow": arrow(pa.date32(), [dt.date(2026, 1, 1)], "astype('datetime64[s]')"),
    "decimals of Arrow": arrow(pa.decimal128(9, 2), [decimal.Decimal("1.25")], "astype('float64')"),
    "half floats of Arrow": arrow(pa.float16(), [np.float16(1.5)], "astype('float64')"),
    "lists of Arrow": arrow(pa.list_(pa.int64()), [[1, 2]], "astype('string')"),
    "bytes of Arrow": arrow(pa.binary(), [b"ab"], "astype('string')"),
    "times of day of Arrow": arrow(pa.time64("us"), [dt.time(1)], "astype('string')"),
    "half a character": Row(
        lambda: csv(column(pd.array([HALF], "string[python]"))), "encode('utf-8', 'replace')",
        lambda: csv(column([HALF.encode("utf-8", "replace").decode()])),
    ),
    "bytes that are no text": Row(
        lambda: csv(column(pd.array(NO_TEXT, pd.ArrowDtype(pa.string())))), "texts.cast('binary')",
        lambda: csv(column([text.decode("utf-8", "replace") for text in NO_TEXT.cast("binary").to_pylist()])),
    ),
    "a file's name for a table": Row(
        lambda: csv("a.csv"), "from_path('a.csv').get_data()",
        lambda: csv(TABLE),
    ),
    "a series": Row(lambda: csv(TABLE["a"]), "series.to_frame()", lambda: csv(TABLE["a"].to_frame())),
    "an array": Row(lambda: csv(STACK[0]), "pandas.DataFrame", lambda: csv(pd.DataFrame(STACK[0]))),
    "no chunk": Row(lambda: csv(iter([])), "frame.iloc[:0]", lambda: csv(iter([TABLE.iloc[:0]]))),
    "chunks that are none": Row(
        lambda: csv(iter([TABLE, [1]])), "pandas.DataFrame(...)",
        lambda: csv(iter([TABLE, pd.DataFrame(TABLE)])),
    ),
    "chunks of other columns": Row(
        lambda: csv(chunks(TABLE, TABLE[["b", "a"]])), "columns, dtypes and sort of index of the first",
        lambda: csv(chunks(TABLE, TABLE[["b", "a"]][["a", "b"]])),
    ),
    "chunks of another index": Row(
        lambda: csv(chunks(TABLE, TABLE.set_axis([5, 9]))), "reset_index(drop=True)",
        lambda: csv(chunks(TABLE, TABLE.set_axis([5, 9]).reset_index(drop=True))),
    ),
    "a separator": Row(lambda: csv(TABLE, separator="ab"), "';'", lambda: csv(TABLE, separator=";")),
    "times too far away": Row(lambda: parquet(column(FAR)), "as CSV", lambda: csv(column(FAR))),
    "times too far away, as integers": Row(
        lambda: parquet(column(FAR)), "astype('int64')",
        lambda: parquet(column(pd.Series(FAR).astype("int64"))),
    ),
    "a compression": Row(
        lambda: cpr.CSVTarget.from_path("a.csv.gz", compression=None), "leave compression= out",
        lambda: cpr.CSVTarget.from_path("a.csv.gz"),
    ),
    "a zone that is none": Row(
        lambda: ColumnType.named("datetime64[ns, Europe/Atlantis]"), "pip install tzdata",
        lambda: ColumnType.named("datetime64[ns, Europe/Zurich]"),
    ),
    # what was stored
    "another header": damaged(b"c,b" + CSV_FILE[3:]),
    "a row without an end": damaged(CSV_FILE[:4] + b"x" * (65 << 20)),
    "a cut row": damaged(CSV_FILE[:-2]),
    "other rows": damaged(CSV_FILE + b"3,z\n"),
    "cells of another dtype": damaged(CSV_FILE.replace(b"2,", b"2.5,"), named="restore the file"),
    "times of another sort": damaged(
        TIMES_FILE.replace(b"2026-01-02", b"yesterday "), TIMES_FILE, TIMES_FORMAT
    ),
    "no gzip": damaged(b"no gzip", GZIP_FILE, GZIP_FORMAT),
    "a cut gzip": damaged(GZIP_FILE[:-4], GZIP_FILE, GZIP_FORMAT),
    "no table of the predecessor's": damaged(
        b'a,b\n"1', b",a,b\n0,1,x\n1,2,y\n", PREDECESSOR, RESTORED
    ),
    "no Parquet": damaged(b"no Parquet file", PARQUET_FILE, PARQUET_FORMAT),
    "other columns": damaged(OTHER_PARQUET, PARQUET_FILE, PARQUET_FORMAT),
    "other rows of Parquet": damaged(MORE_PARQUET, PARQUET_FILE, PARQUET_FORMAT),
    "another index": damaged(INDEXED_FILE.replace(b"\n1,", b"\n7,"), INDEXED_FILE, INDEXED_FORMAT),
    "a table that nobody knows": Row(
        lambda: decoded(CSV(), CSV_FILE), "CSVSource.from_path(url).get_data()",
        lambda: cpr.CSVSource.from_path(_put()).get_data(),
    ),
}  # fmt: skip


def _put() -> str:
    url = place("unknown.csv")
    with cpr.io.writing(url) as file:
        file.write(CSV_FILE)
    return url
