"""State that belongs to one process: kept between calls, never inherited by a forked child."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PerProcess", "in_children"]

K = TypeVar("K")
V = TypeVar("V")


def in_children(work: Callable[[], object]) -> None:
    """Register a function that runs first in each forked child of this process."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=work)


class PerProcess(Generic[K, V]):
    """A table that starts empty in a forked child, since connections and locks do not survive a fork.

    Attributes:
        known: the table; for use under the lock.
        lock: of this process. Another thread may have held the parent's when the child was made.
    """

    def __init__(self) -> None:
        self.known: OrderedDict[K, V] = OrderedDict()
        self.lock = threading.Lock()
        self._inherited: list[list[V]] = []
        in_children(self._begin_anew)

    def _begin_anew(self) -> None:
        self.lock = threading.Lock()
        # Kept, for clients that are collected close their connections on a loop that is the parent's.
        self._inherited.append(list(self.known.values()))
        self.known.clear()
