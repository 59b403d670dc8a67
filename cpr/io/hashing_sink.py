"""Hashes and counts a stream of bytes without keeping it: size, checksum, and digests of its blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

from cpr.io.block_digests import BlockDigests
from cpr.io.hashing import CACHED_BYTES, Digest, default_algorithm, new_digest

__all__ = ["HashingSink", "Stored"]


@dataclass(frozen=True)
class Stored:
    """Size, checksum and block digest of a stored object.

    Attributes:
        checksum: `algorithm:hexdigest` of all of them.
        nbytes: how many.
        blocks: what vouches for the digests of its blocks (see `cpr.io.block_digests`); None if it is small.
        seconds: what writing them took; None if that was not done here.
    """

    checksum: str
    nbytes: int
    blocks: str | None = None
    seconds: float | None = field(default=None, compare=False)


class HashingSink:
    """A forward-only file that keeps only the digests and the number of bytes written."""

    def __init__(self, algorithm: str | None = None) -> None:
        self._algorithm = algorithm or default_algorithm()
        self._digest: Digest = new_digest(self._algorithm)
        self._blocks = BlockDigests(self._algorithm)
        self._nbytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Hash and count the data; takes any contiguous buffer and returns its size in bytes."""
        view = memoryview(data).cast("B")
        for start in range(0, view.nbytes, CACHED_BYTES):
            piece = view[start : start + CACHED_BYTES]
            self._digest.update(piece)
            self._blocks.update(piece)
        self._nbytes += view.nbytes
        return view.nbytes

    @property
    def stored(self) -> Stored:
        """Size and checksums of everything written."""
        blocks = self._blocks.finish()
        return Stored(
            f"{self._algorithm}:{self._digest.hexdigest()}",
            self._nbytes,
            None if blocks is None else blocks[1],
        )

    @property
    def block_digests(self) -> bytes | None:
        """Content of the block digest sidecar; None for a small object."""
        blocks = self._blocks.finish()
        return None if blocks is None else blocks[0]
