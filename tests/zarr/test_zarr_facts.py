"""What cpr.zarr.zarr_internals rests on: these fail when another zarr does it in another way."""

from __future__ import annotations

import dataclasses
import threading

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.storage import FsspecStore, LocalStore, LoggingStore, MemoryStore

from cpr.zarr import zarr_internals


def test_sync_awaits_on_zarrs_own_loop():
    async def thread() -> str:
        return threading.current_thread().name

    assert zarr_internals.sync(thread()) != threading.current_thread().name


def test_a_group_holds_an_asynchronous_group_and_is_made_of_one():
    group = zarr.create_group({}, attributes={"a": 1})
    group.create_array("x", shape=(2,), dtype="u1")
    inner = zarr_internals.async_group_of(group)
    assert isinstance(inner, zarr.AsyncGroup)
    assert zarr.Group(inner)["x"].shape == (2,)


def test_codecs_that_are_put_in_the_place_of_an_arrays_are_what_it_reads_with():
    array = zarr.array(np.arange(4), store={})
    seen = []

    class Codecs:
        def __init__(self, codecs):
            self._codecs = codecs

        async def read(self, *args, **kwargs):
            seen.append(1)
            return await self._codecs.read(*args, **kwargs)

        def __getattr__(self, name):
            return getattr(self._codecs, name)

    zarr_internals.wrap_codecs(array, Codecs)
    selections = (
        lambda: array[...],
        lambda: array[1],
        lambda: array.oindex[[1, 2]],
        lambda: array.vindex[[1, 2]],
        lambda: array.blocks[0],
        lambda: array.get_mask_selection(np.array([True, False, True, False])),
        lambda: np.asarray(array),
    )
    for number, select in enumerate(selections, 1):
        select()
        assert len(seen) == number


def test_every_array_is_made_by_one_constructor(monkeypatch):
    monkeypatch.setattr(zarr.AsyncArray, "__init__", zarr.AsyncArray.__init__)  # which puts it back
    seen = []
    zarr_internals.on_every_array(lambda array: seen.append(array.store_path.path))
    group = zarr.open_group({}, mode="a")
    made = group.create_array("a", shape=(2,), dtype="u1")
    ways = (
        lambda: group["a"],
        lambda: dict(group.arrays()),
        lambda: group.require_array("a", shape=(2,), dtype="u1"),
        lambda: zarr.open(group.store, path="a"),
        lambda: made.with_config({"write_empty_chunks": True}),
        lambda: zarr.Array.from_dict(made.store_path, made.metadata.to_dict()),
    )
    for number, way in enumerate(ways, 1):
        way()
        assert seen.count("a") > number


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_codecs_of_zarrs_own_pipeline_are_made_of_the_metadata(zarr_format):
    array = zarr.create_array({}, data=np.arange(9), zarr_format=zarr_format).async_array
    assert zarr_internals.zarrs_codecs(array) is array.codec_pipeline
    own = array.codec_pipeline
    zarr_internals.wrap_codecs(array, lambda _: object())
    assert zarr_internals.zarrs_codecs(array) == own


def test_a_local_store_can_be_opened_twice(tmp_path):
    store = LocalStore(tmp_path)
    zarr_internals.open_local(store)
    zarr_internals.open_local(store)
    assert store._is_open


def test_a_store_in_memory_and_one_around_another_tell_what_they_hold():
    store = MemoryStore()
    zarr.create_array(store, name="a", shape=(2,), dtype="u1", compressors=None)[...] = [1, 2]
    held = zarr_internals.objects_in_memory(store)
    assert {key: buffer.to_bytes() for key, buffer in held.items()}["a/c/0"] == b"\x01\x02"
    assert zarr_internals.wrapped_store(LoggingStore(store)) is store


@pytest.mark.parametrize(("protocol", "options"), [("file", {"auto_mkdir": True}), ("memory", {})])
def test_a_store_of_fsspec_tells_of_each_object_what_its_filesystem_says_now(protocol, options, tmp_path):
    store = FsspecStore.from_url(f"{protocol}://{tmp_path}/a.zarr", storage_options=options)
    zarr.create_array(store, shape=(2,), dtype="u1", compressors=None)[...] = 1
    fs, entries = zarr_internals.entries_below(store, store.path)
    assert {name.rpartition("a.zarr/")[2]: entry["size"] for name, entry in entries.items()}["c/0"] == 2
    assert fs.cat_file(next(name for name in entries if name.endswith("c/0"))) == b"\x01\x01"
    fs.rm_file(next(name for name in entries if name.endswith("c/0")))
    assert len(zarr_internals.entries_below(store, store.path)[1]) == len(entries) - 1


def test_the_codec_of_format_2_has_filters_and_a_compressor_that_can_be_replaced():
    array = zarr.create_array({}, shape=(2,), dtype="u1", zarr_format=2, compressors=numcodecs.Zlib())
    (codec,) = array.async_array.codec_pipeline
    assert isinstance(codec, zarr_internals.V2Codec)
    assert codec.compressor.codec_id == "zlib"
    other = dataclasses.replace(codec, filters=(numcodecs.Delta("u1"),), compressor=None)
    assert other.filters[0].codec_id == "delta"
    assert other.compressor is None


class Kept(MemoryStore):
    """What a store is given of an array's chunks."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[np.ndarray] = []

    async def set(self, key, value, byte_range=None):
        if not key.endswith("zarr.json"):
            self.given.append(value.as_numpy_array())
        await super().set(key, value, byte_range)


@pytest.mark.parametrize("shape", [(4, 6), (2, 3), (3, 4), (1, 1)])
@pytest.mark.parametrize("options", [{"compressors": None}, {}, {"shards": (4, 6)}], ids=str)
def test_no_chunk_is_encoded_in_the_memory_of_the_data(shape, options):
    data = np.arange(1, np.prod(shape) + 1, dtype="uint16").reshape(shape)
    store = Kept()
    array = zarr.create_array(store, name="a", shape=shape, dtype=data.dtype, chunks=(2, 3), **options)
    zarr_internals.wrap_codecs(array, lambda codecs: zarr_internals.with_own_copies(codecs, data))
    array[...] = data
    assert store.given
    assert not any(np.may_share_memory(one, data) for one in store.given)
    assert np.array_equal(zarr.open_array(store, path="a")[...], data)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"compressors": None}, True),
        ({}, False),
        ({"compressors": None, "shards": (4, 6)}, False),
        ({"compressors": None, "filters": [zarr.codecs.TransposeCodec(order=(1, 0))]}, False),
        ({"compressors": None, "serializer": zarr.codecs.BytesCodec(endian="big")}, False),
        ({"compressors": None, "zarr_format": 2}, False),
    ],
    ids=str,
)
def test_which_chunks_are_stored_as_they_are(options, expected):
    array = zarr.create_array(MemoryStore(), name="a", shape=(4, 6), dtype="uint16", chunks=(2, 3), **options)
    codecs = zarr_internals.with_own_copies(array.async_array.codec_pipeline, np.zeros((4, 6), "uint16"))
    assert zarr_internals.stores_as_it_is(codecs) == expected


def test_its_gzip_writes_the_time(monkeypatch):
    """So it needs `cpr.zarr.steady_gzip`, until it does not."""
    found = set()
    for seconds in (1e9, 2e9):
        monkeypatch.setattr("time.time", lambda seconds=seconds: seconds)
        found.add(numcodecs.GZip(1).encode(b"abc"))
    assert len(found) == 2
    assert len({one[:4] + bytes(4) + one[8:] for one in found}) == 1
