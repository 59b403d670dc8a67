"""Sizes of the parts of an S3 multipart upload, so that 10,000 parts hold the object in little memory.

If the size is announced, all parts have the same size, no larger than necessary: 21 MiB for 200 GB. If it is
not, or if more comes than was announced, they grow towards the maximum.

Limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html.
"""

from __future__ import annotations

__all__ = ["FAR_PART_BYTES", "MOST_PARTS", "PART_BYTES", "part_bytes"]

PART_BYTES = 8 << 20
"""The first part of an upload to a store that is near."""
FAR_PART_BYTES = 5 << 20
"""The same far away, where a connection is slow: the least that S3 takes, so that many are under way."""

MOST_PARTS = 10_000
_MIB = 1 << 20
_LARGEST_BYTES = 5 << 30
# What was said must fit into these; the others are for what exceeds it.
_PLANNED_PARTS = 9_500
# Where nothing was said: three of these fit into the memory of an upload, and make 140 GB.
_SMALL_PARTS = 1_000
_USUAL_PARTS = 6_500
_USUAL_BYTES = 24 * _MIB
# From then on, so that what is left reaches the most there can be.
_DOUBLINGS = 9


def part_bytes(number: int, first: int, expected: int | None = None) -> int:
    """Size of part `number` (from 1).

    Args:
        number: of the part.
        first: minimum size of a part.
        expected: about how many bytes the object will have, where that is known.
    """
    if expected is None:
        if number <= _SMALL_PARTS:
            return first
        size, planned = max(first, _USUAL_BYTES), _USUAL_PARTS
    else:
        size = max(first, -(-expected // _PLANNED_PARTS // _MIB) * _MIB)
        planned = max(1, -(-expected // size))
    if number <= planned:
        return size
    step = -(-(MOST_PARTS - planned) // _DOUBLINGS)
    return min(_LARGEST_BYTES, size << ((number - planned - 1) // step + 1))
