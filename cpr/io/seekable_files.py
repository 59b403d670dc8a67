"""Objects as seekable files: one arrives whole and is hashed on its way, of the other parts are fetched."""

from __future__ import annotations

import io
import os
import threading
import time
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import Any

from cpr.errors import CprError
from cpr.io.answers import BadAnswerError
from cpr.io.error_translation import translate_errors
from cpr.io.hashing import CACHED_BYTES, new_digest
from cpr.io.progress_bar import Advance
from cpr.io.read_ahead import STALLED_BYTES, Fetch, ReadAhead, wait_wider
from cpr.io.request_threads import in_thread
from cpr.io.stores.base import Store
from cpr.io.transfer_width import TransferWidth
from cpr.io.waiting import abandonable, wait_for

__all__ = ["BLOCK_BYTES", "ArrivingFile", "RangedFile", "SeekableFile", "fetch_block"]

BLOCK_BYTES = 8 << 20
# A fetch that answers short is asked again this often before it counts as the end of the object.
_TRIES = 3


class SeekableFile(io.RawIOBase):
    """Position keeping that all files to read from share; `_read_at` does the work."""

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
        """Say which ranges of bytes are read next, in their order, so that they are fetched side by side."""


class ArrivingFile(SeekableFile):
    """An object that arrives in order, in blocks fetched ahead, hashed and counted on the way.

    Reading waits for the bytes; seeking forward lets everything between arrive. What has arrived is
    kept until `release`d.

    Args:
        width: how many blocks are fetched before they are asked for, and of what size; None for none.
        exact: raise for an object that ends before `nbytes`; else the checksum tells its reader.
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
        self._closing = threading.Event()
        #: Is told of the bytes that have arrived.
        self.on_bytes: Advance | None = None

    def _read_at(self, position: int, view: memoryview) -> int:
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
        """Hash what has arrived, in order, up to a byte.

        Done just before bytes are copied or let go of, while they are in the cache.
        """
        while self._hashed < stop:
            index = bisect_right(self._begins, self._hashed) - 1
            offset = self._hashed - self._begins[index]
            piece = memoryview(self._blocks[index])[offset : offset + min(CACHED_BYTES, stop - self._hashed)]
            self._digest.update(piece)
            self._hashed += piece.nbytes

    def _arrive(self) -> bool:
        """Take the next block in; False at the end of the object."""
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
        """Take what is the first block, and was fetched already."""
        self._asked = len(block)
        self._first = block

    def _next_block(self) -> bytes | memoryview | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._width is None:
            start, self._asked = self._asked, min(self._asked + BLOCK_BYTES, self._size)
            return self._fetch(start, self._asked) if start < self._asked else None
        self._fetch_ahead(self._width)
        if not self._ahead:
            return None
        nbytes, future = self._ahead.popleft()
        wait_wider(future, self._width, partial(self._fetch_ahead, self._width))
        # Others share what passes: the limit counts from the last that has arrived.
        self._ahead_bytes -= nbytes
        return wait_for(future, min(nbytes + self._ahead_bytes, STALLED_BYTES), lambda: self._alive)

    def _fetch_ahead(self, width: TransferWidth) -> None:
        """Have as many requests under way as the place deserves, the one that is waited for among them."""
        if not self._asked:
            self._sharing.enter_context(width.transfer())
        while self._asked < self._size:
            nbytes = min(width.block_bytes, self._size - self._asked)
            if self._ahead and (
                len(self._ahead) >= width.requests or self._ahead_bytes + nbytes > width.memory_bytes
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
        """Let go of the memory of everything before `position`."""
        keep = len(self._begins) if position >= self._arrived else bisect_right(self._begins, position) - 1
        if keep > self._released:
            self._hash_to(self._arrived if keep == len(self._begins) else self._begins[keep])
            for index in range(self._released, keep):
                del self._blocks[index]
            self._released = keep

    def finish(self) -> tuple[str, int]:
        """Let the rest arrive, unseen; the checksum (`algorithm:hexdigest`) and size of all of it."""
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
    """The bytes from start to stop; a store that answers short is asked again before it is believed."""
    block: bytes | memoryview = b""
    for _ in range(_TRIES):
        block = store.fetch(path, start, stop)
        if len(block) == stop - start:
            break
    return block


class RangedFile(SeekableFile):
    """Parts of an object: small reads are served from cached blocks, large ones fetched as they are.

    Args:
        block: bytes fetched at once around a small read.
        blocks: how many of them are kept.
        width: as many requests as it says fetch what is read in one piece, or expected; None for one.
    """

    def __init__(
        self, url: str, fetch: Fetch, nbytes: int, block: int, blocks: int, width: TransferWidth | None = None
    ) -> None:
        super().__init__(nbytes)
        self._ahead = None if width is None else ReadAhead(self._exactly, nbytes, block, width)
        # What came ahead last, with the number of its first block; larger than what is kept may be.
        self._arrived: tuple[int, memoryview] = (0, memoryview(b""))
        self._url = url
        self._fetch = fetch
        self._block_bytes = block
        self._keep = blocks
        self._cache: OrderedDict[int, bytes | memoryview] = OrderedDict()

    def _read_at(self, position: int, view: memoryview) -> int:
        stop = position + view.nbytes
        first, last = position // self._block_bytes, (stop - 1) // self._block_bytes
        if view.nbytes > self._block_bytes and any(i not in self._cache for i in range(first, last + 1)):
            if self._ahead is None:
                return self._copy(self._get(position, stop), view)
            self._ahead.add(position, stop, self._cache)
        done = 0
        while done < view.nbytes:
            piece = self._piece(position + done, view.nbytes - done)
            if not piece:
                break
            done += self._copy(piece, view[done:])
        return done

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        if self._ahead is not None:
            self._ahead.expect(list(ranges), self._cache)

    def _piece(self, position: int, nbytes: int) -> bytes | memoryview:
        """Bytes from a position, as many as are at hand in one piece; none at the end."""
        index, offset = divmod(position, self._block_bytes)
        if self._ahead is not None and index not in self._cache:
            first, data = self._arrived
            if not 0 <= position - first * self._block_bytes < data.nbytes:
                with translate_errors(self._url, "read"):
                    taken = self._ahead.take(index)
                first, data = (0, memoryview(b"")) if taken is None else (taken[0], memoryview(taken[2]))
            if data:
                self._arrived = first, data
                offset = position - first * self._block_bytes
                return data[offset : offset + nbytes]
        return self._block(index)[offset : offset + nbytes]

    @staticmethod
    def _copy(data: bytes | memoryview, view: memoryview) -> int:
        view[: len(data)] = data
        return len(data)

    def _block(self, index: int) -> bytes | memoryview:
        if index not in self._cache:
            start = index * self._block_bytes
            self._cache[index] = self._get(start, min(start + self._block_bytes, self._size))
            if len(self._cache) > self._keep:
                self._cache.popitem(last=False)
        self._cache.move_to_end(index)
        return self._cache[index]

    def close(self) -> None:
        """Let go of the blocks: a reader may keep the file in circles of references."""
        if self._ahead is not None:
            self._ahead.close()
        self._arrived = 0, memoryview(b"")
        self._cache.clear()
        super().close()

    def _get(self, start: int, stop: int) -> bytes | memoryview:
        with translate_errors(self._url, "read"):
            return self._exactly(start, stop)

    def _exactly(self, start: int, stop: int) -> bytes | memoryview:
        block = self._fetch(start, stop)
        if len(block) != stop - start:
            raise BadAnswerError("ObjectShorterThanSaid")
        return block
