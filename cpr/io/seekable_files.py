"""Seekable files over objects: the base class, and a file that downloads a whole object and hashes it."""

from __future__ import annotations

import io
import os
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import Any

from cpr.errors import CprError
from cpr.io.answer_checks import BadAnswerError
from cpr.io.error_translation import translate_errors
from cpr.io.hashing import CACHED_BYTES, new_digest
from cpr.io.progress_bar import Advance
from cpr.io.read_ahead import STALLED_BYTES, Fetch, wait_wider
from cpr.io.request_threads import in_thread
from cpr.io.stores.base import Store
from cpr.io.timeouts import abandonable, wait_for
from cpr.io.transfer_width import TransferWidth

__all__ = ["BLOCK_BYTES", "ArrivingFile", "SeekableFile", "fetch_block"]

BLOCK_BYTES = 8 << 20
# A fetch that answers short is asked again this often before it counts as the end of the object.
_TRIES = 3


class SeekableFile(io.RawIOBase):
    """Base class that keeps the position; subclasses implement `_read_at`."""

    def __init__(self, nbytes: int) -> None:
        super().__init__()
        self._size = nbytes
        self._position = 0
        #: The first error that a read raised, for a decoder may swallow it and complain of the data.
        self.failure: CprError | None = None

    def _read_at(self, position: int, view: memoryview) -> int:
        """Fill the view from a position; fewer bytes only at the end."""
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        try:
            count = self._read_at(self._position, view[: max(0, self._size - self._position)])
        except CprError as error:
            self.failure = self.failure or error
            raise
        self._position += count
        return count

    def read(self, size: int | None = -1) -> bytes:
        rest = max(0, self._size - self._position)
        buffer = bytearray(rest if size is None or size < 0 else min(size, rest))
        count = self.readinto(buffer)
        return bytes(buffer if count == len(buffer) else buffer[:count])

    def release(self, position: int) -> None:
        """Promise that nothing before `position` is read again."""

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Announce the byte ranges that are read next, in order, so that they are fetched in parallel."""


class ArrivingFile(SeekableFile):
    """An object that is downloaded in order, in prefetched blocks, hashed and counted on the way.

    Reading waits for the bytes; seeking forward lets everything between arrive. What has arrived is
    kept until `release`d.

    Args:
        width: how many blocks are fetched before they are asked for, and of what size; None for none.
        exact: raise for an object that ends before `nbytes`; else the reader notices it by the checksum.
    """

    def __init__(
        self,
        url: str,
        fetch: Fetch,
        nbytes: int,
        algorithm: str,
        width: TransferWidth | None,
        exact: bool = True,
    ) -> None:
        super().__init__(nbytes)
        self._exact = exact
        self._url = url
        self._fetch_bytes = fetch
        self._asked = 0
        self._width = width if nbytes > BLOCK_BYTES else None
        self._sharing = ExitStack()
        self._ahead: deque[tuple[int, Future[bytes | memoryview]]] = deque()
        self._ahead_bytes = 0
        self._alive = 0.0
        # By number; where each begins in all that has arrived.
        self._blocks: dict[int, bytes | memoryview] = {}
        self._begins: list[int] = []
        self._arrived = 0
        self._released = 0  # blocks
        self._algorithm = algorithm
        self._digest = new_digest(algorithm)
        self._hashed = 0
        self._first: bytes | memoryview | None = None
        # What is fetched before all else, and where it begins; taken in, and hashed, at its turn.
        self._end: bytes | memoryview | None = None
        self._end_begins = nbytes
        self._most_ahead = nbytes
        self._closing = threading.Event()
        #: Is told of the bytes that have arrived.
        self.on_bytes: Advance | None = None

    def _read_at(self, position: int, view: memoryview) -> int:
        if self._end is not None and position >= self._end_begins:
            piece = memoryview(self._end)[position - self._end_begins :][: view.nbytes]
            view[: piece.nbytes] = piece
            return piece.nbytes
        done = 0
        while done < view.nbytes:
            at = position + done
            while at >= self._arrived:
                if not self._arrive():
                    return done
            index = bisect_right(self._begins, at) - 1
            if index < self._released:
                raise ValueError(f"byte {at} was released before it was read")
            offset = at - self._begins[index]
            stop = min(offset + view.nbytes - done, offset + CACHED_BYTES)
            piece = memoryview(self._blocks[index])[offset:stop]
            self._hash_to(at + piece.nbytes)
            view[done : done + piece.nbytes] = piece
            done += piece.nbytes
        return done

    def _hash_to(self, stop: int) -> None:
        """Hash what has arrived, in order, up to a position.

        Done just before bytes are copied or let go of, while they are in the cache.
        """
        while self._hashed < stop:
            index = bisect_right(self._begins, self._hashed) - 1
            offset = self._hashed - self._begins[index]
            piece = memoryview(self._blocks[index])[offset : offset + min(CACHED_BYTES, stop - self._hashed)]
            self._digest.update(piece)
            self._hashed += piece.nbytes

    def _arrive(self) -> bool:
        """Receive the next block; False at the end of the object."""
        with translate_errors(self._url, "read"):
            block = self._next_block()
        if not block:
            return False
        self._blocks[len(self._begins)] = block
        self._begins.append(self._arrived)
        self._arrived += len(block)
        if self.on_bytes is not None:
            self.on_bytes(len(block))
        return True

    def begin_with(self, block: bytes | memoryview) -> None:
        """Use a block that was fetched already as the first one."""
        self._asked = len(block)
        self._first = block

    def hold_ahead(self, nbytes: int) -> None:
        """Limit the bytes that are held or in transit before they are read."""
        self._most_ahead = nbytes

    def fetch_end(self, nbytes: int) -> None:
        """Fetch the last bytes at once, in parallel with the rest, for readers that start at the end.

        The same bytes are hashed later in their turn. Does nothing if reading has begun, or if the object is
        fetched in one piece anyway.
        """
        if self._asked or self._size <= BLOCK_BYTES:
            return
        self._end_begins = begin = max(0, self._size - nbytes)
        with translate_errors(self._url, "read"):
            if self._width is None:
                self._end = self._fetch(begin, self._size)
                return
            future = in_thread(partial(self._fetch_measured, self._width, begin, self._size))
            self._ahead_bytes += self._size - begin
            self._fetch_ahead(self._width)
            self._end = self._wait(future, self._size - begin, self._width)

    def _next_block(self) -> bytes | memoryview | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._width is None:
            if self._asked < self._end_begins:
                start, self._asked = self._asked, min(self._asked + BLOCK_BYTES, self._end_begins)
                return self._fetch(start, self._asked)
        else:
            self._fetch_ahead(self._width)
            if self._ahead:
                nbytes, future = self._ahead.popleft()
                return self._wait(future, nbytes, self._width)
        if self._asked < self._size:
            self._asked = self._size
            return self._end
        return None

    def _wait(
        self, future: Future[bytes | memoryview], nbytes: int, width: TransferWidth
    ) -> bytes | memoryview:
        wait_wider(future, width, partial(self._fetch_ahead, width))
        # Others share what passes: the limit counts from the last that has arrived.
        self._ahead_bytes -= nbytes
        return wait_for(future, min(nbytes + self._ahead_bytes, STALLED_BYTES), lambda: self._alive)

    def _fetch_ahead(self, width: TransferWidth) -> None:
        """Keep the right number of requests in progress, among them the one that is waited for."""
        if not self._asked:
            self._sharing.enter_context(width.transfer())
        while self._asked < self._end_begins:
            nbytes = min(width.block_bytes, self._end_begins - self._asked)
            if self._ahead and (
                len(self._ahead) >= width.requests
                or self._ahead_bytes + nbytes > min(self._most_ahead, width.memory_bytes)
            ):
                return
            start, self._asked = self._asked, self._asked + nbytes
            self._ahead.append((nbytes, in_thread(partial(self._fetch_measured, width, start, self._asked))))
            self._ahead_bytes += nbytes

    def _fetch_measured(self, width: TransferWidth, start: int, stop: int) -> bytes | memoryview:
        with width.request(stop - start):
            block = self._fetch(start, stop)
        self._alive = time.monotonic()
        return block

    def _fetch(self, start: int, stop: int) -> bytes | memoryview:
        with abandonable(self._closing):
            block = self._fetch_bytes(start, stop)
        if self._exact and len(block) != stop - start:
            raise BadAnswerError("ObjectShorterThanSaid")
        return block

    def release(self, position: int) -> None:
        """Free the memory of everything before `position`."""
        keep = len(self._begins) if position >= self._arrived else bisect_right(self._begins, position) - 1
        if keep > self._released:
            self._hash_to(self._arrived if keep == len(self._begins) else self._begins[keep])
            for index in range(self._released, keep):
                del self._blocks[index]
            self._released = keep

    def finish(self) -> tuple[str, int]:
        """Receive the rest; returns checksum (`algorithm:hexdigest`) and size of the whole object."""
        while self._arrive():
            self.release(self._arrived)
        self._hash_to(self._arrived)
        return f"{self._algorithm}:{self._digest.hexdigest()}", self._arrived

    def close(self) -> None:
        self._closing.set()
        for _, future in self._ahead:
            future.cancel()
        self._sharing.close()
        self._ahead.clear()
        self._blocks.clear()
        super().close()


def fetch_block(store: Store, path: str, start: int, stop: int) -> bytes | memoryview:
    """Fetch the bytes from start to stop; a short answer is confirmed by asking again."""
    block: bytes | memoryview = b""
    for _ in range(_TRIES):
        block = store.fetch(path, start, stop)
        if len(block) == stop - start:
            break
    return block
