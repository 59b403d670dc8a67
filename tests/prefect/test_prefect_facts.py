"""What cpr relies on in Prefect and Prefect does not promise: these tests tell when it changes."""

from __future__ import annotations

import json
import logging
import pickle
import types
from typing import Any

import cloudpickle
import prefect
import pytest
from prefect.cache_policies import DEFAULT, INPUTS, NO_CACHE, TASK_SOURCE
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import FailedRun, PrefectHTTPStatusError
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultRecord, ResultStore
from prefect.serializers import JSONSerializer, Serializer
from prefect.states import Failed, get_state_exception
from prefect.transactions import get_transaction, transaction
from pydantic import Field

import cpr
from cpr.prefect.prefect_internals import (
    cache_key_fn_of,
    ends_others,
    function_of,
    has_left,
    is_detached,
    refreshes,
    source_of,
)
from tests.record_values import same, text_target
from tests.text_format import TextSource

LOADS: list[bytes] = []


class Picky(Serializer):
    """Counts what it is asked to load, and refuses what was marked."""

    type: str = Field(default="cpr-test-picky", frozen=True)

    def dumps(self, obj: Any) -> bytes:
        if obj == "undumpable":
            raise ValueError("cannot be dumped")
        return json.dumps(obj).encode()

    def loads(self, blob: bytes) -> Any:
        LOADS.append(blob)
        if b"gone" in blob:
            raise ValueError("what it names is gone")
        return json.loads(blob)


@pytest.fixture
def store(tmp_path):
    def made(serializer):
        return ResultStore(
            result_storage=LocalFileSystem(basepath=str(tmp_path)),
            serializer=serializer,
            cache_result_in_memory=False,
        )

    LOADS.clear()
    return made


def test_raising_in_loads_is_a_miss(store):
    picky = store(Picky())
    picky.write("gone", key="k")
    picky.write("there", key="l")
    assert not picky.exists("k")
    assert picky.exists("l")


def test_a_hit_loads_twice_a_miss_once(store):
    picky = store(Picky())
    picky.write("there", key="k")
    with transaction(key="k", store=picky) as txn:
        assert txn.is_committed()
        assert txn.read().result == "there"
    assert len(LOADS) == 2
    with transaction(key="other", store=picky) as txn:
        assert not txn.is_committed()
        txn.stage("new")
    assert len(LOADS) == 2


def test_a_miss_is_overwritten(store):
    picky = store(Picky())
    picky.write("gone", key="k")
    with transaction(key="k", store=picky) as txn:
        assert not txn.is_committed()
        txn.stage("new")
    assert picky.read("k").result == "new"


def test_an_error_in_dumps_is_not_raised(store):
    picky = store(Picky())
    with transaction(key="k", store=picky) as txn:
        txn.stage("undumpable")
    assert not picky.exists("k")


def test_the_record_names_the_serializer(store, tmp_path):
    store(cpr.cpr_serializer(verify="full")).write([1], key="k")
    record = json.loads((tmp_path / "k").read_text())
    assert record["metadata"]["serializer"] == {"type": "cpr", "verify": "full"}
    assert json.loads(record["result"]) == {"__cpr__": ["value", [1]]}
    # And reads with it, whatever the store is set to.
    assert store(Picky()).read("k").serializer == cpr.cpr_serializer(verify="full")


@pytest.mark.parametrize("key", ["data", "metadata", "result", "serializer", "expiration", "prefect_version"])
def test_some_top_level_keys_are_taken_for_old_records(key):
    blob = json.dumps({key: {"x": 1}}).encode()
    serializer = cpr.cpr_serializer()
    stored = serializer.dumps(json.loads(blob))
    assert same(ResultRecord.deserialize(stored, backup_serializer=serializer).result, {key: {"x": 1}})


def test_why_one_top_level_key_is_needed():
    # A flow's result is stored bare; with Prefect's own serializer this one comes back as something else.
    record = ResultRecord.deserialize(b'{"data": {"x": 1}}', backup_serializer=JSONSerializer())
    assert record.result == {"x": 1}


def test_metadata_alone_is_checked_with_key_storage(tmp_path):
    store = ResultStore(
        result_storage=LocalFileSystem(basepath=str(tmp_path / "results")),
        metadata_storage=LocalFileSystem(basepath=str(tmp_path / "keys")),
        serializer=Picky(),
    )
    LOADS.clear()
    store.write("gone", key="k")
    assert store.exists("k")
    assert LOADS == []


def test_hits_of_a_target_through_prefects_store(store, tmp_path):
    ours = store(cpr.cpr_serializer())
    target = text_target(base=str(tmp_path / "data"))
    ours.write({"x": (target,)}, key="k")
    assert ours.exists("k")
    assert same(ours.read("k").result, {"x": (target,)})
    (tmp_path / "data").joinpath(target.url.rpartition("/")[2]).unlink()
    assert not ours.exists("k")


def test_an_unknown_serializer_is_a_miss_not_a_crash(store, tmp_path):
    ours = store(cpr.cpr_serializer())
    ours.write(1, key="k")
    path = tmp_path / "k"
    path.write_text(path.read_text().replace('"type":"cpr"', '"type":"never-registered"'))
    assert not ours.exists("k")


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
def test_an_error_in_dumps_does_not_fail_the_task(prefect_server, results):
    @prefect.task(cache_policy=INPUTS, persist_result=True, result_serializer=Picky(), result_storage=results)
    def one(x):
        return "undumpable"

    state = one(1, return_state=True)
    assert state.is_completed()
    assert list(results.iterdir()) == []


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
def test_a_failing_key_function_means_nothing_is_stored(prefect_server, results, caplog, capfd):
    def key(context, arguments):
        raise ValueError("argument 'lock' cannot take part")

    @prefect.task(cache_key_fn=key, result_storage=results)
    def one(x):
        return x

    assert one(1) == 1
    assert list(results.iterdir()) == []
    # The oldest Prefect's loggers do not pass on what they print.
    said = caplog.text + "".join(capfd.readouterr())
    assert "computing cache key" in said
    assert "argument 'lock'" in said


def test_a_task_knows_its_source_also_on_a_worker():
    @prefect.task
    def one(x):
        return x + 1

    assert "return x + 1" in source_of(one)
    assert source_of(pickle.loads(cloudpickle.dumps(one))) == source_of(one)
    assert source_of(one.with_options(retries=1)) == source_of(one)


def test_the_policy_of_a_cache_key_fn_has_the_function():
    def key(context, arguments):
        return "key"

    assert cache_key_fn_of(prefect.task(cache_key_fn=key)(lambda x: x).cache_policy) is key
    assert all(cache_key_fn_of(policy) is None for policy in (INPUTS, DEFAULT, NO_CACHE, None))


def test_tasks_and_flows_have_their_function():
    def one(x):
        return x

    assert function_of(prefect.task(one)) is function_of(prefect.flow(one)) is one
    assert function_of(one) is None
    assert function_of(types.SimpleNamespace(fn=one)) is None


def test_a_transaction_knows_whether_it_overwrites_and_whether_it_is_left(store):
    for overwrite in (True, False):
        with transaction(key="k", store=store(Picky()), overwrite=overwrite) as txn:
            assert refreshes(txn) is overwrite
            assert not has_left(txn)
        assert has_left(txn)
    assert not refreshes(None)


def test_a_transaction_stores_those_inside_of_it_before_its_own(store):
    seen = []

    class Asks(Picky):
        type: str = Field(default="cpr-test-asks", frozen=True)

        def dumps(self, obj):
            seen.append((obj, ends_others(get_transaction())))
            return super().dumps(obj)

    results = store(Asks())
    with transaction(key="outer", store=results) as outer:
        for key in ("one", "other"):
            with transaction(key=key, store=results) as inner:
                inner.stage(key)
        assert ends_others(outer)
        outer.stage("outer")
    assert seen == [("one", True), ("other", True), ("outer", False)]
    assert not ends_others(None)


def test_the_context_of_a_flow_knows_whether_it_is_a_copy():
    assert FlowRunContext.model_fields["detached"].default is False
    assert not is_detached(None)


def test_policies_that_do_not_look_at_sources(tmp_path):
    # Why cpr adds SourceVersions: to Prefect a source is an object, the same whatever is there.
    keys = []
    for text in ("one", "other"):
        (tmp_path / "a.txt").write_text(text)
        source = TextSource.from_path(tmp_path / "a.txt")
        keys.append(INPUTS.compute_key(None, {"x": source}, {}))
    assert keys[0] == keys[1]
    assert TASK_SOURCE.compute_key(None, {"x": source}, {}) is None


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
def test_the_error_of_a_task_is_stored_as_its_result(prefect_server, results):
    @prefect.task(persist_result=True, result_serializer=Picky(), result_storage=results)
    def one():
        raise LookupError("no plane 7")

    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("prefect.task_runs")
    logger.addHandler(handler)
    try:
        assert one(return_state=True).is_failed()
    finally:
        logger.removeHandler(handler)
    # Which is why the serializer takes errors: Picky does not, and a line blames the result.
    assert any("Failed to write result" in line for line in said)
    state = Failed(data=None, message="x")
    state.data = "LookupError: no plane 7"
    with pytest.raises(FailedRun, match="no plane 7"):
        raise get_state_exception(state)


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
def test_the_server_takes_the_nulls_that_its_client_sends(prefect_server):
    """Not with fastapi 0.151 and later; `prefect deploy` asks so."""
    with get_client(sync_client=True) as client, pytest.raises(PrefectHTTPStatusError, match="404 Not Found"):
        client.read_workers_for_work_pool("no-such-pool")
