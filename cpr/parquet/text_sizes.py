"""Computes the decoded size of the texts in a page without decoding them.

Two encodings make much of little: a dictionary, where a few bits stand for a text however long, and texts
that begin as the one before (`DELTA_BYTE_ARRAY`), where no bits at all may. What is counted here takes a time
that is in proportion to the bytes of the page, and not to the texts.

Source: https://parquet.apache.org/docs/file-format/data-pages/encodings/
"""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import Any

import numpy as np

__all__ = ["length_count", "shared_bytes", "text_lengths", "used_bytes"]

_AT_ONCE = 1 << 15
_MOST_PER_PART = 1 << 12
_MOST = 1 << 31


def text_lengths(data: memoryview, count: int) -> Any:
    """The lengths of the texts in a dictionary page. Raises ValueError if it is malformed."""
    unpack, at, found = struct.Struct("<I").unpack_from, 0, []
    try:
        for _ in range(count):
            (length,) = unpack(data, at)
            found.append(length)
            at += 4 + length
    except struct.error:
        raise ValueError("a dictionary that is cut") from None
    return np.array(found, np.int64)


def used_bytes(data: memoryview, lengths: Any, count: int) -> int:
    """The total length of the texts to which dictionary codes refer.

    Args:
        data: the numbers, in runs, behind a byte with their width.
        lengths: of the texts of the dictionary.
        count: of numbers, at most.

    Raises ValueError for numbers that the dictionary does not have, IndexError for numbers that are cut.
    """
    width, at, total = data[0], 1, 0
    if width > 32:
        raise ValueError(f"numbers of {width} bits")
    while count > 0 and at < len(data):
        head, at = _varint(data, at)
        run = head >> 1
        if not run:
            raise ValueError("a run of nothing")
        if head & 1:
            end = at + run * width
            # Long runs in pieces, since a number takes 64 times the memory of its bits.
            run = min(run, -(-count // 8))
            while run > 0:
                some = min(run, _AT_ONCE // 8)
                numbers = (
                    np.zeros(some * 8, np.int64)
                    if not width
                    else _unpacked(data[at : at + some * width], width, 8)
                )
                numbers = numbers.reshape(-1)[:count]
                total += _used(lengths, numbers)
                at, run, count = at + some * width, run - some, count - some * 8
            at = end
        else:
            nbytes = (width + 7) // 8
            number = np.array([int.from_bytes(data[at : at + nbytes], "little")])
            total += _used(lengths, number) * min(run, count)
            at, count = at + nbytes, count - run
    return total


def _used(lengths: Any, numbers: Any) -> int:
    if numbers.size and int(numbers.max()) >= len(lengths):
        raise ValueError("a text that the dictionary does not have")
    return int(lengths[numbers].sum())


def length_count(data: memoryview) -> int:
    """How many lengths a page declares before its texts."""
    at = _varint(data, _varint(data, 0)[1])[1]
    return _varint(data, at)[0]


def shared_bytes(data: memoryview) -> int:
    """The total number of bytes that texts share with the text before them.

    Args:
        data: of the page, that begins with these lengths, each told by how much it is more than the last.

    Raises ValueError for lengths that are none, IndexError for ones that are cut.
    """
    block, at = _varint(data, 0)
    minis, at = _varint(data, at)
    count, at = _varint(data, at)
    first, at = _varint(data, at)
    if not count:
        return 0
    if not 0 < minis <= block or block % minis or (per := block // minis) % 32 or per > _MOST_PER_PART:
        raise ValueError(f"blocks of {block} lengths in {minis} parts")
    lengths = _Lengths(data, per, _signed(first))
    left = count - 1
    while left > 0:
        least, at = _varint(data, at)
        if at + minis > len(data):
            raise IndexError("behind the end")
        widths, at = data[at : at + minis], at + minis
        for width in widths:
            if left <= 0:
                break
            lengths.add(_signed(least), width, at, min(per, left))
            at += per * width // 8
            left -= per
    lengths.sum_up()
    return lengths.total


class _Lengths:
    """Sums delta-encoded lengths, many at a time."""

    def __init__(self, data: memoryview, per: int, first: int) -> None:
        self._data, self._per = data, per
        self._last = self.total = first
        if not 0 <= first < _MOST:
            raise ValueError("lengths below zero or beyond all texts")
        self._least: list[int] = []
        self._of_width: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._count = 0

    def add(self, least: int, width: int, at: int, count: int) -> None:
        """Note a part of a block: minimum step, bit width, position, and number of the steps."""
        if width > 32 or abs(least) > _MOST:
            raise ValueError("lengths beyond all texts")
        if width:
            self._of_width[width].append((len(self._least), at))
        self._least.append(least)
        self._count += count
        if self._count >= _AT_ONCE:
            self.sum_up()

    def sum_up(self) -> None:
        """Add the noted steps to the total."""
        if not self._least:
            return
        steps = np.repeat(np.array(self._least, np.int64)[:, None], self._per, axis=1)
        for width, places in self._of_width.items():
            nbytes = self._per * width // 8
            pieces = b"".join(bytes(self._data[at : at + nbytes]).ljust(nbytes, b"\0") for _, at in places)
            steps[[part for part, _ in places]] += _unpacked(memoryview(pieces), width, self._per)
        lengths = self._last + np.cumsum(steps.reshape(-1)[: self._count])
        if int(lengths.min()) < 0 or int(lengths.max()) >= _MOST:
            raise ValueError("lengths below zero or beyond all texts")
        self.total += int(lengths.sum())
        self._last = int(lengths[-1])
        self._least, self._count = [], 0
        self._of_width.clear()


def _unpacked(data: memoryview, width: int, per: int) -> Any:
    """Unpack numbers of some bit width."""
    rows = len(data) * 8 // (width * per)
    bits = np.unpackbits(np.frombuffer(data[: rows * width * per // 8], "u1"), bitorder="little")
    weights = np.left_shift(1, np.arange(width, dtype=np.int64))
    return (bits.reshape(rows, per, width) @ weights).astype(np.int64)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _signed(found: int) -> int:
    return (found >> 1) ^ -(found & 1)
