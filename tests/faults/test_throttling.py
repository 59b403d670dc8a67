"""A store that is asked too much says so: nothing fails, and what is fast is not given up for it."""

from __future__ import annotations

import itertools
import time
from functools import partial

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.io import transfer_width
from cpr.io.filesystems import filesystem
from cpr.io.request_threads import in_thread
from cpr.io.stores import s3_obstore
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


@pytest.mark.parametrize("code", [429, 503])
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


def test_what_nobody_waits_for_is_not_asked_again(proxy, s3_url, monkeypatch):
    monkeypatch.setattr(s3_obstore, "_SLOWED_SECONDS", 600.0)
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
