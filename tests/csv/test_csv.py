"""CSV: exact for cpr, ordinary for everybody else."""

from __future__ import annotations

import csv
import gzip
import io as std_io
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cpr
from cpr import io
from cpr.csv.rows import Body, Marked, whole_rows
from cpr.csv.table import CSV, exact_floats
from cpr.errors import (
    CorruptDataError,
    DecodeError,
    EncodeError,
    FormatError,
    UnsupportedExtensionError,
)
from cpr.testing import ForwardFile, SeekableBytes
from tests.data.tables.frames import FRAMES, same
from tests.data.tables.table_cases import Laws, TableCases

PLAIN = pd.DataFrame(
    {
        "cell": ["007", "", None],
        "area": [0.1 + 0.2, np.nan, np.inf],
        "when": pd.to_datetime(["2026-01-01 12:00:00.5", None, "2026-01-02"], format="ISO8601").tz_localize(
            "UTC"
        ),
        "took": pd.to_timedelta([93784000001, None, -1], "us"),
        "good": [True, False, True],
        "count": pd.array([1, None, 2**62 + 1], "Int64"),
    },
    index=pd.Index(["a", "b, c", 'd "e"'], name="row"),
)
TEXT = """\
row,cell,area,when,took,good,count
a,007,0.30000000000000004,2026-01-01 12:00:00.500000Z,93784.000001,True,1
"b, c","",,,,False,
"d ""e\""",,inf,2026-01-02 00:00:00.000000Z,-0.000001,True,4611686018427387905
"""


class TestCSV(Laws):
    format = CSV()
    target_class = cpr.CSVTarget


class TestGzipped(Laws):
    format = CSV(compression="gzip")


class TestSemicolons(Laws):
    format = CSV(separator=";")
    target_class = cpr.CSVTarget


class TestTables(TableCases):
    target_class = cpr.CSVTarget
    ext = ".csv"


@pytest.mark.slow  # the same tables through a compressor, which TestGzipped proves
class TestGzippedTables(TableCases):
    target_class = cpr.CSVTarget
    ext = ".csv.gz"


def target_with(data, ext=".csv", **options):
    target = cpr.CSVTarget.from_path(f"memory://csv/{id(data)}/a{ext}", **options)
    target.set_data(data)
    return target.persist()


def stored_bytes(target) -> bytes:
    with io.reading(target.url) as file:
        return file.read()


def replace(target, data: bytes):
    with io.writing(target.url) as file:
        file.write(data)


def test_the_file_is_as_documented():
    assert stored_bytes(target_with(PLAIN)).decode() == TEXT


def test_gzip_has_neither_time_nor_name_and_holds_the_same():
    data = stored_bytes(target_with(PLAIN, ".csv.gz"))
    assert gzip.decompress(data).decode() == TEXT
    assert data[3] == 0  # no name, no comment
    assert data[4:8] == bytes(4)  # no time


def test_pandas_opens_it():
    found = pd.read_csv(std_io.BytesIO(stored_bytes(target_with(PLAIN))), index_col=0, parse_dates=["when"])
    assert found["area"].tolist()[::2] == [0.1 + 0.2, np.inf]
    assert found["when"].equals(PLAIN["when"].astype(found["when"].dtype))
    assert found.index.tolist() == PLAIN.index.tolist()


@pytest.mark.parametrize("name", FRAMES)
def test_python_reads_as_many_cells_in_every_row(name):
    target = target_with(FRAMES[name])
    text = stored_bytes(target).decode()
    rows = list(csv.reader(std_io.StringIO(text, newline=""), strict=True))
    width = len(FRAMES[name].columns)
    assert len(rows) == len(FRAMES[name]) + 1
    assert len({len(row) for row in rows}) == 1
    assert len(rows[0]) >= max(1, width)


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"\n", b"\r"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"2026-01-02 00:00:00.000000Z", b"2026-01-02T00:00Z").replace(
            b"True", b"TRUE"
        ),
        lambda text: text.replace(b"a,007,0.30", b'"a","007","0.30').replace(b"4,2026", b'4",2026'),
        lambda text: text.replace(b"93784.000001", b"93784.0000010"),
    ],
    ids=["crlf", "cr", "bom", "values", "quotes", "digits"],
)
@pytest.mark.parametrize("ext", [".csv", ".csv.gz"])
def test_the_same_content_stored_by_others_verifies(rewrite, ext):
    target = target_with(PLAIN, ext)
    text = rewrite(TEXT.encode())
    assert text != TEXT.encode()
    replace(target, gzip.compress(text) if ext == ".csv.gz" else text)
    assert same(target.get_data(), PLAIN)


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text.replace(b"007", b"7"),
        lambda text: text.replace(b'""', b""),
        lambda text: text.replace(b"0.30000000000000004", b"0.3"),
        lambda text: text.replace(b"good", b"bad"),
        lambda text: text.replace(b"row,", b""),
        lambda text: text + text.splitlines(keepends=True)[1],
        lambda text: b"".join(text.splitlines(keepends=True)[:-1]),
        lambda text: text.replace(b"False", b""),
        lambda text: text.replace(b"True", b"yes"),
        lambda text: text.replace(b"2026", b"now"),
        lambda text: text.replace(b"00Z", b"00+01:00"),
        lambda text: text.replace(b"93784", b"\xff\xfe"),
        lambda text: text.replace(b"007", b"\xff"),
        lambda text: text.replace(b"-0.000001", b"-0.0000011"),
        lambda text: text.replace(b"\n", b""),
        lambda text: text[:-1],
    ],
)
def test_other_content_does_not(rewrite):
    target = target_with(PLAIN)
    text = rewrite(TEXT.encode())
    assert text != TEXT.encode()
    replace(target, text)
    with pytest.raises(CorruptDataError) as caught:
        target.get_data()
    assert caught.value.url == target.url


@given(st.binary(max_size=30), st.integers(1, 7))
def test_marking_does_not_depend_on_blocks(data, size):
    def body(blocks):
        return Body(Marked(blocks, ",", mark=True)).read()

    text = data.translate(bytes(b'",\n\ra'[i % 5] for i in range(256))) + b"\n"
    assert body([text]) == body([text[i : i + size] for i in range(0, len(text), size)])


@given(
    st.lists(
        st.lists(
            st.sampled_from(["", "a", '"', '""', '"",', ",", "\n", '",""', "\r\n"]), min_size=2, max_size=3
        )
    )
)
def test_exactly_the_empty_strings_are_marked(rows):
    text = (
        "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows) + "\n"
    )
    marked = Body(Marked([text.encode()], ",", mark=True)).read().decode()
    found = [row for row in csv.reader(std_io.StringIO(marked, newline="")) if row]
    assert found == [[cell or "␛e" for cell in row] for row in rows]


CELLS = st.sampled_from(["", "a", '"', '""', ",", "\n", '"\r\n"', "\r", '"\n"\n'])


@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.integers(1, 9),
    st.integers(1, 20),
)
def test_pieces_end_where_rows_do(rows, end, size, piece):
    text = "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + end for row in rows)
    text = (text + f"c,d{end}e,f{end}").encode()
    pieces = list(whole_rows([text[i : i + size] for i in range(0, len(text), size)], piece))
    assert b"".join(pieces) == text
    parsed = [list(csv.reader(std_io.StringIO(one.decode(), newline=""))) for one in pieces]
    assert [row for one in parsed for row in one] == [*rows, ["c", "d"], ["e", "f"]]
    assert not any(one.startswith(b"\n") for one in pieces)  # no line end is cut in two


def test_long_tables_are_parsed_in_pieces(monkeypatch):
    monkeypatch.setattr("cpr.csv.table._PIECE_BYTES", 1000)
    frame = pd.concat([PLAIN] * 200)
    target = target_with(frame)
    asked = []
    rows = CSV._rows
    monkeypatch.setattr(CSV, "_rows", lambda *given: (asked.append(one) or one for one in rows(*given)))
    monkeypatch.setattr("cpr.csv.compression._BLOCK_BYTES", 700)
    same(cpr.load(target.serialize()).get_data(), frame)
    assert len(asked) > 20


@pytest.mark.slow
def test_a_row_without_end_is_refused_before_it_fills_the_memory():
    format = CSV().describe(PLAIN)
    bomb = std_io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as file:
        file.write(TEXT.encode())
        for _ in range(80):
            file.write(b"x" * (1 << 20))
    packed = CSV(compression="gzip", table=format.table)
    with pytest.raises(DecodeError, match="without an end"):
        packed.decode(SeekableBytes(bomb.getvalue()))


def test_more_rows_than_recorded_are_not_read():
    packed = CSV(compression="gzip", table=CSV().describe(PLAIN).table)
    read = []

    class Counted(SeekableBytes):
        def release(self, position):
            read.append(position)

    data = gzip.compress(TEXT.encode() + b"a,b,1.5,,,True,1\n" * 5_000_000, 1)
    with pytest.raises(DecodeError, match="another number of rows"):
        packed.decode(Counted(data))


def test_several_gzip_members_are_one_file_and_garbage_is_not():
    packed = CSV(compression="gzip", table=CSV().describe(PLAIN).table)
    half = TEXT.index("\n") + 1
    two = gzip.compress(TEXT[:half].encode()) + gzip.compress(TEXT[half:].encode())
    assert same(packed.decode(SeekableBytes(two)), PLAIN)
    for bad in (two + b"x", two + b"\0\0", two[:-1], two[:-9], gzip.compress(b"")):
        with pytest.raises(DecodeError):
            packed.decode(SeekableBytes(bad))


@pytest.mark.slow
def test_what_is_read_is_let_go():
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=200_000), "b": 1})
    format = CSV().describe(frame)
    file = ForwardFile()
    format.encode(format.stream(frame), file)
    released = []

    class Watched(SeekableBytes):
        def release(self, position):
            released.append(position)
            super().release(position)

    assert same(format.decode(Watched(file.getvalue())), frame)
    assert released == sorted(released)
    assert released[-1] == len(file.getvalue())


def test_floats_come_back_to_the_last_bit():
    random = np.random.default_rng(0)
    doubles = random.integers(0, 2**64, 200_000, dtype="u8").view("f8")
    singles = random.integers(0, 2**32, 200_000, dtype="u4").view("f4")
    halves = np.arange(2**16, dtype="u2").view("f2")
    for bits in (doubles, singles, halves):
        found = cpr.load(target_with(pd.DataFrame({"x": bits})).serialize()).get_data()["x"].to_numpy()
        there = ~np.isnan(bits)
        assert found.dtype == bits.dtype
        assert np.array_equal(found[there].view("u1"), bits[there].view("u1"))
        assert np.isnan(found[~there]).all()


def test_single_floats_are_written_short_and_read_back():
    from cpr.csv.cells import _plain_texts
    from cpr.data.tables import ColumnType

    values = np.array([8.589973e9, 0.1, 1.1754944e-38, 7.0385307e-26], "f4")
    texts = _plain_texts(values, ColumnType.named("float32"))
    assert [np.float32(float(text)) for text in texts] == values.tolist()
    assert texts[1] == "0.1"


def test_pandas_reads_floats_exactly_and_without_warning():
    """Guards what reading relies on."""
    text = "x\n0.30000000000000004\n1.7976931348623157e308\n5e-324\n2.2250738585072011e-308\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pd.read_csv(std_io.StringIO(text), **exact_floats())["x"].tolist()
    assert found == [float(line) for line in text.split()[1:]]


@pytest.mark.parametrize("separator", ["", ",,", "é", "a", "1", '"', "\n", ".", "-", " ", "\0"])
def test_separators_that_cannot_be_are_refused(separator):
    # Others separate cells by blanks.
    for cls in (cpr.CSVTarget, cpr.CSVSource)[: 1 if separator == " " else 2]:
        with pytest.raises(FormatError, match="separator"):
            cls.from_path("memory://csv/a.csv", separator=separator)


def test_the_extension_says_the_compression():
    assert cpr.CSVTarget.from_path("memory://csv/a.CSV.GZ").format.compression == "gzip"
    assert cpr.CSVTarget.from_path("memory://csv/a.b.csv.gz").get_name() == "a.b"
    assert cpr.CSVTarget.from_path("memory://csv/a.csv").format.compression is None
    for path, compression in [("a.csv", "gzip"), ("a.csv.gz", None)]:
        with pytest.raises(FormatError, match="contradict"):
            cpr.CSVTarget.from_path(f"memory://csv/{path}", compression=compression)
    with pytest.raises(UnsupportedExtensionError):
        cpr.CSVTarget.from_path("memory://csv/a.tsv")


class TestForeignFiles:
    def source(self, tmp_path, data: bytes, name="a.csv", **options):
        (tmp_path / name).write_bytes(data)
        return cpr.CSVSource.from_path(tmp_path / name, **options)

    def test_is_what_pandas_reads(self, tmp_path):
        text = b"label,area,name\r\n1,0.30000000000000004,x\r\n2,,NA\r\n"
        found = self.source(tmp_path, text).get_data()
        expected = pd.read_csv(std_io.BytesIO(text), **exact_floats())
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        assert found["area"][0] == 0.1 + 0.2

    def test_options(self, tmp_path):
        data = "näme;wert\nä;1\n".encode("latin-1")
        found = self.source(tmp_path, data, separator=";", encoding="latin-1", index=0).get_data()
        assert found.to_dict() == {"wert": {"ä": 1}}
        assert found.index.name == "näme"

    def test_other_encodings(self, tmp_path):
        for encoding in ("utf-16", "utf-8-sig", "cp1252"):
            found = self.source(tmp_path, "a,b\nä,2\n".encode(encoding), encoding=encoding).get_data()
            assert found.to_dict("list") == {"a": ["ä"], "b": [2]}

    def test_gzip(self, tmp_path):
        found = self.source(tmp_path, gzip.compress(b"a,b\n1,2\n"), "a.csv.gz").get_data()
        assert found.to_dict("list") == {"a": [1], "b": [2]}

    def test_no_last_line_end_is_fine(self, tmp_path):
        assert self.source(tmp_path, b"a,b\n1,2").get_data()["b"].tolist() == [2]

    def test_what_cpr_wrote_is_read(self, tmp_path):
        target = cpr.CSVTarget.from_path(tmp_path / "a.csv")
        target.set_data(PLAIN)
        found = cpr.CSVSource.from_path(target.persist().url).get_data()
        assert found["cell"].isna().tolist() == [False, True, True]

    @pytest.mark.parametrize(
        ("data", "name"),
        [
            (b"", "a.csv"),
            (b"a,b\n1,2,3\n4,5,6,7\n", "a.csv"),
            (b"a\n\xff\n", "a.csv"),
            (b'a,b\n"1,2\n', "a.csv"),
            (b"a,b\n1,2\n", "a.csv.gz"),
            (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-3], "a.csv.gz"),
            (b"", "a.csv.gz"),
        ],
    )
    def test_what_is_not_csv_is_refused(self, tmp_path, data, name):
        with pytest.raises(DecodeError) as caught:
            self.source(tmp_path, data, name).get_data()
        assert caught.value.url == str(tmp_path / name)
        assert caught.value.remedy

    def test_parts_are_not_for_tables(self, tmp_path):
        source = self.source(tmp_path, b"a,b\n1,2\n")
        for _ in range(2):
            with pytest.raises(FormatError, match="in parts"):
                source.get_data(region=0)
            source.get_data(cache=True)

    def test_options_that_do_not_exist(self):
        with pytest.raises(FormatError, match="encoding"):
            cpr.CSVSource.from_path("a.csv", encoding="utf-9")
        with pytest.raises(FormatError, match="no such option"):
            cpr.CSVSource.from_path("a.csv", seperator=";")

    def test_record(self, tmp_path):
        source = self.source(tmp_path, b"a;b\n1;2\n", separator=";")
        again = cpr.load(json.dumps(source.serialize()))
        assert again.get_data().to_dict("list") == {"a": [1], "b": [2]}


@pytest.mark.slow
def test_a_stream_holds_little(tmp_path):
    """Peak memory of a stream does not grow with it."""
    import tracemalloc

    def chunks(count):
        for i in range(count):
            yield pd.DataFrame({"a": np.random.default_rng(i).normal(size=20_000), "b": "text"})

    peaks = []
    for count in (10, 40):
        target = cpr.CSVTarget.from_path(tmp_path / f"{count}.csv")
        tracemalloc.start()
        target.set_data(chunks(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2
    assert target.nbytes > 15 << 20


def test_refusals_name_column_row_and_remedy():
    with pytest.raises(EncodeError) as caught:
        cpr.CSVTarget.from_path("memory://csv/a.csv").set_data(pd.DataFrame({"shape": ["x", [1, 2]]}))
    assert caught.value.field == "shape"
    assert "row 1" in str(caught.value)
    assert "list" in str(caught.value)
