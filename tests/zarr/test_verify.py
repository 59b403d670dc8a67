"""Every damage to every object is caught when it is read and by verify(); nothing else ever is."""

from __future__ import annotations

import asyncio
import json
import os
import uuid

import numpy as np
import pytest
import zarr

import cpr
from cpr.errors import CorruptDataError
from cpr.zarr.stores.manifest import Manifest, manifest_url
from cpr.zarr.stores.manifest_entries import BLOCK_BYTES

RANDOM = np.random.default_rng(5)
SMALL = RANDOM.integers(0, 50, (6, 40, 60)).astype("uint16")
LARGE = RANDOM.integers(0, 1 << 16, (8, 512, 512)).astype("uint16")


@pytest.fixture(params=["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_url")


def array(base: str, data, **options):
    target = cpr.ZarrTarget.from_path(f"{base}/cells.zarr", **options)
    target.set_data(data)
    return cpr.load(json.dumps(target.serialize()))


def plate(base: str, older: int = 0):
    target = cpr.ZarrTarget.from_path(f"{base}/plate.zarr")
    group = target.create()
    group.create_array("a", data=SMALL + older, chunks=(3, 20, 30))
    group.create_group("B").create_array("0", data=SMALL + 1 + older, chunks=(1, 8, 8), shards=(6, 40, 32))
    return cpr.load(json.dumps(target.serialize()))


def keys_of(target) -> list[str]:
    return list(Manifest(target.url, target.manifest, target.checksum).keys())


def read_all(target) -> dict[str, np.ndarray]:
    node = target.get_data()
    if isinstance(node, zarr.Array):
        return {"": node[...]}
    return {path: found[...] for path, found in node.members(max_depth=None) if isinstance(found, zarr.Array)}


def get(url: str) -> bytes:
    with cpr.io.reading(url) as file:
        return file.read()


def put(url: str, data: bytes) -> None:
    if url.startswith("/"):
        with open(url, "wb") as file:
            file.write(data)
        return
    with cpr.io.writing(url) as file:
        file.write(data)


def damages(good: bytes, other: bytes, older: bytes):
    position = int(RANDOM.integers(0, len(good)))
    flipped = bytearray(good)
    flipped[position] ^= 1 << int(RANDOM.integers(0, 8))
    yield "a bit flipped", bytes(flipped)
    yield "cut", good[:position]
    yield "extended", good + b"\0"
    yield "emptied", b""
    if other != good:
        yield "swapped with another", other
    if older != good:
        yield "an older version", older


HIERARCHIES = {
    "array": (
        lambda base: array(base, SMALL, chunks=(3, 20, 30)),
        lambda base: array(base, SMALL[::-1], chunks=(3, 20, 30)),
    ),
    "format 2": (
        lambda base: array(base, SMALL, chunks=(3, 20, 30), zarr_format=2),
        lambda base: array(base, SMALL[::-1], chunks=(3, 20, 30), zarr_format=2),
    ),
    "shards": (
        lambda base: array(base, SMALL, chunks=(1, 20, 30), shards=(3, 40, 30)),
        lambda base: array(base, SMALL[::-1], chunks=(1, 20, 30), shards=(3, 40, 30)),
    ),
    "group": (plate, lambda base: plate(base, older=7)),
}


@pytest.mark.parametrize("rounds", [1, pytest.param(25, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("name", HIERARCHIES)
def test_every_damage_to_every_object_is_caught(name, rounds, base):
    make, make_older = HIERARCHIES[name]
    target, older = make(base), make_older(base)
    good = read_all(target)
    keys = keys_of(target)
    contents = {key: get(f"{target.url}/{key}") for key in keys}
    tried = 0
    # Requests to a server take their time, and these are the same stores above it.
    chosen = keys[:: 6 if base.startswith("s3") and rounds == 1 else 1]
    for index, key in enumerate(chosen * rounds):
        url = f"{target.url}/{key}"
        other = chosen[(index + 1 + index // len(chosen) % max(1, len(chosen) - 1)) % len(chosen)]
        for damage, bad in damages(contents[key], contents[other], get(f"{older.url}/{key}")):
            put(url, bad)
            if damage == "swapped with another":
                put(f"{target.url}/{other}", contents[key])
                assert_caught(target, other, damage, either=True)
            assert_caught(target, key, damage, either=damage == "swapped with another")
            put(f"{target.url}/{other}", contents[other])
            tried += 1
        cpr.io.remove(url)
        assert_caught(target, key, "deleted")
        put(url, contents[key])
        tried += 1
    assert tried >= 6 * len(chosen) * rounds
    print(f"{name}: {tried} damages, all caught by reading that part, by verify() and by check(full=True)")
    again = read_all(target)
    assert all(np.array_equal(again[path], good[path]) for path in good)
    assert target.verify() == len(keys)


def assert_caught(target, key: str, damage: str, either: bool = False) -> None:
    """Whoever reads that object, or everything, is told which one it is; of two, if `either`, one."""
    url = f"{target.url}/{key}"
    for read in (lambda: read_object(target, key), target.verify, lambda: target.check(full=True)):
        with pytest.raises(CorruptDataError) as caught:
            read()
        assert caught.value.url == url or (either and caught.value.url.startswith(target.url)), damage
        assert caught.value.expected, damage
        assert caught.value.actual, damage
        assert caught.value.remedy, damage


def read_object(target, key: str) -> None:
    """What a reader asks for who needs this object: the region of a chunk or shard, or what metadata tell."""
    node = target.get_data()
    path, numbers = [], []
    for step in key.split("/"):
        if step == "c" or (step.isdecimal() and isinstance(node, zarr.Array)):
            numbers += [] if step == "c" else [int(step)]
        elif step not in ("zarr.json", ".zarray", ".zattrs", ".zgroup"):
            path.append(step)
            node = node[step]
    if isinstance(node, zarr.Array) and numbers:
        unit = node.shards or node.chunks
        node[tuple(slice(n * u, (n + 1) * u) for n, u in zip(numbers, unit, strict=True))]
    elif isinstance(node, zarr.Group):
        list(node.members())


def test_two_swapped_chunks_are_caught(base):
    target = array(base, SMALL, chunks=(3, 20, 30))
    first, second = f"{target.url}/c/0/0/0", f"{target.url}/c/1/1/1"
    one, two = get(first), get(second)
    put(first, two)
    put(second, one)
    with pytest.raises(CorruptDataError):
        target.get_data()[:3, :20, :30]
    with pytest.raises(CorruptDataError):
        target.verify()
    # What was not touched is still good.
    assert np.array_equal(target.get_data()[:3, 20:, :30], SMALL[:3, 20:, :30])


def test_parts_of_shards_are_checked(base):
    target = array(base, LARGE, chunks=(1, 128, 128), shards=(8, 512, 512), compressors=None)
    (key,) = [key for key in keys_of(target) if key != "zarr.json"]
    url = f"{target.url}/{key}"
    good = get(url)
    assert len(good) > 20 * BLOCK_BYTES
    assert np.array_equal(target.get_data()[3, 130:200, :100], LARGE[3, 130:200, :100])
    offset = good.index(LARGE[3, 128:256, :128].tobytes())
    index = len(good) - 20
    for position in (offset, offset + 5000, offset + 128 * 256 - 1, index):
        flipped = bytearray(good)
        flipped[position] ^= 4
        put(url, bytes(flipped))
        with pytest.raises(CorruptDataError) as caught:
            target.get_data()[3, 128:256, :128]
        assert caught.value.url == url
    older = array(base, LARGE + 1, chunks=(1, 128, 128), shards=(8, 512, 512), compressors=None)
    bad = {
        "cut": good[:-BLOCK_BYTES],
        "extended": good + bytes(BLOCK_BYTES),
        "older": get(f"{older.url}/{key}"),
    }
    for data in bad.values():
        put(url, data)
        for region in (np.s_[3, 128:256, :128], np.s_[...]):
            with pytest.raises(CorruptDataError):
                target.get_data()[region]
        with pytest.raises(CorruptDataError):
            target.verify()
    cpr.io.remove(url)
    with pytest.raises(CorruptDataError):
        target.get_data()[3, 128:256, :128]
    put(url, good)
    assert np.array_equal(target.get_data()[...], LARGE)


@pytest.mark.parametrize("pipeline", ["BatchedCodecPipeline", "FusedCodecPipeline"])
@pytest.mark.parametrize("options", [{}, {"shards": (8, 512, 512)}, {"zarr_format": 2}], ids=str)
def test_no_pipeline_of_zarrs_goes_past_the_checks(pipeline, options, tmp_path):
    """Later zarrs have one that does without an event loop, with stores that let it."""
    if not hasattr(zarr.core.codec_pipeline, pipeline):
        pytest.skip("this zarr has no such pipeline")
    with zarr.config.set({"codec_pipeline.path": f"zarr.core.codec_pipeline.{pipeline}"}):
        target = array(str(tmp_path), LARGE, chunks=(1, 128, 128), **options)
        assert np.array_equal(target.get_data()[...], LARGE)
        assert np.array_equal(target.get_data()[3, 100:300, 5], LARGE[3, 100:300, 5])
        target.verify()
        for key in keys_of(target)[::16]:
            url = f"{target.url}/{key}"
            good = get(url)
            put(url, good[:-1] + bytes([good[-1] ^ 1]))
            with pytest.raises(CorruptDataError):
                target.get_data()[...]
            put(url, good)


def test_large_shards_are_verified_part_by_part(tmp_path, monkeypatch):
    from cpr.zarr import full_check
    from cpr.zarr.stores.verifying_store import VerifyingStore

    monkeypatch.setattr(full_check, "_LARGE", 1 << 20)
    monkeypatch.setattr(full_check, "_SPAN", 3 * BLOCK_BYTES)
    target = array(str(tmp_path), LARGE, chunks=(1, 128, 128), shards=(8, 512, 512), compressors=None)
    url = f"{target.url}/c/0/0/0"
    good = get(url)
    whole = []
    monkeypatch.setattr(VerifyingStore, "_whole", _spy(VerifyingStore._whole, whole))
    assert target.verify() == 2
    assert whole == ["zarr.json"]
    for bad in (good[:-1], good + b"\0", good[:-1] + bytes([good[-1] ^ 1]), b"\1" + good[1:], good[:1000]):
        put(url, bad)
        with pytest.raises(CorruptDataError) as caught:
            target.verify()
        assert caught.value.url == url


def test_verify_holds_few_objects_at_a_time(monkeypatch):
    """However many there are: eight near, of so much memory as all share."""
    from zarr.storage import FsspecStore

    from cpr.zarr.full_check import _LARGE, _NEAR, _SPAN
    from cpr.zarr.stores.many_objects import _MEMORY_BYTES

    target = array("memory://verified", SMALL, chunks=(1, 4, 4))
    get = FsspecStore.get
    now, most, total = 0, 0, 0

    async def slow(self, *args, **kwargs):
        nonlocal now, most, total
        now, total = now + 1, total + 1
        most = max(most, now)
        await asyncio.sleep(0.0005)
        try:
            return await get(self, *args, **kwargs)
        finally:
            now -= 1

    monkeypatch.setattr(FsspecStore, "get", slow)
    count = target.verify()
    assert count == 1 + 6 * 10 * 15
    assert total in (count - 1, count)  # the root's metadata may have come beside the manifest
    assert most == _NEAR
    assert max(_LARGE, _SPAN) < _MEMORY_BYTES < 150 << 20


def _spy(method, seen):
    async def spied(self, key, *args):
        seen.append(key)
        return await method(self, key, *args)

    return spied


def test_objects_that_nobody_vouches_for_are_caught(base):
    data = SMALL.copy()
    data[:3, :20, :30] = 0
    target = array(base, data, chunks=(3, 20, 30))
    empty = f"{target.url}/c/0/0/0"
    assert "c/0/0/0" not in keys_of(target)
    assert np.array_equal(target.get_data()[...], data)
    put(empty, get(f"{target.url}/c/1/1/1"))
    with pytest.raises(CorruptDataError, match="not listed") as caught:
        target.get_data()[...]
    assert caught.value.url == empty
    with pytest.raises(CorruptDataError, match="not listed"):
        target.verify()
    cpr.io.remove(empty)
    put(f"{target.url}/anything", b"")
    with pytest.raises(CorruptDataError, match="not listed"):
        target.verify()


def test_a_damaged_manifest_is_caught(base):
    target = array(base, SMALL, chunks=(1, 4, 4))
    url = manifest_url(target.url)
    good = get(url)
    # A longer one is read as far as it goes, all of it vouched for; check() sees that it is longer.
    put(url, good + b"\0")
    assert np.array_equal(target.get_data()[...], SMALL)
    with pytest.raises(CorruptDataError, match="another size"):
        target.check()
    bad = [good[:-1], good[:10], b"", good[1:]]
    for position in range(0, len(good), 4999 if base.startswith("s3") else 251):
        flipped = bytearray(good)
        flipped[position] ^= 16
        bad.append(bytes(flipped))
    for data in bad:
        put(url, data)
        with pytest.raises(CorruptDataError) as caught:
            assert target.get_data()[...].sum() == 0
        assert caught.value.url == target.url
        with pytest.raises(CorruptDataError):
            target.verify()
        if len(data) != len(good):
            with pytest.raises(CorruptDataError, match="another size"):
                target.check()
    # That of another target, of the same size; and none.
    other = array(base, SMALL[::-1], chunks=(1, 4, 4))
    for data in (get(manifest_url(other.url)), get(manifest_url(other.url))[: len(good)].ljust(len(good))):
        put(url, data)
        with pytest.raises(CorruptDataError) as caught:
            target.get_data()
        assert caught.value.url == target.url
    cpr.io.remove(url)
    for ask in (target.get_data, target.verify, target.check):
        with pytest.raises(cpr.ResourceNotFoundError) as caught:
            ask()
        assert caught.value.url == target.url
    put(url, good)
    assert np.array_equal(target.get_data()[...], SMALL)
    assert np.array_equal(other.get_data()[...], SMALL[::-1])


@pytest.mark.parametrize("place", ["local", pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.long])])
def test_no_false_alarms(place, tmp_path, request):
    base = str(tmp_path) if place == "local" else request.getfixturevalue("s3_url")
    data = SMALL.copy()
    data[:, :20] = 0
    empty = array(base, np.zeros((64, 64), "uint8"), chunks=(8, 8))
    target = array(base, data, chunks=(1, 10, 20))
    second = array(base, data, chunks=(1, 10, 20), zarr_format=2)
    shards = array(base, LARGE, chunks=(1, 64, 64), shards=(4, 256, 256))
    read = {each: each.get_data() for each in (target, second, shards)}
    for index in range(1000):
        z, y = index % 6, index % 40
        assert np.array_equal(read[target if index % 2 else second][z, y], data[z, y])
        if index % 10 == 0:
            y, x = RANDOM.integers(0, 500, 2)
            assert np.array_equal(read[shards][z, y : y + 70, x : x + 9], LARGE[z, y : y + 70, x : x + 9])
            assert not empty.get_data()[...].any()
    for each in (empty, target, second, shards):
        each.verify()


def test_a_flip_on_the_wire_is_asked_again(tmp_path, monkeypatch):
    from cpr.zarr.stores.local import FastLocalStore

    target = array(str(tmp_path), LARGE, chunks=(1, 64, 64), shards=(8, 512, 512))
    get, get_sync = FastLocalStore.get, FastLocalStore.get_sync
    flips = []

    def once(key, byte_range, value):
        if not key.startswith("c/") or (key, byte_range) in flips:
            return value
        flips.append((key, byte_range))
        data = bytearray(value.to_bytes())
        data[len(data) // 2] ^= 1
        return type(value).from_bytes(bytes(data))

    async def flipping(self, key, prototype=None, byte_range=None):
        return once(key, byte_range, await get(self, key, prototype, byte_range))

    monkeypatch.setattr(FastLocalStore, "get", flipping)

    def flipping_sync(self, key, prototype, digest):
        value = once(key, None, get_sync(self, key, prototype=prototype))
        digest.update(memoryview(value.as_buffer_like()))
        return value

    monkeypatch.setattr(FastLocalStore, "get_sync", flipping_sync)
    assert np.array_equal(target.get_data()[2, 100:300, 7], LARGE[2, 100:300, 7])
    assert np.array_equal(target.get_data()[...], LARGE)
    assert None in {part for _, part in flips}
    assert len(flips) > 1


def test_hostile_manifests_name_nothing_outside(tmp_path):
    from cpr.zarr.full_check import verify_all
    from cpr.zarr.stores.manifest_entries import Entry
    from cpr.zarr.stores.verifying_store import VerifyingStore

    (tmp_path / "secret").write_bytes(b"x")
    url = str(tmp_path / "a.zarr")
    os.mkdir(url)
    for key in ("../secret", "/etc/hostname", "c/../../secret"):
        manifest = Manifest.of(url, {key: Entry(1, bytes(16), b"")}, "xxh3_128")
        with pytest.raises(CorruptDataError, match="manifest"):
            verify_all(VerifyingStore.of(manifest))


def test_a_chunk_whose_bytes_were_lost_is_no_zero(tmp_path):
    """The least that a manifest is for."""
    target = array(str(tmp_path), LARGE[:4], chunks=(2, 512, 512))
    cpr.io.remove(f"{target.url}/c/1/0/0")
    assert not os.path.exists(f"{target.url}/c/1/0/0")
    with pytest.raises(CorruptDataError):
        target.get_data()[...]
