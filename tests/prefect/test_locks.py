"""BucketLocks as Prefect's lock manager: its protocol, in transactions, tasks and flows."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import threading
import time
import types
import uuid

import cloudpickle
import prefect
import pytest
from prefect.cache_policies import TASK_SOURCE
from prefect.context import ContextModel, TagsContext, TaskRunContext
from prefect.filesystems import LocalFileSystem
from prefect.locking.protocol import LockManager
from prefect.results import ResultStore
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.transactions import IsolationLevel, Transaction, transaction

import cpr
from cpr.errors import CprError, UnsupportedStoreError
from cpr.io.locks import claims, leases
from cpr.prefect import locks as locking
from tests.record_values import text_target

WITH_SERVER = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.s3)])
def locks(request):
    base = f"memory://{uuid.uuid4().hex}" if request.param == "memory" else request.getfixturevalue("s3_url")
    return cpr.BucketLocks(f"{base}/locks", lease_seconds=2)


class TestProtocol:
    def test_it_is_one(self, locks):
        assert isinstance(locks, LockManager)

    def test_acquired_and_released(self, locks):
        assert not locks.is_locked("k")
        assert locks.acquire_lock("k", "a")
        assert locks.is_locked("k")
        assert locks.is_lock_holder("k", "a")
        assert not locks.is_lock_holder("k", "b")
        assert not locks.acquire_lock("k", "b", acquire_timeout=0)
        assert not locks.wait_for_lock("k", timeout=0.1)
        assert locks.acquire_lock("k", "a")
        locks.release_lock("k", "a")
        assert not locks.is_locked("k")
        assert locks.wait_for_lock("k")
        with pytest.raises(ValueError, match="not held"):
            locks.release_lock("k", "a")

    def test_keys_of_any_length_and_spelling(self, locks):
        keys = ["a/b/../c", "x" * 5000, "ä\n\x00", ""]
        for key in keys:
            assert locks.acquire_lock(key, "a")
        for key in keys:
            locks.release_lock(key, "a")

    def test_hold_timeout(self, locks):
        assert locks.acquire_lock("k", "a", hold_timeout=0.3)
        assert locks.acquire_lock("k", "b", acquire_timeout=20)
        assert not locks.is_lock_holder("k", "a")
        locks.release_lock("k", "a")
        assert locks.is_lock_holder("k", "b")
        locks.release_lock("k", "b")

    async def test_many_wait_on_one_loop(self, locks):
        """More than the loop has threads: the holder still gets one to go on with."""
        order = []

        async def one(number):
            assert await locks.aacquire_lock("k", str(number))
            order.append(number)
            await asyncio.to_thread(time.sleep, 0.001)
            locks.release_lock("k", str(number))

        await asyncio.wait_for(asyncio.gather(*map(one, range(40))), 60)
        assert sorted(order) == list(range(40))
        assert await locks.await_for_lock("k", timeout=5)

    async def test_who_is_cancelled_while_waiting_leaves_nothing(self, locks):
        assert await locks.aacquire_lock("k", "a")
        waiter = asyncio.ensure_future(locks.aacquire_lock("k", "b"))
        for _ in range(3):
            await asyncio.sleep(0.05)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        locks.release_lock("k", "a")
        assert await asyncio.wait_for(locks.aacquire_lock("k", "c"), 20)
        locks.release_lock("k", "c")

    def test_pickles_as_two_values_and_copies(self, locks):
        for again in (pickle.loads(pickle.dumps(locks)), copy.deepcopy(locks)):
            assert again == locks
            assert vars(again) == {"url": locks.url, "lease_seconds": 2}
        assert locks.acquire_lock("k", "a")
        assert pickle.loads(pickle.dumps(locks)).is_lock_holder("k", "a")
        locks.release_lock("k", "a")

    def test_no_secret_travels(self, s3_server):
        made = cpr.BucketLocks(f"s3://{s3_server.bucket}/locks")
        made.acquire_lock("k", "a")
        made.release_lock("k", "a")
        for text in (cloudpickle.dumps(made).decode("latin-1"), repr(made)):
            assert s3_server.secret_key not in text
            assert s3_server.endpoint not in text

    @pytest.mark.parametrize("seconds", [0, 0.5, 1e6, float("nan")])
    def test_times_that_cannot_be(self, seconds):
        with pytest.raises(CprError, match="lease_seconds"):
            cpr.BucketLocks("memory://x", lease_seconds=seconds)

    def test_the_first_use_says_that_a_store_cannot(self):
        with pytest.raises(UnsupportedStoreError, match="no conditional writes"):
            cpr.BucketLocks("sftp://host/locks").acquire_lock("k", "a")


@pytest.fixture
def store(tmp_path, locks):
    return ResultStore(
        result_storage=LocalFileSystem(basepath=str(tmp_path / "records")),
        serializer=cpr.cpr_serializer(),
        cache_result_in_memory=False,
        lock_manager=locks,
    )


def serial(store):
    level = IsolationLevel.SERIALIZABLE
    return transaction(key="k", store=store, isolation_level=level, logger=logging.getLogger("test"))


class TestTransactions:
    def test_at_the_same_time_one_computes(self, store):
        computed, ready = [], threading.Barrier(10)

        def one():
            ready.wait(30)
            with serial(store) as txn:
                if not txn.is_committed():
                    computed.append(1)
                    time.sleep(0.1)
                    txn.stage("value")
            assert store.read("k").result == "value"

        threads = [threading.Thread(target=one, daemon=True) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert computed == [1]
        assert not store.lock_manager.is_locked("k")

    def test_an_error_gives_the_lock_back(self, store):
        with pytest.raises(RuntimeError), serial(store):
            raise RuntimeError("no")
        assert not store.lock_manager.is_locked("k")

    def test_who_lost_the_lock_does_not_fail(self, store, locks, caplog):
        """Held up past its lease, another has it: its record is the other's to write."""
        with serial(store) as txn:
            lease = leases.lease_here(locks._url("k"))
            _, now = leases.swap(lease.url, claims.Claim("t", 1, 60.0, "other:1").encode(), lease._version)
            lease.renew()
            txn.stage("value")
        assert "other:1" in caplog.text
        assert locks.is_locked("k")
        leases.swap(lease.url, claims.Claim("t", 2, 60.0, "other:1", True).encode(), now.version)

    def test_a_hit_that_cannot_be_read_gives_the_lock_back(self, store, locks, monkeypatch):
        """Prefect leaves it locked; with the context of the run the lock ends."""
        with serial(store) as txn:
            txn.stage("value")

        class Run:
            _token = "entered"

        run = Run()
        monkeypatch.setattr(locking, "TaskRunContext", types.SimpleNamespace(get=lambda: run))
        with pytest.raises(RuntimeError), serial(store) as txn:
            assert txn.is_committed()
            raise RuntimeError("its object is gone")
        assert locks.is_locked("k")
        run._token = None
        assert locks.acquire_lock("k", "next", acquire_timeout=20)
        locks.release_lock("k", "next")

    def test_prefects_contexts_say_when_they_are_left(self):
        context = TagsContext()
        with context:
            assert context._token is not None
        assert context._token is None
        assert issubclass(TaskRunContext, ContextModel)
        assert issubclass(Transaction, ContextModel)


class TestTasks:
    def test_the_switch_sets_the_policy(self):
        @cpr.task(lock="memory://locks")
        def one(x):
            return x

        assert one.cache_policy.lock_manager == cpr.BucketLocks("memory://locks")
        assert one.cache_policy.isolation_level == IsolationLevel.SERIALIZABLE
        plain = one.with_options(lock=None, retries=2)
        assert plain.cache_policy.lock_manager == cpr.BucketLocks("memory://locks")
        other = one.with_options(lock=cpr.BucketLocks("memory://others", 5))
        assert other.cache_policy.lock_manager == cpr.BucketLocks("memory://others", 5)
        assert cloudpickle.loads(cloudpickle.dumps(one)).cache_policy.lock_manager == cpr.BucketLocks(
            "memory://locks"
        )

    def test_a_lock_changes_no_key(self):
        @cpr.task
        def one(x):
            return x

        from tests.prefect.test_task import key_of

        locked = one.with_options(lock="memory://locks")
        assert key_of(locked.cache_policy, locked, x=1) == key_of(one.cache_policy, one, x=1)

    def test_with_a_key_function_of_ones_own(self):
        @cpr.task(cache_key_fn=cpr.task_input_hash, lock="memory://locks")
        def one(x):
            return x

        assert one.cache_policy.lock_manager == cpr.BucketLocks("memory://locks")
        assert one.with_options(retries=1).cache_policy.lock_manager == cpr.BucketLocks("memory://locks")

    def test_by_hand(self):
        policy = (cpr.TargetInputs() + TASK_SOURCE).configure(
            lock_manager=cpr.BucketLocks("memory://locks"), isolation_level="SERIALIZABLE"
        )
        assert (policy - "x").lock_manager == cpr.BucketLocks("memory://locks")


class TestFlows:
    pytestmark = WITH_SERVER

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_a_thread_pool_computes_once(self, kind, prefect_server, results, tmp_path, counted):
        notes = tmp_path / "notes"
        notes.mkdir()

        def body():
            (notes / uuid.uuid4().hex).touch()
            time.sleep(0.3)
            return text_target("once", base=str(tmp_path / "data"))

        if kind == "sync":

            @cpr.task(lock=str(tmp_path / "locks"))
            def one():
                return body()
        else:

            @cpr.task(lock=str(tmp_path / "locks"))
            async def one():
                return await asyncio.to_thread(body)

        @prefect.flow(task_runner=ThreadPoolTaskRunner(max_workers=8), result_storage=results)
        def run():
            return [future.result() for future in [one.submit() for _ in range(12)]]

        targets, counts = counted(run)
        assert len(list(notes.iterdir())) == 1
        assert len({target.url for target in targets}) == 1
        assert counts["one"] == {"Completed": 1, "Cached": 11}
