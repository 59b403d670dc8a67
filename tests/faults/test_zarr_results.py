"""Damage, kills and a failing wire, for every way in which a Zarr comes to be.

Arrays, parts and what they make up, plates and their fields, regions, copies of all and of what is equal:
what the other suites of this folder ask of files and of arrays that are written at once.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError, CprError, ResourceNotFoundError
from cpr.zarr.stores.verifying_store import _manifests
from tests.faults.proxy import FAULTS
from tests.faults.test_corruption_at_rest import damages, put, stored_bytes
from tests.faults.test_fault_injection import HEALED, Bucket, outcome, requests_of
from tests.zarr.zarr_cases import CASES, WRITES, ZarrCase, everything, require_whole_results, stored

pytestmark = pytest.mark.slow

NOW = timedelta(seconds=-60)

LONG = [pytest.mark.long, pytest.mark.timeout(1800)]
# What stands for the others in make test: each goes its own way to the store.
FEW = ("parts", "plate", "beside", "twin")


def sweep(cases: list[ZarrCase], some: Any, all_: Any, few: tuple[str, ...] = FEW) -> Any:
    """A number for some cases, and another for all of them in make test-long."""
    chosen = [pytest.param(case, some, id=case.name) for case in cases if case.name in few]
    sweeps = [pytest.param(case, all_, id=f"{case.name}, all", marks=LONG) for case in cases]
    return pytest.mark.parametrize(("case", "number"), [*chosen, *sweeps])


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "out")
    return request.getfixturevalue("s3_url")


def read(record: Any) -> list[np.ndarray]:
    """As a process that has nothing but the record."""
    _manifests.clear()
    return everything(cpr.load(record))


def is_right(case: ZarrCase, found: list[np.ndarray]) -> bool:
    expected = case.expected()
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


# ---- at rest


@pytest.mark.parametrize("place", ["local", pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.long])])
@sweep(CASES, 1, 20, tuple(case.name for case in CASES))
def test_damage_at_rest(case, number, place, tmp_path, request):
    """Of any object, and of the manifest: found, or it changes nothing; what is whole is never suspected."""
    rounds = number
    base = str(tmp_path) if place == "local" else request.getfixturevalue("s3_url")
    resource = case.write(base, case.prepare(base))
    record, manifest = resource.serialize(), stored(resource)
    assert is_right(case, read(record))
    own = [key for key in manifest.entries() if case.own(key)]
    assert resource.verify() == len(own)
    found = 0
    for at, key in enumerate(manifest.entries()):
        url = f"{resource.url}/{key}"
        good = stored_bytes(url)
        other = stored_bytes(f"{resource.url}/{own[(at + 1) % len(own)]}")
        for name, bad in [*damages(good, other, rounds, seed=at), ("gone", None)]:
            io.remove(url) if bad is None else put(url, bad)
            try:
                got = read(record)
            except CorruptDataError as error:
                assert error.url.startswith(resource.url)
                assert error.expected != error.actual
                found += 1
            else:
                assert is_right(case, got), f"{key}: {name}: other data came back"
                # A chunk that counts is read; other metadata may not be.
                assert "c/" not in key or not case.own(key), f"{key}: {name}: not noticed"
            if case.own(key):
                with pytest.raises(CorruptDataError):
                    cpr.load(record).verify()
        put(url, good)
        assert is_right(case, read(record))
    assert cpr.load(record).verify() == len(own)
    assert found >= len(own) // 2
    good = stored_bytes(resource.place)
    for name, bad in [*damages(good, good[::-1], 5 * rounds, seed=1), ("gone", None)]:
        io.remove(resource.place) if bad is None else put(resource.place, bad)
        try:
            got = read(record)
        except (CorruptDataError, ResourceNotFoundError) as error:
            assert isinstance(error, CorruptDataError) or bad is None
        else:
            assert is_right(case, got), f"the manifest: {name}: other data came back"
    put(resource.place, good)
    assert cpr.load(record).verify() == len(own)


@pytest.mark.parametrize("name", ["beside", "image beside", "twin", "plate"])
def test_copies_are_whole_whatever_becomes_of_what_they_were_copied_from(name, base):
    case = next(case for case in WRITES if case.name == name)
    given = case.prepare(base)
    record = case.write(base, given).serialize()
    sources = {cpr.load(one).url for one in given}
    for url in sources:
        for place in io.find(f"{url}/**", hidden=True):
            put(place, b"damaged")
    assert is_right(case, read(record))
    cpr.load(record).verify()
    for url in sources:
        io.objects.remove_folder(url)
    assert is_right(case, read(record))
    cpr.load(record).verify()


# ---- killed


class Victims:
    """A process that forks writers; see tests/faults/zarr_victims.py."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zarr_victims"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._told = threading.Event()
        self._pid = 0

    def write(self, case: ZarrCase, base: str, given: Any, at: int | None = None) -> int:
        """What became of a writer: -9, or how many operations on local files there were."""
        assert self._server.stdin is not None
        self._told.clear()
        environment = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
        plan = {"case": case.name, "base": base, "given": given, "environment": environment, "at": at}
        print(json.dumps(plan), file=self._server.stdin, flush=True)
        self._pid = self._number()
        self._told.set()
        return self._number()

    def kill(self) -> None:
        """Kill the writer that is at it, once it is known."""
        assert self._told.wait(60)
        with suppress(ProcessLookupError):  # it had all that it waited for
            os.kill(self._pid, signal.SIGKILL)

    def _number(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())

    def close(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(60)
        self._server.stdout.close()


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    found = Victims()
    yield found
    found.close()


def require_recovery(case: ZarrCase, base: str, given: Any) -> None:
    """After a writer was killed: nothing half, what was there is whole, and the same again goes well."""
    before = require_whole_results(base)
    assert {cpr.load(one).url for one in given} <= before
    again = case.write(base, given)
    assert is_right(case, read(again.serialize()))
    again.verify()
    results = require_whole_results(base)
    assert again.url in results
    io.remove_orphans(base, NOW)
    io.remove_orphans(base, NOW)  # and what is beside the folders that are gone now
    assert io.find_orphans(base, NOW) == []
    assert require_whole_results(base) == results
    for place in io.find(f"{base}/**", hidden=True):
        owner = io.object_of_sidecar(place)
        assert any(owner == url if owner else place.startswith(f"{url}/") for url in results), place


def moments(count: int, kills: int) -> list[int]:
    """So many of `count` operations, evenly; the last ones are those that publish."""
    kills = min(count, kills)
    return sorted(count - 1 - kill * count // kills for kill in range(kills))


@sweep(WRITES, 3, 60, tuple(case.name for case in WRITES))
def test_killed_at_a_file(case, number, victims, tmp_path):
    base = str(tmp_path / "undisturbed")
    count = victims.write(case, base, case.prepare(base))
    assert 8 < count < 255
    killed = 0
    for at in moments(count, number):
        base = str(tmp_path / str(at))
        given = case.prepare(base)
        # Threads make folders for each other: a writer may have got along with fewer operations.
        status = victims.write(case, base, given, at)
        assert status == -9 or 0 < status <= at
        killed += status == -9
        require_recovery(case, base, given)
    assert killed
    print(f"{case.name}: {len(moments(count, number))} of {count} operations")


@pytest.mark.real_s3
@sweep(WRITES, 2, 60)
def test_killed_at_a_request(case, number, victims, proxy, s3_url):
    given = case.prepare(f"{s3_url}/undisturbed")
    proxy.clear()
    assert victims.write(case, f"{s3_url}/undisturbed", given) >= 0
    count, killed = len(proxy.kinds), 0
    assert count > 8
    for at in moments(count, number):
        base = f"{s3_url}/{at}"
        given = case.prepare(base)

        def late(body: bytes) -> bytes:
            victims.kill()
            return body

        def plan(number: int, kind: str, at: int = at) -> Any:
            if number != at:
                return None
            if at % 2:  # the server acts, and nobody hears of it
                return late
            victims.kill()
            return "cut before"

        proxy.plan(plan)
        status = victims.write(case, base, given)
        assert status == -9 or status >= 0
        killed += status == -9
        proxy.clear()
        require_recovery(case, base, given)
    assert killed
    print(f"{case.name}: {len(moments(count, number))} of {count} requests")


# ---- on the wire


def broken(kinds: list[str], faults: tuple[str, ...], step: int) -> list[tuple[int, str]]:
    """Requests, and how each breaks: of every `step`-th one a single fault in turn, or of each all."""
    if step == 1:
        return [(number, fault) for number in range(len(kinds)) for fault in faults]
    turn = itertools.cycle(faults[len(kinds) % len(faults) :] + faults[: len(kinds) % len(faults)])
    return [(number, next(turn)) for number in range(len(kinds) - 1, -1, -step)]


@pytest.mark.real_s3
@sweep(WRITES, 9, 1)
def test_requests_of_a_write_break(case, number, proxy, s3_url, s3_server):
    bucket = Bucket(s3_server.client(), s3_server.bucket)
    given = case.prepare(f"{s3_url}/undisturbed")
    kinds = requests_of(proxy, lambda: case.write(f"{s3_url}/undisturbed", given))
    failed = hit = 0
    for at, fault in broken(kinds, FAULTS, number):
        base = f"{s3_url}/{at}-{fault.replace(' ', '-')}"
        given = case.prepare(base)
        proxy.break_request(at, fault)
        target = outcome(lambda base=base, given=given: case.write(base, given))
        where = f"{fault} at request {at} of {kinds}: {target!r}"
        hit += len(proxy.broken)
        proxy.clear()
        assert bucket.open_uploads(base) == [], where
        before = require_whole_results(base)
        assert {cpr.load(one).url for one in given} <= before
        if isinstance(target, CprError):
            assert target.url
            assert fault not in HEALED, where
            failed += 1
            target = case.write(base, given)
        assert is_right(case, read(target.serialize())), where
        target.verify()
    assert hit > len(kinds) // number // 2
    print(f"{case.name}: {hit} faults, {failed} told")


@pytest.mark.real_s3
@sweep(CASES, 5, 1, ("parts", "plate", "part", "region"))
def test_requests_of_a_read_break(case, number, proxy, s3_url):
    record = case.write(s3_url, case.prepare(s3_url)).serialize()
    kinds = requests_of(proxy, lambda: read(record))
    assert "get" in kinds
    told = hit = 0
    for at, fault in broken(kinds, FAULTS, number):
        proxy.break_request(at, fault)
        found = outcome(lambda: read(record))
        where = f"{fault} at request {at} of {kinds}: {found!r}"[:1000]
        hit += len(proxy.broken)
        if isinstance(found, CprError):
            assert fault not in (*HEALED, "cut body", "short"), where
            told += 1
        else:
            assert is_right(case, found), where
    assert hit > len(kinds) // number // 2
    print(f"{case.name}: {hit} faults, {told} told")


@pytest.mark.real_s3
@sweep(CASES, 2, 100, ("parts", "plate", "part", "region"))
def test_answers_are_damaged(case, number, proxy, s3_url):
    """All answers to a read: no other data comes back; when they are right again, nothing is suspected."""
    record = case.write(s3_url, case.prepare(s3_url)).serialize()
    dice, told = np.random.default_rng(5), 0
    for _ in range(number):
        share, bit = float(dice.random()), 1 << int(dice.integers(8))

        def flip(body: bytes, share: float = share, bit: int = bit) -> bytes:
            at = int(share * len(body))
            return body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :] if body else body

        proxy.plan(lambda _, kind: flip if kind == "get" else None)
        found = outcome(lambda: read(record))
        told += isinstance(found, CprError)
        assert isinstance(found, CorruptDataError) or is_right(case, found)
        proxy.clear()
        assert is_right(case, read(record))
    assert told == number
