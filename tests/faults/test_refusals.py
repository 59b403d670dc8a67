"""What a store refuses each time is told soon: one place repeats a request, and only what may help.

botocore, s3fs, obstore, gcsfs, Azure's client and cpr all know how to repeat; one inside the other would ask
twenty times, for half a minute. Requests are counted, for seconds would depend on the machine.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pytest
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

import cpr
from cpr import io
from cpr.errors import CprError, TransferError
from cpr.io import throttling
from cpr.io.clients import s3_retries
from cpr.io.error_translation import translate_errors
from cpr.io.hashing_sink import Stored
from cpr.io.objects import open_store, remove_many
from cpr.io.transfer_width import TransferWidth
from cpr.zarr.stores.url_store import UrlStore
from tests.faults.proxy import FaultProxy
from tests.faults.test_azure_faults import kind_of as azure_kind
from tests.servers.gcs_faults import FaultyGCS

SMALL, LARGE = os.urandom(1000), os.urandom(9 << 20)
PARTS = 2
S3_STEPS = ("create", "part", "complete")

DAMAGED = "400 BadDigest"
STATUSES = [DAMAGED, "400 InvalidRequest", "403", "404", "409", "412", "416", "501"]
# Looked at first, asked by obstore and by s3fs, which names what is wrong.
MOST = 3
TOO_MANY = 16  # refusals in a row
TRIES = 4  # of a body that was changed on its way


class Refuse(Protocol):
    def __call__(self, status: str, of: str | None, times: int = 1 << 30) -> None: ...


@dataclass
class Refusing:
    """A store of which some kinds of requests are refused.

    Attributes:
        base: URL of a folder in it.
        refuse: is told the status, which kinds it is for (None for all), and how many requests.
        asked: the kinds of requests since then.
        steps: the kinds that an upload in parts is made of.
    """

    base: str
    refuse: Refuse
    asked: Callable[[], list[str]]
    steps: tuple[str, ...]
    stored: Stored = field(init=False)

    def __post_init__(self) -> None:
        self.put("small", SMALL)
        self.stored = self.put("large", LARGE)

    def put(self, name: str, data: bytes) -> Stored:
        with io.writing(f"{self.base}/{name}") as file:
            file.write(data)
        return file.stored

    def read_whole(self) -> None:
        with io.reading(f"{self.base}/large", "xxh3_128", len(LARGE)) as file:
            file.finish()

    def read_region(self) -> None:
        with io.verified(f"{self.base}/large", self.stored.nbytes, self.stored.blocks) as file:
            if file is not None:  # without its digests an object is read whole
                file.read(100)

    def change(self) -> None:
        store, path = open_store(f"{self.base}/changed")
        with translate_errors(path, "write"):
            store.conditional(path).write_if(SMALL, None)

    def look(self) -> None:
        store, path = open_store(f"{self.base}/changed")
        with translate_errors(path, "read"):
            store.conditional(path).read()

    def operations(self) -> dict[str, Callable[[], object]]:
        return {
            "write": lambda: self.put("new", SMALL),
            "write in parts": lambda: self.put("new-large", LARGE),
            "read": lambda: io.read_through(f"{self.base}/small", "xxh3_128", len(SMALL)),
            "read whole": self.read_whole,
            "read a region": self.read_region,
            "look at": lambda: io.lookup(f"{self.base}/small"),
            "find": lambda: io.find(f"{self.base}/*"),
            "list uploads": lambda: list(io.find_orphans(self.base)),
            "delete": lambda: io.remove(f"{self.base}/gone"),
            "delete many": lambda: remove_many([f"{self.base}/gone", f"{self.base}/gone-too"]),
            "conditional write": self.change,
            "conditional read": self.look,
        }

    def zarr_operations(self) -> dict[str, Callable[[], object]]:
        """More of them, by zarr's own store where the store has none of ours."""
        data = np.arange(256, dtype="uint16").reshape(4, 8, 8)
        written = self._zarr("there", data)

        def whole() -> None:
            assert np.array_equal(written.get_data()[...], data)

        return {
            "write a Zarr": lambda: self._zarr("new", data),
            "read a Zarr": whole,
            "read a region of it": lambda: written.get_data()[1, 2:4],
            "check a Zarr": lambda: written.check(full=True),
            "copy a Zarr": lambda: written.copy_to(f"{self.base}/copies"),
        }

    def store_operations(self) -> dict[str, Callable[[], object]]:
        """What zarr asks of a store of ours, each by itself."""
        store = UrlStore(f"{self.base}/store")
        prototype = default_buffer_prototype()
        content = prototype.buffer.from_bytes(SMALL)

        async def listed(keys: Any) -> list[str]:
            return [key async for key in keys]

        def put() -> None:
            for key in ("a", "b", "folder/c", "folder/d"):
                sync(store.set(key, content))

        put()
        return {
            "get": lambda: sync(store.get("a", prototype)),
            "get a range": lambda: sync(store.get("a", prototype, RangeByteRequest(1, 5))),
            "get the rest": lambda: sync(store.get("a", prototype, OffsetByteRequest(5))),
            "get the end": lambda: sync(store.get("a", prototype, SuffixByteRequest(5))),
            "get what is not there": lambda: sync(store.get("nothing", prototype)),
            "exists": lambda: sync(store.exists("a")),
            "is empty": lambda: sync(store.is_empty("folder")),
            "size": lambda: sync(store.getsize("a")),
            "size of a folder": lambda: sync(store.getsize_prefix("folder")),
            "list": lambda: sync(listed(store.list())),
            "list a folder": lambda: sync(listed(store.list_dir("folder"))),
            "list below": lambda: sync(listed(store.list_prefix("folder/"))),
            "set": lambda: sync(store.set("new", content)),
            "set if it is not there": lambda: sync(store.set_if_not_exists("newer", content)),
            "delete": lambda: sync(store.delete("b")),
            "delete what is not there": lambda: sync(store.delete("nothing")),
            "delete a folder": lambda: sync(store.delete_dir("folder")),
            "clear": lambda: sync(store.clear()),
        }

    def _zarr(self, name: str, data: np.ndarray) -> Any:
        target = cpr.ZarrTarget.from_path(f"{self.base}/{name}.zarr", chunks=(1, 8, 8))
        target.set_data(data)
        return cpr.load(target.serialize())


def s3(request: pytest.FixtureRequest) -> Iterator[Refusing]:
    proxy: FaultProxy = request.getfixturevalue("proxy")

    def refuse(status: str, of: str | None, times: int = 1 << 30) -> None:
        left = iter(range(times))
        proxy.plan(lambda _, kind: status if of in (None, kind) and next(left, None) is not None else None)

    yield Refusing(request.getfixturevalue("s3_url"), refuse, lambda: proxy.kinds, S3_STEPS)


def azure(request: pytest.FixtureRequest) -> Iterator[Refusing]:
    server = request.getfixturevalue("azure_server")
    with FaultProxy(server.endpoint, azure_kind) as proxy:
        for name, value in server.environment(proxy.endpoint).items():
            request.getfixturevalue("monkeypatch").setenv(name, value)

        def refuse(status: str, of: str | None, times: int = 1 << 30) -> None:
            status, left = status.replace("BadDigest", "Md5Mismatch"), iter(range(times))
            proxy.plan(
                lambda _, kind: status if of in (None, kind) and next(left, None) is not None else None
            )

        yield Refusing(request.getfixturevalue("az_url"), refuse, lambda: proxy.kinds, S3_STEPS[1:])


def gcs(request: pytest.FixtureRequest) -> Iterator[Refusing]:
    server, asked = request.getfixturevalue("gcs_server"), []
    with FaultyGCS(server.endpoint) as proxy:
        request.getfixturevalue("monkeypatch").setenv("STORAGE_EMULATOR_HOST", proxy.endpoint)

        def refuse(status: str, of: str | None, times: int = 1 << 30) -> None:
            left = iter(range(times))
            asked.clear()

            def answer(method: str, path: str) -> int | None:
                kind = "part" if method == "PUT" else method
                asked.append(kind)
                return int(status[:3]) if of in (None, kind) and next(left, None) is not None else None

            proxy.refuse = answer

        yield Refusing(request.getfixturevalue("gs_url"), refuse, lambda: asked, ("part",))


@pytest.fixture(
    params=[
        pytest.param(s3, marks=pytest.mark.real_s3),
        pytest.param(azure, marks=[pytest.mark.azure, pytest.mark.xdist_group("azure")]),
        pytest.param(gcs, marks=pytest.mark.gcs),
    ],
    ids=lambda store: store.__name__,
)
def store(request, monkeypatch) -> Iterator[Refusing]:
    monkeypatch.setattr(TransferWidth, "is_far", False)
    monkeypatch.setattr(s3_retries, "_FIRST_WAIT_SECONDS", 0.001)
    yield from request.param(request)


def test_what_is_refused_each_time_is_asked_for_a_few_times(store):
    for status in STATUSES:
        for name, operation in store.operations().items():
            store.refuse(status, None)
            with suppress(CprError):
                operation()
            has_body = "write" in name or name == "delete many"
            most = MOST + TRIES * (has_body and status == DAMAGED)
            counts = Counter(store.asked())
            assert counts, (status, name)
            assert max(counts.values()) <= most, (status, name, counts)


@pytest.mark.parametrize("status", [DAMAGED, "403"])
def test_parts_that_are_refused_each_time(store, status):
    for kind in store.steps:
        store.refuse(status, kind)
        with pytest.raises(TransferError):
            store.put("new", LARGE)
        tries = TRIES if status == DAMAGED and kind == "part" else 1
        assert 1 <= store.asked().count(kind) <= PARTS * tries


@pytest.mark.parametrize("status", ["429", "503"])
def test_so_is_zarrs_own_store(store, status, monkeypatch):
    monkeypatch.setattr(throttling, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(throttling, "_LONGEST_PAUSE_SECONDS", 0.01)
    for name, operation in store.store_operations().items():
        store.refuse(status, None, TOO_MANY)
        operation()
        assert len(store.asked()) > TOO_MANY, name


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_store_that_is_asked_too_much_is_asked_again(store, status, monkeypatch):
    """More often than any client would by itself, and whatever it is asked for."""
    monkeypatch.setattr(throttling, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(throttling, "_LONGEST_PAUSE_SECONDS", 0.01)
    operations = store.operations() | store.zarr_operations()
    for name, operation in operations.items():
        store.refuse(status, None, TOO_MANY)
        operation()
        assert len(store.asked()) > TOO_MANY, name
