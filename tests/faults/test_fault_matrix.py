"""Every way to misbehave x every operation x every store: a typed error in time, or the right answer."""

from __future__ import annotations

import ctypes
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fsspec
import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CprError
from tests.faults.behind_proxies import HTTP_STORES, store_behind
from tests.servers.misbehaving import FAULTS, MisbehavingProxy
from tests.servers.misbehaving_sftp import SFTP_FAULTS, MisbehavingSFTP, misbehaving_sftp

LIMIT = 1.5
# Beyond its limit: one more request may be asked for the same, and cleaning up takes as long again.
MOST = 60.0

DATA = np.arange(600_000, dtype="uint32").reshape(600, 1000)
BIG = np.arange(5 << 20, dtype="uint32")


class Cells:
    """What is there before, and the operations; each returns whether its result is right."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.record = self._target("a").serialize()
        for number in range(3):
            target = cpr.NumpyTarget.from_path(f"{base}/many/{number}.npy")
            target.set_data(DATA[:2] + number)
            target.persist()
        zarr = cpr.ZarrTarget.from_path(f"{base}/z.zarr", chunks=(100, 1000))
        zarr.set_data(DATA)
        self.zarr = zarr.serialize()
        self.url, self.zarr_url = cpr.load(self.record).url, zarr.url
        for number in range(4):
            with io.writing(f"{base}/gone/{number}") as file:
                file.write(b"x")
        self.stored: list[tuple[str, np.ndarray]] = []

    def _target(self, name: str, data: np.ndarray = DATA) -> Any:
        target = cpr.NumpyTarget.from_path(f"{self.base}/{name}.npy")
        target.set_data(data)
        return target

    def operations(self) -> dict[str, Callable[[], bool]]:
        return {
            "read": lambda: np.array_equal(cpr.load(self.record).get_data(), DATA),
            "region": lambda: np.array_equal(cpr.load(self.record).get_data(region=np.s_[3:5]), DATA[3:5]),
            "source": lambda: np.array_equal(cpr.NumpySource.from_path(self.url).get_data(), DATA),
            "source region": lambda: np.array_equal(
                cpr.NumpySource.from_path(self.url).get_data(region=np.s_[3:5]), DATA[3:5]
            ),
            "glob": lambda: len(cpr.NumpySource.glob(f"{self.base}/many/*.npy")) == 3,
            "check": lambda: cpr.load(self.record).check() is None,
            "check full": lambda: cpr.load(self.record).check(full=True) is None,
            "put": lambda: self._put(DATA[:1]),
            "put in parts": lambda: self._put(BIG),
            "delete": lambda: io.remove(f"{self.base}/gone/0") is None,
            "zarr": lambda: np.array_equal(cpr.load(self.zarr).get_data()[100:200], DATA[100:200]),
            "zarr source": lambda: np.array_equal(
                cpr.ZarrSource.from_path(self.zarr_url).get_data()[:], DATA
            ),
            "zarr put": self._put_zarr,
        }

    def _put(self, data: np.ndarray) -> bool:
        data = data + np.uint32(uuid.uuid4().int % 1000)
        target = self._target("new", data).persist()
        self.stored.append((target.serialize(), data))
        return True

    def _put_zarr(self) -> bool:
        target = cpr.ZarrTarget.from_path(f"{self.base}/new.zarr", chunks=(300, 1000))
        target.set_data(DATA)
        self.stored.append((target.serialize(), DATA))
        return True


def run(cells: Cells, proxy: MisbehavingProxy | MisbehavingSFTP, fault: str) -> dict[str, tuple[str, float]]:
    """What became of each operation under a fault, and after how many seconds; all at the same time."""
    found: dict[str, tuple[str, float]] = {}

    def one(name: str, operation: Callable[[], bool]) -> None:
        begun = time.monotonic()
        try:
            outcome = "right" if operation() else "SILENT"
        except CprError as error:
            outcome = type(error).__name__
        except BaseException as error:
            outcome = f"UNTYPED {type(error).__name__}: {error}"
        found[name] = outcome, time.monotonic() - begun

    proxy.fault = fault
    operations = cells.operations()
    threads = [threading.Thread(target=one, args=item, daemon=True) for item in operations.items()]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + MOST
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    proxy.fault = None
    for name in operations.keys() - found.keys():
        found[name] = "HANGS", MOST
    return found


@pytest.fixture(params=HTTP_STORES)
def cells(request, monkeypatch):
    with store_behind(MisbehavingProxy, request, monkeypatch) as (_, base, proxy):
        monkeypatch.setenv("CPR_TIMEOUT", "30")
        made = Cells(base)
        monkeypatch.setenv("CPR_TIMEOUT", str(LIMIT))
        yield made, proxy


# A source has nothing to compare its bytes with: what the store sends under the right headers is the source.
UNKNOWABLE = {("other bytes", "source"), ("other bytes", "source region"), ("other bytes", "zarr source")}


def require_typed(made: Cells, proxy: MisbehavingProxy | MisbehavingSFTP, fault: str) -> dict[str, str]:
    """Fail if an operation is silently wrong, hangs, or raises what is none of cpr's; what became of each."""
    found = run(made, proxy, fault)
    bad = {
        name: outcome
        for name, outcome in found.items()
        if outcome[0].startswith(("SILENT", "UNTYPED", "HANGS")) and (fault, name) not in UNKNOWABLE
    }
    print(fault, {name: f"{outcome} {seconds:.1f}" for name, (outcome, seconds) in found.items()})
    assert bad == {}
    return {name: outcome for name, (outcome, _) in found.items()}


def require_stored(made: Cells) -> None:
    """Fail if something is not there that was said to be stored."""
    for record, data in made.stored:
        assert np.array_equal(cpr.load(record).get_data()[...], data)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_every_operation(cells, fault, monkeypatch):
    made, proxy = cells
    require_typed(made, proxy, fault)
    monkeypatch.setenv("CPR_TIMEOUT", "30")
    require_stored(made)


IN_EVERY_RUN = {"no answer to requests", "short body", "closed half"}


@pytest.mark.sftp
@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [pytest.param(one, marks=[] if one in IN_EVERY_RUN else pytest.mark.long) for one in SFTP_FAULTS],
)
def test_every_operation_on_sftp(fault, monkeypatch, tmp_path):
    with misbehaving_sftp(tmp_path) as server:
        monkeypatch.setitem(fsspec.config.conf, "sftp", server.options)
        monkeypatch.setenv("CPR_TIMEOUT", "30")
        made = Cells(f"{server.url}/results")
        monkeypatch.setenv("CPR_TIMEOUT", str(LIMIT))
        require_typed(made, server, fault)
        monkeypatch.setenv("CPR_TIMEOUT", "30")
        require_stored(made)


class Interrupted(TimeoutError):
    """As Prefect's runner raises in a task that takes too long."""


@pytest.mark.sftp
@pytest.mark.slow
@pytest.mark.parametrize("operation", ["read", "source region", "glob", "put in parts"])
def test_interruptions_act_at_once_on_sftp(operation, monkeypatch, tmp_path):
    ended: list[BaseException] = []
    with misbehaving_sftp(tmp_path) as server:
        monkeypatch.setitem(fsspec.config.conf, "sftp", server.options)
        run_it = Cells(f"{server.url}/results").operations()[operation]
        monkeypatch.setenv("CPR_TIMEOUT", "300")

        def work() -> None:
            try:
                run_it()
            except BaseException as error:
                ended.append(error)

        server.fault = "no answer to requests"
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(1.0)
        assert thread.is_alive()
        identity = ctypes.c_ulong(thread.ident)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(Interrupted))
        thread.join(30.0)
        assert not thread.is_alive()
    assert [type(error) for error in ended] == [Interrupted]


@pytest.mark.sftp
@pytest.mark.slow
def test_who_waits_for_a_slow_transfer_does_not_end_it(monkeypatch, tmp_path):
    """They share a connection: the limit of one that waits for its turn counts from the last answer."""
    data = np.random.default_rng(0).integers(0, 256, 3 << 20, "uint8")
    with misbehaving_sftp(tmp_path) as server:
        monkeypatch.setitem(fsspec.config.conf, "sftp", server.options)
        target = cpr.NumpyTarget.from_path(f"{server.url}/large.npy")
        target.set_data(data)
        record = target.serialize()
        monkeypatch.setenv("CPR_TIMEOUT", "2")
        server.fault = "slow"  # 5 s in all, half a second for each piece
        with ThreadPoolExecutor(2) as pool:
            read = pool.submit(lambda: cpr.load(record).get_data())
            time.sleep(0.5)
            looks = [pool.submit(lambda: cpr.load(record).check()) for _ in range(3)]
            assert np.array_equal(read.result(120), data)
            assert [look.result(120) for look in looks] == [None] * 3
