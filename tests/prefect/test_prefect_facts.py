"""What cpr relies on in Prefect and Prefect does not promise: these tests tell when it changes."""

from __future__ import annotations

import json
from typing import Any

import prefect
import pytest
from prefect.cache_policies import INPUTS
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultRecord, ResultStore
from prefect.serializers import JSONSerializer, Serializer
from prefect.transactions import transaction
from pydantic import Field

import cpr
from tests.record_values import same, text_target

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
