"""The parts of any object that S3 can have: no more than it takes, and several under way in little memory."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpr
from cpr.io.stores import part_sizes
from cpr.io.stores.part_sizes import MOST_PARTS, part_bytes
from cpr.io.transfer_width import TransferWidth, width_of
from tests.faults.conftest import proxy, running_proxy  # noqa: F401 - fixtures

MIB = 1 << 20
LARGEST_OBJECT = 5 << 40
LARGEST_PART = 5 << 30
MEMORY = width_of("s3://on-paper", "write").memory_bytes
FIRST = st.sampled_from([5 * MIB, 8 * MIB])
SIZES = st.one_of(
    st.integers(1, LARGEST_OBJECT), st.integers(1, 10**12), st.integers(1, 5 * 2**20).map(lambda n: n * MIB)
)


def plan(nbytes: int, first: int, expected: int | None) -> list[int]:
    """The parts into which so many bytes go."""
    parts = []
    for number in count(1):
        parts.append(min(nbytes, part_bytes(number, first, expected)))
        nbytes -= parts[-1]
        if not nbytes:
            return parts
    raise AssertionError


def under_way(part: int) -> int:
    """How many parts of a size are sent at once, with one more that is being filled."""
    return max(1, MEMORY // part)


def is_legal(parts: list[int]) -> bool:
    return (
        len(parts) <= MOST_PARTS
        and all(5 * MIB <= part <= LARGEST_PART for part in parts[:-1])
        and 0 < parts[-1] <= LARGEST_PART
    )


@settings(max_examples=40)
@given(SIZES, FIRST, st.floats(0.9, 1.05))
def test_an_object_of_known_size(nbytes, first, off):
    """What is announced may be a little wrong: headers come to it, or compression takes from it."""
    expected = int(nbytes * off)
    parts = plan(nbytes, first, expected)
    assert is_legal(parts)
    if off >= 1:
        assert len(set(parts[:-1])) <= 1
        largest = max(parts)
        if nbytes < 250e9:
            assert under_way(largest) >= 3
        if nbytes < 380e9:
            assert under_way(largest) >= 2
        # One is filled while the others are sent.
        assert (under_way(largest) + 1) * largest <= max(120 * MIB, 2 * (expected // 9500 + MIB))


@settings(max_examples=40)
@given(SIZES, FIRST)
def test_an_object_of_unknown_size(nbytes, first):
    parts = plan(nbytes, first, None)
    assert is_legal(parts)
    if nbytes < 140e9:
        assert under_way(max(parts)) >= 3
    if nbytes < 1000 * first:
        assert under_way(max(parts)) >= 10
    # Never more than a few hundredths of what has gone before.
    assert max(parts) <= max(24 * MIB, nbytes / 100)


@settings(max_examples=40)
@given(st.integers(0, 10**9), FIRST)
def test_any_object_may_follow_a_small_announcement(expected, first):
    assert is_legal(plan(LARGEST_OBJECT, first, expected))


@settings(max_examples=40)
@given(st.integers(10**9, 10**12), FIRST)
def test_twice_what_was_announced(expected, first):
    assert is_legal(plan(2 * expected, first, expected))


def test_200_gb():
    parts = plan(200 * 10**9, 8 * MIB, 200 * 10**9)
    assert (len(parts), parts[0] // MIB) == (9083, 21)
    assert len(plan(2 * 10**9, 8 * MIB, 2 * 10**9)) == 239  # 8 MiB each


@pytest.mark.s3
def test_what_a_target_announces_counts(proxy, s3_url, monkeypatch):  # noqa: F811
    monkeypatch.setattr(part_sizes, "_PLANNED_PARTS", 2)
    monkeypatch.setattr(TransferWidth, "requests", 2)
    data = np.random.default_rng(0).integers(0, 1 << 16, (24, 512, 1024), "uint16")  # 24 MiB
    target = cpr.NumpyTarget.from_path(f"{s3_url}/a.npy")
    target.set_data(data)
    target.persist()
    assert proxy.kinds.count("part") == 3  # of 12 MiB, and the header's worth
    assert np.array_equal(cpr.load(target.serialize()).get_data(), data)
    proxy.clear()
    copied = f"{s3_url}/b.npy"
    cpr.io.copying.copy(target.url, copied, cpr.io.Stored(target.checksum, target.nbytes))
    assert proxy.kinds.count("part") == 2  # 13 MiB
