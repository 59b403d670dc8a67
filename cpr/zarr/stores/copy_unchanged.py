"""Copies objects of an earlier result server-side if they are equal to what is to be written.

Its manifest says which those are likely to be. Nobody believes it: the store is asked for a copy on the
condition that the object has the MD5 of the bytes that would be sent, and the copy's own MD5 is compared, so
that a manifest that is wrong, or was forged, and objects that were damaged, cost requests and no more.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from typing import Any

from cpr.errors import CprError
from cpr.io.copying import InsideCopies
from cpr.io.urls import join
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.manifest_entries import Entry
from cpr.zarr.stores.verifying_store import VerifyingStore

__all__ = ["LEAST_COPIED", "Earlier"]

log = logging.getLogger("cpr")

LEAST_COPIED = 8 << 10
"""Bytes of the smallest object that is copied: a request for less saves nothing."""


@dataclass
class Earlier:
    """An earlier result in the same store; thread-safe.

    Attributes:
        url: of the hierarchy.
        nbytes: size of its manifest.
        checksum: root of its manifest.
    """

    url: str
    nbytes: int
    checksum: str
    _copies: InsideCopies = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._copies = InsideCopies(self.url)

    @classmethod
    def of(cls, manifest: Manifest) -> Earlier:
        """An earlier result with its manifest, which this process then need not fetch again."""
        VerifyingStore.share(manifest)
        return cls(manifest.url, manifest.nbytes, manifest.checksum)

    def __hash__(self) -> int:
        return hash((self.url, self.checksum))

    def __reduce__(self) -> tuple[Any, ...]:
        return Earlier, (self.url, self.nbytes, self.checksum)

    def __dask_tokenize__(self) -> Any:
        return self.url, self.nbytes, self.checksum

    def copy(self, key: str, entry: Entry, algorithm: str, content: memoryview, destination: str) -> bool:
        """Copy an object server-side if the earlier result has an equal one; returns whether it did.

        After False anything may be at the destination, and it is to be written.

        Args:
            key: of the object, in both hierarchies.
            entry: of the object that is to be written.
            algorithm: of its digest.
            content: its bytes.
            destination: URL where it is to be.
        """
        if self._copies.are_over or not self._lists(key, entry, algorithm):
            return False
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return self._copies.copy(join(self.url, key), destination, md5, entry.size)

    def _lists(self, key: str, entry: Entry, algorithm: str) -> bool:
        """Whether its manifest has an equal object."""
        if self.checksum.partition(":")[0] != algorithm:
            return False
        try:
            # Shared by all that ask for it in this process.
            found = VerifyingStore(self.url, self.nbytes, self.checksum).manifest.find(key)
        except CprError as error:  # it is gone or damaged, or cannot be asked for
            log.debug("%s is not copied from %s: %s", key, self.url, error)
            return False
        return found is not None and (found[0].size, found[0].digest) == (entry.size, entry.digest)
