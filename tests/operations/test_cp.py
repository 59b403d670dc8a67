"""Results copied from place to place: digests compared, records saying where their targets are now."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import cpr
from cpr import io
from cpr.operations.cp import copy_results
from cpr.operations.scan import find_records
from cpr.operations.verify import verify
from tests.stored_flow import get, prefect_record, put, store


def values(url: str) -> dict[str, str]:
    return {
        io.split(record.url)[1]: json.dumps([one.load().data_hash for one in record.targets])
        for record in find_records(url)
    }


def test_everything_below_keeps_its_path(tmp_path):
    done = store(f"{tmp_path}/from")
    result = copy_results(f"{tmp_path}/from", f"{tmp_path}/to")
    assert (result.targets, result.records, result.failed) == (5, 6, [])
    io.remove(done.targets["small"].url)  # nothing refers to the old place
    assert verify(f"{tmp_path}/to").intact == 5
    assert values(f"{tmp_path}/to") == values(f"{tmp_path}/from")
    place = done.records["image"].replace("/from/", "/to/")
    assert json.loads(get(place))["metadata"]["storage_key"] == place
    targets = [one for record in find_records(f"{tmp_path}/to") for one in record.targets]
    assert all(one.url.startswith(f"{tmp_path}/to/data/") for one in targets)
    small = next(one for one in targets if one.fields["name"] == "small").load()
    assert small.get_made() == done.targets["small"].get_made()
    assert copy_results(f"{tmp_path}/from", f"{tmp_path}/to").targets == 5  # it is there already


def test_targets_elsewhere_come_together(tmp_path):
    store(f"{tmp_path}/from")
    result = copy_results(f"{tmp_path}/from/records", f"{tmp_path}/to")
    assert not result.failed
    assert verify(f"{tmp_path}/to").intact == 5
    assert len(io.find(f"{tmp_path}/to/data/*.tif")) == 1
    other = copy_results(f"{tmp_path}/from/records", f"{tmp_path}/to2", data=f"{tmp_path}/pixels")
    assert not other.failed
    assert len(io.find(f"{tmp_path}/pixels/*.tif")) == 1


def test_targets_of_several_buckets_stay_apart(tmp_path):
    """The same name in two buckets and on a disk is three targets, of which none takes another's place."""
    base = uuid.uuid4().hex
    places = [f"memory://{base}-a/x", f"memory://{base}-b/x", f"{tmp_path}/x"]
    stored = []
    for number, place in enumerate(places):
        target = cpr.NumpyTarget.from_path(f"{place}/same.npy")
        target.set_data(np.arange(5))
        stored.append(target.serialize())
        put(f"{tmp_path}/records/{number}", prefect_record(stored[-1]))
    put(f"{tmp_path}/records/all", prefect_record({"__cpr__": ["value", stored]}))
    result = copy_results(f"{tmp_path}/records", f"{tmp_path}/to")
    assert (result.targets, result.records, result.failed) == (3, 4, [])
    for place in places:
        for url in io.find(f"{place}/*"):
            io.remove(url)
    assert verify(f"{tmp_path}/to").intact == 3
    copied = {one.url for record in find_records(f"{tmp_path}/to") for one in record.targets}
    assert len(copied) == 3
    assert all(url.startswith(f"{tmp_path}/to/data/") for url in copied)


def test_again_copies_nothing(tmp_path, monkeypatch):
    store(f"{tmp_path}/from", ("small", "large"))
    copy_results(f"{tmp_path}/from", f"{tmp_path}/to")
    before = {url: stat.version for url, stat in io.find(f"{tmp_path}/to/data/*").items()}
    assert copy_results(f"{tmp_path}/from", f"{tmp_path}/to").targets == 2
    assert {url: stat.version for url, stat in io.find(f"{tmp_path}/to/data/*").items()} == before
    put(next(iter(before)), b"damaged")
    assert copy_results(f"{tmp_path}/from", f"{tmp_path}/to").targets == 2
    assert verify(f"{tmp_path}/to").intact == 2


@pytest.mark.parametrize("kind", ["small", "large", "chunks"])
def test_damage_is_not_copied(tmp_path, kind):
    done = store(f"{tmp_path}/from", (kind, "image"))
    url = done.targets[kind].url + ("/c/1/1" if kind == "chunks" else "")
    blob = bytearray(get(url))
    blob[-1] ^= 1
    put(url, bytes(blob))
    put(f"{tmp_path}/from/records/cut", prefect_record(1)[:-5])
    put(f"{tmp_path}/from/records/pickle", prefect_record("x", "pickle"))
    result = copy_results(f"{tmp_path}/from", f"{tmp_path}/to")
    assert result.foreign == 1
    assert {(one.kind, io.split(one.source)[1]) for one in result.failed} == {
        ("target", io.split(done.targets[kind].url)[1]),
        ("record", io.split(done.records[kind])[1]),
        ("record", io.split(done.flow)[1]),
        ("record", "cut"),
    }
    assert (result.targets, result.records) == (1, 1)
    assert verify(f"{tmp_path}/to").wrong == []


def test_one_run(tmp_path):
    done = store(f"{tmp_path}/from", ("small",))
    other = done.records["small"].replace("/records/", "/records/other")
    put(other, get(done.records["small"]).decode().replace("ab" * 16, "cd" * 16))
    result = copy_results(f"{tmp_path}/from", f"{tmp_path}/to", flow_run="cdcdcdcd-cd")
    assert (result.targets, result.records) == (1, 1)


def test_not_into_itself(tmp_path):
    with pytest.raises(cpr.TransferError, match="own place"):
        copy_results(str(tmp_path), f"{tmp_path}/copy")


@pytest.mark.s3
def test_to_a_bucket_and_back(s3_url, tmp_path):
    store(f"{tmp_path}/from")
    assert not copy_results(f"{tmp_path}/from", s3_url).failed
    assert not copy_results(s3_url, f"{tmp_path}/back").failed
    assert verify(f"{tmp_path}/back").intact == 5
    assert values(f"{tmp_path}/back") == values(f"{tmp_path}/from")


def contents(folder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["small", "large", "table", "chunks"])
def test_an_intact_result_is_never_replaced(tmp_path, kind):
    """A record of the source names other bytes under the name and key of what was copied before."""
    done = store(f"{tmp_path}/from", (kind,))
    assert not copy_results(done.url, f"{tmp_path}/to").failed
    good = done.targets[kind].serialize()["__cpr__"]
    before = contents(tmp_path / "to" / "data")
    other = type(done.targets[kind]).from_path(f"{tmp_path}/other/x{good['ext']}")
    other.set_data({"table": pd.DataFrame({"z": [1]})}.get(kind, np.arange(7.0)))
    forged = {**other.serialize()["__cpr__"], **{name: good[name] for name in ("location", "name", "key")}}
    mine, theirs = Path(done.targets[kind].url), Path(other.url)
    shutil.rmtree(mine) if mine.is_dir() else mine.unlink()
    shutil.copytree(theirs, mine) if theirs.is_dir() else shutil.copy(theirs, mine)
    for path in (theirs.parent / ".cpr").glob("*"):
        shutil.copy(path, mine.parent / ".cpr" / path.name.replace(theirs.name, mine.name))
    put(f"{tmp_path}/from/records/forged", prefect_record({"__cpr__": forged}))
    result = copy_results(done.url, f"{tmp_path}/to")
    told = [one.error.problem for one in result.failed if one.kind == "target"]
    assert "another result, or a damaged one, is there under this name, and was not replaced" in told
    assert contents(tmp_path / "to" / "data") == before
    assert verify(f"{tmp_path}/to").wrong == []


def test_equal_content_in_other_bytes_is_there_already(tmp_path):
    data = np.random.default_rng(0).integers(0, 9, (64, 64), "uint8")
    target = cpr.ImageTarget.from_path(f"{tmp_path}/from/data/a.tif")
    target.set_data(data)
    put(f"{tmp_path}/from/records/a", prefect_record(target.serialize()))
    assert not copy_results(f"{tmp_path}/from", f"{tmp_path}/to").failed
    place = target.url.replace("/from/", "/to/")
    tifffile.imwrite(place, data)
    before = get(place)
    assert not copy_results(f"{tmp_path}/from", f"{tmp_path}/to").failed
    assert get(place) == before


def test_damage_is_repaired_only_where_a_record_there_says_what_it_was(tmp_path):
    done = store(f"{tmp_path}/from", ("small",))
    place = done.targets["small"].url.replace("/from/", "/to/")
    put(place, b"something")
    result = copy_results(done.url, f"{tmp_path}/to")
    assert [one.kind for one in result.failed] == ["target", "record", "record"]
    assert get(place) == b"something"
    io.remove(place)
    assert not copy_results(done.url, f"{tmp_path}/to").failed
    put(place, b"something")
    assert not copy_results(done.url, f"{tmp_path}/to").failed
    assert get(place) == get(done.targets["small"].url)
