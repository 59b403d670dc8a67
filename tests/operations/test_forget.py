"""What is forgotten is computed again, and nothing else is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import prefect
import pytest
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

import cpr
from cpr.operations.forget import forget
from cpr.operations.result_filter import ResultFilter
from cpr.operations.scan import find_records
from cpr.operations.verify import verify
from tests.stored_flow import prefect_record, put, store
from tests.text_format import TextTarget


@pytest.fixture
def results(tmp_path):
    return store(f"{tmp_path}/run")


LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.mark.parametrize(
    ("choice", "kinds"),
    [
        (ResultFilter(task="make_small"), {"small"}),
        (ResultFilter(flow="analyse"), {"small", "large", "image", "table", "chunks"}),
        (ResultFilter(flow_run="abab"), {"small", "large", "image", "table", "chunks"}),
        (ResultFilter(flow_run="ABABABAB-abab"), {"small", "large", "image", "table", "chunks"}),
        (ResultFilter(name="image-"), {"image"}),
        (ResultFilter(before=LATER), {"small", "large", "image", "table", "chunks"}),
        (ResultFilter(before=LATER, task="make_table"), {"table"}),
        (ResultFilter(before=LATER - timedelta(days=99), task="make_table"), set()),
        (ResultFilter(task="make_table", name="image"), set()),
        (ResultFilter(task="make"), set()),
        (ResultFilter(flow_run="cd"), set()),
        (ResultFilter(name=""), set()),
        (ResultFilter(name="data/"), set()),
    ],
)
def test_chosen_cache_entries_go_and_nothing_else(results, choice, kinds):
    before = {record.url for record in find_records(results.url)}
    dry = forget(results.url, choice)
    assert {record.url for record in find_records(results.url)} == before
    done = forget(results.url, choice, delete=True)
    assert done.entries == dry.entries
    gone = {results.records[kind] for kind in kinds}
    assert {one.record for one in done.entries} == gone
    assert {record.url for record in find_records(results.url)} == before - gone
    assert {url for one in done.entries for url in one.results} == {results.targets[k].url for k in kinds}
    assert verify(results.url).intact == 5  # data and the flow's result are there as before
    assert done.kept == bool(kinds)  # the flow's result names them
    assert not forget(results.url, choice, delete=True).entries


def test_by_url(results):
    target = results.targets["table"]
    assert [one.task for one in forget(results.url, ResultFilter(name=target.url)).entries] == ["make_table"]


def test_a_record_with_several_results_goes_as_a_whole(results, tmp_path):
    several = [results.targets[kind].serialize() for kind in ("small", "large")]
    for one in several:
        one["__cpr__"]["made"] |= {"task_run": "f" * 32, "task": "both", "key": "e" * 32}
    url = put(f"{tmp_path}/run/records/{'e' * 32}", prefect_record(several))
    (done,) = forget(results.url, ResultFilter(name="small", task="both")).entries
    assert (done.record, len(done.results)) == (url, 2)


def test_what_passes_on_the_results_of_another_task_is_kept(results, tmp_path):
    record = results.targets["small"].serialize()
    record["__cpr__"]["made"]["key"] = "d" * 32
    own = put(f"{tmp_path}/run/records/{'d' * 32}", prefect_record([record]))
    put(f"{tmp_path}/run/records/{'c' * 32}", prefect_record([record]))
    done = forget(f"{tmp_path}/run/records", ResultFilter(task="make_small"))
    assert own in {one.record for one in done.entries}
    assert f"{tmp_path}/run/records/{'c' * 32}" not in {one.record for one in done.entries}
    assert done.kept == 2


def test_on_s3_a_few_requests_delete_many(s3_url, monkeypatch):
    from cpr.io.stores.s3 import S3Store

    target = TextTarget.from_path(f"{s3_url}/data/x.txt")
    target.set_data("x")
    record = target.serialize()
    record["__cpr__"]["made"] = {"task": "write", "task_run": "a" * 32}
    for number in range(30):
        put(f"{s3_url}/records/{number:032x}", prefect_record(record))
    batches = []
    remove_many = S3Store.remove_many
    monkeypatch.setattr(
        S3Store, "remove_many", lambda self, paths: batches.append(len(paths)) or remove_many(self, paths)
    )
    assert len(forget(f"{s3_url}/records", ResultFilter(task="write"), delete=True).entries) == 30
    assert not list(find_records(f"{s3_url}/records"))
    assert batches == [30]


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
def test_the_next_run_computes_again_what_was_forgotten(tmp_path, prefect_server):
    calls = []

    @cpr.task(cache_result_in_memory=False)
    def first(n):
        calls.append("first")
        target = TextTarget.from_path(f"{tmp_path}/data/first.txt")
        target.set_data("a" * n)
        return target

    @cpr.task(cache_result_in_memory=False)
    def second(text):
        calls.append("second")
        target = TextTarget.from_path(f"{tmp_path}/data/second.txt")
        target.set_data(text.get_data() + "b")
        return target

    @prefect.flow(persist_result=True, result_serializer=cpr.cpr_serializer())
    def both():
        return second(first(3))

    url = f"{tmp_path}/records"
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: url}):
        both()
        both()
        assert calls == ["first", "second"]
        done = forget(url, ResultFilter(task="first"), delete=True)
        assert [(one.task, len(one.results)) for one in done.entries] == [("first", 1)]
        both()
        assert calls == ["first", "second", "first"]  # it came out the same: second was found
        done = forget(url, ResultFilter(flow="both"), delete=True)
        assert len(done.entries) == 2
        assert done.kept == 3  # results of the flow
        both()
        assert calls[3:] == ["first", "second"]
