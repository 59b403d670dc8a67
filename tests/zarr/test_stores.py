"""zarr's own tests of stores, on both of ours, over every kind of place."""

from __future__ import annotations

import pickle
import uuid

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from zarr.abc.store import Store
from zarr.core.buffer import Buffer, cpu, default_buffer_prototype
from zarr.storage import WrapperStore
from zarr.testing.stateful import ZarrHierarchyStateMachine, ZarrStoreStateMachine
from zarr.testing.store import StoreTests
from zarr.testing.utils import assert_bytes_equal

from cpr.errors import CorruptDataError
from cpr.zarr.manifest import Manifest
from cpr.zarr.placed import PlacedStore
from cpr.zarr.stores import RecordingStore, VerifyingStore

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


class OurStoreTests(StoreTests[PlacedStore, cpu.Buffer]):
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


def test_nothing_goes_past_the_stores():
    """Methods of zarr's stores that move bytes are ours, or zarr's defaults that are made of ours."""
    moving = {"get", "set", "delete", "delete_dir", "get_partial_values", "exists", "getsize"}
    for cls in (RecordingStore, VerifyingStore):
        assert not issubclass(cls, WrapperStore)
        for name in moving:
            owner = next(c for c in cls.__mro__ if name in vars(c))
            assert owner is not Store, name
        # Protocols of zarr's synchronous and batched paths: none is offered that is not recorded or checked.
        for name in ("get_sync", "set_sync", "delete_sync", "set_partial_values"):
            assert not hasattr(cls, name), name


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
