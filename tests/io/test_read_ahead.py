"""Whatever is expected and whatever is read then: the bytes are right, each request is for one thing once."""

from __future__ import annotations

import random
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpr.errors import TransferError
from cpr.io.ranged_file import RangedFile
from cpr.io.read_ahead import ReadAhead
from cpr.io.transfer_width import TransferWidth

BLOCK = 16
DATA = random.Random(0).randbytes(1000)
RANGE = st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(lambda pair: tuple(sorted(pair)))


def ahead(fetch, width=None):
    return ReadAhead(fetch, len(DATA), BLOCK, width or TransferWidth(4, (BLOCK, 64), 128))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_blocks_are_those_of_the_object(data):
    asked: list[tuple[int, int]] = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return DATA[start:stop]

    reader, have = ahead(fetch), set()
    expected: set[int] = set()
    for _ in range(data.draw(st.integers(1, 6))):
        step = data.draw(st.sampled_from(["expect", "add", "take"]))
        if step == "take":
            for block in data.draw(st.lists(st.integers(0, 62), max_size=20)):
                found = reader.take(block)
                assert (found is not None) == (block in expected)
                if found is not None:
                    first, stop, got = found
                    assert first <= block < stop
                    assert bytes(got) == DATA[first * BLOCK : stop * BLOCK]
                    expected -= set(range(first, stop))
                    have |= set(range(first, stop))
            continue
        ranges = data.draw(st.lists(RANGE, max_size=5 if step == "expect" else 1))
        if step == "expect":
            reader.expect(ranges, have)
            expected = set(reader._spans)
        else:
            for start, stop in ranges:
                reader.add(start, stop, have)
        for start, stop in ranges:
            expected |= {n for n in range(start // BLOCK, -(-stop // BLOCK)) if start < stop} - have
        assert expected == set(reader._spans)
        assert not expected & have
        assert reader._bytes <= max(128, 64)
    for block in sorted(expected):
        found = reader.take(block)
        if found is not None:
            assert bytes(found[2]) == DATA[found[0] * BLOCK : found[1] * BLOCK]
            expected -= set(range(found[0], found[1]))
    assert not reader._spans
    assert reader._bytes == 0
    assert not reader._under_way
    reader.close()


def test_what_fails_is_raised_where_it_is_taken_and_can_be_asked_for_again():
    def fetch(start: int, stop: int) -> bytes:
        raise OSError(f"{start}")

    reader = ahead(fetch)
    reader.expect([(100, 300)], ())
    with pytest.raises(OSError, match="96"):
        reader.take(6)
    assert reader.take(6) is None
    reader.close()


def test_no_more_are_under_way_than_memory_and_the_place_allow():
    running, most, lock, go_on = 0, 0, threading.Lock(), threading.Event()

    def fetch(start: int, stop: int) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go_on.wait(20)
        with lock:
            running -= 1
        return DATA[start:stop]

    reader = ahead(fetch, TransferWidth(4, (BLOCK, BLOCK), 3 * BLOCK))
    reader.expect([(0, 1000)], ())
    while running < 4 and len(reader._under_way) > running:
        time.sleep(0.001)
    go_on.set()
    got = b"".join(bytes(found[2]) for n in range(63) if (found := reader.take(n)) is not None)
    assert got == DATA
    assert most <= 4
    reader.close()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_parts_of_a_file_are_its_bytes_however_they_are_read(data):
    """With and without what was expected, whatever is kept, whatever came ahead."""
    asked: list[tuple[int, int]] = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return DATA[start:stop]

    width = TransferWidth(4, (BLOCK, 64), 128)
    with RangedFile("memory://a", fetch, len(DATA), BLOCK, data.draw(st.integers(1, 4)), width) as file:
        for _ in range(data.draw(st.integers(1, 12))):
            if data.draw(st.booleans()):
                file.expect(data.draw(st.lists(RANGE, max_size=5)))
            else:
                start, stop = data.draw(RANGE)
                file.seek(start)
                assert file.read(stop - start) == DATA[start:stop]
    assert all(0 <= start < stop <= len(DATA) for start, stop in asked)


def test_a_large_part_is_fetched_side_by_side():
    together = threading.Barrier(4)

    def fetch(start: int, stop: int) -> bytes:
        together.wait(60)
        return DATA[start:stop]

    with RangedFile("memory://a", fetch, len(DATA), BLOCK, 4, TransferWidth(4, (64, 64), 1 << 20)) as file:
        file.seek(BLOCK)
        assert file.read(4 * 64) == DATA[BLOCK : BLOCK + 4 * 64]


def test_what_fetching_ahead_raises_is_raised_by_the_read_that_needs_it():
    def fetch(start: int, stop: int) -> bytes:
        return DATA[start : stop - (stop > 500)]

    with RangedFile("memory://a", fetch, len(DATA), BLOCK, 4, TransferWidth(4, (64, 64), 1 << 20)) as file:
        file.expect([(0, 1000)])
        assert file.read(400) == DATA[:400]
        with pytest.raises(TransferError):
            file.read(400)
        file.seek(0)
        assert file.read(100) == DATA[:100]
