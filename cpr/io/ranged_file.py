"""A seekable file that fetches only the parts of an object that are read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from cpr.io.answer_checks import BadAnswerError
from cpr.io.error_translation import translate_errors
from cpr.io.read_ahead import Fetch, ReadAhead
from cpr.io.seekable_files import SeekableFile
from cpr.io.transfer_width import TransferWidth

__all__ = ["RangedFile"]


class RangedFile(SeekableFile):
    """A seekable file over ranges of an object: small reads use cached blocks, large reads are one request.

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
        """Some bytes from a position on, as many as are available contiguously; none at the end."""
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
        """Free the blocks: a reader may keep the file in reference cycles."""
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
