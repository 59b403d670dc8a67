"""Objects of a hierarchy that are checked or copied side by side."""

from __future__ import annotations

import asyncio
import gc
import uuid

import numpy as np
import pytest

import cpr
from cpr.errors import CorruptDataError
from cpr.io.transfer_width import TransferWidth, width_of
from cpr.zarr.stores.many_objects import _MEMORY_BYTES, for_each

MiB = 1 << 20


class Work:
    """Work that takes a while, and how much of it was under way at once."""

    def __init__(self, nbytes: int, fails: str = "") -> None:
        self.nbytes, self.fails = nbytes, fails
        self.now = self.most = 0
        self.done: list[str] = []

    async def holds(self, key: str) -> int:
        return self.nbytes

    async def __call__(self, key: str) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.002)
        finally:
            self.now -= 1
        if key == self.fails:
            raise CorruptDataError("damaged", url=key)
        self.done.append(key)


def place(seconds: float) -> TransferWidth:
    width = width_of(f"s3://{uuid.uuid4().hex}/a.zarr", "read")
    width.answered(seconds)
    return width


def run(work: Work, width: TransferWidth, count: int, near: int = 8) -> int:
    return asyncio.run(for_each(map(str, range(count)), work, work.holds, near, width))


@pytest.mark.parametrize(
    ("seconds", "nbytes", "most"),
    [(0.001, 10, 8), (0.03, 10, 64), (0.03, 8 * MiB, 12), (0.03, 32 * MiB, 3), (0.03, 1 << 40, 1)],
)
def test_as_many_are_under_way_as_the_place_deserves_and_memory_holds(seconds, nbytes, most):
    work = Work(nbytes)
    assert run(work, place(seconds), 300) == 300
    assert sorted(map(int, work.done)) == list(range(300))
    assert work.most == most


def test_memory_is_shared_by_all_that_are_under_way_on_an_event_loop():
    one, other = Work(16 * MiB), Work(24 * MiB)
    seen = []

    async def both():
        async def look():
            while True:
                seen.append(one.now * one.nbytes + other.now * other.nbytes)
                await asyncio.sleep(0)

        looking = asyncio.ensure_future(look())
        try:
            return await asyncio.gather(
                *(for_each(map(str, range(50)), work, work.holds, 8, place(0.03)) for work in (one, other))
            )
        finally:
            looking.cancel()

    assert asyncio.run(both()) == [50, 50]
    assert 64 * MiB < max(seen) <= _MEMORY_BYTES


@pytest.mark.parametrize("number", ["0", "7", "100", "299"])
@pytest.mark.parametrize("seconds", [0.001, 0.03])
def test_the_first_error_ends_it(number, seconds):
    work = Work(8 * MiB, fails=number)

    async def twice():
        with pytest.raises(CorruptDataError):
            await for_each(map(str, range(300)), work, work.holds, 8, place(seconds))
        assert work.now == 0
        # What was waited for was given back.
        again = Work(_MEMORY_BYTES)
        assert await for_each(map(str, range(5)), again, again.holds, 8, place(seconds)) == 5

    asyncio.run(twice())
    assert int(number) - 12 <= len(work.done) <= int(number) + 64


def test_who_gives_up_leaves_the_memory_to_others():
    async def given_up():
        work = Work(40 * MiB)
        task = asyncio.ensure_future(for_each(map(str, range(300)), work, work.holds, 8, place(0.03)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        again = Work(_MEMORY_BYTES)
        return await for_each(map(str, range(5)), again, again.holds, 8, place(0.03))

    assert asyncio.run(given_up()) == 5


def test_nothing_is_done_when_there_is_nothing():
    assert run(Work(1), place(0.03), 0) == 0


@pytest.fixture
def many_chunks(s3_url):
    data = np.random.default_rng(0).integers(1, 60_000, (120, 32, 48)).astype("uint16")
    target = cpr.ZarrTarget.from_path(f"{s3_url}/a.zarr", chunks=(1, 32, 48), compressors=None)
    target.set_data(data)
    return target, data


@pytest.mark.real_s3
@pytest.mark.parametrize("is_far", [False, True])
def test_a_copy_and_its_check_are_whole_near_and_far(many_chunks, is_far, s3_url, tmp_path, monkeypatch):
    target, data = many_chunks
    monkeypatch.setattr(TransferWidth, "is_far", property(lambda _: is_far))
    for place in (f"{s3_url}/inside", str(tmp_path / "outside")):
        twin = target.copy_to(place)
        twin.check(full=True)
        assert np.array_equal(twin.get_data()[...], data)


@pytest.mark.real_s3
def test_each_damaged_object_is_found_far_away(many_chunks, s3_server, monkeypatch):
    target, _ = many_chunks
    monkeypatch.setattr(TransferWidth, "is_far", property(lambda _: True))
    bucket, _, key = target.url.partition("://")[2].partition("/")
    client = s3_server.client()
    for number in (0, 63, 64, 119):
        place = {"Bucket": bucket, "Key": f"{key}/c/{number}/0/0"}
        content = client.get_object(**place)["Body"].read()
        client.put_object(**place, Body=content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CorruptDataError, match=f"c/{number}/0/0"):
            cpr.load(target.serialize()).check(full=True)
        client.put_object(**place, Body=content)
    cpr.load(target.serialize()).check(full=True)


def test_of_many_failures_one_is_told_and_none_is_printed():
    """asyncio prints what a task has raised that nobody has asked for."""
    printed: list[str] = []

    class AllFail(Work):
        async def __call__(self, key: str) -> None:
            raise CorruptDataError("damaged", url=key)

    async def check() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: printed.append(context["message"]))
        work = AllFail(10)
        with pytest.raises(CorruptDataError):
            await for_each(map(str, range(100)), work, work.holds, 8, place(0.03))
        gc.collect()

    asyncio.run(check())
    gc.collect()
    assert printed == []
