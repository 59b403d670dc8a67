"""`cpr.load` of what Prefect has stored: the target, or what is missing to tell which."""

from __future__ import annotations

import json

import numpy as np
import pytest
from prefect import flow

import cpr
from cpr.errors import RecordError
from tests.servers.prefect import results  # noqa: F401 (fixture)


def stored(tmp_path, name: str, value: int) -> cpr.NumpyTarget:
    target = cpr.NumpyTarget.from_path(tmp_path / f"{name}.npy")
    target.set_data(np.full(3, value))
    return target.persist()


@cpr.task
def one(folder):
    return stored(folder, "one", 1)


@cpr.task
def several(folder):
    return {"a": stored(folder, "a", 2), "b": [stored(folder, "b", 3)]}


@pytest.fixture
def records(prefect_server, results, tmp_path):  # noqa: F811
    @flow
    def run():
        return [task.with_options(result_storage=results)(tmp_path) for task in (one, several)]

    run()
    return cpr.results(results)


@pytest.mark.slow
def test_the_record_that_results_names(records):
    assert len(records) == 3
    for row in records.itertuples():
        target = cpr.load(row.record, name=row.url)
        assert target.url == row.url
        assert target.get_data().shape == (3,)


def test_one_target_needs_no_name(records):
    (row,) = records[records.task == "one"].itertuples()
    assert cpr.load(row.record).url == row.url


def test_which_of_several_is_asked_and_the_remedy_works(records):
    record = records[records.task == "several"].record.iloc[0]
    with pytest.raises(RecordError, match="not the record of one resource") as caught:
        cpr.load(record)
    assert caught.value.url == record
    name = caught.value.remedy.split("name=")[1].rstrip(")").strip("'")
    assert cpr.load(record, name=name).get_data().tolist() == [2, 2, 2]
    with pytest.raises(RecordError, match="called missing"):
        cpr.load(record, name="missing")


@pytest.mark.parametrize("document", [{"a": 1}, [], {"metadata": {}, "result": "{}"}])
def test_other_json_is_no_record(tmp_path, document):
    path = tmp_path / "other.json"
    path.write_text(json.dumps(document))
    with pytest.raises(RecordError, match="not a record"):
        cpr.load(path)


@pytest.mark.parametrize("depth", [10, 500, 990, 1010, 100_000])
@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}], ids=["lists", "dicts"])
def test_what_is_nested_without_end_is_no_record(depth, wrap):
    value = 1
    for _ in range(depth):
        value = wrap(value)
    with pytest.raises(cpr.RecordError):
        cpr.load({"x": value})
