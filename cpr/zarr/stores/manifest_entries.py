"""Entries of a manifest: size and digest of an object, and block digests for shards.

What is read is compared with them in `cpr.zarr.stores.chunk_verification`.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from cpr.io.block_digests import BlockDigests
from cpr.io.hashing import digest_bytes, digest_of

__all__ = [
    "BLOCK_BYTES",
    "Entries",
    "Entry",
    "EntryDigest",
    "block_count",
    "make_entry",
]

BLOCK_BYTES = 128 << 10
"""Parts of a shard that are digested by themselves, and the least that is fetched to check one."""


class Entry(NamedTuple):
    """Size and digests of one object.

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
    """Computes the entry of an object from its bytes, piece by piece.

    Args:
        algorithm: of the digests.
        in_blocks: let parts of it be checked alone, if it is of more than one block.
    """

    def __init__(self, algorithm: str, in_blocks: bool) -> None:
        self._algorithm = algorithm
        self._blocks = BlockDigests(algorithm, BLOCK_BYTES if in_blocks else sys.maxsize)

    def update(self, data: memoryview) -> None:
        """Process the next bytes."""
        self._blocks.update(data)

    def entry(self) -> Entry:
        """The entry for all bytes so far."""
        nbytes, blocks = self._blocks.nbytes, self._blocks.digests
        if len(blocks) == digest_bytes(self._algorithm):
            return Entry(nbytes, blocks, b"")
        return Entry(nbytes, digest_of(blocks, self._algorithm), blocks)


def make_entry(data: memoryview, algorithm: str, in_blocks: bool) -> Entry:
    """Compute the entry of an object in memory; see `EntryDigest`."""
    digest = EntryDigest(algorithm, in_blocks)
    digest.update(data)
    return digest.entry()


def block_count(nbytes: int) -> int:
    """Number of blocks of an object of this size."""
    return -(-nbytes // BLOCK_BYTES)
