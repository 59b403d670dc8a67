"""A store that is asked too much says so: nothing fails, and what is fast is not given up for it."""

from __future__ import annotations

import itertools
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.io import throttling, transfer_width
from cpr.io.clients import s3_retries
from cpr.io.filesystems import filesystem
from cpr.io.request_threads import in_thread
from cpr.io.stores.s3_obstore import CircuitBreaker, fast_bucket
from cpr.io.transfer_width import width_of

DATA = np.random.default_rng(0).integers(0, 1000, (24, 512, 1024), dtype="uint16")  # 24 MiB

TARGETS = {
    "npy": lambda base: cpr.NumpyTarget.from_path(f"{base}/a.npy"),
    "tiff": lambda base: cpr.ImageTarget.from_path(f"{base}/a.tif", compression=None),
    "zarr": lambda base: cpr.ZarrTarget.from_path(f"{base}/a.zarr", chunks=(1, 512, 512)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TARGETS)
def test_a_third_of_all_requests_is_refused(kind, proxy, s3_url):
    proxy.break_some(1 / 3, ("503",), seed=1)
    target = TARGETS[kind](s3_url)
    target.set_data(DATA)
    record = target.serialize()
    assert np.array_equal(cpr.load(record).get_data()[...], DATA)
    assert len(proxy.broken) > 3
    assert set(proxy.broken) <= {f"{kind}: 503" for kind in proxy.kinds}


def test_obstore_is_asked_again_by_a_store_that_was_asked_too_much(proxy, s3_url):
    target = cpr.NumpyTarget.from_path(f"{s3_url}/a.npy")
    target.set_data(DATA[0])
    record = target.serialize()
    proxy.plan(lambda number, kind: "503" if kind == "get" and number < 9 else None)
    assert np.array_equal(cpr.load(record).get_data(), DATA[0])
    assert proxy.kinds == ["get"] * 10
    fs, path = filesystem(s3_url)
    assert not fast_bucket(fs, path.partition("/")[0])._breaker.is_open


@pytest.mark.parametrize("code", sorted(throttling.SLOW_DOWN))
def test_refusals_do_not_open_the_circuit(code):
    breaker = CircuitBreaker()
    for _ in range(100):
        breaker.failed(RuntimeError(f"Server returned non-2xx status code: {code} Slow Down"))
    assert not breaker.is_open
    for _ in range(5):
        breaker.failed(RuntimeError("Server returned non-2xx status code: 500"))
    assert breaker.is_open


def test_uploads_are_told_to_slow_down(proxy, s3_url, monkeypatch):
    """The width falls for each time that the store says so, whoever repeats the request."""
    monkeypatch.setattr(transfer_width, "_THROTTLED_SECONDS", 0.0)
    width = width_of(s3_url, "write")
    monkeypatch.setattr(width, "_width", 96.0)
    monkeypatch.setattr(width, "learn", lambda *_: None)
    parts = itertools.count()
    proxy.plan(lambda _, kind: "503" if kind == "part" and next(parts) < 2 else None)
    target = TARGETS["npy"](s3_url)
    target.set_data(DATA)
    target.persist()
    assert proxy.broken == ["part: 503"] * 2
    assert width._width == 24


def _copy(base: str, target: cpr.Target) -> None:
    target.copy_to(f"{base}/copies")


#: Which requests are refused, of which direction they are, and what makes them.
REFUSED = {
    "chunks, written": ("put", "write", lambda base: TARGETS["zarr"](base).set_data(DATA)),
    "chunks, read": ("get", "read", lambda _base, zarr: zarr.get_data()[...]),
    "copies of chunks": ("copy", "write", _copy),
    "chunks, checked": ("get", "read", lambda _base, zarr: zarr.check(full=True)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_every_refusal_is_learned_from(what, proxy, s3_url, monkeypatch):
    kind, direction, act = REFUSED[what]
    told: list[str] = []
    for way in ("read", "write"):
        width = width_of(s3_url, way)
        monkeypatch.setattr(width, "throttled", lambda way=way: told.append(way))
    given = [s3_url]
    if what != "chunks, written":
        written = TARGETS["zarr"](s3_url)
        written.set_data(DATA)
        given.append(cpr.load(written.serialize()))
    refused = itertools.count()
    # obstore asks three times before it says so.
    proxy.plan(lambda _, asked: "503" if asked == kind and next(refused) < 24 else None)
    act(*given)
    assert proxy.broken == [f"{kind}: 503"] * 24
    assert set(told) == {direction}


def test_botocore_waits_no_longer_than_obstore():
    """By its own rule it would wait up to 16 s, and give up at the fifth refusal."""
    answer = SimpleNamespace(status_code=503), {"Error": {"Code": "SlowDown"}}
    waits = [s3_retries._decide(lambda: None, attempts, answer) for attempts in range(1, 23)]
    assert all(wait is not None and 0.05 <= wait <= 1.0 for wait in waits)
    assert waits[0] <= 0.1
    assert s3_retries._decide(lambda: None, 23, answer) is None


def test_what_nobody_waits_for_is_not_asked_again(proxy, s3_url, monkeypatch):
    monkeypatch.setattr(throttling, "_SLOWED_SECONDS", 600.0)
    target = TARGETS["npy"](s3_url)
    target.set_data(DATA)
    target.persist()
    proxy.plan(lambda _, kind: "503" if kind == "get" else None)
    with io.reading(target.url) as file:
        future = in_thread(partial(file.read, 1))
        while len(proxy.broken) < 3:
            time.sleep(0.01)
    future.exception(30)
    # All are given up at their next pause, which is a second at most.
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        asked = len(proxy.kinds)
        time.sleep(3)
        if len(proxy.kinds) == asked:
            break
    else:
        pytest.fail("it is still asked for")
