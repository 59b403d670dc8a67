"""Digests: short ones that name content, long ones that protect stored bytes.

xxh3 (https://xxhash.com) runs at memory speed and finds every accident; it is no defence against
somebody who forges data on purpose. For that, configure sha256 or blake3 checksums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

import xxhash

from cpr.errors import CprError, MissingDependencyError, spelled
from cpr.io.variables import CHECKSUM

__all__ = [
    "CACHED_BYTES",
    "DEFAULT_ALGORITHM",
    "FORGERY_PROOF",
    "ContentDigest",
    "Digest",
    "content_digest",
    "default_algorithm",
    "digest_bytes",
    "digest_of",
    "hex16",
    "is_forgery_proof",
    "new_digest",
]

DEFAULT_ALGORITHM = "xxh3_128"

FORGERY_PROOF = frozenset({"sha256", "blake3"})
"""Algorithms that resist forgery: no other bytes with the same digest can be constructed."""

# So much stays in the cache of a core. xxh3 takes 16 GB/s from memory and 41 from there, so what is hashed
# more than once, or hashed and copied, passes in pieces of this size: docs/decisions/transfer.md.
CACHED_BYTES = 256 << 10


class Digest(Protocol):
    """The methods that hashlib, xxhash and blake3 objects share."""

    def update(self, data: Any, /) -> object: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...


def _blake3() -> Digest:
    try:
        from blake3 import blake3
    except ImportError:
        raise MissingDependencyError(
            "blake3 checksums need the blake3 package", remedy="pip install 'prefect-cpr[blake3]'"
        ) from None
    digest: Digest = blake3()
    return digest


_ALGORITHMS: dict[str, Callable[[], Digest]] = {
    "xxh3_128": xxhash.xxh3_128,
    "sha256": hashlib.sha256,
    "blake3": _blake3,
}


def new_digest(algorithm: str) -> Digest:
    """Start a digest with one of the known algorithms: xxh3_128, sha256, blake3."""
    if algorithm not in _ALGORITHMS:
        raise CprError(
            "unknown checksum algorithm",
            field="algorithm",
            expected=" or ".join(_ALGORITHMS),
            actual=spelled(algorithm),
            remedy="take one of these; where a record names another, upgrade cpr",
        )
    return _ALGORITHMS[algorithm]()


def digest_of(data: bytes | bytearray | memoryview, algorithm: str) -> bytes:
    """The digest of bytes in memory."""
    digest = new_digest(algorithm)
    digest.update(data)
    return digest.digest()


def digest_bytes(algorithm: str) -> int:
    """Size of a digest: 16 bytes of xxh3_128, 32 of the others."""
    return len(new_digest(algorithm).digest())


def default_algorithm() -> str:
    """The checksum algorithm for new objects: `CPR_CHECKSUM`, else xxh3_128. Raises ConfigurationError."""
    return CHECKSUM.get() or DEFAULT_ALGORITHM


def content_digest() -> Digest:
    """Start an xxh3_64 digest, as used for `data_hash`: 16 hex digits."""
    return xxhash.xxh3_64()


class ContentDigest:
    """Computes two digests of content: that of `data_hash`, and a longer one.

    The second one is seeded. Other content with the same `data_hash` collides in the internal state that
    unseeded xxh3_64 and xxh3_128 share, and that does not make the seeded digests equal.
    """

    _SEED = 0x6370725F646174  # any number but 0; records have what it gives

    def __init__(self) -> None:
        self._name = content_digest()
        self._second: Digest = xxhash.xxh3_128(seed=self._SEED)

    def update(self, data: Any) -> None:
        """Process the next bytes; any contiguous buffer."""
        view = memoryview(data).cast("B")
        for start in range(0, view.nbytes, CACHED_BYTES):
            piece = view[start : start + CACHED_BYTES]
            self._name.update(piece)
            self._second.update(piece)

    def hexdigest(self) -> str:
        """The 16 hex digits of `data_hash`."""
        return self._name.hexdigest()

    def second(self) -> str:
        """The second digest, `xxh3_128:` and hex digits."""
        return f"{DEFAULT_ALGORITHM}:{self._second.hexdigest()}"


def is_forgery_proof(checksum: str) -> bool:
    """Whether this checksum's algorithm resists forgery (sha256, blake3).

    >>> is_forgery_proof("xxh3_128:00"), is_forgery_proof("sha256:00")
    (False, True)
    """
    return checksum.partition(":")[0] in FORGERY_PROOF


def hex16(data: bytes) -> str:
    """Hash `data` with xxh3_64 to 16 hex digits.

    >>> hex16(b"cpr")
    'd326f23681c39f49'
    """
    return xxhash.xxh3_64_hexdigest(data)
