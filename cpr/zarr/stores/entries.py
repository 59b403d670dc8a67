"""What objects of a hierarchy are known by: size and digest, and for shards the digests of their parts."""

from __future__ import annotations

import sys
from typing import NamedTuple

from cpr.errors import CorruptDataError
from cpr.io.block_digests import BlockDigests
from cpr.io.hashing import digest_bytes, digest_of

__all__ = [
    "BLOCK_BYTES",
    "Entries",
    "Entry",
    "EntryDigest",
    "block_count",
    "corrupt",
    "make_entry",
    "missing",
    "require",
    "require_blocks",
]

BLOCK_BYTES = 128 << 10
"""Parts of a shard that are digested by themselves, and the least that is fetched to check one."""


class Entry(NamedTuple):
    """One object.

    Attributes:
        size: in bytes.
        digest: of all of it; where it has blocks, of the digests of its blocks.
        blocks: the digests of its blocks, one after another; empty where it is read whole.
    """

    size: int
    digest: bytes
    blocks: bytes


Entries = dict[str, Entry]
"""Key, relative to the root of the hierarchy -> entry."""


class EntryDigest:
    """The entry of an object whose bytes pass piece by piece.

    Args:
        algorithm: of the digests.
        in_blocks: let parts of it be checked alone, if it is of more than one block.
    """

    def __init__(self, algorithm: str, in_blocks: bool) -> None:
        self._algorithm = algorithm
        self._blocks = BlockDigests(algorithm, BLOCK_BYTES if in_blocks else sys.maxsize)

    def update(self, data: memoryview) -> None:
        """Take the next bytes."""
        self._blocks.update(data)

    def entry(self) -> Entry:
        """Of all that has passed."""
        nbytes, blocks = self._blocks.nbytes, self._blocks.digests
        if len(blocks) == digest_bytes(self._algorithm):
            return Entry(nbytes, blocks, b"")
        return Entry(nbytes, digest_of(blocks, self._algorithm), blocks)


def make_entry(data: memoryview, algorithm: str, in_blocks: bool) -> Entry:
    """The entry of an object; see `EntryDigest`."""
    digest = EntryDigest(algorithm, in_blocks)
    digest.update(data)
    return digest.entry()


def block_count(nbytes: int) -> int:
    """How many blocks an object of this size has."""
    return -(-nbytes // BLOCK_BYTES)


def require(url: str, actual: Entry, entry: Entry, algorithm: str) -> None:
    """Raise CorruptDataError unless what is there is the object that the entry is of."""
    if actual.size != entry.size or actual.digest != entry.digest:
        raise corrupt(url, _brief(entry, algorithm), _brief(actual, algorithm))


def require_blocks(url: str, data: memoryview, first: int, nbytes: int, entry: Entry, algorithm: str) -> None:
    """Raise CorruptDataError unless `data` is the `nbytes` of an object from block number `first` on."""
    if data.nbytes != nbytes:
        raise corrupt(url, f"{nbytes} bytes from block {first} on", f"{data.nbytes} bytes")
    width = digest_bytes(algorithm)
    for offset in range(0, data.nbytes, BLOCK_BYTES):
        block = first + offset // BLOCK_BYTES
        actual = digest_of(data[offset : offset + BLOCK_BYTES], algorithm)
        expected = entry.blocks[block * width : (block + 1) * width]
        if actual != expected:
            raise corrupt(url, f"{algorithm}:{expected.hex()}", f"{algorithm}:{actual.hex()}")


def corrupt(url: str, expected: str, actual: str) -> CorruptDataError:
    """The error for an object that is not what was written."""
    return CorruptDataError(
        "this part of the stored Zarr is not what was written",
        url=url,
        expected=expected,
        actual=actual,
        remedy="delete the Zarr, so that its task runs again, or restore the object",
    )


def missing(url: str, entry: Entry) -> CorruptDataError:
    """The error for an object that is listed and not there."""
    # No FileNotFoundError: to readers above that would mean a chunk of fill values.
    error = corrupt(url, f"an object of {entry.size} bytes", "no object")
    error.problem = "an object of this Zarr is missing"
    return error


def _brief(entry: Entry, algorithm: str) -> str:
    """An entry as errors show it."""
    return f"{algorithm}:{entry.digest.hex()} ({entry.size} bytes)"
