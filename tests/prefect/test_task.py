"""cpr.task: what it has stored when it completes, on every kind of function; TargetInputs."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import threading
import types

import cloudpickle
import numpy as np
import prefect
import pytest
from prefect.cache_policies import INPUTS, NO_CACHE, TASK_SOURCE
from prefect.settings import PREFECT_TASKS_DEFAULT_NO_CACHE, temporary_settings

import cpr
import cpr.utilities
from cpr.errors import EncodeError, FormatError, TransferError
from tests.record_values import Cell, same, text_target
from tests.text_format import TextTarget

WITH_SERVER = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]


def context_of(task):
    return types.SimpleNamespace(task=task, task_run=None)


def key_of(policy, task, **inputs):
    return policy.compute_key(context_of(task), inputs, {})


@cpr.task
def one(x, y=1):
    return x


@cpr.task(name="other")
def two(x, y=1):
    return x


class TestPolicy:
    def test_equal_content_in_any_order(self):
        policy = cpr.TargetInputs()
        assert key_of(policy, one, x=text_target("a"), y=1) == key_of(policy, one, y=1, x=text_target("a"))
        assert key_of(policy, one, x=text_target("a")) != key_of(policy, one, x=text_target("b"))

    def test_two_tasks_share_nothing(self):
        assert key_of(cpr.TargetInputs(), one, x=1) != key_of(cpr.TargetInputs(), two, x=1)

    def test_a_new_name_changes_nothing(self):
        renamed = one.with_options(name="prettier", task_run_name="{x}")
        assert key_of(one.cache_policy, renamed, x=1) == key_of(one.cache_policy, one, x=1)

    def test_arguments_can_be_left_out(self):
        policy = cpr.TargetInputs() - "y"
        assert key_of(policy, one, x=1, y=threading.Lock()) == key_of(policy, one, x=1, y=2)
        assert policy == cpr.TargetInputs(exclude=["y"])

    @pytest.mark.parametrize(
        "policy",
        [
            cpr.TargetInputs() + TASK_SOURCE - "y",
            cpr.TargetInputs() - "y" + TASK_SOURCE,
            cpr.TargetInputs() + INPUTS + TASK_SOURCE - "y",
        ],
    )
    def test_arguments_can_be_left_out_of_a_sum(self, policy):
        assert key_of(policy, one, x=1, y=1) == key_of(policy, one, x=1, y=2)
        assert key_of(policy, one, x=1, y=1) != key_of(policy, one, x=2, y=1)

    def test_only_names_can_be_left_out(self):
        with pytest.raises(TypeError):
            cpr.TargetInputs() - 1

    def test_storage_and_locks_of_a_sum_stay(self, tmp_path):
        policy = (cpr.TargetInputs() + TASK_SOURCE).configure(key_storage=tmp_path) - "y"
        assert policy.key_storage == tmp_path

    def test_what_cannot_be_hashed_is_named(self):
        with pytest.raises(FormatError, match=r"x\['a'\]"):
            key_of(cpr.TargetInputs(), one, x={"a": threading.Lock()})

    def test_a_task_without_arguments_has_a_key(self):
        assert key_of(cpr.TargetInputs(), one) is not None


class TestOptions:
    def test_defaults(self):
        assert one.persist_result is True
        assert one.result_serializer == cpr.cpr_serializer()
        assert key_of(one.cache_policy, one, x=1) == key_of(cpr.TargetInputs() + TASK_SOURCE, one, x=1)
        assert one.name == "one"

    def test_given_options_win(self):
        def key(context, arguments):
            return "k"

        assert cpr.task(cache_policy=NO_CACHE)(len).cache_policy == NO_CACHE
        assert cpr.task(cache_key_fn=key)(len).cache_key_fn is key
        assert cpr.task(result_serializer="json")(len).result_serializer == "json"
        assert cpr.task(result_storage_key="k")(len).result_storage_key == "k"
        assert cpr.task(persist_result=False)(len).persist_result is False

    def test_it_takes_all_of_prefects_options(self):
        options = set(inspect.signature(prefect.Task.__init__).parameters) - {"self", "fn"}
        assert options <= set(prefect.tasks.TaskOptions.__annotations__)
        made = cpr.task(retries=3, tags=["a"], log_prints=True, timeout_seconds=3)(lambda: 1)
        assert (made.retries, made.tags, made.log_prints, made.timeout_seconds) == (3, {"a"}, True, 3)

    def test_prefects_setting_of_no_cache_is_kept(self):
        with temporary_settings({PREFECT_TASKS_DEFAULT_NO_CACHE: True}):
            assert cpr.task(len).cache_policy == NO_CACHE

    def test_with_options_keeps_what_makes_it_ours(self):
        other = one.with_options(retries=5, name="renamed")
        assert (type(other), other.retries, other.name) == (type(one), 5, "renamed")
        assert other.result_serializer == cpr.cpr_serializer()
        assert other.source_code == one.source_code
        assert key_of(TASK_SOURCE, other) == key_of(TASK_SOURCE, one)

    def test_the_source_is_the_users(self):
        assert one.source_code.startswith("@cpr.task\ndef one(x, y=1)")

    def test_without_source_constants_count(self):
        def made(constant):
            scope = {"cpr": cpr}
            exec(compile(f"@cpr.task\ndef f(x):\n    return x + {constant}", "<no text>", "exec"), scope)
            return scope["f"]

        keys = [key_of(made(n).cache_policy, made(n), x=1) for n in (1, 1, 2)]
        assert keys[0] == keys[1] != keys[2]
        assert made(3).with_options(retries=1).source_code == made(3).source_code

    def test_signature_and_kind_are_those_of_the_function(self):
        @cpr.task
        async def coroutine(x: int) -> int:
            return x

        @cpr.task
        def generator():
            yield 1

        @cpr.task
        async def asyncgen():
            yield 1

        kinds = [(t.isasync, t.isgenerator) for t in (one, coroutine, generator, asyncgen)]
        assert kinds == [(False, False), (True, False), (False, True), (True, True)]
        assert list(inspect.signature(coroutine.fn).parameters) == ["x"]


def files(folder):
    return sorted(os.listdir(folder))


def made(folder, text="hello"):
    return text_target(text, str(folder))


@pytest.mark.parametrize("module", [cpr, cpr.utilities])
def test_modules_travel_with_the_functions_that_use_them(module):
    assert cloudpickle.loads(cloudpickle.dumps(module)) is module


class TestRuns:
    pytestmark = WITH_SERVER

    @pytest.fixture(autouse=True)
    def _server(self, prefect_server):
        pass

    def test_the_target_is_stored_inside_the_body(self, tmp_path, results, monkeypatch):
        dumped = []
        original = cpr.CprSerializer.dumps

        def dumps(self, obj):
            dumped.append(obj.checksum)
            return original(self, obj)

        monkeypatch.setattr(cpr.CprSerializer, "dumps", dumps)

        @cpr.task(result_storage=results)
        def store(text):
            return made(tmp_path, text)

        assert store("a").get_data() == "a"
        assert dumped == [store("a").checksum]

    def test_a_failing_upload_fails_the_task(self, tmp_path, results, monkeypatch):
        monkeypatch.setattr(TextTarget, "persist", _refuse)

        @cpr.task(result_storage=results)
        def store():
            return {"deep": [Cell(made(tmp_path))]}

        state = store(return_state=True)
        assert state.is_failed()
        with pytest.raises(TransferError):
            state.result()

    def test_a_failing_upload_is_retried(self, tmp_path, results, monkeypatch):
        attempts = []
        original = TextTarget.persist

        def persist(self):
            attempts.append(self)
            if len(attempts) < 3:
                _refuse(self)
            return original(self)

        monkeypatch.setattr(TextTarget, "persist", persist)

        @cpr.task(retries=2, result_storage=results)
        def store():
            return made(tmp_path)

        assert store().get_data() == "hello"
        assert len(set(map(id, attempts))) == 3

    def test_with_prefects_own_task_a_failing_upload_is_only_logged(
        self, tmp_path, results, monkeypatch, caplog
    ):
        # The difference that cpr.task is for.
        monkeypatch.setattr(TextTarget, "persist", _refuse)

        @prefect.task(
            cache_key_fn=cpr.task_input_hash, result_serializer=cpr.cpr_serializer(), result_storage=results
        )
        def store():
            return made(tmp_path)

        assert store(return_state=True).is_completed()
        assert files(results) == []

    def test_a_result_that_cannot_be_stored_fails(self, results):
        @cpr.task(result_storage=results)
        def store():
            return [np.zeros(3)]

        with pytest.raises(EncodeError, match=r"result\[0\]"):
            store()

    @pytest.mark.parametrize("options", [{"persist_result": False}, {"result_serializer": "pickle"}])
    def test_unless_it_need_not_be_stored_as_a_record(self, tmp_path, results, options):
        @cpr.task(result_storage=results, **options)
        def store():
            return made(tmp_path), np.zeros(3)

        target, _ = store()
        assert target.checksum is not None

    def test_second_call_is_cached(self, tmp_path, results):
        runs = []

        @cpr.task(result_storage=results)
        def store(text, sizes):
            runs.append(text)
            return {"a": (made(tmp_path, text),), 1: Cell(None, sizes[0])}

        first = store("x", sizes=[1.5])
        state = store("x", sizes=[1.5], return_state=True)
        assert state.name == "Cached"
        again = state.result()
        assert again["a"][0].get_data() == "x"
        assert again[1] == first[1]
        store("y", sizes=[1.5])
        assert runs == ["x", "y"]

    def test_each_hit_looks_once_and_a_missing_object_is_made_again(self, tmp_path, results, monkeypatch):
        looks = []
        original = TextTarget.check
        monkeypatch.setattr(TextTarget, "check", lambda self, full: looks.append(1) or original(self, full))

        # Prefect keeps what it has read in memory; another process has not.
        @cpr.task(result_storage=results, cache_result_in_memory=False)
        def store():
            return made(tmp_path)

        target = store()
        assert store(return_state=True).name == "Cached"
        assert len(looks) == 1
        os.remove(target.url)
        assert store(return_state=True).name == "Completed"
        assert os.path.exists(target.url)
        assert store(return_state=True).name == "Cached"

    def test_async(self, tmp_path, results):
        threads = []

        @cpr.task(result_storage=results)
        async def store(text):
            await asyncio.sleep(0)
            threads.append(threading.get_ident())
            return made(tmp_path, text)

        async def both():
            return await asyncio.gather(store("a"), store("b"))

        targets = asyncio.run(both())
        assert [t.get_data() for t in targets] == ["a", "b"]
        assert files(tmp_path / "records") != []
        assert asyncio.run(_state_name(store, "a")) == "Cached"

    def test_async_upload_does_not_block_the_loop(self, tmp_path, results, monkeypatch):
        where = []
        original = TextTarget.persist
        monkeypatch.setattr(
            TextTarget, "persist", lambda self: where.append(threading.get_ident()) or original(self)
        )

        @cpr.task(result_storage=results)
        async def store():
            where.append(threading.get_ident())
            return made(tmp_path)

        asyncio.run(store())
        assert where[0] != where[1]

    def test_generators(self, tmp_path):
        @cpr.task
        def stream():
            for text in "ab":
                yield made(tmp_path, text)

        @cpr.task
        async def astream():
            for text in "cd":
                yield made(tmp_path, text)

        async def collect():
            return [target async for target in astream()]

        targets = [*stream(), *asyncio.run(collect())]
        assert all(target.checksum is not None for target in targets)

    def test_a_generator_that_is_left_early_is_closed(self, tmp_path):
        closed = []

        @cpr.task
        def stream():
            try:
                yield made(tmp_path, "a")
                yield made(tmp_path, "b")
            finally:
                closed.append(True)

        values = stream()
        next(values)
        values.close()
        assert closed == [True]

    def test_methods(self, tmp_path, results):
        class Lab:
            folder = tmp_path / "lab"

            def __init__(self, name):
                self.name = name

            @cpr.task(result_storage=results)
            def measure(self, text):
                return made(self.folder, self.name + text)

            @cpr.task(result_storage=results)
            @classmethod
            def calibrate(cls, text):
                return made(cls.folder, text)

            @cpr.task(result_storage=results)
            @staticmethod
            def clean(text):
                return made(tmp_path / "lab", text)

        assert Lab("a").measure("1").get_data() == "a1"
        assert Lab("b").measure("1").get_data() == "b1"
        assert Lab.calibrate("2").get_data() == "2"
        assert Lab.clean("3").get_data() == "3"
        assert len(files(tmp_path / "lab")) == 4

    def test_in_a_flow_of_threads(self, tmp_path, results, counted):
        @cpr.task(result_storage=results)
        def store(text):
            return made(tmp_path, text)

        @cpr.task(result_storage=results)
        def shout(target):
            return made(tmp_path, target.get_data().upper())

        @prefect.flow(persist_result=True, result_serializer=cpr.cpr_serializer(), result_storage=results)
        def letters(texts):
            return shout.map(store.map(texts)).result()

        targets, counts = counted(letters, ["a", "b"])
        assert [t.get_data() for t in targets] == ["A", "B"]
        assert counts == {"store": {"Completed": 2}, "shout": {"Completed": 2}}
        _, counts = counted(letters, ["a", "b"])
        assert counts == {"store": {"Cached": 2}, "shout": {"Cached": 2}}

    @pytest.mark.parametrize("value", [{"data": 1, "metadata": {}}, {"result": (1,)}, [(1, {2})], None])
    def test_a_flows_result_is_read_back_from_storage(self, tmp_path, results, value):
        @prefect.flow(persist_result=True, result_serializer=cpr.cpr_serializer(), result_storage=results)
        def give():
            return value, made(tmp_path)

        run_id = give(return_state=True).state_details.flow_run_id
        with prefect.get_client(sync_client=True) as client:
            state = client.read_flow_run(run_id).state
        stored, target = state.result(raise_on_failure=False)
        assert same(stored, value)
        assert target.get_data() == "hello"

    def test_plain_async_tasks(self, tmp_path, results):
        @prefect.task(
            cache_key_fn=cpr.task_input_hash, result_serializer=cpr.cpr_serializer(), result_storage=results
        )
        async def store(text):
            return (made(tmp_path, text),)

        (target,) = asyncio.run(store("a"))
        assert (target.checksum is not None, target._data) == (True, None)
        assert asyncio.run(_state_name(store, "a")) == "Cached"

    def test_an_argument_that_cannot_be_hashed_runs_uncached_and_is_named(self, results, caplog):
        @cpr.task(result_storage=results)
        def use(lock):
            return 1

        assert use({"a": threading.Lock()}) == 1
        assert (
            "its result is not cached: lock['a']: this value cannot take part in a cache key" in caplog.text
        )
        assert "Traceback" not in caplog.text
        assert files(results) == []

    def test_flow_parameters_are_shown_by_url_without_their_data(self, tmp_path, results, prefect_server):
        target = cpr.NumpyTarget.from_path(tmp_path / "big.npy")
        target.set_data(np.zeros((1 << 20, 2)))

        @prefect.flow
        def take(image, boxed: cpr.NumpyTarget):
            assert image is boxed is target
            assert target.checksum is None
            return prefect.runtime.flow_run.id

        run_id = take(target, target)
        with prefect.get_client(sync_client=True) as client:
            shown = client.read_flow_run(run_id).parameters
        assert shown["image"] == {"type": "NumpyTarget", "url": target.url}
        assert len(json.dumps(shown)) < 1000
        assert files(tmp_path) == ["records"]

    def test_a_flow_takes_records_for_typed_parameters(self, tmp_path):
        target = made(tmp_path)

        @prefect.flow
        def read(note: TextTarget):
            return note.get_data()

        assert read(target.serialize()) == "hello"
        with pytest.raises(prefect.exceptions.ParameterTypeError):
            read({"__cpr__": {"type": "os"}})


def _refuse(self):
    raise TransferError("the store refused", url=self.url)


async def _state_name(task, *args):
    return (await task(*args, return_state=True)).name


@pytest.mark.parametrize("style", [cpr.task, prefect.task])
def test_a_task_that_fails_logs_its_one_cause(prefect_server, results, style):
    @style(result_storage=results, persist_result=True, result_serializer=cpr.cpr_serializer())
    def broken(x):
        raise LookupError(f"no plane {x}")

    lines = []

    class Handler(logging.Handler):
        def emit(self, record):
            if record.levelno >= logging.WARNING:
                lines.append(record.getMessage())

    handler = Handler()
    loggers = [logging.getLogger(name) for name in ("prefect.task_runs", "prefect.task_engine", "cpr")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        state = broken(7, return_state=True)
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert state.is_failed()
    assert [line for line in lines if "no plane 7" in line] == lines
    assert len(lines) <= 2  # of Prefect: that it failed, and in which state it ended
    (record,) = results.iterdir()
    assert "LookupError: no plane 7" in record.read_text()
