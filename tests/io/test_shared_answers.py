"""What several threads need at once is asked for once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cpr.io import timeouts
from cpr.io.shared_answers import SharedAnswers

_THREADS = 16


def in_all_threads(call: Callable[[int], Any]) -> list[Any]:
    begin = threading.Barrier(_THREADS)

    def run(number: int) -> Any:
        begin.wait()
        try:
            return call(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(run, range(_THREADS)))


def test_threads_that_need_it_at_once_ask_once():
    answers, asked = SharedAnswers[str, int](4), []

    def ask() -> int:
        asked.append(1)
        time.sleep(0.2)
        return len(asked)

    assert in_all_threads(lambda _: answers.get("a", ask)) == [1] * _THREADS
    assert answers.get("a", ask) == 1
    answers.clear()
    assert answers.get("a", ask) == 2


def test_an_error_is_everyones_who_waits_and_is_not_kept():
    answers, asked = SharedAnswers[str, int](4), []

    def ask() -> int:
        asked.append(1)
        time.sleep(0.2)
        raise ConnectionError(len(asked))

    found = in_all_threads(lambda _: answers.get("a", ask))
    assert {(type(error), *error.args) for error in found} == {(ConnectionError, 1)}
    assert answers.get("a", lambda: 5) == 5


def test_who_waits_for_a_thread_that_is_interrupted_asks_in_its_place():
    answers, begun, asked = SharedAnswers[str, int](4), threading.Event(), []

    def ask() -> int:
        asked.append(1)
        begun.set()
        time.sleep(0.2)
        if len(asked) == 1:
            raise KeyboardInterrupt
        return len(asked)

    def first() -> None:
        with pytest.raises(KeyboardInterrupt):
            answers.get("a", ask)

    thread = threading.Thread(target=first)
    thread.start()
    begun.wait()
    assert in_all_threads(lambda _: answers.get("a", ask)) == [2] * _THREADS
    thread.join()


def test_it_is_waited_for_longer_than_a_request_may_take():
    answers, begun = SharedAnswers[str, int](4), threading.Event()

    def slow() -> int:
        begun.set()
        time.sleep(0.8)
        return 1

    with ThreadPoolExecutor(1) as pool, timeouts.at_most(0.1):
        first = pool.submit(answers.get, "a", slow)
        begun.wait()
        assert answers.get("a", lambda: 2) == 1
        assert first.result() == 1


def test_the_last_used_are_kept():
    answers = SharedAnswers[int, int](2)
    for number in (0, 1, 0, 2):
        answers.get(number, lambda n=number: n)
    assert [answers.get(number, lambda: -1) for number in (0, 2, 1)] == [0, 2, -1]
    answers.keep(0, 7)
    assert answers.get(0, lambda: -1) == 7
