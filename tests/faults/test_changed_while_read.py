"""An object is replaced while it is read, before each request in turn: what was asked for, or an error.

The rows of "Changes while data is read" in docs/guarantees.md.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError, ResourceNotFoundError
from cpr.io.objects import open_store
from tests.target_cases import TARGET_CASES, TargetCase

KIND = {kind.name: kind for kind in TARGET_CASES}
ARRAYS = [kind for kind in TARGET_CASES if "shape" in kind.announce]

pytestmark = pytest.mark.slow

places = pytest.mark.parametrize("place", ["memory", "local"])


def base_of(place: str, tmp_path: Any) -> str:
    return f"memory://{uuid.uuid4().hex}" if place == "memory" else str(tmp_path)


def put(url: str, data: bytes) -> None:
    """As another program would: whole, and nothing beside it."""
    if url.startswith("/"):
        with open(f"{url}.new", "wb") as file:
            file.write(data)
        os.replace(f"{url}.new", url)
        return
    store, path = open_store(url)
    upload = store.upload(path)
    upload.write(memoryview(data))
    upload.commit()


def bytes_of(url: str) -> bytes:
    with io.reading(url) as file:
        return file.read()


class Requests:
    """Counts the requests for parts of objects, and does something before one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        self.count, self.at, self.action = 0, -1, lambda: None
        store = type(open_store(url)[0])
        fetch = store.fetch

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count - 1 == self.at:
                self.action()
            return fetch(*args, **kwargs)

        monkeypatch.setattr(store, "fetch", counted)

    def before(self, number: int, action: Callable[[], None]) -> None:
        self.count, self.at, self.action = 0, number, action


def data_of(kind: TargetCase, seed: int) -> Any:
    """So much that there are several requests, if the kind can do with less than the whole."""
    if "shape" in kind.announce:
        return np.random.default_rng(seed).integers(0, 1 << 16, (12, 512, 1024), np.uint16)
    return kind.data() if seed == 0 else kind.data()[::-1].reset_index(drop=True)


def require_this_or_an_error(
    read: Callable[[], Any], equal: Callable[[Any], bool], requests: Requests, change
) -> int:
    """Read again and again, with the change before each of the requests; how many reads raised."""
    raised = 0
    for number in itertools.count():
        restore = change(requests, number)
        try:
            found = read()
        except (CorruptDataError, ResourceNotFoundError):
            raised += 1
        else:
            assert equal(found), f"request {number}: other data came back"
        done = requests.count <= number
        restore()
        if done:
            return raised
    raise AssertionError


@places
@pytest.mark.parametrize("way", ["replaced", "cut", "deleted"])
@pytest.mark.parametrize("kind", KIND)
def test_targets(kind, way, place, tmp_path, monkeypatch):
    """Whole: what was stored, or CorruptDataError; never a mixture."""
    case = KIND[kind]
    base = base_of(place, tmp_path)
    data = data_of(case, 0)
    target = case.target(base)
    target.set_data(data)
    record = target.serialize()
    other = case.target(base)
    other.set_data(data_of(case, 1))
    good, bad = bytes_of(target.url), bytes_of(other.persist().url)
    requests = Requests(monkeypatch, target.url)

    def change(requests: Requests, number: int) -> Callable[[], None]:
        actions = {
            "replaced": lambda: put(target.url, bad),
            "cut": lambda: put(target.url, good[: len(good) // 2]),
            "deleted": lambda: io.remove(target.url),
        }
        requests.before(number, actions[way])
        return lambda: put(target.url, good)

    assert require_this_or_an_error(
        lambda: cpr.load(record).get_data(), lambda found: case.equal(found, data), requests, change
    )


@places
@pytest.mark.parametrize(
    ("kind", "reader"),
    [
        (kind.name, reader)
        for kind in ARRAYS
        for reader in ("region", "dask", "check")
        if reader != "dask" or hasattr(kind.cls(), "get_dask")
    ],
)
def test_parts_of_targets(kind, reader, place, tmp_path, monkeypatch):
    """Regions and lazy arrays: every block that is used is one that was stored."""
    case = KIND[kind]
    base = base_of(place, tmp_path)
    data = data_of(case, 0)
    target = case.target(base)
    target.set_data(data)
    record = target.serialize()
    other = case.target(base)
    other.set_data(data_of(case, 1))
    good, bad = bytes_of(target.url), bytes_of(other.persist().url)
    requests = Requests(monkeypatch, target.url)
    reads = {
        "region": lambda: cpr.load(record).get_data(region=np.s_[2:9:3, 100:300]),
        "dask": lambda: cpr.load(record).get_dask()[2:9:3, 100:300].compute(scheduler="sync"),
        "check": lambda: cpr.load(record).check(full=True) or data[2:9:3, 100:300],
    }

    def change(requests: Requests, number: int) -> Callable[[], None]:
        requests.before(number, lambda: put(target.url, bad))
        return lambda: put(target.url, good)

    assert require_this_or_an_error(
        reads[reader], lambda found: np.array_equal(found, data[2:9:3, 100:300]), requests, change
    )


@places
def test_zarr_targets(place, tmp_path, monkeypatch):
    """Chunks that are replaced in the midst are not those of the manifest."""
    base = base_of(place, tmp_path)
    data = np.random.default_rng(0).integers(0, 1 << 16, (4, 64, 64), np.uint16)
    target = cpr.ZarrTarget.from_path(f"{base}/a.zarr", chunks=(1, 64, 64))
    target.set_data(data)
    record = target.serialize()
    other = cpr.ZarrTarget.from_path(f"{base}/b.zarr", chunks=(1, 64, 64))
    other.set_data(data[::-1].copy())
    other.persist()
    chunks = [f"c/{z}/0/0" for z in range(4)]
    good = {chunk: bytes_of(f"{target.url}/{chunk}") for chunk in chunks}
    lazy = cpr.load(record).get_data()
    for changed in range(4):
        first = np.asarray(lazy[:changed])
        for chunk in chunks:
            put(f"{target.url}/{chunk}", bytes_of(f"{other.url}/{chunk}"))
        with pytest.raises(CorruptDataError):
            np.concatenate([first, np.asarray(lazy[changed:])])
        for chunk in chunks:
            put(f"{target.url}/{chunk}", good[chunk])
        assert np.array_equal(lazy[...], data)
