"""CSV files as R, Excel, ImageJ and others write them: as pandas reads them with the same words."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.csv.table import exact_floats
from cpr.errors import DecodeError, FormatError

ROWS = "id{0}day{0}area{0}label\n1{0}2026-01-05{0}12{1}5{0}a\n2{0}2026-02-07{0}3{1}25{0}b\n3{0}{0}{0}\n"
GERMAN = 'Zelle;Fläche, µm²;Fehlt\r\n1;1.234,5;\r\n2;0,25;"a;b"\r\n'
R_TABLE = '"x" "label"\n"1" 0.5 "a b"\n"2" NA NA\n'
# The text, and the words that a reader of pandas would say.
DIALECTS = {
    "pandas": (ROWS.format(",", "."), {}),
    "pandas with its index": (",a,b\n0,1.5,x\n1,,y\n", {"index_col": 0}),
    "pandas with two levels": ("a,b,c\n1,x,0.1\n1,y,0.2\n", {"index_col": (0, 1)}),
    "pandas without a header": ("1,2.5,x\n2,,y\n", {"header": None}),
    "pandas with all in quotes": ('"a","b"\n"1","x"\n"","y""z"\n', {}),
    "pandas with single quotes": ("a,b\n1,'x,y'\n2,''\n", {"quotechar": "'"}),
    "pandas with infinities": ("a,b\ninf,1e400\n-inf,4.9e-324\nnan,0.1\n", {}),
    "R, write.csv": ('"","x"\n"1",0.5\n"2",NA\n', {"index_col": 0}),
    "R, write.csv2": ('"";"x"\n"1";0,5\n"2";NA\n', {"sep": ";", "decimal": ",", "index_col": 0}),
    "R, write.table": (R_TABLE, {"sep": " "}),
    "R, write.table in columns": (R_TABLE.replace(" ", "   ").replace("a   b", "a b"), {"sep": r"\s+"}),
    "R, write.table with tabs": ('"x"\t"y"\n"1"\t0.5\t"a"\n"2"\tNA\tNA\n', {"sep": "\t"}),
    "R, readr": ("name,gene\na,NA\nNA,b\n", {"keep_default_na": False}),
    "R, data.table": ("a|b\n1|TRUE\n2|FALSE\n", {"sep": "|"}),
    "Excel in English": (ROWS.format(",", ".").replace("\n", "\r\n"), {}),
    "Excel in German": (
        GERMAN, {"sep": ";", "decimal": ",", "thousands": ".", "encoding": "cp1252"}
    ),
    "Excel's thousands": ('a,b\n"1,234,567",2\n"12",3\n', {"thousands": ","}),
    "Excel's UTF-8": ("\ufeff" + ROWS.format(",", "."), {}),
    "Excel's UTF-8 in German": ("\ufeff" + GERMAN, {"sep": ";", "decimal": ",", "thousands": "."}),
    "Excel's Unicode text": (ROWS.format("\t", "."), {"sep": "\t", "encoding": "utf-16"}),
    "Excel on a Mac": (
        ROWS.format(";", ",").replace("\n", "\r"), {"sep": ";", "decimal": ",", "encoding": "mac-roman"}
    ),
    "Excel's errors": ("a,b\n1,#N/A\n#DIV/0!,#VALUE!\n", {"na_values": ["#DIV/0!", "#VALUE!"]}),
    "ImageJ": (" \tArea\tMean\n1\t12.5\t3\n2\t1\t4\n", {"sep": "\t", "index_col": 0}),
    "ImageJ with commas": (
        " ,Label,Area,Mean\n1,a.tif:0001,12.5,NaN\n2,b.tif,1,Infinity\n", {"index_col": 0}
    ),
    "CellProfiler": ("ImageNumber,AreaShape_Area\n1,10\n1,nan\n2,1.0e+02\n", {"usecols": ["AreaShape_Area"]}),
    "QuPath": ("Image\tCentroid X µm\na.tif\t1.5\nb.tif\tNaN\n", {"sep": "\t"}),
    "polars": (ROWS.format("|", "."), {"sep": "|"}),
    "polars with dates": (
        "t,v\n2026-01-05T10:00:00.000000,1\n2026-02-07T00:00:00.5,2\n", {"parse_dates": ["t"]}
    ),
    "polars with quotes where needed": ('a,b\n"x\ny",1\n"",2\n', {}),
    "DuckDB": ("i,b,t\n1,true,2026-01-05 10:00:00\n,false,\n", {"parse_dates": [2]}),
    "DuckDB with a spelling": ("a,b\n1,\\N\n\\N,x\n", {"na_values": "\\N"}),
    "Julia": ("a,b\n1,missing\n2,3\n", {"na_values": "missing"}),
    "MATLAB": ("1.0000e+00,2.5000e-01\n2.0000e+00,NaN\n", {"header": None, "names": ["x", "y"]}),
    "names instead of the header": ("a,b\n1,2\n", {"header": 0, "names": ["x", "y"]}),
    "a plate reader's preamble": (
        "Instrument: X\nRun 5\n\nwell,od\nA1,0.5\nA2,OVRFLW\n", {"skiprows": 3, "na_values": ["OVRFLW"]}
    ),
    "a header further down": ("made by x,\nwell,od\nA1,0.5\n", {"header": 1}),
    "numpy's savetxt": ("# a header\n1.5 2\n3 4\n", {"sep": " ", "comment": "#", "header": None}),
    "comments": ("# made by x\na,b\n1,2 # note\n3,4\n", {"comment": "#"}),
    "PostgreSQL": ("a,b\n1,t\n,f\n", {"dtype": {"a": "Int64"}}),
    "SAP": ("a;b\n007;1.000,5\n008;2\n", {"sep": ";", "decimal": ",", "thousands": ".", "dtype": {"a": str}}),
    "a Swiss bank": ("a;b\n1'234.5;x\n", {"sep": ";", "thousands": "'"}),
    "latin-1": ("größe;µ\n1;2\n", {"sep": ";", "encoding": "latin-1"}),
    "Shift-JIS": ("面積,平均\n1,2\n", {"encoding": "shift_jis"}),
    "UTF-16 with its bytes the other way round": (
        "\ufeffa\tb\n1\t2\n", {"sep": "\t", "encoding": "utf-16-be"}
    ),
    "UTF-32": ("a,b\n1,ü\n", {"encoding": "utf-32"}),
    "blank lines and no end": ("a,b\n\n1,2\n\n3,4", {}),
    "names twice": ("a,a,a\n1,2,3\n", {}),
    "rows with a comma at the end": ("a,b\n1,2,\n3,4,\n", {"index_col": False}),
    "nothing but a header": ("a,b,c\n", {}),
    "index by name": (ROWS.format(",", "."), {"index_col": "label"}),
    "two columns of labels": (ROWS.format(",", "."), {"index_col": ["id", "label"]}),
    "one dtype": ("a,b\n1,2\n3,4\n", {"dtype": "float32"}),
    "dtypes": (ROWS.format(",", "."), {"dtype": {"id": "str", "area": "Float64", "label": "category"}}),
    "dtypes as classes": (ROWS.format(",", "."), {"dtype": {"id": str, "area": float}}),
    "numpy's dtypes": (ROWS.format(",", "."), {"dtype": {"id": np.dtype("uint8"), "area": np.float32}}),
    "some columns": (ROWS.format(",", "."), {"usecols": ["label", "id"]}),
    "columns by number": (ROWS.format(",", "."), {"usecols": (0, 2)}),
    "dates": (ROWS.format(",", "."), {"parse_dates": ["day"]}),
    "dates as labels": (ROWS.format(",", "."), {"parse_dates": True, "index_col": "day"}),
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
    again = cpr.load(json.loads(json.dumps(source.serialize())))
    for one in (source, again):
        pd.testing.assert_frame_equal(one.get_data(), expected)
    # Words are part of the key.
    assert again.identity_by_path() == source.identity_by_path()
    if words:
        assert source.identity() != cpr.CSVSource.from_path(path).identity()


@pytest.mark.parametrize("name", DIALECTS)
def test_the_separator_of_each_is_guessed(name, tmp_path):
    text, words = DIALECTS[name]
    if words.get("sep") in {" ", r"\s+"}:
        pytest.skip("blanks are said, not guessed")
    path = written(tmp_path, text, encoding=words.get("encoding", "utf-8"))
    found = cpr.CSVSource.from_path(path, **{**words, "sep": None}).get_data()
    pd.testing.assert_frame_equal(found, pd.read_csv(path, **{**words, **exact_floats()}))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_guessed(separator, tmp_path):
    text = f'"a,b;c|d"{separator}day{separator}area\nx{separator}1{separator}2.5\n'
    path = written(tmp_path, text)
    found = cpr.CSVSource.from_path(path, sep=None).get_data()
    pd.testing.assert_frame_equal(found, pd.read_csv(path, sep=separator))
    assert list(found.columns) == ["a,b;c|d", "day", "area"]


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        # In German, text has commas and numbers have them too.
        ("Zelle;Fläche, µm²;Umfang, µm\n1;2,5;3,5\n2;2;3\n", ";"),
        ("a, b;c\n1,5;2\n2,5;3\n", ";"),
        ("a b\tc|d\n1\t2\n", "\t"),
        ("a;b,c,d\n1,2,3\n4,5,6\n", ","),
        ("x|y\n1;2|3\n", "|"),
    ],
)
def test_the_separator_is_what_the_rows_agree_on(text, separator, tmp_path):
    path = written(tmp_path, text)
    found = cpr.CSVSource.from_path(path, sep=None).get_data()
    pd.testing.assert_frame_equal(found, pd.read_csv(path, sep=separator))


def test_words_of_pandas_that_a_source_does_not_have_name_another_way(tmp_path):
    path = written(tmp_path, "a,b\n1,x\\,y\n")
    with pytest.raises(FormatError) as caught:
        cpr.CSVSource.from_path(path, escapechar="\\")
    source = cpr.CSVSource.from_path(path)
    head, _, call = caught.value.remedy.partition(": ")
    found: dict = {"cpr": cpr, "pandas": pd, "source": source}
    exec(f"{head}:\n    frame = {call}", found)
    assert found["frame"]["b"].tolist() == ["x,y"]


def test_sets_of_columns_have_one_order():
    one = cpr.CSVSource.from_path("memory://dialects/a.csv", usecols={"b", "a", "c"})
    assert one.format.usecols == ["a", "b", "c"]


def test_lines_that_are_counted_count_excels_line(tmp_path):
    path = written(tmp_path, "sep=;\n" + ROWS.format(";", "."))
    for words in ({"skiprows": 1}, {"header": 1}):
        expected = pd.read_csv(path, sep=";", **words)
        for sep in (";", None, ","):
            found = cpr.CSVSource.from_path(path, sep=sep, **words).get_data()
            pd.testing.assert_frame_equal(found, expected)


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
    for words in ({}, {"sep": ";"}):
        pd.testing.assert_frame_equal(cpr.CSVSource.from_path(path, **words).get_data(), plain)


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
        ({"sep": "ab"}, "separator"),
        ({"sep": None, "thousands": "."}, "thousands"),
        ({"comment": "//"}, "comment"),
        ({"comment": ","}, "comment"),
        ({"quotechar": ""}, "quotechar"),
        ({"names": {"a", "b"}}, "names"),
        ({"names": []}, "names"),
        ({"na_values": {"a": ["x"]}}, "na_values"),
        ({"skiprows": [0, 2]}, "skiprows"),
        ({"header": [0, 1]}, "header"),
        ({"header": -1}, "header"),
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


@pytest.mark.parametrize("skipped", [99_999, 100_000, 100_001])
def test_many_lines_before_the_header(skipped, tmp_path):
    (tmp_path / "a.csv").write_text("no row\n" * skipped + "a,b\n1,2\n3,4\n")
    found = cpr.CSVSource.from_path(tmp_path / "a.csv", skiprows=skipped).get_data()
    pd.testing.assert_frame_equal(found, pd.DataFrame({"a": [1, 3], "b": [2, 4]}))


@pytest.mark.parametrize("skipped", [30_000_000, 2 * 10**9, 10**12])
def test_no_memory_is_taken_for_lines_that_are_not_there(skipped, tmp_path):
    """Of a number pandas makes a set of all numbers below it, and a record may say any."""
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,4\n")
    source = cpr.load(cpr.CSVSource.from_path(tmp_path / "a.csv", skiprows=skipped).serialize())
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            source.get_data()
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
