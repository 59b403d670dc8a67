"""Columns get a dictionary where it holds their values, and none where looking for them is in vain."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpr.parquet.table import Parquet

ROWS = 300_000
DICE = np.random.default_rng(0)
FITTING = DICE.normal(size=100_000)

COLUMNS = {
    "all differ": (DICE.normal(size=ROWS), False),
    "numbers of rows": (np.arange(ROWS), False),
    "times": (pd.date_range("2024", periods=ROWS, freq="s"), False),
    "few": (DICE.integers(0, 2000, ROWS), True),
    "as many as fit": (DICE.choice(FITTING, ROWS), True),
    "as many as fit, over and over": (np.tile(FITTING, 3), True),
    "not a number": (np.where(DICE.random(ROWS) < 0.3, np.nan, DICE.normal(size=ROWS)), True),
    "texts": (DICE.choice(["nucleus", "cell"], ROWS), True),
    "categories": (pd.Categorical(DICE.choice(["nucleus", "cell"], ROWS)), True),
    "none": (pd.array([None] * ROWS, "Int64"), True),
}


def encoded(frame: pd.DataFrame) -> pq.ParquetFile:
    file = io.BytesIO()
    format = Parquet().describe(frame)
    format.encode(format.stream(frame), file)
    return pq.ParquetFile(pa.BufferReader(file.getvalue()))


@pytest.fixture(scope="module")
def parquet() -> pq.ParquetFile:
    return encoded(pd.DataFrame({name: values for name, (values, _) in COLUMNS.items()}))


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_with_values_that_repeat_have_one(parquet, name):
    number = parquet.schema_arrow.names.index(name)
    found = [
        parquet.metadata.row_group(group).column(number).has_dictionary_page
        for group in range(parquet.num_row_groups)
    ]
    assert found == [COLUMNS[name][1]] * len(found)


def test_a_file_without_them_is_smaller():
    frame = pd.DataFrame({"a": COLUMNS["all differ"][0]})
    file = io.BytesIO()
    frame.to_parquet(file, compression="zstd")
    ours = encoded(frame)
    nbytes = sum(
        ours.metadata.row_group(group).column(0).total_compressed_size for group in range(ours.num_row_groups)
    )
    assert nbytes < 0.98 * len(file.getvalue())


@pytest.mark.parametrize("rows", [0, 1, 4095])
def test_of_few_rows_all_have_one(rows):
    ours = encoded(pd.DataFrame({"a": COLUMNS["all differ"][0][:rows]}))
    groups = [ours.metadata.row_group(group) for group in range(ours.num_row_groups)]
    assert len(groups) == (rows > 0)
    assert all(group.column(0).has_dictionary_page for group in groups)


def test_equal_tables_are_equal_files():
    frame = pd.DataFrame({name: values for name, (values, _) in COLUMNS.items()})
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        format = Parquet().describe(frame)
        format.encode(format.stream(frame), file)
    assert files[0].getvalue() == files[1].getvalue()
