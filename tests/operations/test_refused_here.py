"""What only this machine's configuration refuses is no damage: nothing of it is dropped or deleted."""

from __future__ import annotations

import json

import pytest

from cpr.io.config import VARIABLE
from cpr.operations.verify import heal, verify
from tests.stored_flow import get, prefect_record, put, store

PLACES = {
    "a host that is not configured": "sftp://files.lab/results",
    "a path of another system": "C:\\results",
}
HOSTILE = {
    "a way up": "/data/../etc",
    "a chain": "zip::s3://bucket/results",
    "a bucket that is none": "s3://a b/results",
}


def altered(done, **fields):
    record = done.targets["small"].serialize()
    record["__cpr__"].update(fields)
    return put(f"{done.url}/records/{'1' * 32}", prefect_record(record))


def test_a_narrower_list_of_places_drops_nothing(tmp_path, monkeypatch):
    done = store(str(tmp_path))
    before = {url: get(url) for url in [*done.records.values(), done.flow]}
    monkeypatch.setenv(VARIABLE, json.dumps({"records": ["/elsewhere"]}))
    report = verify(f"{done.url}/records")
    assert report.not_checked
    assert {one.state for one in report.wrong} == {"not checked"}
    assert heal(f"{done.url}/records", report) == []
    assert {url: get(url) for url in before} == before


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_places_that_another_machine_may_take(place, tmp_path):
    done = store(str(tmp_path), ("small",))
    url = altered(done, location=place)
    report = verify(f"{done.url}/records")
    assert [one.state for one in report.wrong] == ["not checked"]
    assert heal(f"{done.url}/records", report) == []
    assert get(url)


@pytest.mark.parametrize("place", HOSTILE.values(), ids=HOSTILE)
def test_records_that_no_machine_takes_are_dropped(place, tmp_path):
    done = store(str(tmp_path), ("small",))
    url = altered(done, location=place)
    report = verify(f"{done.url}/records")
    assert [one.state for one in report.wrong] == ["unreadable record"]
    assert heal(f"{done.url}/records", report) == [url]


def test_one_record_that_names_both(tmp_path):
    """One place that is refused here, and one that is damaged nowhere."""
    done = store(str(tmp_path), ("small",))
    here, there = (done.targets["small"].serialize() for _ in range(2))
    there["__cpr__"]["location"] = PLACES["a host that is not configured"]
    url = put(f"{done.url}/records/{'2' * 32}", prefect_record([here, there]))
    report = verify(f"{done.url}/records")
    assert heal(f"{done.url}/records", report) == []
    assert get(url)


@pytest.mark.parametrize("name", ["CPR_PROGRESS", "CPR_ZARR_CODECS", "CPR_MEMORY", "CPR_CONNECTIONS"])
def test_settings_that_are_none_drop_nothing(name, tmp_path, monkeypatch):
    done = store(str(tmp_path))
    monkeypatch.setenv(name, "pickle")
    report = verify(f"{done.url}/records")
    assert {one.state for one in report.wrong} <= {"not checked"}
    assert heal(f"{done.url}/records", report) == []
    monkeypatch.delenv(name)
    assert all(get(url) for url in done.records.values())
