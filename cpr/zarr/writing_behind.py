"""Writes pieces of an array in background threads while the next ones are computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Self

from cpr.io.request_threads import in_thread
from cpr.io.timeouts import seconds_to_clean_up, wait_for

__all__ = ["WritingBehind"]

_BYTES = 48 << 20  # of pieces that are on their way
_FAILED_SECONDS = 10.0  # for all of them, when one has failed


class WritingBehind:
    """Writes pieces in background threads; none is in progress when the block is left.

    Pieces may come from several threads. They must not be changed after they were handed over.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Future[Any], int] = {}
        self._found: list[Any] = []
        self._is_closed = False

    def begin(self, write: Callable[[], Any], nbytes: int) -> None:
        """Start to write a piece of so many bytes, once there is room for it.

        Raises what became of one that was begun before.
        """
        while (waited_for := self._begun(write, nbytes)) is not None:
            # The requests have limits of their own.
            wait_for(waited_for, alive=time.monotonic)

    def all(self) -> list[Any]:
        """Wait for all pieces and return their results, if not None; raises an error of one."""
        while waited_for := next(iter(self._under_way), None):
            wait_for(waited_for, alive=time.monotonic)
            with self._lock:
                self._settle()
        return self._found

    def _begun(self, write: Callable[[], Any], nbytes: int) -> Future[Any] | None:
        """None if the piece was started; else the write to wait for before."""
        with self._lock:
            if self._is_closed:
                raise RuntimeError("no piece is begun any more")
            self._settle()
            if self._under_way and sum(self._under_way.values()) + nbytes > _BYTES:
                return next(iter(self._under_way))
            future = in_thread(write, is_request=False)
            self._under_way[future] = nbytes
        return None

    def _settle(self) -> None:
        """Collect finished writes, while holding the lock; raise their errors."""
        for future in [one for one in self._under_way if one.done()]:
            if (found := future.result()) is not None:
                self._found.append(found)
            del self._under_way[future]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            if error is None:
                self.all()
        except BaseException as failed:
            error = failed
            raise
        finally:
            with self._lock:
                self._is_closed = True
            seconds = None if error is None else seconds_to_clean_up(error)
            wait(self._under_way, _FAILED_SECONDS if seconds is None else seconds)
            self._under_way.clear()
