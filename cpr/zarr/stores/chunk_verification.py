"""Verifies chunks, shards and metadata against the manifest; a difference raises CorruptDataError."""

from __future__ import annotations

from cpr.errors import CorruptDataError
from cpr.io.hashing import digest_bytes, digest_of
from cpr.zarr.stores.manifest_entries import BLOCK_BYTES, Entry, make_entry

__all__ = ["corrupt", "is_as_written", "missing", "require", "require_blocks"]


def is_as_written(data: memoryview, entry: Entry, algorithm: str) -> bool:
    """Whether these are the bytes of the object that the entry is of."""
    return make_entry(data, algorithm, bool(entry.blocks)) == entry


def require(url: str, actual: Entry, entry: Entry, algorithm: str) -> None:
    """Raise CorruptDataError unless the object is the one in the manifest's entry."""
    if actual.size != entry.size or actual.digest != entry.digest:
        raise corrupt(url, _brief(entry, algorithm), _brief(actual, algorithm))


def require_blocks(url: str, data: memoryview, first: int, nbytes: int, entry: Entry, algorithm: str) -> None:
    """Raise CorruptDataError unless `data` is correct for the `nbytes` from block number `first` on."""
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
    """The error for an object that differs from what was written."""
    return CorruptDataError(
        "this part of the stored Zarr is not what was written",
        url=url,
        expected=expected,
        actual=actual,
        remedy="delete the Zarr, so that its task runs again, or restore the object",
    )


def missing(url: str, entry: Entry) -> CorruptDataError:
    """The error for an object that is in the manifest but missing."""
    # No FileNotFoundError: to readers above that would mean a chunk of fill values.
    error = corrupt(url, f"an object of {entry.size} bytes", "no object")
    error.problem = "an object of this Zarr is missing"
    return error


def _brief(entry: Entry, algorithm: str) -> str:
    """An entry, formatted for error messages."""
    return f"{algorithm}:{entry.digest.hex()} ({entry.size} bytes)"
