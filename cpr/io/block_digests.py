"""Digests of an object's blocks, with which a part is verified without reading the rest.

While an object is written, every block of 256 KiB is digested as well. The digests are kept in a sidecar,
`.cpr/<name>.blocks`: first those of the blocks, in order; then one for every page of 4096 of these. The
record holds the digest of the second part. So a reader with the record can verify one block of 2 TB by
fetching 64 KiB of digests, and nothing that a store returns is trusted unverified.

Objects of up to 1 MiB have no such sidecar: they are read whole.

If the store itself keeps a checksum of the object, the digests are followed by its expected value,
`crc64nvme:<hex> <check>`, where `<check>` binds it to these digests. Earlier versions of cpr ignore it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial

from cpr.errors import CorruptDataError, ResourceNotFoundError
from cpr.io.error_translation import translate_errors
from cpr.io.hashing import digest_bytes, digest_of, hex16, new_digest
from cpr.io.objects import open_store
from cpr.io.read_ahead import ReadAhead
from cpr.io.request_threads import in_thread
from cpr.io.seekable_files import SeekableFile, fetch_block
from cpr.io.sidecars import sidecar_url
from cpr.io.stores.base import Store
from cpr.io.stores.local import LocalStore
from cpr.io.timeouts import wait_for
from cpr.io.transfer_width import TransferWidth, width_of

__all__ = [
    "BLOCK_BYTES",
    "SMALL_BYTES",
    "BlockDigests",
    "VerifiedFile",
    "blocks_url",
    "kept_store_checksum",
    "verified",
    "with_store_checksum",
]

BLOCK_BYTES = 256 << 10
SMALL_BYTES = 1 << 20
_PAGE = 4096  # digests
_SPAN = 32  # blocks fetched in one request
_KEEP = 64  # blocks in memory
# At the end of some files lies the index of what they hold.
_HEAD_BYTES = 4 << 10
_TAIL_BYTES = 32 << 10
_PAGES_AHEAD = 16
_STORE_CHECKSUM_BYTES = 128  # more than any takes


def blocks_url(url: str) -> str:
    """Where the digests of an object's blocks are kept."""
    return sidecar_url(url, ".blocks")


class BlockDigests:
    """Computes the digests of a stream's blocks; `update` takes pieces of any size.

    Args:
        algorithm: of the digests.
        block_bytes: size of a block.

    Attributes:
        nbytes: how many have passed.
    """

    def __init__(self, algorithm: str, block_bytes: int = BLOCK_BYTES) -> None:
        self._algorithm = algorithm
        self._block_bytes = block_bytes
        self._digests = bytearray()
        self._open = new_digest(algorithm)
        self._filled = 0
        self.nbytes = 0

    def update(self, view: memoryview) -> None:
        """Process the next bytes."""
        self.nbytes += view.nbytes
        while view.nbytes:
            piece = view[: self._block_bytes - self._filled]
            self._open.update(piece)
            self._filled += piece.nbytes
            view = view[piece.nbytes :]
            if self._filled == self._block_bytes:
                self._digests += self._open.digest()
                self._open = new_digest(self._algorithm)
                self._filled = 0

    @property
    def digests(self) -> bytes:
        """The digests of all blocks so far, concatenated; empty if no bytes have passed."""
        return bytes(self._digests + (self._open.digest() if self._filled else b""))

    def finish(self) -> tuple[bytes, str] | None:
        """The content of the sidecar, and its digest for the record; None for a small object."""
        if self.nbytes <= SMALL_BYTES:
            return None
        digests = self.digests
        size = digest_bytes(self._algorithm) * _PAGE
        pages = bytearray()
        for start in range(0, len(digests), size):
            pages += digest_of(digests[start : start + size], self._algorithm)
        root = digest_of(pages, self._algorithm).hex()
        return digests + pages, f"{self._algorithm}:{root}"


def with_store_checksum(digests: bytes, blocks: str, checksum: str) -> bytes:
    """Append the store checksum that the object must have to the content of its block digests."""
    return digests + f"{checksum} {_check_of(checksum, blocks)}".encode()


def kept_store_checksum(url: str, nbytes: int, blocks: str) -> str | None:
    """The store checksum noted when the object was written; None if none was noted.

    Raises TransferError.
    """
    beside = blocks_url(url)
    count = -(-nbytes // BLOCK_BYTES)
    end = (count + -(-count // _PAGE)) * digest_bytes(blocks.partition(":")[0])
    store, path = open_store(beside)
    with suppress(ResourceNotFoundError), translate_errors(beside, "read"):
        # With the last byte before it: some stores refuse a range that begins where an object ends.
        found = bytes(store.fetch(path, end - 1, end + _STORE_CHECKSUM_BYTES))[1:]
        checksum, _, check = found.decode("ascii", "replace").partition(" ")
        if check == _check_of(checksum, blocks):
            return checksum
    return None


def _check_of(checksum: str, blocks: str) -> str:
    return hex16(f"{blocks} {checksum}".encode())


class VerifiedFile(SeekableFile):
    """A seekable file of which every block is verified before its bytes are returned.

    Raises CorruptDataError for a block that is not the one that was written.
    """

    def __init__(
        self, url: str, store: Store, path: str, nbytes: int, blocks: str, width: TransferWidth | None
    ) -> None:
        super().__init__(nbytes)
        self._url = url
        self._store = store
        self._path = path
        self._algorithm, _, self._root = blocks.partition(":")
        self._width = digest_bytes(self._algorithm)
        self._count = -(-nbytes // BLOCK_BYTES)
        self._pages: dict[int, bytes] = {}
        self._page_digests = b""
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        fetch = partial(fetch_block, store, path)
        self._ahead = None if width is None else ReadAhead(fetch, nbytes, BLOCK_BYTES, width)
        self._pages_ahead: dict[int, Future[bytes]] = {}

    def open_digests(self, first: Iterable[tuple[int, int]] = ()) -> None:
        """Fetch the digests, check them against the record, and meanwhile fetch what is read first.

        Raises ResourceNotFoundError or CorruptDataError.
        """
        url = blocks_url(self._url)
        self._digest_store, self._digest_path = open_store(url)
        pages = -(-self._count // _PAGE)
        self.expect(first)
        start, stop = self._count * self._width, (self._count + pages) * self._width
        # One page more or less costs the same request: fetch the only page at once.
        begin = 0 if pages == 1 else start
        with translate_errors(url, "read"):
            data = self._fetch_digests(begin, stop)
        self._page_digests = data[start - begin :]
        self._expect(url, self._root, digest_of(self._page_digests, self._algorithm).hex())
        if pages == 1:
            self._take_page(0, data[:start])

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Announce the next reads, as for every file; their digests are fetched at the same time."""
        if self._ahead is None:
            return
        ranges = list(ranges)
        self._ahead.expect(ranges, self._cache)
        if self._count <= _PAGE:
            return
        for place in (place for part in ranges for place in part):
            page = min(place // BLOCK_BYTES, self._count - 1) // _PAGE
            if page not in self._pages and len(self._pages_ahead) < _PAGES_AHEAD:
                self._pages_ahead.setdefault(page, in_thread(partial(self._fetch_page, page)))

    def _fetch_page(self, index: int) -> bytes:
        start = index * _PAGE * self._width
        return self._fetch_digests(start, min(self._count, (index + 1) * _PAGE) * self._width)

    def _fetch_digests(self, start: int, stop: int) -> bytes:
        return bytes(fetch_block(self._digest_store, self._digest_path, start, stop))

    def _take_page(self, index: int, page: bytes) -> None:
        expected = self._page_digests[index * self._width : (index + 1) * self._width]
        self._expect(blocks_url(self._url), expected.hex(), digest_of(page, self._algorithm).hex())
        self._pages[index] = page

    def _expected(self, block: int) -> bytes:
        index, offset = divmod(block, _PAGE)
        if index not in self._pages:
            with translate_errors(blocks_url(self._url), "read"):
                ahead = self._pages_ahead.pop(index, None)
                page = self._fetch_page(index) if ahead is None else wait_for(ahead, _PAGE * self._width)
            self._take_page(index, page)
        return self._pages[index][offset * self._width : (offset + 1) * self._width]

    def check_digests(self) -> None:
        """Fetch and check all digests, not only those of the blocks read. Raises CorruptDataError."""
        for block in range(0, self._count, _PAGE):
            self._expected(block)

    def _expect(self, url: str, expected: str, actual: str) -> None:
        if expected != actual:
            raise CorruptDataError(
                "this part of the stored object is not what was written",
                url=url,
                expected=f"{self._algorithm}:{expected}",
                actual=f"{self._algorithm}:{actual}",
                remedy="delete the object, so that its task runs again, or restore it",
            )

    def _read_at(self, position: int, view: memoryview) -> int:
        done = 0
        last = (position + view.nbytes - 1) // BLOCK_BYTES
        if self._ahead is not None and last > position // BLOCK_BYTES:
            self._ahead.add(position, position + view.nbytes, self._cache)
        while done < view.nbytes:
            index, offset = divmod(position + done, BLOCK_BYTES)
            if index not in self._cache:
                self._fetch(index, min(last, index + _SPAN - 1))
            piece = memoryview(self._cache[index])[offset : offset + view.nbytes - done]
            if not piece:
                break
            view[done : done + piece.nbytes] = piece
            done += piece.nbytes
        return done

    def close(self) -> None:
        """Free the blocks: readers like tifffile's keep the file in reference cycles."""
        if self._ahead is not None:
            self._ahead.close()
        for page in self._pages_ahead.values():
            page.cancel()
        self._pages_ahead.clear()
        self._cache.clear()
        super().close()

    def _fetch(self, first: int, last: int) -> None:
        """Load blocks: those prefetched with the first one, else all up to one that is loaded already."""
        with translate_errors(self._url, "read"):
            ahead = None if self._ahead is None else self._ahead.take(first)
            if ahead is None:
                stop = next((i for i in range(first, last + 1) if i in self._cache), last + 1)
                start_byte, stop_byte = first * BLOCK_BYTES, min(stop * BLOCK_BYTES, self._size)
                data = memoryview(fetch_block(self._store, self._path, start_byte, stop_byte))
            else:
                first, stop, data = ahead[0], ahead[1], memoryview(ahead[2])
        for index in range(first, stop):
            block = data[(index - first) * BLOCK_BYTES : (index - first + 1) * BLOCK_BYTES]
            self._expect(self._url, self._expected(index).hex(), digest_of(block, self._algorithm).hex())
            self._cache[index] = bytes(block)
        while len(self._cache) > _KEEP:
            self._cache.popitem(last=False)


@contextmanager
def verified(
    url: str, nbytes: int, blocks: str, read_first: str | None = None
) -> Iterator[VerifiedFile | None]:
    """Open an object for verified reading of parts, by its size and the digest of its block digests.

    Gives None when the digests beside the object are gone or damaged: then only reading it whole can
    verify it.

    Args:
        url: of the object.
        nbytes: its size.
        blocks: the digest of its blocks.
        read_first: the part that locates the rest, which is fetched together with the digests: the beginning
            ("head"), or beginning and end.

    Raises:
        CorruptDataError: a block that is read is not the one that was written.
        ResourceNotFoundError, TransferError: as `reading`.
    """
    store, path = open_store(url)
    # The operating system reads local files ahead by itself.
    width = None if isinstance(store, LocalStore) else width_of(url, "read")
    ends = [(0, _HEAD_BYTES), (max(0, nbytes - _TAIL_BYTES), nbytes)]
    with VerifiedFile(url, store, path, nbytes, blocks, width) as file:
        try:
            file.open_digests(ends[: {"head": 1, "ends": 2}.get(read_first or "", 0)])
        except (ResourceNotFoundError, CorruptDataError):
            yield None
            return
        yield file
