"""A table is decoded while it arrives: in order, in little memory, and from nothing but what was hashed."""

from __future__ import annotations

import hashlib
import threading

import fsspec
import numpy as np
import pandas as pd
import pytest

import cpr
from cpr import errors
from cpr.io.seekable_files import BLOCK_BYTES, ArrivingFile
from cpr.io.transfer_width import TransferWidth
from cpr.parquet import table as table_module
from cpr.parquet.columns import column_of
from cpr.parquet.table import Parquet
from cpr.testing import ForwardFile, SeekableBytes
from tests.data.tables.frames import same

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MiB = 1 << 20
ROWS = 300_000


def mixed(rows: int = ROWS) -> pd.DataFrame:
    """Columns of all sorts, among them some of which a row group is taken in threads, and some small ones."""
    random = np.random.default_rng(0)
    numbers = random.integers(0, 1 << 40, rows)
    return pd.DataFrame(
        {
            "x": random.normal(size=rows),
            "n": pd.array(np.where(numbers % 7 == 0, None, numbers), dtype="Int64"),
            "kind": random.choice(["nucleus", "cell"], rows),
            "text": numbers.astype(str),
            "group": pd.Categorical(random.choice(["a", "b"], rows)),
            "at": pd.to_datetime(numbers, utc=True),
            "day": numbers.astype("M8[us]"),
            "flag": numbers % 2 == 0,
            "y": random.normal(size=rows),
        },
        index=pd.Index(numbers, name="key"),
    )


def encoded(frame: pd.DataFrame) -> tuple[Parquet, bytes]:
    format = Parquet().describe(frame)
    file = ForwardFile()
    format.encode(format.stream(frame), file)
    return format, file.getvalue()


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(table_module, "_ROW_GROUP_BYTES", 4 * MiB)


class Watched(SeekableBytes):
    """Counts what has been read and not been released, the end aside, which is fetched first."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.begin_of_end = len(data)
        self.most = 0

    def fetch_end(self, nbytes: int) -> None:
        self.begin_of_end -= nbytes

    def readinto(self, buffer) -> int:
        count = super().readinto(buffer)
        self._watch()
        return count

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._watch()
        return data

    def _watch(self) -> None:
        if self.tell() < self.begin_of_end:
            self.most = max(self.most, self.tell() - self._released)


@pytest.mark.parametrize(
    "frame", [mixed(), pd.DataFrame({"x": np.random.default_rng(0).normal(size=4 * ROWS)})]
)
def test_what_was_decoded_is_let_go_of(frame, small_groups):
    format, data = encoded(frame)
    assert pq.ParquetFile(pa.BufferReader(data)).num_row_groups > 1
    file = Watched(data)
    assert same(format.decode(file), frame)
    assert 0 < file.most < 5 * MiB
    assert len(data) - file._released < 1 * MiB  # the footer


def test_a_large_row_group_passes_in_pieces(monkeypatch):
    from cpr.parquet import row_groups

    monkeypatch.setattr(row_groups, "_AT_ONCE_BYTES", MiB)
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=4 * ROWS)})
    format, data = encoded(frame)
    assert pq.ParquetFile(pa.BufferReader(data)).num_row_groups == 1
    file = Watched(data)
    assert same(format.decode(file), frame)
    assert 0 < file.most < len(data) // 3


@pytest.mark.parametrize("width", [None, TransferWidth(4, (MiB, MiB), 8 * MiB)])
def test_columns_are_decoded_before_the_last_has_arrived(width, monkeypatch):
    """The last block but the end comes only when the first column has been decoded."""
    from cpr.parquet import row_groups

    decoded = threading.Event()

    def decode_and_say(*arguments):
        decoded.set()
        return column_of(*arguments)

    monkeypatch.setattr(row_groups, "column_of", decode_and_say)
    frame = pd.DataFrame(
        np.random.default_rng(0).normal(size=(ROWS, 8)).astype("f4"), columns=list("abcdefgh")
    )
    monkeypatch.setattr(table_module, "_ROW_GROUP_BYTES", 2 * MiB)
    format, data = encoded(frame)
    late = len(data) - MiB if width is not None else BLOCK_BYTES
    asked = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        if start >= late and stop < len(data):
            assert decoded.wait(30)
        return data[start:stop]

    with ArrivingFile("memory://a", fetch, len(data), "sha256", width) as file:
        assert same(format.decode(file), frame)
        assert file.finish() == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    # Every byte has come once: what was decoded is what was hashed.
    assert [start for start, _ in sorted(asked)] == [0, *(stop for _, stop in sorted(asked)[:-1])]
    assert max(stop for _, stop in asked) == len(data)


def test_little_is_fetched_before_it_is_decoded(monkeypatch):
    """However wide the place is, for what is decoded takes memory as well."""
    monkeypatch.setattr(table_module, "_AHEAD_BYTES", 2 * MiB)
    monkeypatch.setattr(table_module, "_ROW_GROUP_BYTES", 2 * MiB)
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=10 * ROWS)})
    format, data = encoded(frame)
    lock, asked, most = threading.Lock(), 0, 0

    def fetch(start: int, stop: int) -> bytes:
        nonlocal asked
        with lock:
            asked += stop - start
        return data[start:stop]

    class Counting(ArrivingFile):
        def release(self, position: int) -> None:
            nonlocal most
            super().release(position)
            most = max(most, asked - position)

    width = TransferWidth(64, (MiB // 2, MiB // 2), 96 * MiB)
    with Counting("memory://a", fetch, len(data), "sha256", width) as file:
        assert same(format.decode(file), frame)
    # What is not decoded yet of a row group, and the end.
    assert 0 < most < 6 * MiB < len(data) // 2


@pytest.mark.parametrize("place", ["memory://row-groups", "file"])
@pytest.mark.parametrize("where", [0.05, 0.3, 0.9, "end", "footer", "cut"])
def test_damage_anywhere_is_told(place, where, tmp_path, small_groups):
    """In what is decoded as it arrives, in the footer that is fetched first, and in what nobody decodes."""
    frame = mixed()
    target = cpr.ParquetTarget.from_path(f"{tmp_path if place == 'file' else place}/a.parquet")
    target.set_data(frame)
    record = target.serialize()
    with fsspec.open(target.url, "rb") as file:
        data = bytearray(file.read())
    assert len(data) > BLOCK_BYTES
    if where == "cut":
        del data[-MiB:]
    else:
        at = {"end": len(data) - 1, "footer": len(data) - 1000}.get(where, where)
        data[int(at * len(data)) if isinstance(at, float) else at] ^= 0x40
    with fsspec.open(target.url, "wb") as file:
        file.write(data)
    with pytest.raises(errors.CorruptDataError):
        cpr.load(record).get_data()


@pytest.mark.parametrize("claim", ["columns", "rows"])
def test_row_groups_that_do_not_make_up_the_table_are_refused(claim):
    format = Parquet().describe(pd.DataFrame({"a": np.arange(4)}))
    file = pa.BufferOutputStream()
    other = {"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]} if claim == "columns" else {"a": [1, 2, 3]}
    pq.write_table(pa.table(other), file)
    with pytest.raises(errors.DecodeError):
        format.decode(SeekableBytes(file.getvalue().to_pybytes()))


def test_columns_for_threads_are_decoded_in_pieces(monkeypatch):
    """Two whole columns are taken together, so that threads have both, and of each a part at a time."""
    from cpr.parquet import row_groups

    most = 0
    grown = row_groups.Expansion.grown

    def watch(self, nbytes: int) -> None:
        nonlocal most
        most = max(most, nbytes)
        grown(self, nbytes)

    monkeypatch.setattr(row_groups.Expansion, "grown", watch)
    monkeypatch.setattr(row_groups, "_AT_ONCE_BYTES", MiB)
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(ROWS, 2)), columns=["x", "y"])
    format, data = encoded(frame)
    assert same(format.decode(SeekableBytes(data)), frame)
    assert MiB // 2 < most < 1.1 * MiB  # with the bits of what is there


def test_text_that_expands_is_refused_while_it_does(monkeypatch):
    """A few bytes of a dictionary stand for many megabytes."""
    columns = pa.table({"t": pa.DictionaryArray.from_arrays(np.zeros(40_000, "i4"), ["x" * 2000])})
    file = pa.BufferOutputStream()
    pq.write_table(columns, file, store_schema=False)
    format = Parquet().describe(pd.DataFrame({"t": ["x"] * 40_000}))
    data = file.getvalue().to_pybytes()
    monkeypatch.setenv("CPR_MEMORY", "20MiB")
    with pytest.raises(errors.DecodeError, match="more memory than there is"):
        format.decode(SeekableBytes(data))
