"""What two readers of Parquet read differently: who judges a file must find in it what pyarrow finds."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

import cpr
from cpr.errors import DecodeError
from cpr.parquet.structs import FOOTER, PAGE_HEADER
from cpr.parquet.thrift import read_struct

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

I16, I32, I64, BINARY, LIST, STRUCT = 4, 5, 6, 8, 9, 12
TEXT = b"x" * 50_000
ROWS = 4_000
DATA, DICTIONARY = 0, 2


def varint(value: int) -> bytes:
    found = b""
    while value >= 128:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def number(value: int, more: int = 0) -> bytes:
    return varint(((value << 1) ^ (value >> 63)) % (1 << 64) + more)


def encoded(fields: list, odd: tuple = ()) -> bytes:
    """A struct of (number, kind, value); at the place that `odd` has one of the numbers has more bits."""
    found, last = b"", 0
    place, way = odd or (None, None)
    for at, (field, kind, value) in enumerate(fields):
        is_odd = at == place
        if is_odd and way == "number":
            found += bytes([kind]) + number(field, 1 << 17)
        else:
            found += bytes([(field - last) << 4 | kind])
        last = field
        found += number(value, 1 << 32 if is_odd and way == "value" else 0) if kind in (I32, I64) else value
    return found + b"\0"


def items(kind: int, of: list[bytes]) -> bytes:
    return bytes([0xF0 | kind]) + varint(len(of)) + b"".join(of)


def page(kind, content, count, encoding, odd=(), odd_about=()):
    about = [(1, I32, count), (2, I32, encoding)]
    if kind == DATA:
        about += [(3, I32, 3), (4, I32, 3)]
    sizes = [(1, I32, kind), (2, I32, len(content)), (3, I32, len(content))]
    fields = [*sizes, (5 if kind == DATA else 7, STRUCT, encoded(about, odd_about))]
    return encoded(fields, odd) + content


def parquet(pages, told, physical=6, length=None, rows=ROWS, group_rows=ROWS, kinds=(I32, BINARY)):
    """A file of one column, whose footer is told apart."""
    body = b"PAR1" + b"".join(pages)
    leaf = [
        (1, I32, physical),
        *([] if length is None else [(2, I32, length)]),
        (3, I32, 0),
        (4, BINARY, b"\1a"),
    ]
    root = encoded([(4, BINARY, b"\1r"), (5, I32, 1)])
    nbytes = len(body) - 4
    column = [
        (1, I32, physical),
        (2, LIST, items(kinds[0], [number(8)])),
        (3, LIST, items(kinds[1], [b"\1a"])),
        (4, I32, 0),
        (5, I64, group_rows),
        (6, I64, nbytes),
        (7, I64, nbytes),
        (9, I64, 4 + len(pages[0])),
        (11, I64, 4),
    ]
    chunk = encoded([(2, I64, 4), (3, STRUCT, encoded(column))])
    group = encoded([(1, LIST, items(STRUCT, [chunk])), (2, I64, nbytes), (3, I64, group_rows)])
    footer = encoded(
        [
            (1, I32, 1),
            (2, LIST, items(STRUCT, [root, encoded(leaf)])),
            (3, I64, rows),
            (4, LIST, items(STRUCT, [group])),
            *told,
        ]
    )
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def texts(odd=(), odd_about=(), which=DATA, **footer):
    """4,000 times a text of 50 kB, in 50 kB."""
    ways = {which: {"odd": odd, "odd_about": odd_about}}
    pages = [
        page(DICTIONARY, struct.pack("<I", len(TEXT)) + TEXT, 1, 2, **ways.get(DICTIONARY, {})),
        page(DATA, b"\1" + varint(ROWS << 1) + b"\0", ROWS, 8, **ways.get(DATA, {})),
    ]
    return parquet(pages, [], **footer)


def integers(rows: int, told: int):
    """Equal numbers, as many as the group of rows says; the footer says another number of rows."""
    pages = [
        page(DICTIONARY, bytes(8), 1, 2),
        page(DATA, b"\1" + varint(rows << 1) + b"\0", rows, 8),
    ]
    return parquet(pages, [], physical=2, rows=told, group_rows=rows)


HEADERS = {
    f"{what} {place} of the {where}{' in the ' if inside else ''}{inside}page": texts(
        **{"odd_about" if inside else "odd": (place, way)}, which=which
    )
    for which, inside, where, places in (
        (DATA, "", "", 3),
        (DICTIONARY, "", "dictionary ", 3),
        (DATA, "data ", "header", 4),
        (DICTIONARY, "dictionary ", "header", 2),
    )
    for place in range(places)
    for way, what in (("value", "value"), ("number", "number of field"))
}
ODD = {
    **HEADERS,
    "texts said to be of one length": texts(length=1),
    "more rows in groups than in the footer": integers(50_000_000, 1),
    "items of another kind than numbers": texts(kinds=(3, BINARY)),
    "items of another kind than texts": texts(kinds=(I32, STRUCT)),
}


def read_by_pyarrow(data: bytes) -> bool:
    try:
        table = next(pq.ParquetFile(io.BytesIO(data)).iter_batches(10))
    except (OSError, StopIteration):
        return False
    return table.num_rows == 10


@pytest.mark.parametrize("kind", ODD)
def test_what_is_read_in_two_ways_is_refused_before_it_takes_memory(kind, tmp_path, monkeypatch):
    data = ODD[kind]
    (tmp_path / "a.parquet").write_bytes(data)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.parquet").write_bytes(data)
    monkeypatch.setenv("CPR_MEMORY", "100M")
    before = pa.default_memory_pool()
    found = pa.proxy_memory_pool(before)
    pa.set_memory_pool(found)
    try:
        for place in ("a.parquet", "folder"):
            with pytest.raises(DecodeError) as caught:
                cpr.ParquetSource.from_path(tmp_path / place).get_data()
            assert caught.value.remedy
        assert found.max_memory() < 16 << 20, f"{found.max_memory()} bytes were taken first"
    finally:
        pa.set_memory_pool(before)


def test_pyarrow_reads_them_in_the_other_way():
    """Else there would be nothing to refuse."""
    read = {kind for kind, data in ODD.items() if read_by_pyarrow(data)}
    assert len(read) >= 20, sorted(set(ODD) - read)
    assert {"texts said to be of one length", "more rows in groups than in the footer"} <= read


def test_the_same_told_in_one_way_is_read(tmp_path):
    (tmp_path / "a.parquet").write_bytes(texts())
    assert (cpr.ParquetSource.from_path(tmp_path / "a.parquet").get_data()["a"] == TEXT).all()
    (tmp_path / "b.parquet").write_bytes(integers(10_000, 10_000))
    assert (cpr.ParquetSource.from_path(tmp_path / "b.parquet").get_data()["a"] == 0).all()


def test_what_is_not_asked_for_takes_no_memory(monkeypatch):
    monkeypatch.setenv("CPR_MEMORY", "100M")
    structs = items(STRUCT, [b"\0"] * 999_999)
    # Of an unknown field a list of structs, and a list of lists: nothing is made of them.
    fields = [(2, LIST, items(STRUCT, [])), (100 % 15 + 5, LIST, structs)]
    assert read_struct(encoded(fields), 0, FOOTER)[0] == {2: []}
    with pytest.raises(DecodeError, match="memory"):
        read_struct(encoded([(4, LIST, structs)]), 0, FOOTER)
    with pytest.raises(ValueError, match="a list of"):
        read_struct(b"\x49\xfc" + varint(1 << 30), 0, FOOTER)


@pytest.mark.parametrize(
    ("field", "kind"), [(n, k) for n in (1, 2, 3, 5) for k in (1, 3, I16, I32, I64, 7, BINARY, LIST, STRUCT)]
)
def test_a_field_of_another_kind_than_it_has_is_refused(field, kind):
    """Pyarrow overlooks it, as if it were not there."""
    right = STRUCT if field == 5 else I32
    data = bytes([field << 4 | kind]) + bytes(16)
    if kind == right:
        assert field in read_struct(data, 0, PAGE_HEADER)[0]
        return
    with pytest.raises(ValueError, match=f"field {field} of kind {kind}"):
        read_struct(data, 0, PAGE_HEADER)


def test_numbers_of_all_bits_are_read():
    for value in (0, -1, (1 << 31) - 1, -(1 << 31)):
        data = encoded([(1, I32, value)])
        if value < 0:
            data = bytes([1 << 4 | I32]) + varint(((value << 1) ^ -1) & 0xFFFFFFFF) + b"\0"
        assert read_struct(data, 0, PAGE_HEADER)[0] == {1: value}
    for value in ((1 << 63) - 1, -(1 << 63)):
        raw = np.array(value, np.int64)
        data = bytes([3 << 4 | I64]) + varint(int(((raw << 1) ^ (raw >> 63)).view(np.uint64))) + b"\0"
        assert read_struct(data, 0, FOOTER)[0] == {3: value}
