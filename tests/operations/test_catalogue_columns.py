"""What the catalogue makes of listings and texts: the same as others make of them, in less time."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.synthetic import records
from cpr.io.stores.local import LocalStore
from cpr.io.stores.local_listing import FileVersions, pages_in

pytest.importorskip("pyarrow")

import pyarrow as pa

from cpr.operations.catalogue import find_names
from cpr.operations.catalogue.arrow_arrays import column, mask, numbers, scalar, values
from cpr.operations.catalogue.find_names import positions
from cpr.operations.catalogue.listing_columns import Listing
from cpr.operations.find import find_results

_TEXTS = st.lists(st.none() | st.text(), max_size=40)


@given(_TEXTS)
def test_texts_are_what_arrow_makes_of_them(texts):
    try:
        expected = pa.array(texts, pa.string())
    except UnicodeEncodeError:
        with pytest.raises(UnicodeEncodeError):
            column(texts, pa.string())
        return
    found = column(texts, pa.string())
    found.validate(full=True)
    assert found.equals(expected)


@given(
    st.lists(st.none() | st.integers(-(1 << 63), (1 << 63) - 1), max_size=40),
    st.lists(st.none() | st.booleans(), max_size=40),
    st.lists(st.none() | st.binary(), max_size=40),
    st.lists(st.none() | st.integers(0, 255), max_size=40),
    st.integers(0, 12),
)
def test_numbers_bytes_and_booleans_too_and_back(integers, booleans, blobs, bytes_, cut):
    kinds = {pa.int64(): integers, pa.bool_(): booleans, pa.binary(): blobs, pa.uint8(): bytes_}
    for kind, given_ones in kinds.items():
        found = column(given_ones, kind)
        found.validate(full=True)
        assert found.equals(pa.array(given_ones, kind))
        if kind == pa.binary():
            continue
        # Slices begin within the bytes of others; chunks are many.
        parts = pa.chunked_array([found[cut:], found[:cut]], kind)
        for one in (found, found[cut:], parts):
            assert values(one, 1).tolist() == [1 if known is None else known for known in one.to_pylist()]


@pytest.mark.parametrize("wrong", [1.5, "1", 1 << 64])
def test_other_numbers_are_refused(wrong):
    with pytest.raises((TypeError, OverflowError)):
        column([1, wrong], pa.int64())


def test_arrays_of_numpy():
    chosen = np.random.default_rng(1).random(1001) < 0.5
    assert mask(chosen).equals(pa.array(chosen))
    assert numbers(np.arange(7)[::2]).equals(pa.array(np.arange(7)[::2]))
    assert scalar("µm").as_py() == "µm"


@pytest.mark.parametrize("block", [1, 3, 512])
@pytest.mark.parametrize("seed", range(20))
def test_positions_are_those_of_the_names(monkeypatch, block, seed):
    monkeypatch.setattr(find_names, "_BLOCK", block)
    monkeypatch.setattr(find_names, "_AHEAD", 8 * block)
    dice = random.Random(seed)
    names = [f"{dice.randrange(1 << 64):016x}".encode() for _ in range(dice.choice([0, 1, 5, 100, 3000]))]
    wanted = list(names)
    for _ in range(dice.choice([0, 1, 5, 40])):
        if wanted:
            wanted.pop(dice.randrange(len(wanted)))
        wanted.insert(dice.randrange(len(wanted) + 1), b"x%d" % dice.randrange(9999))
    if seed % 3 == 0:
        dice.shuffle(wanted)
    if seed % 4 == 0:
        wanted += wanted[:5]
    found = positions(column(names, pa.binary()), column(wanted, pa.binary()))
    placed = [(name, int(at)) for name, at in zip(wanted, found, strict=True) if at >= 0]
    assert all(names[at] == name for name, at in placed)
    assert len({at for _, at in placed}) == len(placed)
    assert {name for name, _ in placed} == set(names) & set(wanted)


def _odd_folder(path):
    for number in range(700):
        (path / f"{number:032x}").write_bytes(b"x" * number)
    (path / "a" / "b").mkdir(parents=True)
    (path / "empty").mkdir()
    (path / "a" / "ü.json").write_bytes(b"{}")
    (path / "a" / "b" / "old").write_bytes(b"")
    os.utime(path / "a" / "b" / "old", ns=(-5, -5))
    os.symlink(path / "a", path / "to a folder")
    os.symlink(path / "nowhere", path / "to nothing")
    os.symlink(path / f"{0:032x}", path / "to a file")
    if hasattr(os, "mkfifo"):
        os.mkfifo(path / "pipe")
    os.utime(path / f"{1:032x}", ns=(1, 123_456_789_987_654_321))


def test_pages_of_a_folder_are_its_listing(tmp_path):
    _odd_folder(tmp_path)
    found = [line for page in pages_in(str(tmp_path)) for line in page.lines()]
    walked = list(LocalStore().walk(str(tmp_path)))
    assert [line[0] for line in found] == [one.url for one in walked]
    assert [line[1] for line in found] == [one.nbytes for one in walked]
    for place, _, modified, version in found:
        stat = os.lstat(place)
        assert modified == stat.st_mtime
        assert version == f"{stat.st_ctime_ns:016x}-{stat.st_mtime_ns % (1 << 64):016x}"
    assert list(pages_in(str(tmp_path / "not there"))) == []


@pytest.mark.parametrize("seconds", [-3_000_000_000, -1, 13_569_465_600], ids=["1874", "1969", "2400"])
def test_files_of_any_year_are_listed(seconds, tmp_path):
    """Anybody may set a file's time, and file systems know other years than 64 bits of nanoseconds."""
    for name, content in records(600, "s3://bucket/data"):
        (tmp_path / name).write_bytes(content)
    one = min(tmp_path.iterdir())
    os.utime(one, (seconds, seconds))
    found = {line[0]: line[3] for page in pages_in(str(tmp_path)) for line in page.lines()}
    assert len(found) == 600
    assert found[str(one)].endswith(f"{os.stat(one).st_mtime_ns % (1 << 64):016x}")
    for _ in ("cold", "warm"):
        assert len(find_results(str(tmp_path)).all()) == 600


def test_versions_in_bulk_are_those_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr("cpr.operations.catalogue.listing_columns._SETTLED_SECONDS", -3600.0)
    _odd_folder(tmp_path)
    listing = Listing.of(str(tmp_path))
    found = listing.versions.texts(np.arange(len(listing))).to_pylist()
    lines = [line for page in pages_in(str(tmp_path)) for line in page.lines()]
    assert found == [line[3] for line in lines] == [listing.versions[at] for at in range(len(listing))]
    chosen = np.arange(len(listing))
    for at, (line, one) in enumerate(
        zip(listing.lines(chosen), LocalStore().walk(str(tmp_path)), strict=True)
    ):
        assert (line.number, line.entry, line.version) == (at, one, found[at])
        # A file of before 1970 has none, or it is of after 2262.
        assert line.entry.version == ({} if one.version["mtime_ns"] < 0 else one.version)


def test_files_of_just_now_have_no_version(tmp_path):
    _odd_folder(tmp_path)
    listing = Listing.of(str(tmp_path))
    assert set(listing.versions.texts(np.arange(len(listing))).to_pylist()) == {""}
    assert listing.versions[0] == ""
    assert next(listing.lines(np.arange(1))).entry.version == {}


def test_slices_of_versions():
    found = FileVersions([1, 2, 3], [4, 5, 6])
    assert list(found[1:]) == [f"{2:016x}-{5:016x}", f"{3:016x}-{6:016x}"]
    assert len(found) == 3


def test_commands_do_not_import_pandas(tmp_path):
    # It takes longer than all else of a command that finds everything in the catalogue.
    for name, content in records(600, "s3://bucket/data"):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (1, 1))
    asked = (
        "import sys\n"
        "from cpr.operations import catalogue\n"
        "from cpr.operations.catalogue import listing_columns\n"
        "from cpr.operations.ls import list_results\n"
        "from cpr.operations.lineage import trace\n"
        "from cpr.operations.show import show\n"
        "from cpr.operations.why import explain\n"
        "listing_columns._SETTLED_SECONDS = -3600.0\n"
        "url = sys.argv[1]\n"
        "for _ in range(2):\n"
        "    found = list_results(url, 5)\n"
        "    assert found.targets == 600\n"
        "    for ask in (show, explain, trace):\n"
        "        ask(url, found.newest[0].url)\n"
        "assert 'pyarrow' in sys.modules\n"
        "assert 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", asked, str(tmp_path)], check=True)
    assert list((tmp_path / ".cpr" / "catalogue").rglob("*.parquet"))
