"""How many targets are persisted, checked and copied at once: few near, many far, as far as memory holds."""

from __future__ import annotations

import threading
import uuid

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.io.parallel_map import ByteBudget, parallel_map
from cpr.io.transfer_width import side_by_side, width_of
from cpr.operations.cp import _held
from cpr.prefect.serializer import _check_all
from cpr.records.pack import persist_all

MiB = 1 << 20


class Counting:
    """Something that takes a while, and how often it was under way at once."""

    def __init__(self, meeting: int) -> None:
        self._lock, self._met = threading.Lock(), threading.Event()
        self._meeting = meeting
        self.now = self.most = 0

    def __call__(self, *_: object) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.now >= self._meeting:
                self._met.set()
        self._met.wait(10)
        with self._lock:
            self.now -= 1


class Waiting(cpr.NumpyTarget):
    """A target that takes as long to persist, or check, as others take to begin."""

    counting: Counting

    def persist(self):
        self.counting()
        return self

    def check(self, full=False):
        self.counting()


@pytest.fixture(params=[True, False], ids=["far", "near"])
def place(request):
    url = f"s3://{uuid.uuid4().hex}/a"
    for direction in ("read", "write"):
        width_of(url, direction).answered(0.03 if request.param else 0.001)
    return url, request.param


def waiting(place: str, size: int, count: int, meeting: int) -> list[Waiting]:
    counting, targets = Counting(meeting), []
    for number in range(count):
        target = Waiting.from_path(f"{place}/{number}.npy")
        target.set_data(np.zeros(size, np.uint8))
        target.counting = counting
        targets.append(target)
    return targets


def test_where_answers_take_long_more_is_done_at_once(place, monkeypatch):
    url, is_far = place
    assert side_by_side(4, url) == (32 if is_far else 4)
    assert side_by_side(48, url) == 48
    assert side_by_side(4, "/tmp", url) == (32 if is_far else 4)
    monkeypatch.setenv("CPR_CONNECTIONS", "10")
    assert side_by_side(4, url) == (10 if is_far else 4)
    monkeypatch.setenv("CPR_CONNECTIONS", "2")
    assert side_by_side(4, url) == 4


@pytest.mark.parametrize(("size", "far"), [(1000, 32), (4 * MiB, 16), (30 * MiB, 4)])
def test_targets_are_persisted_side_by_side_within_the_memory(place, size, far):
    url, is_far = place
    most = far if is_far else 4
    targets = waiting(url, size, 40, most)
    persist_all(targets)
    assert targets[0].counting.most == most


@pytest.mark.parametrize(("size", "far"), [(1000, 32), (30 * MiB, 4)])
def test_targets_are_read_side_by_side_within_the_memory(place, size, far, monkeypatch):
    url, is_far = place
    most = far if is_far else 4
    targets = waiting(url, 8, 40, most)
    for target in targets:
        target.nbytes = size
    monkeypatch.setattr("cpr.prefect.serializer._require_unmarked", lambda _: None)
    _check_all(targets, "full")
    assert targets[0].counting.most == most


def test_what_waits_to_be_persisted_is_known_by_its_size(tmp_path):
    target = cpr.NumpyTarget.from_path(str(tmp_path / "a.npy"))
    assert target.held_bytes == 0
    target.set_data(np.zeros((10, 10), "uint16"))
    assert target.held_bytes == 200
    target.persist()
    assert target.held_bytes == 0
    table = cpr.CSVTarget.from_path(str(tmp_path / "a.csv"))
    assert table.held_bytes == 0
    frame = pd.DataFrame({"a": np.arange(1000), "b": ["some text or other"] * 1000})
    table.set_data(frame)
    assert frame.memory_usage(deep=True).sum() <= table.held_bytes <= 10 * frame.memory_usage(deep=True).sum()


def test_no_more_records_are_in_memory_than_there_is_room_for():
    class Told:
        def __init__(self, nbytes: int) -> None:
            self.nbytes = nbytes

    room, lock, held, most = ByteBudget(1000), threading.Lock(), 0, 0

    def records():
        nonlocal held, most
        for number in range(200):
            record = Told(400 if number % 3 else 5000)
            yield record
            with lock:
                held += min(record.nbytes, 1000)
                most = max(most, held)

    def copy(record):
        nonlocal held
        with lock:
            held -= min(record.nbytes, 1000)
        room.give(record.nbytes)

    assert len(list(parallel_map(copy, _held(records(), room), 32))) == 200
    assert most <= 2000
