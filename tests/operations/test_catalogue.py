"""The catalogue changes how long an answer takes, never the answer."""

from __future__ import annotations

import logging
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import product

import pytest

from bench.synthetic import records
from cpr.errors import CprError
from cpr.operations import catalogue
from cpr.operations.find import RecordResults, find_results
from cpr.operations.ls import list_records, list_results
from cpr.operations.object_names import is_data, owner_of
from cpr.operations.result_filter import ResultFilter
from cpr.operations.scan import find_records
from cpr.operations.why import is_before
from cpr.provenance.why_not_reused import NearestResults
from tests.operations.catalogue_stores import DAMAGES, change, files, fill, target
from tests.stored_flow import prefect_record, put

pytest.importorskip("pyarrow")

import pyarrow as pa

from cpr.operations.catalogue import listing_columns, parquet_page_headers, rows, segments
from cpr.operations.catalogue.catalogue_results import CatalogueResults


@pytest.fixture(autouse=True)
def _files_are_many_and_settled(monkeypatch):
    """Those of a test are few, and written just now, which is too young for a catalogue."""
    monkeypatch.setattr(catalogue, "_FEW", 1)
    monkeypatch.setattr(listing_columns, "_SETTLED_SECONDS", -3600.0)


def _plain(listed):
    found = asdict(listed)
    found["problems"] = [(str(one), one.url) for one in listed.problems]
    return found


def _require_same(url, limit=None):
    assert _plain(list_results(url, limit)) == _plain(list_records(url, limit, lambda **_: None))
    found, expected = (
        CatalogueResults(url, lambda **_: None),
        RecordResults(find_records(url), lambda **_: None),
    )
    assert found.count == expected.count
    assert list(map(str, found.problems)) == list(map(str, expected.problems))
    assert found.all() == expected.all()
    results = expected.all()
    for one in results[:: max(1, len(results) // 3)]:
        for wanted in (one.url, one.reference.file_name, one.reference.file_name[:6]):
            assert found.called(wanted) == expected.called(wanted)
        if (made := one.reference.made) is not None:
            record = {one.record.rpartition("/")[2]}
            assert found.in_records(record) == expected.in_records(record) != []
            for choice in (
                ResultFilter(task=made.task),
                ResultFilter(flow_run=(made.flow_run or "")[:9]),
                ResultFilter(name="cell"),
            ):
                assert found.beside(choice) == expected.beside(choice)
            nearest = [NearestResults(), NearestResults()]
            for either, kept in zip((found, expected), nearest, strict=True):
                for other in either.near(made):
                    how = other.reference.made
                    if how is not None and how.task == made.task and is_before(how, made):
                        kept.add(how)
            assert nearest[0].nearest(made) == nearest[1].nearest(made)
    names = {one.reference.file_name for one in results[::3]}
    assert found.named(names) == expected.named(names)


def test_of_very_many_that_are_near_the_newest_are_read(tmp_path, monkeypatch):
    for name, content in records(200, str(tmp_path)):
        (tmp_path / name).write_bytes(content)
    list_results(str(tmp_path))
    known = CatalogueResults(str(tmp_path), lambda **_: None)
    asked = next(one for one in known.called("cell-0000160-0"))
    made = asked.reference.made
    before = sorted((one for one in known.near(made)), key=lambda one: one.reference.made.at)
    assert len(before) == 40
    assert all(is_before(one.reference.made, made) for one in before)
    monkeypatch.setattr("cpr.operations.catalogue.catalogue_results._MOST_NEAR", 10)
    assert sorted(known.near(made), key=lambda one: one.reference.made.at) == before[-10:]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("seed", range(2))
def test_answers_are_those_of_the_records(tmp_path, damage, seed):
    dice = random.Random(f"{damage} {seed}")
    folder = tmp_path / "results"
    fill(folder, dice, 100)
    url = str(folder)
    _require_same(url)
    assert files(folder)
    for limit in (None, 5):
        DAMAGES[damage](folder, dice)
        _require_same(url, limit)
        change(folder, dice)
        _require_same(url, limit)
        fill(folder, dice, 80)
        _require_same(url, limit)


def test_sizes_add_up_to_more_than_64_bits(tmp_path):
    """A record may claim up to 2**63 - 1 bytes."""
    for number in range(20):
        record = target(random.Random(1), key=f"{number:016x}", nbytes=2**63 - 1)
        put(f"{tmp_path}/{number:032x}", prefect_record(record))
    listed = list_results(str(tmp_path))
    assert listed.nbytes == 20 * (2**63 - 1)
    assert [run.nbytes for run in listed.runs] == [listed.nbytes]
    _require_same(str(tmp_path))


def test_what_is_known_is_not_read_again(tmp_path, monkeypatch):
    from cpr.io.stores.local import LocalStore

    dice = random.Random(1)
    fill(tmp_path, dice, 200)
    list_results(str(tmp_path))
    read = []
    fetch = LocalStore.fetch_version
    monkeypatch.setattr(
        LocalStore, "fetch_version", lambda self, path, *rest: read.append(path) or fetch(self, path, *rest)
    )
    again = list_results(str(tmp_path))
    assert again.targets
    # Only those that something is wrong with, for what is wrong is told in full.
    assert len(set(read)) == len([one for one in again.problems if os.path.getsize(one.url)]) < 50


def test_a_record_that_was_written_just_now_is_read_again(tmp_path, monkeypatch):
    # Within a tick of the file system's clock two contents have the same time.
    monkeypatch.undo()
    fill(tmp_path, random.Random(2), 150)
    list_results(str(tmp_path))
    assert not files(tmp_path)


def test_racing_commands_agree_and_leave_little(tmp_path):
    fill(tmp_path, random.Random(3), 300)
    expected = _plain(list_records(str(tmp_path), None, lambda **_: None))
    with ThreadPoolExecutor(16) as pool:
        for _ in range(2):
            found = list(pool.map(lambda _: _plain(list_results(str(tmp_path))), range(16)))
            assert all(one == expected for one in found)
    _require_same(str(tmp_path))
    assert len(files(tmp_path)) <= 1


def test_the_number_of_files_grows_with_the_logarithm(tmp_path):
    dice = random.Random(4)
    for _ in range(30):
        fill(tmp_path, dice, 70)
        list_results(str(tmp_path))
    assert len(files(tmp_path)) <= 6
    _require_same(str(tmp_path))


@pytest.fixture
def small_files(monkeypatch):
    """Files of the catalogue that are full with few rows, and chunks of rows that end within a record."""
    monkeypatch.setattr(segments, "FULL_ROWS", 40)
    monkeypatch.setattr(segments, "_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(rows, "_CHUNK", 5)


def test_many_rows_are_in_several_files_and_each_record_in_one(tmp_path, small_files):
    import pyarrow.parquet as pq

    dice = random.Random(17)
    fill(tmp_path, dice, 60)
    for number in range(20):
        put(f"{tmp_path}/{number:032x}", prefect_record([target(dice) for _ in range(11)]))
    _require_same(str(tmp_path))
    tables = [pq.read_table(path) for path in files(tmp_path)]
    assert len(tables) >= 5
    assert all(40 <= table.num_rows < 60 for table in sorted(tables, key=len)[1:])
    assert all(table["name"][0].is_valid for table in tables)
    change(tmp_path, dice)
    fill(tmp_path, dice, 70)
    _require_same(str(tmp_path))
    # Full files that still hold stay as they are, whatever is new.
    full = {path for path in files(tmp_path) if pq.read_metadata(path).num_rows >= 40}
    fill(tmp_path, dice, 70)
    assert list_results(str(tmp_path)).targets
    assert full <= set(files(tmp_path))


def test_a_file_that_is_taken_in_by_half_stays(tmp_path, small_files, monkeypatch):
    """Else what was read of it would pass for all of it."""
    import pyarrow.parquet as pq

    monkeypatch.setattr(segments, "FULL_ROWS", 400)
    dice = random.Random(23)
    for number in range(8):
        put(f"{tmp_path}/{number:032x}", prefect_record([target(dice) for _ in range(11)]))
    _require_same(str(tmp_path))
    (before,) = files(tmp_path)
    for number in range(8, 90):
        put(f"{tmp_path}/{number:032x}", prefect_record([target(dice)]))
    read = pq.ParquetFile.read_row_group

    def fail(self, number, **options):
        if number == 3:
            raise pa.ArrowMemoryError("no memory")
        return read(self, number, **options)

    with monkeypatch.context() as broken:
        broken.setattr(pq.ParquetFile, "read_row_group", fail)
        list_results(str(tmp_path))
    assert before in files(tmp_path)
    _require_same(str(tmp_path))


def test_who_interrupts_leaves_the_files_that_were_full(tmp_path, small_files):
    for name, blob in records(300, "s3://bucket/data"):
        put(f"{tmp_path}/{name}", blob)
    seen = []

    def stop_after(count):
        def read(total):
            assert total > len(seen)
            seen.append(None)
            if len(seen) == count:
                raise KeyboardInterrupt

        return read

    with pytest.raises(KeyboardInterrupt):
        list_results(str(tmp_path), on_progress=stop_after(200))
    seen.clear()
    assert list_results(str(tmp_path), on_progress=stop_after(0)).targets == 300
    assert 100 <= len(seen) <= 150
    _require_same(str(tmp_path))


def test_who_may_not_write_gets_the_same_answer_and_no_warning(tmp_path, monkeypatch, caplog):
    fill(tmp_path, random.Random(5), 150)

    def refused(*_, **__):
        raise CprError("no permission to write here")

    monkeypatch.setattr(segments.io, "writing", refused)
    with caplog.at_level(logging.WARNING):
        _require_same(str(tmp_path))
    assert not files(tmp_path)
    assert not caplog.records


def test_a_link_to_a_record_is_read_each_time(tmp_path):
    # The link stays as it is when what it leads to changes.
    fill(tmp_path / "results", random.Random(6), 150)
    put(f"{tmp_path}/elsewhere", prefect_record(target(random.Random(7))))
    os.symlink(f"{tmp_path}/elsewhere", f"{tmp_path}/results/{'0' * 32}")
    _require_same(f"{tmp_path}/results")
    put(f"{tmp_path}/elsewhere", prefect_record(target(random.Random(8))))
    _require_same(f"{tmp_path}/results")


def varint(value: int) -> bytes:
    """A number as Thrift writes it, seven bits a byte."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def test_page_headers_that_claim_more_than_the_footer_are_not_read(tmp_path):
    # Whoever decodes a page makes room for what its header claims, before anything else is looked at.
    import pyarrow.parquet as pq

    fill(tmp_path, random.Random(16), 120)
    assert list_results(str(tmp_path)).targets
    (kept,) = files(tmp_path)
    blob = kept.read_bytes()
    footer = pq.ParquetFile(kept).metadata
    starts = set()
    for number in range(footer.num_columns):
        column = footer.row_group(0).column(number)
        places = [column.dictionary_page_offset, column.data_page_offset]
        starts |= {place for place in places if place is not None}
    assert parquet_page_headers.are_honest(blob, footer, rows.ENCODED)
    for start in starts:
        claims = parquet_page_headers.read_header(blob, start)
        # Type, then the size when unpacked, each after its field's own byte.
        assert blob[start] == blob[start + 2] == 0x15
        lie = varint(2 * (claims.unpacked + (1 << 30)))
        honest = varint(2 * claims.unpacked)
        assert blob[start + 3 : start + 3 + len(honest)] == honest
        # As long as it was, so that all else stays in its place: of the packed size some bytes are lost.
        forged = blob[: start + 3] + lie + blob[start + 3 + len(lie) :]
        assert not parquet_page_headers.are_honest(forged, footer, rows.ENCODED)
    for cut in range(4, len(blob) - footer.serialized_size - 8, 97):
        assert not parquet_page_headers.are_honest(blob[:cut], footer, rows.ENCODED)


_WITHOUT_DICTIONARY = [
    one.name for one in rows.SCHEMA if one.name not in rows.ENCODED and one.type != pa.bool_()
]


@pytest.mark.parametrize("column", _WITHOUT_DICTIONARY)
def test_pages_that_hold_a_value_in_less_bytes_than_it_has_are_not_read(tmp_path, column):
    # 18 kB of texts that share all but nothing with the one before took a gigabyte.
    import pyarrow.parquet as pq

    text = next(field for field in rows.SCHEMA if field.name == column).type in (pa.string(), pa.binary())
    values = {"name": b"name", "version": "1", "kind": 1, "cached": True, "nbytes": 1, "size": 1, "at": 1}
    row = {one.name: values.get(one.name, 1 if one.name == "places" else "a" * 16) for one in rows.SCHEMA}
    row[column] = row[column] * 4096 if text else row[column]
    table = pa.Table.from_pylist([row] * 1000, schema=rows.SCHEMA)
    plain = {one: "PLAIN" for one in rows.SCHEMA.names if one not in (*rows.ENCODED, "cached", column)}

    def stored(dictionaries, **encodings):
        path = tmp_path / "a.parquet"
        pq.write_table(
            table,
            path,
            compression="zstd",
            use_dictionary=dictionaries,
            column_encoding={**plain, **encodings},
            write_statistics=False,
        )
        return path

    path = stored(rows.ENCODED, **{column: "PLAIN"})
    assert parquet_page_headers.are_honest(path.read_bytes(), pq.ParquetFile(path).metadata, rows.ENCODED)
    others = ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"] if text else ["DELTA_BINARY_PACKED"]
    for encoding in others:
        path = stored(rows.ENCODED, **{column: encoding})
        kept = path.rename(tmp_path / f"{'0' * 16}.{segments._digest(path.read_bytes())}.parquet")
        assert segments.read(str(kept), kept.stat().st_size, rows.SCHEMA.names) is None
    # The footer says of each column whether it has a dictionary; it is not asked.
    path = stored([*rows.ENCODED, column])
    assert not parquet_page_headers.are_honest(path.read_bytes(), pq.ParquetFile(path).metadata, rows.ENCODED)


@pytest.mark.parametrize("values", [-1, 0, 119, 121, (1 << 31) - 1])
def test_pages_have_as_many_values_as_there_are_rows(tmp_path, values):
    import pyarrow.parquet as pq

    fill(tmp_path, random.Random(16), 120)
    assert list_results(str(tmp_path)).targets
    (kept,) = files(tmp_path)
    blob, footer = kept.read_bytes(), pq.ParquetFile(kept).metadata
    number = footer.schema.names.index("nbytes")
    column = footer.row_group(0).column(number)
    header = parquet_page_headers.read_header(blob, column.data_page_offset)
    assert header.values == footer.num_rows != values

    class Said:
        """A footer that agrees with the page's number of values only where that is honest."""

        num_rows, num_columns = values, 1

        def column(self, _):
            return column

        def row_group(self, _):
            return self

        num_row_groups = 1

    assert not parquet_page_headers.are_honest(blob, Said(), rows.ENCODED)


@pytest.mark.parametrize("few", [1, 30, 10_000])
def test_what_is_there_is_listed_once(tmp_path, monkeypatch, few):
    from cpr.io.stores.local import LocalStore

    fill(tmp_path, random.Random(14), 60)
    expected = _plain(list_records(str(tmp_path), None, lambda **_: None))
    listed = []
    pages = LocalStore.pages
    monkeypatch.setattr(LocalStore, "pages", lambda self, path: listed.append(path) or pages(self, path))
    monkeypatch.setattr(LocalStore, "walk", None)
    monkeypatch.setattr(catalogue, "_FEW", few)
    assert _plain(list_results(str(tmp_path))) == expected
    assert find_results(str(tmp_path)).count
    assert listed == [str(tmp_path)] * 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *product(
            ["type", "location", "file", "data_hash", "task", "flow", "version"],
            [b"\xff\xfe", b"\xed\xa0\x80"],
        ),
        ("location", None),
        ("file", None),
        ("version", None),
    ],
)
def test_texts_that_are_none_are_not_believed(tmp_path, name, text):
    import pyarrow.parquet as pq

    fill(tmp_path, random.Random(18), 120)
    expected = _plain(list_results(str(tmp_path)))
    (kept,) = files(tmp_path)
    table = pq.read_table(kept).cast(rows.SCHEMA)
    blobs = [None if one is None else text for one in table[name].to_pylist()]
    array = pa.array(blobs, pa.binary())
    forged = pa.StringArray.from_buffers(
        len(array), array.buffers()[1], array.buffers()[2], array.buffers()[0]
    )
    table = table.set_column(table.schema.names.index(name), table.schema.field(name), forged)
    kept.unlink()
    pq.write_table(table, kept, use_dictionary=segments.ENCODED, write_statistics=False)
    kept.rename(kept.with_name(f"{kept.name[:17]}{segments._digest(kept.read_bytes())}.parquet"))
    assert _plain(list_results(str(tmp_path))) == expected


def test_a_file_of_another_content_than_its_name_says_is_not_believed(tmp_path):
    # Sound, of the right schema, and wrong: only the digest tells.
    import pyarrow.parquet as pq

    fill(tmp_path, random.Random(15), 120)
    assert list_results(str(tmp_path)).targets
    (kept,) = files(tmp_path)
    table = pq.read_table(kept)
    other = table.set_column(
        table.schema.names.index("file"),
        "file",
        pa.array([None if name is None else f"x{name}" for name in table["file"].to_pylist()], pa.string()),
    )
    pq.write_table(other, kept, use_dictionary=segments.ENCODED)
    # It would be believed under its own name.
    assert segments.read(str(kept), kept.stat().st_size, ["file"]) is None
    renamed = kept.with_name(f"{kept.name[:17]}{segments._digest(kept.read_bytes())}.parquet")
    renamed.write_bytes(kept.read_bytes())
    assert segments.read(str(renamed), renamed.stat().st_size, ["file"]) is not None
    renamed.unlink()
    _require_same(str(tmp_path))


def test_without_pyarrow_all_records_are_read(tmp_path, monkeypatch):
    fill(tmp_path, random.Random(9), 150)
    expected = _plain(list_results(str(tmp_path)))
    monkeypatch.setattr(catalogue, "find_spec", lambda _: None)
    assert _plain(list_results(str(tmp_path))) == expected


def test_records_may_name_less_here_than_where_the_catalogue_was_written(tmp_path, monkeypatch):
    fill(tmp_path / "results", random.Random(10), 150)
    url = f"{tmp_path}/results"
    assert list_results(url).targets
    config = tmp_path / "cpr.toml"
    config.write_text(f'records = ["{tmp_path}"]\n')
    monkeypatch.setenv("CPR_STORAGE", str(config))
    _require_same(url)
    assert not list_results(url).targets


def test_results_as_a_table(tmp_path):
    import cpr

    fill(tmp_path, random.Random(11), 120)
    expected = list_results(str(tmp_path))
    for _ in range(2):
        frame = cpr.results(str(tmp_path))
        assert len(frame) == expected.targets
        assert frame["nbytes"].sum() == expected.nbytes
        assert frame["made"].is_monotonic_increasing
        (listed,) = [one for one in expected.newest if one.url == frame["url"].iloc[-1]]
        row = frame.iloc[-1]
        assert (row["type"], row["record"], row["made"]) == (listed.type, listed.record, listed.when)
    assert dict(frame.dtypes.astype(str)) == dict(cpr.results("memory://no-such-folder").dtypes.astype(str))


def test_on_s3_only_what_is_new_is_asked_for(s3_url, monkeypatch):
    from cpr.io.stores.s3 import S3Store

    monkeypatch.undo()
    monkeypatch.setattr(catalogue, "_FEW", 1)
    for name, blob in records(100, "s3://bucket/data"):
        put(f"{s3_url}/records/{name}", blob)
    url = f"{s3_url}/records"
    expected = _plain(list_records(url, None, lambda **_: None))
    assert _plain(list_results(url)) == expected
    read = []
    fetch = S3Store.fetch_version
    monkeypatch.setattr(
        S3Store, "fetch_version", lambda self, path, *rest: read.append(path) or fetch(self, path, *rest)
    )
    assert _plain(list_results(url)) == expected
    assert not read
    put(f"{url}/{'0' * 32}", prefect_record(target(random.Random(12))))
    _require_same(url)
    assert {path.rpartition("/")[2] for path in read[:1]} == {"0" * 32}


def test_a_catalogue_names_nothing_that_gc_would_keep(tmp_path):
    # Its rows outlive the records: searched for names, it would keep what nothing else refers to.
    fill(tmp_path, random.Random(13), 120)
    list_results(str(tmp_path))
    (kept,) = files(tmp_path)
    assert is_data(str(kept))
    assert owner_of(str(kept)) is None
