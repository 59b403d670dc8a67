"""A stream of bytes in brief: how many, their checksum, and digests of its blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

from cpr.io.block_digests import BlockDigests
from cpr.io.hashing import CACHED_BYTES, Digest, default_algorithm, new_digest

__all__ = ["HashingSink", "Stored"]


@dataclass(frozen=True)
class Stored:
    """An object's bytes in brief.

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
    """A forward-only file that keeps nothing but the digest and the number of the bytes."""

    def __init__(self, algorithm: str | None = None) -> None:
        self._algorithm = algorithm or default_algorithm()
        self._digest: Digest = new_digest(self._algorithm)
        self._blocks = BlockDigests(self._algorithm)
        self._nbytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Count and hash; takes any contiguous buffer and returns its size in bytes."""
        view = memoryview(data).cast("B")
        for start in range(0, view.nbytes, CACHED_BYTES):
            piece = view[start : start + CACHED_BYTES]
            self._digest.update(piece)
            self._blocks.update(piece)
        self._nbytes += view.nbytes
        return view.nbytes

    @property
    def stored(self) -> Stored:
        """All that was written, in brief."""
        blocks = self._blocks.finish()
        return Stored(
            f"{self._algorithm}:{self._digest.hexdigest()}",
            self._nbytes,
            None if blocks is None else blocks[1],
        )

    @property
    def block_digests(self) -> bytes | None:
        """The object to keep beside this one; None for a small one."""
        blocks = self._blocks.finish()
        return None if blocks is None else blocks[0]
