"""Finds the positions of names in a list that is mostly in the same order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from cpr.operations.catalogue.arrow_arrays import mask, numbers, values

__all__ = ["positions"]

_BLOCK = 512  # names that are compared at once
_AHEAD = 8 * _BLOCK  # names among which the next block is looked for
_MOST_MISSES = 16  # blocks in a row


def positions(names: Any, wanted: Any) -> npt.NDArray[np.int64]:
    """The position of each name in a list; -1 if it is missing, and for repeated requests but one.

    Blocks of names that lie there as they do here are compared as they are. Only the others are looked up,
    among those that are in no such block: a table of a million names takes half a second to ask.

    Args:
        names: unique names.
        wanted: the names to look for.
    """
    at = np.full(len(wanted), -1, np.int64)
    place = pc.index(names, wanted[0]).as_py() if len(wanted) else -1
    misses = 0 if place >= 0 else _MOST_MISSES
    for start in range(0, len(wanted), _BLOCK):
        if misses >= _MOST_MISSES:
            break
        block = wanted.slice(start, _BLOCK)
        step = pc.index(names.slice(place, _AHEAD), block[0]).as_py()
        there = names.slice(place + max(step, 0), len(block))
        if step >= 0 and there.equals(block):
            place += step
            at[start : start + len(block)] = np.arange(place, place + len(block))
            place, misses = place + len(block), 0
        else:
            misses += 1
    _look_up(names, wanted, at)
    return at


def _look_up(names: Any, wanted: Any, at: npt.NDArray[np.int64]) -> None:
    """Set the positions of names that have none yet.

    The wanted are looked at for each of the many: the other way round took three times their memory.
    """
    missing = np.flatnonzero(at < 0)
    if not len(missing):
        return
    is_left = np.ones(len(names), np.bool_)
    is_left[at[at >= 0]] = False
    left = np.flatnonzero(is_left)
    number = pc.index_in(names.filter(mask(is_left)), wanted.take(numbers(missing)))
    number = values(number, -1)
    there = np.flatnonzero(number >= 0)[::-1]
    at[missing[number[there]]] = left[there]
