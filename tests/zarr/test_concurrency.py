"""As many chunks at once as the place deserves, and cells of a pyramid that go up while the next are made."""

from __future__ import annotations

import asyncio
import uuid

import numpy as np
import pytest
import zarr

import cpr
from cpr.errors import CorruptDataError, CprError
from cpr.io.transfer_width import TransferWidth, width_of
from cpr.zarr import concurrency
from cpr.zarr.stores import url_store
from cpr.zarr.stores.url_store import UrlStore

MiB = 1 << 20


class Counting:
    """Codecs that ask as zarr's do, and count how many are at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.seen: list[int] = []

    async def _one(self, item: int, limit: asyncio.Semaphore) -> None:
        async with limit:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.001)
            self.now -= 1
            self.seen.append(item)

    async def read(self, batch, out, drop_axes=()) -> None:
        limit = asyncio.Semaphore(zarr.config.get("async.concurrency"))
        await asyncio.gather(*(self._one(item, limit) for item in batch))

    write = read


def most_at_once(url: str, chunk_bytes: int, direction: str, count: int = 300) -> int:
    codecs = Counting()
    wide = concurrency.WideCodecs(url, chunk_bytes, codecs)
    asyncio.run(getattr(wide, direction)(iter(range(count)), None))
    assert sorted(codecs.seen) == list(range(count))
    return codecs.most


@pytest.fixture
def far():
    url = f"s3://{uuid.uuid4().hex}/a.zarr"
    for direction in ("read", "write"):
        width_of(url, direction).answered(0.03)
    return url


@pytest.mark.parametrize("direction", ["read", "write"])
def test_far_away_more_chunks_are_asked_for_within_the_memory(far, direction):
    assert most_at_once(far, MiB // 2, direction) == 64
    assert most_at_once(far, 4 * MiB, direction) >= 16
    assert 10 <= most_at_once(far, 5 * MiB, direction) * 5 <= 100
    assert most_at_once(far, 500 * MiB, direction) == 10
    assert most_at_once(far, 1, direction, count=3) == 3


def test_after_one_has_failed_no_more_are_asked_for(far):
    class Failing(Counting):
        async def _one(self, item: int, limit: asyncio.Semaphore) -> None:
            await super()._one(item, limit)
            if item == 100:
                raise OSError("no")

    codecs = Failing()
    with pytest.raises(OSError, match="no"):
        asyncio.run(concurrency.WideCodecs(far, MiB, codecs).read(range(10_000), None))
    assert len(codecs.seen) <= 100 + 2 * 64


@pytest.fixture
def far_chunks(s3_url, monkeypatch):
    """A result far away whose chunks of 128 KiB come in parts, its data, and the keys of the chunks."""
    monkeypatch.setattr(url_store, "_FAR_WHOLE_BYTES", 32 << 10)
    monkeypatch.setattr(url_store, "_FAR_PART_BYTES", 20_000)  # not a divisor
    data = np.random.default_rng(0).integers(0, 1000, (12, 256, 256), dtype="uint16")
    target = cpr.ZarrTarget.from_path(f"{s3_url}/a.zarr", chunks=(1, 256, 256), compressors=None)
    target.set_data(data)
    record = target.serialize()
    monkeypatch.setattr(TransferWidth, "is_far", property(lambda _: True))
    return record, data, target.url


@pytest.mark.real_s3
def test_large_chunks_far_away_come_in_parts(far_chunks, monkeypatch):
    record, data, _ = far_chunks
    asked = []
    whole = UrlStore.get_bytes

    async def seen(self, key, prototype, byte_range=None):
        asked.append((key, byte_range))
        return await whole(self, key, prototype, byte_range)

    monkeypatch.setattr(UrlStore, "get_bytes", seen)
    assert np.array_equal(cpr.load(record).get_data()[...], data)
    parts = [(part.start, part.end) for key, part in asked if key == "c/3/0/0"]
    assert sorted(parts) == [(start, min(start + 20_000, 131_073)) for start in range(0, 131_072, 20_000)]


@pytest.mark.real_s3
@pytest.mark.parametrize("damage", ["longer", "shorter", "much shorter", "changed", "gone"])
def test_parts_of_a_damaged_chunk_are_never_data(far_chunks, damage, s3_server):
    record, _, url = far_chunks
    bucket, _, key = url.partition("://")[2].partition("/")
    client, key = s3_server.client(), f"{key}/c/3/0/0"
    content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    if damage == "gone":
        client.delete_object(Bucket=bucket, Key=key)
    else:
        other = {
            "longer": content + b"x",
            "shorter": content[:-1],
            "much shorter": content[:50_000],
            "changed": content[:70_000] + bytes([content[70_000] ^ 1]) + content[70_001:],
        }[damage]
        client.put_object(Bucket=bucket, Key=key, Body=other)
    with pytest.raises(CprError) as caught:
        cpr.load(record).get_data()[...]
    assert isinstance(caught.value, CorruptDataError)


def test_near_as_many_as_zarr_says():
    url = f"s3://{uuid.uuid4().hex}/a.zarr"
    width_of(url, "read").answered(0.001)
    assert most_at_once(url, 1, "read") == 10
    assert most_at_once(f"memory://{uuid.uuid4().hex}", 1, "read") == 10


def test_whoever_has_set_the_concurrency_gets_it(far):
    with zarr.config.set({"async.concurrency": 3}):
        assert most_at_once(far, 1, "read") == 3


def test_connections_are_a_limit(far, monkeypatch):
    monkeypatch.setenv("CPR_CONNECTIONS", "20")
    assert most_at_once(far, 1, "read") == 20


@pytest.mark.parametrize("lazy", [False, True])
def test_cells_that_go_up_behind_are_the_data(lazy, tmp_path, monkeypatch):
    monkeypatch.setattr("cpr.zarr.writing._CELL_BYTES", 64 << 10)
    monkeypatch.setattr("cpr.zarr.writing_behind._BYTES", 256 << 10)
    data = np.random.default_rng(0).integers(0, 1000, (16, 256, 256), dtype="uint16")
    source = Reusing(data) if lazy else data
    target = cpr.OMEZarrTarget.from_path(str(tmp_path / "a.ome.zarr"), metadata={"axes": "ZYX"})
    target.set_data(source)
    assert np.array_equal(cpr.load(target.serialize()).get_data()["0"][...], data)


class Reusing:
    """Gives every part in the same memory."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self.shape, self.dtype = data, data.shape, data.dtype
        self._memory = np.empty(data.size, data.dtype)

    def __getitem__(self, region):
        part = self._data[region]
        given = self._memory[: part.size].reshape(part.shape)
        given[...] = part
        return given


def test_what_fails_behind_fails_the_write_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("cpr.zarr.writing._CELL_BYTES", 64 << 10)
    stored, written = UrlStore._set_digested, []

    async def failing(self, key, value, digest):
        if "c/" in key:
            written.append(key)
            if len(written) == 40:
                raise OSError(28, "No space left on device")
        return await stored(self, key, value, digest)

    monkeypatch.setattr(UrlStore, "_set_digested", failing)
    data = np.random.default_rng(0).integers(0, 1000, (16, 256, 256), dtype="uint16")
    target = cpr.OMEZarrTarget.from_path(
        str(tmp_path / "a.ome.zarr"), metadata={"axes": "ZYX"}, chunks=(1, 64, 64)
    )
    with pytest.raises((CprError, OSError), match=r"space|No space"):
        target.set_data(data)
    count = len(written)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert len(written) == count
