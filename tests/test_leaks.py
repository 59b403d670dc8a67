"""Processes that live long keep their number of descriptors and threads, and their memory."""

from __future__ import annotations

import gc
import os
import threading

import numpy as np
import psutil
import pytest

import cpr
from cpr.errors import CprError

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")

MIB = 1 << 20
DATA = np.arange(600, dtype="uint16").reshape(20, 30)
CLASSES = (cpr.NumpyTarget, cpr.ImageTarget, cpr.ZarrTarget)
NAMES = ("a.npy", "a.tif", "a.zarr")


class Used:
    """What this process holds."""

    def __init__(self) -> None:
        gc.collect()
        self.descriptors = len(os.listdir("/proc/self/fd"))
        # Those of requests never end: as many as there were requests at one moment.
        names = [one.name for one in threading.enumerate()]
        self.threads = sum(not name.startswith("cpr-request") for name in names)
        self.memory = psutil.Process().memory_info().rss

    def require_flat(self, before: Used) -> None:
        assert self.descriptors <= before.descriptors + 8, (before.descriptors, self.descriptors)
        assert self.threads <= before.threads + 4, (before.threads, self.threads)
        assert self.memory <= before.memory + 48 * MIB, (self.memory - before.memory) / MIB


def write_and_read(folder: str, number: int) -> None:
    """A result of one of three formats; now and then one that fails."""
    kind = number % 3
    target = CLASSES[kind].from_path(f"{folder}/{number % 50}/{NAMES[kind]}")
    target.set_data(DATA + number % 7)
    target.persist()
    assert np.array_equal(np.asarray(cpr.load(target.serialize()).get_data()), DATA + number % 7)
    if number % 10 == 0:
        with pytest.raises(CprError):
            cpr.NumpySource.from_path(f"{folder}/none-{number}.npy").get_data()


def require_no_leak(folder: str, count: int) -> None:
    for number in range(count // 4):  # pools, caches and the allocator fill
        write_and_read(folder, number)
    before = Used()
    for number in range(count - count // 4):
        write_and_read(folder, number)
    Used().require_flat(before)


def require_few_descriptors(folder: str, count: int) -> None:
    """Sources of which something was read, all at once."""
    for kind in range(3):
        write_and_read(folder, kind)
    urls = [cpr.load(one).url for one in (_record(folder, kind) for kind in range(3))]
    classes = (cpr.NumpySource, cpr.ImageSource, cpr.ZarrSource)
    before = Used()
    held = []
    for number in range(count):
        source = classes[number % 3].from_path(urls[number % 3])
        assert np.asarray(source.get_data(region=np.s_[3:5])).shape == (2, 30)
        held.append(source)
    used = Used()
    assert used.descriptors <= before.descriptors + 16
    assert used.threads <= before.threads + 4
    assert used.memory <= before.memory + 48 * MIB + count * 16_384
    del held
    Used().require_flat(used)


def _record(folder: str, kind: int) -> object:
    target = CLASSES[kind].from_path(f"{folder}/held/{NAMES[kind]}")
    target.set_data(DATA)
    target.persist()
    return target.serialize()


def require_forks(folder: str, count: int) -> None:
    """Children that read what their parent wrote, over connections of their own."""
    write_and_read(folder, 0)
    record = _record(folder, 1)
    before = Used()
    for _ in range(count):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = int(not np.array_equal(cpr.load(record).get_data(), DATA))
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
    Used().require_flat(before)


PLACES = ["disk", pytest.param("s3", marks=pytest.mark.real_s3)]
CHECKS = {require_no_leak: 20_000, require_few_descriptors: 5_000, require_forks: 200}


@pytest.mark.slow
@pytest.mark.own_process
@pytest.mark.parametrize("place", PLACES)
def test_for_a_short_time(place, tmp_path, request):
    folder = str(tmp_path) if place == "disk" else request.getfixturevalue("s3_url")
    for check, count in CHECKS.items():
        check(folder, max(4, count // 100))


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.own_process
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("check", CHECKS)
def test_for_long(check, place, tmp_path, request):
    folder = str(tmp_path) if place == "disk" else request.getfixturevalue("s3_url")
    check(folder, CHECKS[check])
