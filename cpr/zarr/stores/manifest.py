"""The manifest of a Zarr: every object of the hierarchy, with its size and digest.

It is one object beside the hierarchy and is written last; with it the result exists. Its parts are:

    blocks   digests of the blocks of shards, in the order of the keys
    pages    up to 4096 entries each, sorted by key
    index    JSON: algorithm, totals, and for every page its first key, offset, size and digest
    length   of the index, 8 bytes, big-endian

A page is columns, integers little-endian: number of entries (u32), size of the keys (u32), the keys in
UTF-8 with NUL between them, sizes (u64 each), numbers of blocks (u32 each), digests.

The digest of the index, the root, is in the record. It verifies the pages, these verify the objects, and an
object's digest verifies those of its blocks. So one entry in millions is found and verified by fetching the
index and one page. Entries are sorted, and pages have a fixed number of entries: equal hierarchies have equal
roots, in whatever order they were written.
"""

from __future__ import annotations

import json
import struct
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from cpr.data.memory import require_memory
from cpr.errors import CorruptDataError, CprError, ResourceNotFoundError, TransferError
from cpr.io.block_digests import blocks_url
from cpr.io.error_translation import translate_errors
from cpr.io.hashing import digest_bytes, digest_of, hex16
from cpr.io.objects import open_store
from cpr.io.outside_json import read_json
from cpr.io.reading import reading
from cpr.io.seekable_files import fetch_block
from cpr.zarr.stores.chunk_verification import corrupt
from cpr.zarr.stores.manifest_entries import Entries, Entry
from cpr.zarr.stores.manifest_pages import Page, encode_page, require_order

__all__ = ["Manifest", "encode", "manifest_url"]

_PAGE = 4096
_FORMAT = "cpr manifest 1"
_TAIL_BYTES = 256 << 10  # fetched to open a manifest; small ones are in memory with that
_PAGES_KEPT = 512
_MOST = 1 << 62
_LENGTH = struct.Struct(">Q")
_ROW = [str, int, int, int, int, str]


def manifest_url(url: str) -> str:
    """URL of a Zarr's manifest: beside it, as readers warn of unknown objects inside a group."""
    return blocks_url(url)


def encode(entries: Entries, algorithm: str, part: Mapping[str, Any] | None = None) -> bytes:
    """Encode the manifest of a hierarchy, or of a part (with `part`, its description)."""
    keys = sorted(entries)
    width = digest_bytes(algorithm)
    blocks, pages, rows = bytearray(), bytearray(), []
    for key in keys:
        blocks += entries[key].blocks
    start_block = 0
    for start in range(0, len(keys), _PAGE):
        some = keys[start : start + _PAGE]
        counts = [len(entries[key].blocks) // width for key in some]
        page = encode_page(some, [entries[key] for key in some], counts)
        rows.append(
            [
                some[0],
                len(some),
                len(blocks) + len(pages),
                len(page),
                start_block,
                digest_of(page, algorithm).hex(),
            ]
        )
        start_block += sum(counts)
        pages += page
    index = json.dumps(
        {
            "format": _FORMAT,
            "algorithm": algorithm,
            "objects": len(keys),
            "nbytes": sum(entry.size for entry in entries.values()),
            "pages": rows,
            **({} if part is None else {"part": part}),
        },
        separators=(",", ":"),
    ).encode()
    return b"".join((blocks, pages, index, _LENGTH.pack(len(index))))


class Manifest:
    """A manifest that is fetched page by page, as needed; thread-safe.

    Args:
        url: of the hierarchy.
        nbytes: size of the manifest.
        checksum: its root, `algorithm:hexdigest`.
        data: all of it, if it is in memory.
        place: where it is stored; by default beside the hierarchy.
    """

    def __init__(
        self, url: str, nbytes: int, checksum: str, data: bytes | None = None, place: str | None = None
    ) -> None:
        self.url = url
        self.place = place or manifest_url(url)
        self.nbytes = nbytes
        self.checksum = checksum
        self.algorithm, _, root = checksum.partition(":")
        self._width = digest_bytes(self.algorithm)
        self._data = data
        self._tail_start = 0 if data is not None else max(0, nbytes - _TAIL_BYTES)
        self._tail = self._fetch(self._tail_start, nbytes) if data is None else data
        self._index_bytes = self._find_index(root)
        try:
            index = read_json(self._index_bytes)
            self._rows: list[list[Any]] = index["pages"]
            if not all(type(row) is list and list(map(type, row)) == _ROW for row in self._rows):
                raise ValueError("rows of another kind")
            self._first_keys: list[str] = [row[0] for row in self._rows]
            #: How many objects there are.
            self.objects: int = index["objects"]
            #: Size of all of them in bytes.
            self.total: int = index["nbytes"]
            counted = [self.objects, self.total, *(number for row in self._rows for number in row[1:5])]
            if not all(type(number) is int and 0 <= number <= _MOST for number in counted):
                raise ValueError("a number that counts nothing")
            require_order(self._first_keys)
            if index["format"] != _FORMAT or index["algorithm"] != self.algorithm:
                raise ValueError(f"{index['format']}, {index['algorithm']}")
        except (ValueError, LookupError, TypeError) as error:
            raise self._unreadable(error) from None
        self._pages: OrderedDict[int, Page] = OrderedDict()
        self._blocks: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.RLock()

    @classmethod
    def of(
        cls, url: str, entries: Entries, algorithm: str, part: Mapping[str, Any] | None = None
    ) -> Manifest:
        """Make a manifest from entries in memory; see `encode`."""
        data = encode(entries, algorithm, part)
        (length,) = _LENGTH.unpack_from(data, len(data) - _LENGTH.size)
        root = digest_of(data[-_LENGTH.size - length : -_LENGTH.size], algorithm).hex()
        return cls(url, len(data), f"{algorithm}:{root}", data)

    @classmethod
    def stored(cls, url: str, place: str | None = None) -> Manifest | None:
        """Open the manifest beside a hierarchy, or at another place, whatever its root.

        None where there is none. Raises CorruptDataError for what is no manifest, and TransferError.
        """
        try:
            with reading(place or manifest_url(url)) as file:
                data = file.read()
        except ResourceNotFoundError:
            return None
        try:
            (length,) = _LENGTH.unpack_from(data, len(data) - _LENGTH.size)
            index = data[-_LENGTH.size - length : -_LENGTH.size]
            algorithm = read_json(index)["algorithm"]
            root = digest_of(index, algorithm).hex()
        except (ValueError, LookupError, TypeError, struct.error, CprError) as error:
            raise corrupt(url, "a manifest as cpr writes it", type(error).__name__) from None
        return cls(url, len(data), f"{algorithm}:{root}", data, place)

    @property
    def part(self) -> Any:
        """The description of the part that the manifest is of; None for a whole."""
        return read_json(self._index_bytes).get("part")

    @property
    def data(self) -> bytes | None:
        """The encoded manifest, if it was given."""
        return self._data

    @property
    def data_hash(self) -> str:
        """The content hash, 16 hex digits."""
        return hex16(self._index_bytes)

    def find(self, key: str) -> tuple[Entry, bool] | None:
        """The entry of a key, without block digests, and whether it has blocks; None if there is none.

        May fetch a page.
        """
        found = self._locate(key)
        if found is None:
            return None
        page, at = found
        return self._entry(page, at), bool(page.counts[at])

    def is_near(self, key: str) -> bool:
        """Whether `find` works without fetching anything."""
        number = bisect_right(self._first_keys, key) - 1
        return number < 0 or number in self._pages

    def with_blocks(self, key: str) -> Entry:
        """The entry of a listed key, with its block digests; may fetch them."""
        found = self._locate(key)
        assert found is not None
        page, at = found
        entry = self._entry(page, at)
        with self._lock:
            blocks = self._blocks.get(key)
            if blocks is None:
                start = int(page.block_starts[at]) * self._width
                blocks = self._get(start, start + int(page.counts[at]) * self._width)
                self._expect(entry.digest.hex(), blocks)
                self._blocks[key] = blocks
                while len(self._blocks) > _PAGES_KEPT:
                    self._blocks.popitem(last=False)
        return entry._replace(blocks=blocks)

    def _locate(self, key: str) -> tuple[Page, int] | None:
        number = bisect_right(self._first_keys, key) - 1
        if number < 0:
            return None
        page = self._page(number)
        at = bisect_left(page.keys, key)
        return (page, at) if at < len(page.keys) and page.keys[at] == key else None

    def entries(self) -> Entries:
        """All entries, with block digests; the manifest should be in memory.

        Raises CorruptDataError unless every byte of it is one that its root vouches for, directly or not:
        what is made of it, or copied, is published.
        """
        found = dict(self._checked_entries())
        if (len(found), sum(entry.size for entry in found.values())) != (self.objects, self.total):
            raise self._damaged(f"{self.objects} objects of {self.total} bytes", "others")
        return found

    def require_whole(self) -> None:
        """Verify everything and raise CorruptDataError as `entries`, keeping nothing."""
        for _ in self._checked_entries():
            pass

    def _checked_entries(self) -> Iterator[tuple[str, Entry]]:
        assert self._data is not None
        for number in range(len(self._rows)):
            page, width = self._page(number), self._width
            stops = ((page.block_starts + page.counts) * width).tolist()
            starts = (page.block_starts * width).tolist()
            for at, (key, size) in enumerate(zip(page.keys, page.sizes.tolist(), strict=True)):
                digest, blocks = page.digests[at * width : (at + 1) * width], b""
                if stops[at] > starts[at]:
                    blocks = self._data[starts[at] : stops[at]]
                    self._expect(digest.hex(), blocks)
                yield key, Entry(size, digest, blocks)

    def keys(self, start: str = "") -> Iterator[str]:
        """All keys from `start` on, in order."""
        for number in range(max(0, bisect_right(self._first_keys, start) - 1), len(self._rows)):
            keys = self._page(number).keys
            yield from keys[bisect_left(keys, start) :]

    def _entry(self, page: Page, at: int) -> Entry:
        return Entry(int(page.sizes[at]), page.digests[at * self._width : (at + 1) * self._width], b"")

    def _page(self, number: int) -> Page:
        page = self._pages.get(number)
        if page is not None:
            return page
        with self._lock:
            if number in self._pages:
                return self._pages[number]
            try:
                _, count, start, size, first_block, digest = self._rows[number]
                data = self._get(start, start + size)
                self._expect(digest, data)
                page = Page(data, self._width, first_block)
                page.require(count, *self._first_keys[number : number + 2])
            except CorruptDataError:
                raise
            except (ValueError, TypeError, struct.error) as error:
                raise self._unreadable(error) from None
            self._pages[number] = page
            while len(self._pages) > _PAGES_KEPT:
                self._pages.popitem(last=False)
            return page

    def _find_index(self, root: str) -> bytes:
        end = self.nbytes - _LENGTH.size
        if len(self._tail) != self.nbytes - self._tail_start or end < 0:
            raise self._damaged(f"{self.nbytes} bytes", f"{self._tail_start + len(self._tail)} bytes")
        (length,) = _LENGTH.unpack_from(self._tail, len(self._tail) - _LENGTH.size)
        index = self._get(max(0, end - length), end)
        self._expect(root, index)
        return index

    def _get(self, start: int, stop: int) -> bytes:
        if start >= self._tail_start:
            return self._tail[start - self._tail_start : stop - self._tail_start]
        return self._fetch(start, stop)

    def _fetch(self, start: int, stop: int) -> bytes:
        require_memory(stop - start, "the manifest")
        # Errors name the Zarr: its reader does not know what lies beside it.
        store, path = open_store(self.place)
        try:
            with translate_errors(self.url, "read"):
                return bytes(fetch_block(store, path, start, stop))
        except TransferError:
            # Stores refuse ranges beyond the end; that is no outage.
            with translate_errors(self.url, "read"):
                found = store.stat(path)
            if found is None or found.nbytes == self.nbytes:
                raise
            raise self._damaged(f"{self.nbytes} bytes", f"{found.nbytes} bytes") from None

    def _expect(self, expected: str, data: bytes) -> None:
        if (actual := digest_of(data, self.algorithm).hex()) != expected:
            raise self._damaged(f"{self.algorithm}:{expected}", f"{self.algorithm}:{actual}")

    def _damaged(self, expected: str, actual: str) -> CorruptDataError:
        error = corrupt(self.url, expected, f"{actual} in {self.place}")
        error.problem = "the manifest of this Zarr is not what was written"
        return error

    def _unreadable(self, error: Exception) -> CorruptDataError:
        return self._damaged("a manifest as cpr writes it", f"{type(error).__name__}: {error}"[:200])
