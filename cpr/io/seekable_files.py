"""Objects as seekable files: one arrives whole and is hashed on its way, of the other parts are fetched."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from cpr.errors import CprError
from cpr.io.error_translation import BadAnswerError, translate_errors
from cpr.io.hashing import CACHED_BYTES, new_digest
from cpr.io.stores.base import Store
from cpr.io.waiting import abandonable, wait_for

__all__ = ["BLOCK_BYTES", "ArrivingFile", "RangedFile", "SeekableFile", "fetch_block"]

Fetch = Callable[[int, int], bytes | memoryview]

BLOCK_BYTES = 8 << 20
_BLOCKS_AHEAD = 4
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


class ArrivingFile(SeekableFile):
    """An object that arrives in order, in blocks fetched ahead, hashed and counted on the way.

    Reading waits for the bytes; seeking forward lets everything between arrive. What has arrived is
    kept until `release`d.

    Args:
        ahead: fetch blocks before they are asked for, in threads.
        exact: raise for an object that ends before `nbytes`; else the checksum tells its reader.
    """

    def __init__(
        self, url: str, fetch: Fetch, nbytes: int, algorithm: str, ahead: bool, exact: bool = True
    ) -> None:
        super().__init__(nbytes)
        self._exact = exact
        self._url = url
        self._fetch_bytes = fetch
        self._starts = iter(range(0, nbytes, BLOCK_BYTES))
        self._ahead: deque[Future[bytes | memoryview]] = deque()
        self._threads = _threads() if ahead and nbytes > BLOCK_BYTES else None
        self._blocks: dict[int, bytes | memoryview] = {}
        self._arrived_blocks = 0
        self._released_blocks = 0
        self._algorithm = algorithm
        self._digest = new_digest(algorithm)
        self._hashed = (0, 0)  # the next byte: block, and place in it
        self._arrived = 0
        self._first: bytes | memoryview | None = None
        self._closing = threading.Event()

    def _read_at(self, position: int, view: memoryview) -> int:
        done = 0
        while done < view.nbytes:
            index, offset = divmod(position + done, BLOCK_BYTES)
            while index >= self._arrived_blocks:
                if not self._arrive():
                    return done
            if index < self._released_blocks:
                raise ValueError(f"byte {position + done} was released before it was read")
            stop = min(offset + view.nbytes - done, offset + CACHED_BYTES)
            piece = memoryview(self._blocks[index])[offset:stop]
            if not piece:
                return done
            self._hash_to(index, offset + piece.nbytes)
            view[done : done + piece.nbytes] = piece
            done += piece.nbytes
        return done

    def _hash_to(self, index: int, offset: int) -> None:
        """Hash what has arrived, in order: the blocks before one, and so many bytes of that one.

        Done just before bytes are copied or let go of, while they are in the cache.
        """
        while self._hashed < (index, offset):
            number, start = self._hashed
            block = memoryview(self._blocks[number])
            stop = min(len(block) if number < index else offset, start + CACHED_BYTES)
            self._digest.update(block[start:stop])
            self._hashed = (number, stop) if number == index or stop < len(block) else (number + 1, 0)

    def _arrive(self) -> bool:
        """Take the next block in; False at the end of the object."""
        with translate_errors(self._url, "read"):
            block = self._next_block()
        if not block:
            return False
        self._arrived += len(block)
        self._blocks[self._arrived_blocks] = block
        self._arrived_blocks += 1
        return True

    def begin_with(self, block: bytes | memoryview) -> None:
        """Take what is the first block, and was fetched already."""
        next(self._starts, None)
        self._first = block

    def _next_block(self) -> bytes | memoryview | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._threads is None:
            start = next(self._starts, None)
            return None if start is None else self._fetch(start)
        while len(self._ahead) < _BLOCKS_AHEAD and (start := next(self._starts, None)) is not None:
            self._ahead.append(self._threads.submit(self._fetch, start))
        # Each has a limit of its own; others may come before it.
        return wait_for(self._ahead.popleft(), BLOCK_BYTES * _BLOCKS_AHEAD) if self._ahead else None

    def _fetch(self, start: int) -> bytes | memoryview:
        stop = min(start + BLOCK_BYTES, self._size)
        with abandonable(self._closing):
            block = self._fetch_bytes(start, stop)
        if self._exact and len(block) != stop - start:
            raise BadAnswerError("ObjectShorterThanSaid")
        return block

    def release(self, position: int) -> None:
        """Let go of the memory of everything before `position`."""
        keep = min(position // BLOCK_BYTES, self._arrived_blocks)
        self._hash_to(keep, 0)
        for index in range(self._released_blocks, keep):
            del self._blocks[index]
        self._released_blocks = max(self._released_blocks, keep)

    def finish(self) -> tuple[str, int]:
        """Let the rest arrive, unseen; the checksum (`algorithm:hexdigest`) and size of all of it."""
        while self._arrive():
            self.release(self._arrived)
        self._hash_to(self._arrived_blocks, 0)
        return f"{self._algorithm}:{self._digest.hexdigest()}", self._arrived

    def close(self) -> None:
        self._closing.set()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._blocks.clear()
        super().close()


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_BLOCKS_AHEAD, thread_name_prefix="cpr-fetch")


def fetch_block(store: Store, path: str, start: int, stop: int) -> bytes | memoryview:
    """The bytes from start to stop; a store that answers short is asked again before it is believed."""
    block: bytes | memoryview = b""
    for _ in range(_TRIES):
        block = store.fetch(path, start, stop)
        if len(block) == stop - start:
            break
    return block


class RangedFile(SeekableFile):
    """Parts of an object: small reads are served from cached blocks, large ones fetched exactly.

    Args:
        block: bytes fetched at once around a small read.
        blocks: how many of them are kept.
    """

    def __init__(self, url: str, fetch: Fetch, nbytes: int, block: int, blocks: int) -> None:
        super().__init__(nbytes)
        self._url = url
        self._fetch = fetch
        self._block_bytes = block
        self._keep = blocks
        self._cache: OrderedDict[int, bytes | memoryview] = OrderedDict()

    def _read_at(self, position: int, view: memoryview) -> int:
        stop = position + view.nbytes
        first, last = position // self._block_bytes, (stop - 1) // self._block_bytes
        if view.nbytes > self._block_bytes and any(i not in self._cache for i in range(first, last + 1)):
            return self._copy(self._get(position, stop), view)
        done = 0
        while done < view.nbytes:
            index, offset = divmod(position + done, self._block_bytes)
            piece = self._block(index)[offset : offset + view.nbytes - done]
            if not piece:
                break
            done += self._copy(piece, view[done:])
        return done

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
        self._cache.clear()
        super().close()

    def _get(self, start: int, stop: int) -> bytes | memoryview:
        with translate_errors(self._url, "read"):
            block = self._fetch(start, stop)
            if len(block) != stop - start:
                raise BadAnswerError("ObjectShorterThanSaid")
        return block
