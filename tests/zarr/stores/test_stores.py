"""zarr's own tests of stores, on both of ours, over every kind of place."""

from __future__ import annotations

import pickle
import uuid

import pytest
import zarr
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, cpu, default_buffer_prototype
from zarr.storage import WrapperStore
from zarr.testing.stateful import ZarrHierarchyStateMachine, ZarrStoreStateMachine
from zarr.testing.store import StoreTests
from zarr.testing.utils import assert_bytes_equal

from cpr.errors import CorruptDataError
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.manifest_entries import BLOCK_BYTES
from cpr.zarr.stores.recording_store import RecordingStore
from cpr.zarr.stores.url_store import UrlStore
from cpr.zarr.stores.verifying_store import VerifyingStore

PLACES = ["memory", "local", pytest.param("s3", marks=pytest.mark.s3)]


def place(request) -> str:
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}/a.zarr"
    if request.param == "local":
        return str(request.getfixturevalue("tmp_path") / "a.zarr")
    return request.getfixturevalue("s3_url") + "/a.zarr"


@pytest.fixture(params=PLACES)
def url(request):
    return place(request)


class PublishedStore(VerifyingStore):
    """A verifying store that can be written to, for tests that do both: every write publishes anew."""

    def __init__(self, url: str, read_only: bool = False, writer: RecordingStore | None = None) -> None:
        self.writer = writer or RecordingStore(url)
        manifest = Manifest.of(url, self.writer.entries, self.writer.algorithm)
        super().__init__(url, manifest.nbytes, manifest.checksum, manifest.data)
        self._read_only = read_only

    def _state(self):
        return self.url, self.read_only

    def __reduce__(self):
        return PublishedStore, (self.url, self.read_only)

    def with_read_only(self, read_only: bool = False):
        return PublishedStore(self.url, read_only, self.writer)

    @property
    def manifest(self):
        return Manifest.of(self.url, self.writer.entries, self.writer.algorithm)

    async def _manifest(self):
        return self.manifest

    @property
    def supports_writes(self):
        return True

    @property
    def supports_deletes(self):
        return True

    async def set(self, key: str, value: Buffer) -> None:
        self._check_writable()
        await self.writer.set(key, value)

    async def delete(self, key: str) -> None:
        self._check_writable()
        await self.writer.delete(key)

    async def delete_dir(self, prefix: str) -> None:
        self._check_writable()
        await self.writer.delete_dir(prefix)


class OurStoreTests(StoreTests[UrlStore, cpu.Buffer]):
    buffer_cls = cpu.Buffer

    @pytest.fixture(params=PLACES)
    def store_kwargs(self, request):
        return {"url": place(request)}

    @pytest.fixture
    def open_kwargs(self, store_kwargs):
        return store_kwargs

    def test_store_repr(self, store):
        assert repr(store) == f"{type(store).__name__}({store.url!r})"

    def test_store_supports_writes(self, store):
        assert store.supports_writes

    def test_store_supports_listing(self, store):
        assert store.supports_listing


class TestRecordingStore(OurStoreTests):
    store_cls = RecordingStore

    async def set(self, store, key, value):
        await store.bare.set(key, value)

    async def get(self, store, key):
        return await store.bare.get(key, default_buffer_prototype())


class TestVerifyingStore(OurStoreTests):
    store_cls = PublishedStore

    async def set(self, store, key, value):
        # Past the store, but published: what is not listed is not given.
        await store.writer.set(key, value)

    async def get(self, store, key):
        return await store.bare.get(key, default_buffer_prototype())


MACHINES = {
    "recording": RecordingStore,
    "verifying": PublishedStore,
}


class OnDisk(ZarrHierarchyStateMachine):
    def check_list_dir(self) -> None:
        """Folders outlive the last file in them, as zarr's own test takes into account for its LocalStore."""


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("machine", [ZarrStoreStateMachine, ZarrHierarchyStateMachine])
@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_any_sequence_of_operations(name, machine, url):
    if url.startswith("/"):
        if machine is ZarrStoreStateMachine:
            pytest.skip("its keys are files and folders at once; zarr skips its LocalStore as well")
        machine = OnDisk
    run_state_machine_as_test(
        lambda: machine(MACHINES[name](url)),
        settings=settings(
            max_examples=5 if url.startswith("s3") else 15,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )


async def test_the_published_store_is_read_only(url):
    store = PublishedStore(url)
    await store.set("zarr.json", cpu.Buffer.from_bytes(b"{}"))
    manifest = store.manifest
    verifying = VerifyingStore(url, manifest.nbytes, manifest.checksum, manifest.data)
    assert_bytes_equal(
        await verifying.get("zarr.json", default_buffer_prototype()), cpu.Buffer.from_bytes(b"{}")
    )
    assert verifying.read_only
    assert not verifying.supports_writes
    assert not verifying.supports_deletes
    for write in (
        verifying.set("a", cpu.Buffer.from_bytes(b"")),
        verifying.delete("zarr.json"),
        verifying.delete_dir(""),
        verifying.clear(),
        verifying.set_if_not_exists("a", cpu.Buffer.from_bytes(b"")),
        verifying._set_many([("a", cpu.Buffer.from_bytes(b""))]),
    ):
        with pytest.raises((ValueError, NotImplementedError)):
            await write
    with pytest.raises(NotImplementedError):
        verifying.with_read_only(False)
    assert pickle.loads(pickle.dumps(verifying)) == verifying


# zarr's own, made of the other methods of the store they are called on.
MADE_OF_OURS = {
    *("open", "_open", "_ensure_open", "close", "clear", "is_empty", "getsize_prefix"),
    *("set_if_not_exists", "_set_many", "_get_many"),
    *("_get_bytes", "_get_bytes_sync", "_get_json", "_get_json_sync"),  # of 3.1
    "get_ranges_sync",  # of 3.2 and later; refuses a store without `get_sync`
    *("_check_writable", "read_only", "supports_consolidated_metadata", "supports_partial_writes"),
}
# What other stores of zarr's have and these do not offer, so that zarr takes the ways above.
NOT_OFFERED = {"get_sync", "set_sync", "delete_sync", "get_partial_values_sync", "set_partial_values", "move"}


@pytest.mark.parametrize(
    "store", [RecordingStore("memory://x"), VerifyingStore("memory://x", 1, "xxh3_128:00")], ids=repr
)
def test_nothing_goes_past_the_stores(store):
    """Every method is ours, or known to be made of ours: one that a new zarr adds fails here."""
    assert not isinstance(store, WrapperStore)
    mine = {name for base in type(store).__mro__ if base.__module__.startswith("cpr.") for name in vars(base)}
    plain = set(vars(object)) | {"__enter__", "__exit__", "__slots__", "__weakref__"}
    inherited = {name for name in vars(Store) if name not in plain and not name.startswith(("_abc", "__"))}
    assert inherited <= mine | MADE_OF_OURS
    assert not any(hasattr(store, name) for name in NOT_OFFERED)
    protocols = [cls for name, cls in vars(zarr.abc.store).items() if name.startswith("Supports")]
    assert len(protocols) >= 4
    assert not any(isinstance(store, protocol) for protocol in protocols)


async def test_ranges_of_one_object(url):
    """As zarr 3.2 and later read shards: few requests, errors as they are, and no way past the digests."""
    data = bytes(range(256)) * (BLOCK_BYTES // 64)
    small = b"0123456789"
    writer = RecordingStore(url)
    writer.shards_below("")
    for key, value in {"c/0": data, "c/1": small}.items():
        await writer.set(key, cpu.Buffer.from_bytes(value))
    reader = VerifyingStore.of(Manifest.of(url, writer.entries, writer.algorithm))
    requests = []
    fetch = reader._blocks._fetch

    async def counting(key, start, stop):
        requests.append((start, stop))
        return await fetch(key, start, stop)

    reader._blocks._fetch = counting

    async def ask(store, key, ranges):
        found = {}
        async for some in store.get_ranges(
            key, ranges, prototype=default_buffer_prototype(), max_gap_bytes=1 << 20
        ):
            found |= {index: value.to_bytes() for index, value in some}
        return [found[index] for index in range(len(ranges))]

    B = BLOCK_BYTES
    ranges = [
        *(RangeByteRequest(3, 5), RangeByteRequest(B - 1, B + 1), RangeByteRequest(3 * B, 3 * B)),
        *(SuffixByteRequest(7), OffsetByteRequest(len(data) - 3), RangeByteRequest(B, 2 * B)),
    ]
    expected = [data[3:5], data[B - 1 : B + 1], b"", data[-7:], data[-3:], data[B : 2 * B]]
    for store in (writer, reader):
        assert await ask(store, "c/0", ranges) == expected
        assert await ask(store, "c/0", []) == []
        assert await ask(store, "c/0", [None]) == [data]
        assert await ask(store, "c/1", [RangeByteRequest(1, 3), None, SuffixByteRequest(2)]) == [
            *(b"12", small, b"89")
        ]
        with pytest.raises(BaseExceptionGroup) as caught:
            await ask(store, "c/2", [RangeByteRequest(0, 1)])
        assert caught.value.subgroup(FileNotFoundError)
    # Two runs of blocks, then what was not there yet, then an object that is one block.
    assert requests == [(0, 2 * B), (3 * B, 4 * B + 1), (2 * B, 3 * B), (0, 11)]
    for bad in (b"\1" + data[1:], data[:-1], data + b"x", data[: 3 * B]):
        await writer.bare.set("c/0", cpu.Buffer.from_bytes(bad))
        fresh = VerifyingStore.of(reader.manifest)
        with pytest.raises(CorruptDataError):
            await ask(
                fresh, "c/0", [RangeByteRequest(0, 5), RangeByteRequest(2 * B, 3 * B), SuffixByteRequest(9)]
            )
    # Blocks that are kept belong to one content, not to a name.
    published = PublishedStore(url, writer=writer)
    for value in (small, small[::-1]):
        await published.set("c/1", cpu.Buffer.from_bytes(value))
        assert await ask(published, "c/1", [SuffixByteRequest(3)]) == [value[-3:]]
    await writer.bare.delete("c/0")
    with pytest.raises(CorruptDataError):
        await ask(VerifyingStore.of(reader.manifest), "c/0", [RangeByteRequest(0, 5)])


async def test_every_write_path_is_recorded(url):
    store = RecordingStore(url)
    one = cpu.Buffer.from_bytes(b"1")
    await store.set("a", one)
    await store.set_if_not_exists("b", one)
    await store.set_if_not_exists("b", cpu.Buffer.from_bytes(b"22"))
    await store._set_many([("c/1", one), ("c/2", one)])
    assert sorted(store.entries) == ["a", "b", "c/1", "c/2"]
    assert store.entries["b"].size == 1
    await store.delete("a")
    await store.delete("never")
    await store.delete("c")  # a folder, not an object
    assert sorted(store.entries) == ["b", "c/1", "c/2"]
    assert await store.exists("c/1")
    await store.delete_dir("c")
    assert sorted(store.entries) == ["b"]
    assert [key async for key in store.list()] == ["b"]
    await store.clear()
    assert store.entries == {}


async def test_a_recording_store_does_not_carry_damage_along(url):
    store = RecordingStore(url)
    await store.set("c/0", cpu.Buffer.from_bytes(b"good"))
    await store.bare.set("c/0", cpu.Buffer.from_bytes(b"gooD"))
    with pytest.raises(CorruptDataError):
        await store.get("c/0", default_buffer_prototype())
    await store.bare.delete("c/0")
    with pytest.raises(CorruptDataError, match="missing"):
        await store.get("c/0", default_buffer_prototype())
