"""Blocks of dask arrays on their way to a far store while its threads compute the next."""

from __future__ import annotations

import pickle
import threading
import uuid

import dask
import dask.array as da
import numpy as np
import pytest

import cpr
from cpr.errors import TransferError
from cpr.io.transfer_width import TransferWidth, width_of
from cpr.zarr.dask import map_to_objects
from cpr.zarr.dask_blocks import BlockWriter
from cpr.zarr.parts import resumed, target_in_parts
from cpr.zarr.writing_behind import WritingBehind

COUNT = 24
DATA = np.random.default_rng(0).integers(1, 60_000, (COUNT, 64, 96)).astype("uint16")
OPTIONS = {"chunks": (1, 64, 96), "compressors": None, "base": False}


@pytest.fixture
def far():
    url = f"s3://{uuid.uuid4().hex}/a.zarr"
    width_of(url, "write").answered(0.03)
    return url


class Meeting(BlockWriter):
    """Writes no block before a number of them are being written."""

    def __init__(self, url: str, behind: WritingBehind, count: int) -> None:
        super().__init__(url, behind)
        self._barrier = threading.Barrier(count)

    def write(self, block, index):
        self._barrier.wait(20)
        return index, block.copy()


def written(behind: WritingBehind, writer: BlockWriter, data: da.Array) -> list:
    with behind, dask.config.set(scheduler="threads", num_workers=2):
        here = map_to_objects(writer, data, f"w-{uuid.uuid4().hex}").compute()
        return [one for one in here.flat if one is not None] + behind.all()


def test_more_blocks_than_threads_are_written_at_once(far):
    behind = WritingBehind()
    found = written(behind, Meeting(far, behind, COUNT), da.from_array(DATA, chunks=(1, 64, 96)))
    assert sorted(index for index, _ in found) == [(n, 0, 0) for n in range(COUNT)]
    for index, block in found:
        assert np.array_equal(block[0], DATA[index[0]])


def test_near_a_block_is_written_by_the_thread_that_has_it():
    url = f"s3://{uuid.uuid4().hex}/a.zarr"
    width_of(url, "write").answered(0.001)
    behind = WritingBehind()
    writer = Meeting(url, behind, 3)
    writer._barrier = threading.Barrier(1)
    assert len(written(behind, writer, da.from_array(DATA, chunks=(1, 64, 96)))) == COUNT
    assert behind.all() == []


def test_no_more_is_on_its_way_than_there_is_room_for(far, monkeypatch):
    nbytes = DATA[0].nbytes
    monkeypatch.setattr("cpr.zarr.writing_behind._BYTES", 5 * nbytes)
    lock, now, most = threading.Lock(), 0, 0

    class Counting(BlockWriter):
        def write(self, block, index):
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            threading.Event().wait(0.01)
            with lock:
                now -= 1
            return index

    behind = WritingBehind()
    found = written(behind, Counting(far, behind), da.from_array(DATA, chunks=(1, 64, 96)))
    assert len(found) == COUNT
    assert 2 < most <= 5


def test_a_block_in_memory_that_is_used_again_is_written_as_it_was(far):
    memory = np.zeros((1, 64, 96), "uint16")
    computed = threading.Event()

    def compute(block_id=()):
        memory[...] = block_id[0] + 1
        if block_id[0] == COUNT - 1:
            computed.set()
        return memory

    class Late(BlockWriter):
        def write(self, block, index):
            computed.wait(20)
            return index[0], block.min(), block.max()

    behind = WritingBehind()
    data = da.map_blocks(compute, chunks=((1,) * COUNT, (64,), (96,)), dtype="uint16", meta=memory[:0])
    with dask.config.set(num_workers=1):
        boxes = map_to_objects(Late(far, behind), data, "late")
        with behind, dask.config.set(scheduler="synchronous"):
            boxes.compute()
            found = behind.all()
    assert sorted(found) == [(n, n + 1, n + 1) for n in range(COUNT)]


def test_what_failed_ends_the_others(far):
    class Failing(BlockWriter):
        def write(self, block, index):
            if index[0] == 3:
                raise OSError("no room")

    behind, begun = WritingBehind(), threading.active_count()
    with pytest.raises(OSError, match="no room"):
        written(behind, Failing(far, behind), da.from_array(DATA, chunks=(1, 64, 96)))
    assert not behind._under_way
    assert threading.active_count() <= begun + COUNT + 2


def test_elsewhere_a_block_is_written_where_it_is(far):
    """As for dask's processes, and for the workers of a cluster."""
    behind = WritingBehind()
    writer = pickle.loads(pickle.dumps(Told(far, behind)))
    assert writer(DATA[:1], (0, 0, 0)).item() == "written"
    assert behind.all() == []


class Told(BlockWriter):
    def write(self, block, index):
        return "written"


@pytest.fixture
def far_s3(s3_url, monkeypatch):
    monkeypatch.setattr(TransferWidth, "is_far", property(lambda _: True))
    return s3_url


@pytest.mark.real_s3
@pytest.mark.parametrize("shards", [None, (2, 64, 96)])
def test_an_array_written_behind_is_the_one_that_is_written_at_once(shards, far_s3):
    options = {**OPTIONS, "shards": shards}
    target = cpr.ZarrTarget.from_path(f"{far_s3}/a.zarr", **options)
    target.set_data(da.from_array(DATA, chunks=(2, 64, 96)))
    once = cpr.ZarrTarget.from_path(f"{far_s3}/b.zarr", **options)
    once.set_data(DATA)
    assert target.data_hash == once.data_hash
    assert np.array_equal(cpr.load(target.serialize()).get_data()[...], DATA)
    cpr.load(target.serialize()).verify()


@pytest.mark.real_s3
def test_a_pyramid_written_behind_is_the_one_that_is_written_at_once(far_s3):
    data = np.random.default_rng(0).integers(1, 60_000, (8, 512, 512)).astype("uint16")
    found = []
    for name, given in {"a": da.from_array(data, chunks=(1, 256, 256)), "b": data}.items():
        target = cpr.OMEZarrTarget.from_path(
            f"{far_s3}/{name}/image.ome.zarr", metadata={"axes": "ZYX"}, chunks=(1, 128, 128), base=False
        )
        target.set_data(given)
        cpr.load(target.serialize()).verify()
        found.append(target.data_hash)
    assert found[0] == found[1]


@pytest.mark.real_s3
def test_parts_of_a_task_written_behind_are_found_again(far_s3, monkeypatch):
    monkeypatch.setattr(target_in_parts, "running_key", lambda: "a task and its inputs")
    monkeypatch.setattr(resumed, "running_key", lambda: "a task and its inputs")
    computed = []

    def compute(block, fails):
        computed.append(1)
        if fails and len(computed) > COUNT // 2:
            raise ValueError("killed")
        return block

    def write(fails):
        data = da.from_array(DATA, chunks=(1, 64, 96), name="data")
        data = data.map_blocks(compute, fails, dtype=DATA.dtype, meta=DATA[:0], name="computed")
        target = cpr.ZarrTarget.from_path(f"{far_s3}/a.zarr", **OPTIONS)
        with dask.config.set(scheduler="threads", num_workers=2):
            target.set_data(data)
        return target

    with pytest.raises(ValueError, match="killed"):
        write(fails=True)
    assert len(computed) > COUNT // 2
    computed.clear()
    target = write(fails=False)
    assert len(computed) <= COUNT - COUNT // 2 + 2
    assert np.array_equal(cpr.load(target.serialize()).get_data()[...], DATA)


@pytest.mark.real_s3
def test_a_block_that_the_store_refuses_is_told_and_nothing_is_published(far_s3, tmp_path, monkeypatch):
    from cpr.zarr.stores.url_store import UrlStore

    put = UrlStore.set

    async def refuse(self, key, value):
        if key == "c/7/0/0":
            raise TransferError("refused", url=key)
        await put(self, key, value)

    target = cpr.ZarrTarget.from_path(f"{far_s3}/a.zarr", **OPTIONS)
    monkeypatch.setattr(UrlStore, "set", refuse)
    with pytest.raises(TransferError, match="refused"):
        target.set_data(da.from_array(DATA, chunks=(1, 64, 96)))
    assert target.data_hash is None
