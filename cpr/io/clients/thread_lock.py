"""Locks for filesystems that serve only one thread at a time.

The connections behind fsspec's filesystems that are not asynchronous (paramiko's, say) lose answers when two
threads wait for them, and hang. So each call of such a filesystem holds its lock until it is done.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

__all__ = ["PIECE_BYTES", "exclusive_use", "last_answer", "note_answer", "serialize_calls"]

PIECE_BYTES = 256 << 10
"""What is sent or received in a turn, or between two signs of life in it."""

_TURN = "_cpr_turn"


class _Turn:
    """A lock that records when its holder last got an answer, by time.monotonic()."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.answered = 0.0

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, _: object, error: object, __: object) -> None:
        # A refusal is an answer, too; it has a number.
        if error is None or getattr(error, "errno", None) is not None:
            self.answered = time.monotonic()
        self._lock.release()


def serialize_calls(fs: AbstractFileSystem) -> None:
    """Let only one thread at a time call the filesystem's methods, if it needs that."""
    if isinstance(fs, (AsyncFileSystem, ChainedFileSystem, LocalFileSystem, MemoryFileSystem)):
        return
    turn = _Turn()
    setattr(fs, _TURN, turn)
    for name in dir(type(fs)):
        # Generators ask the other methods.
        method = None if name.startswith("_") else inspect.getattr_static(type(fs), name)
        if inspect.isfunction(method) and not inspect.isgeneratorfunction(method):
            setattr(fs, name, _in_turn(turn, getattr(fs, name)))


def _in_turn(turn: _Turn, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def taken(*arguments: Any, **options: Any) -> Any:
        with turn:
            return method(*arguments, **options)

    return taken


def exclusive_use(fs: AbstractFileSystem) -> AbstractContextManager[Any]:
    """Lock the filesystem for calls on an open file, which share its connection."""
    turn: AbstractContextManager[Any] | None = getattr(fs, _TURN, None)
    return nullcontext() if turn is None else turn


def last_answer(fs: AbstractFileSystem) -> float:
    """When the thread that holds the lock last got an answer; waiting longer than a limit is pointless."""
    turn: _Turn | None = getattr(fs, _TURN, None)
    return 0.0 if turn is None else turn.answered


def note_answer(fs: AbstractFileSystem) -> None:
    """Record that the thread that holds the lock got one of several answers."""
    turn: _Turn | None = getattr(fs, _TURN, None)
    if turn is not None:
        turn.answered = time.monotonic()
