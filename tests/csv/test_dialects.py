"""CSV files as R, Excel, ImageJ and others write them: as pandas reads them with the same words."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.csv.table import exact_floats
from cpr.errors import DecodeError, FormatError

ROWS = "id{0}day{0}area{0}label\n1{0}2026-01-05{0}12{1}5{0}a\n2{0}2026-02-07{0}3{1}25{0}b\n3{0}{0}{0}\n"

DIALECTS = {
    "pandas": (ROWS.format(",", "."), {}),
    "R": ('"","x"\n"1",0.5\n"2",NA\n', {"index_col": 0}),
    "R, write.csv2": (ROWS.format(";", ","), {"sep": ";", "decimal": ","}),
    "Excel in German": (
        ROWS.format(";", ",").replace("\n", "\r\n"), {"sep": ";", "decimal": ",", "encoding": "cp1252"}
    ),
    "Excel's UTF-8": ("\ufeff" + ROWS.format(";", ","), {"sep": ";", "decimal": ","}),
    "Excel's Unicode text": (ROWS.format("\t", "."), {"sep": "\t", "encoding": "utf-16"}),
    "ImageJ": (" \tArea\tMean\n1\t12.5\t3\n2\t1\t4\n", {"sep": "\t", "index_col": 0}),
    "polars": (ROWS.format("|", "."), {"sep": "|"}),
    "index by name": (ROWS.format(",", "."), {"index_col": "label"}),
    "two columns of labels": (ROWS.format(",", "."), {"index_col": ["id", "label"]}),
    "no labels": ("a,b\n1,2,\n3,4,\n", {"index_col": False}),
    "one dtype": ("a,b\n1,2\n3,4\n", {"dtype": "float32"}),
    "dtypes": (ROWS.format(",", "."), {"dtype": {"id": "str", "area": "Float64", "label": "category"}}),
    "dtypes as classes": (ROWS.format(",", "."), {"dtype": {"id": str, "area": float}}),
    "numpy's dtypes": (ROWS.format(",", "."), {"dtype": {"id": np.dtype("uint8"), "area": np.float32}}),
    "some columns": (ROWS.format(",", "."), {"usecols": ["label", "id"]}),
    "columns by number": (ROWS.format(",", "."), {"usecols": (0, 2)}),
    "dates": (ROWS.format(",", "."), {"parse_dates": ["day"]}),
    "dates by number": (ROWS.format(",", "."), {"parse_dates": [1]}),
    "dates as labels": (ROWS.format(",", "."), {"parse_dates": True, "index_col": "day"}),
    "latin-1": ("größe;µ\n1;2\n", {"sep": ";", "encoding": "latin-1"}),
}  # fmt: skip


def written(tmp_path, text, ext=".csv", encoding="utf-8"):
    data = text.encode(encoding)
    path = tmp_path / f"a{ext}"
    path.write_bytes(gzip.compress(data) if ext.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("ext", [".csv", ".csv.gz"])
@pytest.mark.parametrize("name", DIALECTS)
def test_pandas_words_mean_what_they_mean_to_pandas(name, ext, tmp_path):
    text, words = DIALECTS[name]
    path = written(tmp_path, text, ext, words.get("encoding", "utf-8"))
    expected = pd.read_csv(path, **{**words, **exact_floats()})
    source = cpr.CSVSource.from_path(path, **words)
    for one in (source, cpr.load(source.serialize())):
        pd.testing.assert_frame_equal(one.get_data(), expected)
    # Words are part of the key.
    if set(words) - {"encoding"} and words.get("sep") != ",":
        assert source.identity() != cpr.CSVSource.from_path(path).identity()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_guessed(separator, tmp_path):
    text = f'"a,b;c|d"{separator}day{separator}area\nx{separator}1{separator}2.5\n'
    path = written(tmp_path, text)
    found = cpr.CSVSource.from_path(path, sep=None).get_data()
    pd.testing.assert_frame_equal(found, pd.read_csv(path, sep=separator))
    assert list(found.columns) == ["a,b;c|d", "day", "area"]


def test_one_column_and_nothing_have_no_separator(tmp_path):
    assert cpr.CSVSource.from_path(written(tmp_path, "a\n1\n2\n"), sep=None).get_data()["a"].tolist() == [
        1,
        2,
    ]
    with pytest.raises(DecodeError):
        cpr.CSVSource.from_path(written(tmp_path, ""), sep=None).get_data()


@pytest.mark.parametrize("line", ["sep=;\n", "sep=;\r\n", '"sep=;"\r\n', "\ufeffsep=;\n"])
def test_excels_line_says_the_separator(line, tmp_path):
    path = written(tmp_path, line + ROWS.format(";", ","))
    expected = pd.read_csv(io.StringIO(ROWS.format(";", ",")), sep=";", decimal=",")
    found = cpr.CSVSource.from_path(path, decimal=",", sep=None).get_data()
    pd.testing.assert_frame_equal(found, expected)
    plain = pd.read_csv(io.StringIO(ROWS.format(";", ",")), sep=";")
    pd.testing.assert_frame_equal(cpr.CSVSource.from_path(path).get_data(), plain)


@pytest.mark.parametrize("ext", [".tsv", ".tsv.gz"])
def test_tsv(ext, tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x,y", "z\tw"]})
    url = tmp_path / f"t{ext}"
    frame.to_csv(url, sep="\t", index=False)
    pd.testing.assert_frame_equal(cpr.CSVSource.from_path(url).get_data(), frame)
    assert cpr.CSVSource.from_path(url, sep=";").format.separator == ";"


def test_large_numbers_beside_missing_ones_are_exact_on_request(tmp_path):
    path = written(tmp_path, f"a,b\n{2**53 + 1},1\n,2\n{2**63 - 1},3\n")
    found = cpr.CSVSource.from_path(path, dtype={"a": "Int64"}).get_data()
    assert found["a"].tolist() == [2**53 + 1, pd.NA, 2**63 - 1]


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"sep": ";", "separator": ";"}, "sep"),
        ({"index": 0, "index_col": 0}, "index_col"),
        ({"decimal": ";"}, "decimal"),
        ({"decimal": ","}, "decimal"),
        ({"dtype": "complex128"}, "dtype"),
        ({"dtype": {"a": "datetime64[ns]"}}, "dtype"),
        ({"dtype": {"a": "period[D]"}}, "dtype"),
        ({"dtype": pd.CategoricalDtype(["a"])}, "dtype"),
        ({"usecols": lambda label: True}, "usecols"),
        ({"parse_dates": [["a", "b"]]}, "parse_dates"),
        ({"index_col": 1.5}, "index"),
        ({"seperator": ";"}, "seperator"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_words_that_make_no_sense(words, field):
    with pytest.raises(FormatError) as caught:
        cpr.CSVSource.from_path("memory://dialects/a.csv", **words)
    assert caught.value.field == field and caught.value.remedy


def test_columns_that_are_not_there(tmp_path):
    path = written(tmp_path, "a,b\n1,2\n")
    for words in ({"usecols": ["c"]}, {"index_col": "c"}, {"parse_dates": ["c"]}, {"dtype": {"b": "bool"}}):
        with pytest.raises(DecodeError):
            cpr.CSVSource.from_path(path, **words).get_data()
