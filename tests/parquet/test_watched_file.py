"""Pages of a few bytes that become any number of them: told before pyarrow decodes them."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.data.memory import Room
from cpr.errors import DecodeError
from cpr.parquet import page_claims
from cpr.parquet.text_sizes import shared_bytes, used_bytes
from cpr.parquet.thrift import BINARY, I32, Struct, read_struct
from cpr.parquet.watched_file import WatchedFile

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

# A text of 50 kB, 4,000 times.
LONG = pa.array(["x" * 50_000] * 4_000, pa.large_string())
PLAIN = {"use_dictionary": False, "write_statistics": False, "store_schema": False, "compression": "zstd"}


def shared(path):
    pq.write_table(pa.table({"a": LONG}), path, column_encoding="DELTA_BYTE_ARRAY", **PLAIN)


def shared_of_version_2(path):
    encoding = {"column_encoding": "DELTA_BYTE_ARRAY", "data_page_version": "2.0"}
    pq.write_table(pa.table({"a": LONG}), path, **encoding, **PLAIN)


def dictionary(path):
    pq.write_table(pa.table({"a": LONG}), path, **{**PLAIN, "use_dictionary": True})


def in_a_list(path):
    column = pa.LargeListArray.from_arrays(pa.array([0, len(LONG)]), LONG)
    pq.write_table(pa.table({"a": column}), path, **{**PLAIN, "use_dictionary": True})


def shared_in_a_list(path):
    column = pa.LargeListArray.from_arrays(pa.array([0, len(LONG)]), LONG)
    pq.write_table(pa.table({"a": column}), path, column_encoding="DELTA_BYTE_ARRAY", **PLAIN)


def numbers_in_a_list(path):
    column = pa.LargeListArray.from_arrays(pa.array([0, 20_000_000]), pa.array(np.zeros(20_000_000)))
    pq.write_table(pa.table({"a": column}), path, **{**PLAIN, "use_dictionary": True})


def bytes_of_one_length(path):
    column = pa.array([b"x" * 50_000] * 4_000, pa.binary(50_000))
    pq.write_table(pa.table({"a": column}), path, **{**PLAIN, "use_dictionary": True})


KINDS = [
    shared,
    shared_of_version_2,
    dictionary,
    in_a_list,
    shared_in_a_list,
    numbers_in_a_list,
    bytes_of_one_length,
]


@pytest.fixture
def pool():
    """What pyarrow takes from now on."""
    before = pa.default_memory_pool()
    found = pa.proxy_memory_pool(before)
    pa.set_memory_pool(found)
    yield found
    pa.set_memory_pool(before)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", ["file", "folder"])
def test_what_becomes_too_much_is_told_before_it_does(kind, place, tmp_path, monkeypatch, pool):
    (tmp_path / "cells").mkdir()
    path = tmp_path / "cells" / "a.parquet"
    kind(path)
    assert path.stat().st_size < 20_000
    found = pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(found)
    monkeypatch.setenv("CPR_MEMORY", "100M")
    with pytest.raises(DecodeError, match="memory") as caught:
        cpr.ParquetSource.from_path(path if place == "file" else path.parent).get_data()
    assert caught.value.remedy
    assert found.max_memory() < 16 << 20, f"{found.max_memory()} bytes were taken first"


@pytest.mark.parametrize("kind", [shared, dictionary], ids=lambda kind: kind.__name__)
def test_targets_are_held_to_the_same(kind, tmp_path, monkeypatch, pool):
    target = cpr.ParquetTarget.from_path(tmp_path / "a.parquet")
    target.set_data(pd.DataFrame({"a": ["x"] * len(LONG)}))
    record = target.serialize()
    kind(cpr.load(record).url)
    found = pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(found)
    monkeypatch.setenv("CPR_MEMORY", "100M")
    with pytest.raises((DecodeError, cpr.CorruptDataError)):
        cpr.load(record).get_data()
    assert found.max_memory() < 16 << 20


@pytest.mark.parametrize("kind", [shared, dictionary], ids=lambda kind: kind.__name__)
def test_what_has_room_is_read(kind, tmp_path):
    kind(tmp_path / "a.parquet")
    assert (cpr.ParquetSource.from_path(tmp_path / "a.parquet").get_data()["a"] == "x" * 50_000).all()


def test_texts_that_stay_numbers_take_no_more_than_these(tmp_path, monkeypatch):
    frame = pd.DataFrame({"a": pd.Categorical(["x" * 50_000] * 100_000)})
    (tmp_path / "cells").mkdir()
    frame.to_parquet(tmp_path / "cells" / "a.parquet")
    monkeypatch.setenv("CPR_MEMORY", "100M")  # as texts, 5 GB
    for path in (tmp_path / "cells" / "a.parquet", tmp_path / "cells"):
        pd.testing.assert_frame_equal(cpr.ParquetSource.from_path(path).get_data(), frame)


class Counted(Room):
    """Counts what is claimed."""

    def __init__(self) -> None:
        super().__init__("the table")
        self.nbytes = 0

    def claim(self, nbytes, besides=0):
        self.nbytes += nbytes
        super().claim(nbytes, besides)


@pytest.mark.parametrize("pages", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN", None])
def test_claims_are_what_the_texts_take(encoding, compression, pages, monkeypatch):
    monkeypatch.setattr(page_claims, "LITTLE_BYTES", 0)
    random = np.random.default_rng(0)
    texts = [
        None if i % 9 == 0 else "p" * int(n) + str(i % 50)
        for i, n in enumerate(random.integers(0, 300, 7000))
    ]
    lists = [[text] * (i % 3) for i, text in enumerate(texts)]
    parts = pa.array([{"q": text} for text in texts], pa.struct([("q", pa.string())]))
    table = pa.table({"a": texts, "l": lists, "n": range(7000), "s": parts})
    told = {} if encoding is None else dict.fromkeys(["a", "l.list.element", "s.q"], encoding)
    exact = sum(2 * len(text or "") for text in texts) + sum(len(t or "") for one in lists for t in one)
    file = io.BytesIO()
    how = {"row_group_size": 3000, "data_page_size": 20_000, "data_page_version": pages}
    how |= {"use_dictionary": False, "column_encoding": told} if told else {}
    pq.write_table(table, file, compression=compression, **how)
    for reads in ({"pre_buffer": False}, {"pre_buffer": False, "buffer_size": 4096}, {"pre_buffer": True}):
        room = Counted()
        watched = WatchedFile(file, room)
        assert pq.ParquetFile(pa.PythonFile(watched, mode="r"), **reads).read().equals(table)
        # Beside the texts: an offset for each, those in lists two, and the numbers.
        assert exact <= room.nbytes < 1.2 * exact + (4 * 3 + 4 * 4 + 8) * 7000


def varint(value: int) -> bytes:
    found = b""
    while value >= 128:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def lengths(count, first, least, widths=b"\0\0\0\0", block=128, minis=4):
    """A page's lengths that each are `least` more than the one before."""
    zigzag = [(n << 1) ^ (n >> 63) for n in (first, least)]
    head = varint(block) + varint(minis) + varint(count) + varint(zigzag[0])
    blocks = -(-(count - 1) // block)
    return memoryview(head + (varint(zigzag[1]) + widths) * blocks + b"\0" * 64)


def test_lengths_that_grow_are_summed_up():
    assert shared_bytes(lengths(1000, 5, 3)) == sum(5 + 3 * i for i in range(1000))
    assert shared_bytes(lengths(1, 7, 0)) == 7
    assert shared_bytes(lengths(70_000, 9, 0)) == 9 * 70_000


@pytest.mark.parametrize(
    "data",
    [
        lengths(1000, 5, -1),
        lengths(1000, -5, 1),
        lengths(1000, 5, -(1 << 32)),
        lengths(1000, 5, 1 << 40),
        lengths(1000, 5, (1 << 32) - 1),
        lengths(1000, 0, 0, block=1 << 30, minis=1),
        lengths(1000, 0, 0, block=128, minis=0),
        lengths(1000, 0, 0, block=100, minis=4),
        lengths(1000, 0, 0, widths=b"\x40\0\0\0"),
    ],
    ids=range(9),
)
def test_lengths_that_are_none(data):
    with pytest.raises(ValueError):
        shared_bytes(data)


def test_lengths_that_are_cut():
    with pytest.raises(IndexError):
        shared_bytes(lengths(100_000, 5, 0)[:50])


def test_numbers_of_texts_are_counted_by_runs():
    sizes = np.array([1, 10, 100])
    run = bytes([2]) + varint(1000 << 1) + b"\2"
    assert used_bytes(memoryview(run), sizes, 900) == 900 * 100
    packed = bytes([2, 1 << 1 | 1, 0b10_01_00_10, 0b00_00_00_01])  # 2 0 1 2, 1 0 0 0
    assert used_bytes(memoryview(packed), sizes, 8) == 2 * 100 + 2 * 10 + 4
    assert used_bytes(memoryview(packed), sizes, 2) == 101
    for broken in (bytes([2]) + varint(1000 << 1) + b"\3", bytes([2, 0, 0]), bytes([40, 2, 0])):
        with pytest.raises(ValueError):
            used_bytes(memoryview(broken), sizes, 10)


NUMBER_AND_TEXT = Struct({1: I32, 3: BINARY}, {4: Struct()})


def test_structs_are_read_to_their_end_and_not_behind():
    data = bytes([0x15, 4, 0x28, 2, 65, 66, 0])
    assert read_struct(data, 0, NUMBER_AND_TEXT) == ({1: 2, 3: b"AB"}, len(data))
    for cut in (b"", b"\x15", b"\x38\x05ab", b"\x4c\x1c", b"\x59\xfc\xbf\x06", b"\x58\x05ab"):
        with pytest.raises(IndexError):
            read_struct(cut, 0, NUMBER_AND_TEXT)
    for odd in (b"\x4c" + b"\x1c" * 100, b"\x1e\0", b"\x15" + b"\xff" * 20, b"\x59" + b"\x19" * 100):
        with pytest.raises(ValueError):
            read_struct(odd, 0, NUMBER_AND_TEXT)


def test_what_no_column_says_is_not_read():
    file = io.BytesIO()
    pq.write_table(pa.table({"a": range(100_000), "b": range(100_000)}), file, compression="none")
    watched = WatchedFile(file, Room("the table"))
    first = pq.ParquetFile(file).metadata.row_group(0).column(0)
    start = first.dictionary_page_offset
    watched.seek(start + 100)
    with pytest.raises(ValueError, match="no page begins"):
        watched.read(100)
    watched.seek(0)
    with pytest.raises(ValueError, match="no column"):
        watched.read(2)
    watched.seek(start)
    assert len(watched.read(100)) == 100


def test_columns_that_lie_on_each_other_are_refused():
    file = io.BytesIO()
    pq.write_table(
        pa.table({"a": range(100), "b": range(100)}), file, compression="none", use_dictionary=False
    )
    data = file.getvalue()
    second = pq.ParquetFile(file).metadata.row_group(0).column(1).data_page_offset
    # The footer has each offset as a zigzag number of as many bytes.
    told, moved = varint(second << 1), varint((second - 50) << 1)
    assert len(told) == len(moved) and data.count(told, second)
    end = data.rindex(told)
    places = [i for i in range(second, end + 1) if data[i : i + len(told)] == told]
    refused = 0
    for place in places:
        other = data[:place] + moved + data[place + len(told) :]
        try:
            WatchedFile(io.BytesIO(other), Room("the table"))
        except ValueError as error:
            refused += "reaches into" in str(error)
    assert refused


def test_a_field_that_is_there_twice_is_refused():
    """A decoder takes the last one of the kind that it expects; the other would be judged."""
    once = bytes([0x15, 0x02, 0])  # field 1, an i32 of 1
    assert read_struct(once, 0, NUMBER_AND_TEXT) == ({1: 1}, 3)
    for again in (bytes([0x05, 0x02, 0x04]), bytes([0x06, 0x02, 0x04]), bytes([0x01, 0x02])):
        with pytest.raises(ValueError, match="field 1 twice"):
            read_struct(once[:-1] + again + b"\0", 0, Struct())


@pytest.mark.parametrize("place", ["memory://wide", "file"])
def test_a_footer_that_is_longer_than_pyarrow_guesses(place, tmp_path):
    """It is read by itself then, and not up to the end of the file."""
    place = place if "://" in place else tmp_path
    table = pd.DataFrame(np.arange(6000.0).reshape(2, 3000), columns=[f"column {n}" for n in range(3000)])
    target = cpr.ParquetTarget.from_path(f"{place}/wide.parquet")
    target.set_data(table)
    pd.testing.assert_frame_equal(cpr.load(target.serialize()).get_data(), table)
    pd.testing.assert_frame_equal(cpr.ParquetSource.from_path(target.url).get_data(), table)


def test_many_groups_of_rows(tmp_path):
    table = pa.table({"a": range(2000), "b": [f"text {n}" for n in range(2000)]})
    (tmp_path / "folder").mkdir()
    pq.write_table(table, tmp_path / "folder" / "many.parquet", row_group_size=1)
    for place in ("folder/many.parquet", "folder"):
        assert cpr.ParquetSource.from_path(tmp_path / place).get_data().equals(table.to_pandas())


@pytest.mark.parametrize("empty", [(0,), (0, 2), (1,), (1, 3, 4), (0, 1, 2, 3, 4)])
def test_groups_without_rows(empty, tmp_path):
    """Pyarrow says of their columns that they begin at byte 0, and reads them there."""
    table = pa.table({"a": range(100), "b": [f"text {n}" for n in range(100)]})
    with pq.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        for number in range(5):
            writer.write_table(table.slice(0 if number in empty else 20 * number, 20 * (number not in empty)))
    found = cpr.ParquetSource.from_path(tmp_path / "a.parquet").get_data()
    assert found.equals(pq.read_table(tmp_path / "a.parquet").to_pandas())


def test_a_column_without_values_does_not_hide_another():
    """What it would hide is looked at: the same bytes may be those of a column with values."""
    file = io.BytesIO()
    table = pa.table({"a": range(100_000)})
    with pq.ParquetWriter(file, table.schema, compression="none") as writer:
        writer.write_table(table)
        writer.write_table(table.slice(0, 0))
    watched = WatchedFile(file, Room("the table"))
    ((start, stop),) = watched._empty
    assert start == 0 < stop  # over the beginning of the first one, which begins at 4
    watched.seek(start)
    assert len(watched.read(stop)) == stop
    watched._empty = frozenset({(4, 104), (50, 60)})
    watched.seek(4)
    watched.read(100)
    assert watched._chunks[0].at == 104
    watched.seek(50)
    with pytest.raises(ValueError, match="no page begins"):
        watched.read(10)
