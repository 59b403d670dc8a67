"""Every way to misbehave x every operation x every store: a typed error in time, or the right answer."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CprError
from tests.servers.misbehaving import FAULTS, MisbehavingProxy

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


def run(cells: Cells, proxy: MisbehavingProxy, fault: str) -> dict[str, tuple[str, float]]:
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


@pytest.fixture(params=[pytest.param("s3", marks=pytest.mark.s3), "gs"])
def cells(request, monkeypatch):
    server = request.getfixturevalue("s3_server" if request.param == "s3" else "gcs_server")
    base = request.getfixturevalue(f"{request.param}_url")
    with MisbehavingProxy(server.endpoint) as proxy:
        names = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "FSSPEC_S3_ENDPOINT_URL"]
        for name in names if request.param == "s3" else ["STORAGE_EMULATOR_HOST"]:
            monkeypatch.setenv(name, proxy.endpoint)
        monkeypatch.setenv("CPR_TIMEOUT", "30")
        made = Cells(base)
        monkeypatch.setenv("CPR_TIMEOUT", str(LIMIT))
        yield made, proxy


# A source has nothing to compare its bytes with: what the store sends under the right headers is the source.
UNKNOWABLE = {("other bytes", "source"), ("other bytes", "source region"), ("other bytes", "zarr source")}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_every_operation(cells, fault, monkeypatch):
    made, proxy = cells
    found = run(made, proxy, fault)
    bad = {
        name: outcome
        for name, outcome in found.items()
        if outcome[0].startswith(("SILENT", "UNTYPED", "HANGS")) and (fault, name) not in UNKNOWABLE
    }
    print(fault, {name: f"{outcome} {seconds:.1f}" for name, (outcome, seconds) in found.items()})
    assert bad == {}
    # What was said to be stored is there.
    monkeypatch.setenv("CPR_TIMEOUT", "30")
    for record, data in made.stored:
        assert np.array_equal(cpr.load(record).get_data()[...], data)
