"""Requests side by side: answers in order, none waited for without end; who is interrupted waits for none."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from contextvars import ContextVar

import pytest

from cpr.io.parallel_requests import request_map
from cpr.io.request_threads import answer_to
from cpr.io.timeouts import AbandonedError, abandonable, at_most

_place: ContextVar[str] = ContextVar("_place", default="nowhere")


def _never(item, error):
    raise AssertionError(item) from error


def test_answers_are_in_order_and_so_many_are_under_way():
    under_way, most = [], []

    def ask(item):
        under_way.append(item)
        most.append(len(under_way))
        time.sleep(0.001 * (item % 7))
        under_way.remove(item)
        return -item

    assert list(request_map(ask, range(500), 8, _never)) == [-item for item in range(500)]
    assert 4 < max(most) <= 8


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 100])
def test_any_number_of_items(count):
    assert list(request_map(str, iter(range(count)), 3, _never)) == [str(item) for item in range(count)]


def test_items_are_taken_as_answers_are_asked_for():
    taken = []
    answers = request_map(abs, (taken.append(item) or item for item in itertools.count()), 32, _never)
    assert list(itertools.islice(answers, 10)) == list(range(10))
    answers.close()
    assert len(taken) <= 150


def test_what_is_raised_comes_in_its_place_and_ends_all():
    begun = []

    def ask(item):
        begun.append(item)
        if item == 40:
            raise KeyError(item)
        return item

    answers, got = request_map(ask, itertools.count(), 4, _never), []
    with pytest.raises(KeyError):
        got.extend(answers)
    assert got == list(range(40))
    time.sleep(0.1)
    count = len(begun)
    time.sleep(0.1)
    assert len(begun) == count < 200


def test_threads_see_the_context_of_who_asks():
    _place.set("here")
    assert set(request_map(lambda _: _place.get(), range(50), 4, _never)) == {"here"}


def test_what_is_not_answered_in_time_holds_up_no_other():
    release, asked = threading.Event(), []

    def ask(item):
        asked.append(item)
        # Of every thread that there is, and some more.
        answer_to(release.wait if item % 10 == 0 else lambda: True)
        return item

    try:
        begun = time.monotonic()
        with at_most(0.5):
            found = list(request_map(ask, range(100), 4, lambda item, error: (item, error.seconds)))
        took = time.monotonic() - begun
    finally:
        release.set()
    late = found[::10]
    assert [item for item, _ in late] == list(range(0, 100, 10))
    assert all(0.5 <= seconds < 5 for _, seconds in late)
    assert [one for one in found if isinstance(one, int)] == [item for item in range(100) if item % 10]
    assert sorted(asked) == list(range(100))
    assert took < 8


def test_each_request_of_a_function_has_a_limit_of_its_own():
    def ask(item):
        for _ in range(4):
            answer_to(lambda: time.sleep(0.2))
        return item

    with at_most(0.6):
        assert list(request_map(ask, range(3), 4, _never)) == [0, 1, 2]


def test_an_interrupt_is_heeded_while_nothing_answers():
    # Libraries that other tests import (dask_jobqueue) put their own in its place.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    release = threading.Event()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    begun = time.monotonic()
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(request_map(lambda _: answer_to(release.wait), range(100), 8, _never))
        assert time.monotonic() - begun < 2
    finally:
        timer.cancel()
        release.set()
        signal.signal(signal.SIGINT, before)


def test_who_is_abandoned_waits_no_longer():
    release, abandoned = threading.Event(), threading.Event()
    timer = threading.Timer(0.3, abandoned.set)
    timer.start()
    try:
        with pytest.raises(AbandonedError), abandonable(abandoned):
            list(request_map(lambda _: answer_to(release.wait), range(100), 8, _never))
    finally:
        timer.cancel()
        release.set()
