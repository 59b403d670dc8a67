"""The pages of a manifest: consecutive entries, as columns; see `cpr.zarr.stores.manifest`."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cpr.zarr.stores.manifest_entries import Entry

__all__ = ["Page", "encode_page", "require_order"]

_HEAD = struct.Struct("<II")


def encode_page(keys: list[str], entries: list[Entry], counts: list[int]) -> bytes:
    """Encode entries, sorted by key, and their block counts as a page."""
    names = "\0".join(keys).encode()
    return b"".join(
        (
            _HEAD.pack(len(keys), len(names)),
            names,
            np.array([entry.size for entry in entries], "<u8").tobytes(),
            np.array(counts, "<u4").tobytes(),
            b"".join(entry.digest for entry in entries),
        )
    )


class Page:
    """A decoded page of entries. Raises ValueError and struct.error if it is malformed."""

    def __init__(self, data: bytes, width: int, first_block: int) -> None:
        count, size = _HEAD.unpack_from(data)
        self.keys = data[_HEAD.size : _HEAD.size + size].decode().split("\0")
        at = _HEAD.size + size
        self.sizes = np.frombuffer(data, "<u8", count, at)
        self.counts = np.frombuffer(data, "<u4", count, at + 8 * count)
        self.block_starts = first_block + np.cumsum(self.counts, dtype=np.uint64) - self.counts
        self.digests = data[at + 12 * count :]
        if len(self.keys) != count or len(self.digests) != width * count:
            raise ValueError("its columns differ in length")

    def require(self, count: int, first: str, *following: str) -> None:
        """Raise ValueError unless the page agrees with the index.

        Args:
            count: of its entries.
            first: its first key.
            following: the first key of the next page, if there is one.
        """
        if len(self.keys) != count or self.keys[0] != first or any(map(_leaves, self.keys)):
            raise ValueError("keys that no hierarchy has")
        # Keys are looked up in this order.
        require_order([*self.keys, *following])


def require_order(keys: Sequence[str]) -> None:
    """Raise ValueError unless keys are sorted and unique."""
    if any(key >= following for key, following in pairwise(keys)):
        raise ValueError("keys out of their order")


def _leaves(key: str) -> bool:
    """Whether a key would point outside the hierarchy."""
    return key.startswith("/") or (".." in key and ".." in key.split("/"))
