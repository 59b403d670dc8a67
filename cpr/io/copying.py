"""Copies objects: through this machine, verified on the way, or inside their store."""

from __future__ import annotations

import logging

from cpr.errors import CorruptDataError
from cpr.io.confinement import is_outside
from cpr.io.filesystems import filesystem
from cpr.io.hashing_sink import Stored
from cpr.io.objects import lookup, open_store
from cpr.io.publishing import keep_blocks, writing
from cpr.io.reading import read_through, reading
from cpr.io.stores.base import CopyingStore, OccupiedError
from cpr.io.timeouts import is_interruption

__all__ = ["InsideCopies", "can_copy", "copy"]

log = logging.getLogger("cpr")

_BLOCK_BYTES = 8 << 20
_PATIENCE = 5  # copies in a row that came to nothing


def copy(source: str, destination: str, stored: Stored, is_new: bool = False, replace: bool = False) -> bool:
    """Copy an object whose digest is known; returns whether it was copied or was there already.

    What is there already is read, and believed only if it is equal; another object stays as it is. Nothing
    becomes visible of an object that is not the one that was written.

    Args:
        source: URL of the object.
        destination: URL where it is to be.
        stored: checksum and size that it must have, and the digest of its block digests, if these are kept
            beside it.
        is_new: a listing has shown that the destination is free; the store is not asked again.
        replace: another object there is replaced.

    Raises:
        OccupiedError: another object is there.
        CorruptDataError: the object is another one.
        ResourceNotFoundError, TransferError: as `reading` and `writing`.
    """
    if is_outside(destination):
        replace = True  # the link: what is behind it is no part of the copy
    elif not is_new and (there := lookup(destination)) is not None:
        if _is_equal(destination, stored, there.nbytes):
            keep_blocks(destination, stored)
            return False
        if not replace:
            raise OccupiedError
    try:
        _transfer(source, destination, stored, create=not replace)
    except OccupiedError:
        # It has come meanwhile; or it is ours, and the store's first answer was lost.
        there = lookup(destination)
        if there is None or not _is_equal(destination, stored, there.nbytes):
            raise
        keep_blocks(destination, stored)
        return False
    return True


def _is_equal(url: str, stored: Stored, nbytes: int) -> bool:
    """Whether an object of this size is the one that was stored."""
    if nbytes != stored.nbytes:
        return False
    algorithm = stored.checksum.partition(":")[0]
    return read_through(url, algorithm, stored.nbytes) == (stored.checksum, stored.nbytes)


def _transfer(source: str, destination: str, stored: Stored, create: bool) -> None:
    algorithm = stored.checksum.partition(":")[0]
    expected = (stored.checksum, stored.nbytes)
    with (
        reading(source, algorithm, stored.nbytes) as file,
        writing(destination, algorithm, create=create) as out,
    ):
        out.expected = stored.nbytes
        while block := file.read(_BLOCK_BYTES):
            out.write(block)
            file.release(file.tell())
        actual = file.finish()
        if actual != expected:
            raise CorruptDataError(
                "the stored object is not the one that was written, and was not copied",
                url=source,
                expected=f"{stored.checksum} ({stored.nbytes} bytes)",
                actual=f"{actual[0]} ({actual[1]} bytes)",
                remedy="delete the object, so that its task runs again, or restore it",
            )


def can_copy(source: str, destination: str) -> bool:
    """Whether source and destination are in one store that can copy objects server-side.

    Raises MissingDependencyError, and TransferError where it cannot be reached.
    """
    store, _ = open_store(destination)
    return isinstance(store, CopyingStore) and filesystem(source)[0] is filesystem(destination)[0]


class InsideCopies:
    """Server-side copies, which are given up after several failures in a row.

    Args:
        source: URL of the folder whose objects are copied; for messages.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._failures = 0

    @property
    def are_over(self) -> bool:
        """Whether server-side copies were given up."""
        return self._failures >= _PATIENCE

    def copy(self, source: str, destination: str, md5: str, nbytes: int) -> bool:
        """Copy an object server-side if it holds exactly these bytes; see `CopyingStore.copy_equal`.

        Raises nothing of the store. If it is False the caller writes the object, which raises what is wrong.

        Args:
            source: URL of the object.
            destination: URL where it is to be, in the same store according to `can_copy`.
            md5: of the bytes.
            nbytes: how many they are.
        """
        if self.are_over:
            return False
        problem = "its objects have not the MD5 of their bytes"
        try:
            store, path = open_store(destination)
            assert isinstance(store, CopyingStore)
            if store.copy_equal(open_store(source)[1], path, md5, nbytes):
                self._failures = 0
                return True
        except Exception as error:
            if is_interruption(error):
                raise
            problem = type(error).__name__
        self._failures += 1
        if self.are_over:
            log.warning("nothing more is copied from %s inside its store: %s", self._source, problem)
        return False
