"""What others write through the group of `create()`: equal data as equal bytes, of memory that stays."""

from __future__ import annotations

import copy
import pickle
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context

import dask.array as da
import numcodecs
import numcodecs.abc
import numpy as np
import pytest
import zarr
from zarr.abc.codec import BytesBytesCodec, CodecPipeline
from zarr.codecs import BytesCodec, GzipCodec, ShardingCodec
from zarr.storage import LoggingStore, StorePath

import cpr
from cpr.errors import EncodeError, RecordError

SHAPE, CHUNKS = (8, 12), (4, 6)


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 60_000, SHAPE).astype("uint16")


def created(group, data, **how):
    group.create_array("a", data=data, **how)


def assigned(group, data, **how):
    group.create_array("a", shape=data.shape, dtype=data.dtype, **how)
    group["a"][...] = data


def in_other_words(group, data, **how):
    array = group.create_array("a", shape=data.shape, dtype=data.dtype, **how)
    array.oindex[:, :] = data
    array.vindex[[1, 2], [3, 4]] = data[[1, 2], [3, 4]]


def required(group, data, **how):
    group.require_array("a", shape=data.shape, dtype=data.dtype, **how)[...] = data


def a_dataset(group, data, **how):
    group.create_dataset("a", shape=data.shape, dtype=data.dtype, **how)[...] = data


def nested(group, data, **how):
    group.create_group("x/y").require_group("z").create_array("a", data=data, **how)


def looked_up(group, data, **how):
    group.create_array("x/y/a", shape=data.shape, dtype=data.dtype, **how)
    group["x"]["y/a"][:4] = data[:4]
    group.get("x/y/a")[4:] = data[4:]


def listed(group, data, **how):
    group.create_array("x/a", shape=data.shape, dtype=data.dtype, **how)
    dict(group.members(max_depth=None))["x/a"][:4] = data[:4]
    dict(group["x"].arrays())["a"][4:] = data[4:]


def grown(group, data, **how):
    array = group.create_array("a", shape=(0, data.shape[1]), dtype=data.dtype, **how)
    array.append(data[:3])
    array.append(data[3:])


def configured(group, data, **how):
    array = group.create_array("a", shape=data.shape, dtype=data.dtype, **how)
    array.with_config({"write_empty_chunks": True})[...] = data


def by_zarr(group, data, **how):
    zarr.create_array(group.store, name="x/a", data=data, zarr_format=group.metadata.zarr_format, **how)


def opened_by_zarr(group, data, **how):
    group.create_array("a", shape=data.shape, dtype=data.dtype, **how)
    zarr.open_array(group.store, path="a", mode="r+")[:4] = data[:4]
    zarr.open_group(group.store, mode="a")["a"][4:] = data[4:]
    zarr.consolidate_metadata(group.store)


def through_another_store(group, data, **how):
    store = LoggingStore(group.store, log_level="CRITICAL")
    zarr.create_array(store, name="a", data=data, zarr_format=group.metadata.zarr_format, **how)


def of_dask(group, data, **how):
    array = group.create_array("a", shape=data.shape, dtype=data.dtype, **how)
    da.from_array(data, chunks=array.shards or array.chunks).store(array, lock=False)


def of_dask_to_zarr(group, data, **how):
    array = group.create_array("a", shape=data.shape, dtype=data.dtype, **how)
    da.from_array(data, chunks=array.shards or array.chunks).to_zarr(array)


WAYS = [
    created,
    assigned,
    in_other_words,
    required,
    *([a_dataset] if hasattr(zarr.Group, "create_dataset") else []),  # not in zarr 3.4
    nested,
    looked_up,
    listed,
    grown,
    configured,
    by_zarr,
    opened_by_zarr,
    through_another_store,
    of_dask,
    of_dask_to_zarr,
]
GZIP = {
    "format 2": (2, {"chunks": CHUNKS, "compressors": numcodecs.GZip(1)}),
    "format 3": (3, {"chunks": CHUNKS, "compressors": GzipCodec(level=1)}),
    "shards": (3, {"chunks": CHUNKS, "shards": SHAPE, "compressors": GzipCodec(level=1)}),
}


def _twice(write, tmp_path, monkeypatch, zarr_format=3):
    """Checksums of what is written now and later, and the last result."""
    checksums, real = [], time.time
    for name in "ab":
        target = cpr.ZarrTarget.from_path(tmp_path / name / "a.zarr", zarr_format=zarr_format)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that zarr will not have any more
            write(target.create())
        checksums.append(target.persist().checksum)
        monkeypatch.setattr(time, "time", lambda: real() + 1000)
    again = cpr.load(target.serialize())
    again.verify()
    return checksums, again.get_data()


def _arrays_in(group):
    return [node for _, node in group.members(max_depth=None) if isinstance(node, zarr.Array)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("codecs", GZIP)
def test_it_is_the_same_whenever_it_is_written(codecs, way, tmp_path, monkeypatch):
    zarr_format, how = GZIP[codecs]
    checksums, found = _twice(lambda group: way(group, pixels(), **how), tmp_path, monkeypatch, zarr_format)
    assert len(set(checksums)) == 1
    (array,) = _arrays_in(found)
    assert "gzip" in str(array.metadata.to_dict())
    assert np.array_equal(array[...], pixels())


def _older(group, zarr_format):
    """All that makes arrays under the names of zarr 2, and copies their layout."""
    codec = {"compressor": numcodecs.GZip(1)} if zarr_format == 2 else {"codecs": [BytesCodec(), GzipCodec()]}
    codec["zarr_format"] = zarr_format
    how = {"shape": SHAPE, "chunks": CHUNKS, "dtype": "uint16", **codec}
    for name in ("empty", "zeros", "ones"):
        getattr(group, name)(name=name, **how)[...] = pixels()
    group.full(name="full", fill_value=3, **how)[...] = pixels()
    for name in ("empty_like", "zeros_like", "ones_like"):
        getattr(group, name)(name=name, data=group["ones"], **how)[...] = pixels()
    group.full_like(name="full_like", data=group["ones"], fill_value=3, **how)[...] = pixels()
    zarr.open(group.store, path="open", mode="a", **how)[...] = pixels()
    zarr.save_array(group.store, pixels(), path="saved", **codec)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_older_names_as_well(zarr_format, tmp_path, monkeypatch):
    checksums, found = _twice(lambda group: _older(group, zarr_format), tmp_path, monkeypatch, zarr_format)
    assert len(set(checksums)) == 1
    assert len(_arrays_in(found)) == 10
    assert all(np.array_equal(array[...], pixels()) for array in _arrays_in(found))


def test_whole_hierarchies_at_once(tmp_path, monkeypatch):
    from zarr.core.group import GroupMetadata

    how = {"shape": SHAPE, "chunks": CHUNKS, "dtype": "uint16", "compressors": GzipCodec()}
    metadata = zarr.create_array({}, **how).metadata

    def write(group):
        nodes = dict(group.create_hierarchy({"x": GroupMetadata(), "x/a": metadata}))
        nodes["x/a"][...] = pixels()
        made = dict(zarr.create_hierarchy(store=group.store, nodes={"y": GroupMetadata(), "y/a": metadata}))
        made["y/a"][...] = pixels()

    checksums, found = _twice(write, tmp_path, monkeypatch)
    assert len(set(checksums)) == 1
    assert all(np.array_equal(array[...], pixels()) for array in _arrays_in(found))


class Suspicious(BytesBytesCodec):
    """A codec that looks twice, as compressors do; in between somebody changes the data."""

    is_fixed_size = True
    change = staticmethod(lambda: None)
    differing = 0

    @classmethod
    def from_dict(cls, data):
        return cls()

    def to_dict(self):
        return {"name": "cpr_suspicious", "configuration": {}}

    async def _encode_single(self, chunk, spec):
        before = chunk.to_bytes()
        Suspicious.change()
        Suspicious.differing += before != chunk.to_bytes()
        return chunk

    async def _decode_single(self, chunk, spec):
        return chunk

    def compute_encoded_size(self, size, spec):
        return size


class Suspicious2(numcodecs.abc.Codec):
    """Of format 2."""

    codec_id = "cpr_suspicious"

    def encode(self, buf):
        before = bytes(buf)
        Suspicious.change()
        Suspicious.differing += before != bytes(buf)
        return before

    def decode(self, buf, out=None):
        return numcodecs.compat.ndarray_copy(buf, out)


@pytest.fixture
def suspicious(monkeypatch):
    zarr.registry.register_codec("cpr_suspicious", Suspicious)
    numcodecs.register_codec(Suspicious2)
    monkeypatch.setattr(Suspicious, "differing", 0)
    monkeypatch.setenv("CPR_ZARR_CODECS", "cpr_suspicious")
    return Suspicious


INNER = ShardingCodec(chunk_shape=SHAPE, codecs=[BytesCodec(), Suspicious()])
LOOKS = {
    "format 2": (2, {"compressors": Suspicious2()}),
    "format 3": (3, {"compressors": Suspicious()}),
    "shards": (3, {"shards": SHAPE, "compressors": Suspicious()}),
    "small chunks in shards": (3, {"chunks": CHUNKS, "shards": SHAPE, "compressors": Suspicious()}),
    "shards in shards": (3, {"serializer": ShardingCodec(chunk_shape=SHAPE, codecs=[INNER])}),
}


@pytest.mark.parametrize("way", [way for way in WAYS if way is not grown])
@pytest.mark.parametrize("codecs", LOOKS)
def test_it_is_encoded_in_memory_of_its_own(codecs, way, tmp_path, monkeypatch, suspicious):
    zarr_format, how = LOOKS[codecs]
    how = {"chunks": SHAPE, **({"compressors": None} if "serializer" in how else {}), **how}
    data = pixels()
    changes = []

    def change():
        changes.append(1)
        data[...] ^= 1

    monkeypatch.setattr(suspicious, "change", change)
    target = cpr.ZarrTarget.from_path(tmp_path / "a.zarr", zarr_format=zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        way(target.create(), data, **how)
    assert changes
    assert not suspicious.differing
    found = cpr.load(target.serialize())
    found.verify()
    (array,) = _arrays_in(found.get_data())
    assert set(np.unique(array[...] ^ pixels())) <= {0, 1}


@pytest.mark.parametrize("codecs", LOOKS)
def test_so_is_what_set_data_writes(codecs, tmp_path, monkeypatch, suspicious):
    zarr_format, how = LOOKS[codecs]
    if "serializer" in how:
        pytest.skip("no option of set_data")
    data = pixels()

    def change():
        data[...] ^= 1

    monkeypatch.setattr(suspicious, "change", change)
    target = cpr.ZarrTarget.from_path(
        tmp_path / "a.zarr", zarr_format=zarr_format, **{"chunks": SHAPE, **how}
    )
    target.set_data(data)
    assert not np.array_equal(data, pixels()) or "small" in codecs
    assert not suspicious.differing
    assert np.array_equal(target.persist().get_data()[...] >> 1, pixels() >> 1)


def test_object_that_somebody_puts_into_the_store_is_copied_first(tmp_path):
    """Not by an array: bytes of one's own under a key of one's own."""
    memory = np.zeros(64, "uint8")
    target = cpr.ZarrTarget.from_path(tmp_path / "a.zarr")
    group = target.create()

    class Changing(zarr.core.buffer.cpu.Buffer):
        def to_bytes(self):
            found = super().to_bytes()
            memory[:] += 1
            return found

    group.create_array("a", shape=(64,), chunks=(64,), dtype="uint8", compressors=None)
    zarr.core.sync.sync(group.store.set("a/c/0", Changing.from_array_like(memory)))
    target.persist().verify()
    assert not target.get_data()["a"][...].any()


class Others(CodecPipeline):
    """A pipeline of somebody else, which users may configure; it would write the data as they are."""

    @classmethod
    def from_codecs(cls, codecs):
        return cls()

    @classmethod
    def from_array_metadata_and_store(cls, array_metadata, store):
        return cls()

    async def write(self, batch_info, value, drop_axes=()):
        raise AssertionError("it was asked")

    def _no(self, *args, **kwargs):
        raise NotImplementedError

    evolve_from_array_spec = from_array_spec = validate = compute_encoded_size = _no
    supports_partial_decode = supports_partial_encode = property(_no)
    decode = encode = read = __iter__ = _no


def test_whichever_pipeline_is_configured(tmp_path):
    from zarr.registry import register_pipeline

    register_pipeline(Others)
    name = f"{Others.__module__}.{Others.__qualname__}"
    target = cpr.ZarrTarget.from_path(tmp_path / "a.zarr")
    with zarr.config.set({"codec_pipeline.path": name}):
        with pytest.raises(AssertionError, match="it was asked"):
            zarr.create_array({}, data=pixels())
        target.create().create_array("a", data=pixels())
    assert np.array_equal(target.persist().get_data()["a"][...], pixels())


@pytest.mark.parametrize("codecs", LOOKS)
def test_chunks_in_shards_whichever_pipeline_is_configured(codecs, tmp_path, monkeypatch, suspicious):
    from zarr.core import codec_pipeline

    fused = getattr(codec_pipeline, "FusedCodecPipeline", None)
    if fused is None:
        pytest.skip("this zarr has one pipeline")
    with zarr.config.set({"codec_pipeline.path": f"{fused.__module__}.{fused.__qualname__}"}):
        test_it_is_encoded_in_memory_of_its_own(codecs, created, tmp_path, monkeypatch, suspicious)


def test_chunks_of_several_sizes_are_refused_and_not_unsafe(tmp_path):
    group = cpr.ZarrTarget.from_path(tmp_path / "a.zarr").create()
    if "array.rectilinear_chunks" not in zarr.config:
        pytest.skip("this zarr has none")
    with zarr.config.set({"array.rectilinear_chunks": True}), pytest.raises(EncodeError, match="rectilinear"):
        group.create_array("a", shape=(6,), chunks=[[1, 2, 3]], dtype="uint8")


def test_arrays_of_other_stores_are_as_zarr_makes_them(tmp_path):
    cpr.ZarrTarget.from_path(tmp_path / "a.zarr").create()
    array = zarr.create_array({}, data=pixels(), compressors=GzipCodec())
    assert type(array.async_array.codec_pipeline).__module__.startswith("zarr.")


def _overwritten(array):
    array[...] = 1


def test_copies_in_this_process_write_what_is_part_of_the_result(tmp_path):
    target = cpr.ZarrTarget.from_path(tmp_path / "a.zarr")
    group = target.create()
    array = group.create_array("a", data=pixels(), chunks=CHUNKS)
    pickle.loads(pickle.dumps(array))[:4] = 1
    copy.deepcopy(group)["a"][4:] = 2
    found = cpr.load(target.serialize()).get_data()["a"]
    assert found[:, 0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    with pytest.raises(RecordError, match="never changed"):
        pickle.loads(pickle.dumps(array))[...] = 1


@pytest.mark.parametrize("method", [one for one in ("spawn", "fork") if one in get_all_start_methods()])
def test_copies_in_other_processes_write_nothing(method, tmp_path):
    """Nobody would know of it: the chunks that are there would not be those that were digested."""
    target = cpr.ZarrTarget.from_path(tmp_path / "a.zarr")
    array = target.create().create_array("a", data=pixels(), chunks=CHUNKS)
    with (
        ProcessPoolExecutor(1, mp_context=get_context(method)) as pool,
        pytest.raises(RecordError, match="the process that made it"),
    ):
        pool.submit(_overwritten, array).result(120)
    assert np.array_equal(cpr.load(target.serialize()).get_data()["a"][...], pixels())


def test_workers_of_dask_write_nothing_either(tmp_path):
    distributed = pytest.importorskip("distributed")
    target = cpr.ZarrTarget.from_path(tmp_path / "a.zarr")
    array = target.create().create_array("a", data=pixels(), chunks=CHUNKS)
    with (
        distributed.LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        pytest.raises(RecordError, match="the process that made it"),
    ):
        da.ones(SHAPE, "uint16", chunks=CHUNKS).store(array, lock=False)
    assert np.array_equal(cpr.load(target.serialize()).get_data()["a"][...], pixels())


@pytest.mark.parametrize("codecs", GZIP)
def test_arrays_are_as_safe_after_they_were_pickled(codecs, tmp_path, monkeypatch):
    """As dask does with what it sends to its workers."""
    zarr_format, how = GZIP[codecs]
    found = []
    for seconds in (1e9, 2e9):
        group = cpr.ZarrTarget.from_path(tmp_path / "a.zarr", zarr_format=zarr_format).create()
        array = group.create_array("a", shape=SHAPE, dtype="uint16", **how)
        array = pickle.loads(pickle.dumps(array))
        monkeypatch.setattr(time, "time", lambda seconds=seconds: seconds)
        memory = zarr.Array(zarr.AsyncArray(array.metadata, StorePath(zarr.storage.MemoryStore(), "a")))
        object.__setattr__(memory.async_array, "codec_pipeline", array.async_array.codec_pipeline)
        memory[...] = pixels()
        found.append({key: value.to_bytes() for key, value in memory.store._store_dict.items()})
    assert found[0] == found[1]
