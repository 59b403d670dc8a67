"""Writes an object: a stream that is hashed while it is uploaded, and becomes visible whole or not at all."""

from __future__ import annotations

import atexit
import logging
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace

from cpr.errors import CorruptDataError, CprError, ResourceNotFoundError
from cpr.io.block_digests import blocks_url, verified, with_store_checksum
from cpr.io.error_translation import translate_errors
from cpr.io.fork_safe import in_children
from cpr.io.hashing import CACHED_BYTES
from cpr.io.hashing_sink import HashingSink, Stored
from cpr.io.objects import open_store, remove, stat
from cpr.io.progress_bar import Advance, progress_bar
from cpr.io.reading import reading
from cpr.io.stores.base import OccupiedError, Upload
from cpr.io.stores.upload_abilities import (
    AnnouncedUpload,
    ChecksummedUpload,
    LendingUpload,
    SendingUpload,
)
from cpr.io.timeouts import at_most, seconds_to_clean_up

__all__ = [
    "Progress",
    "WritingFile",
    "keep_blocks",
    "put_blocks",
    "write_owner",
    "writes_in_progress",
    "writing",
]

log = logging.getLogger("cpr")

# Encoders write headers of a few bytes; stores are handed no less than this at a time.
_BLOCK_BYTES = CACHED_BYTES
# For the uploads of a process that is ending.
_PATIENCE_SECONDS = 3.0
# For checking whether an object exists after its store has just failed.
_LOOK_SECONDS = 10.0
_under_way: dict[Upload, str] = {}


@dataclass(frozen=True)
class Progress:
    """Progress of an object that is being written.

    Attributes:
        url: of the object.
        nbytes: written so far.
        seconds: since it was begun.
        expected: upper bound in bytes; None if not known.
    """

    url: str
    nbytes: int
    seconds: float
    expected: int | None


write_owner: ContextVar[object] = ContextVar("cpr_writing_for", default=None)
"""The owner of the objects that are written in this context; see `writes_in_progress`."""

_owned: dict[WritingFile, object] = {}


def writes_in_progress(owner: object) -> list[Progress]:
    """The objects that are being written for an owner (see `write_owner`)."""
    return [file.progress() for file, other in list(_owned.items()) if other is owner]


class WritingFile(HashingSink):
    """A forward-only file that uploads what is written to it."""

    def __init__(self, url: str, upload: Upload, algorithm: str | None = None) -> None:
        super().__init__(algorithm)
        self._url = url
        self._upload = upload
        self._small = bytearray()
        self._began = time.monotonic()
        self._seconds: float | None = None
        self._expected: int | None = None
        self.on_bytes: Advance | None = None  # called with the number of bytes that were sent
        #: Gives the memory in which bytes that are written stay until all is stored; None where they do not.
        self.lasting: Callable[[memoryview], memoryview | None] | None = None
        #: Whether some of what was written is sent from that memory.
        self.has_lent = False

    @property
    def expected(self) -> int | None:
        """Upper bound in bytes, if known; set before the first write."""
        return self._expected

    @expected.setter
    def expected(self, nbytes: int | None) -> None:
        self._expected = nbytes
        if nbytes is not None and isinstance(self._upload, AnnouncedUpload):
            self._upload.announce(nbytes)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Upload bytes; raises TransferError if the store has failed meanwhile."""
        view = memoryview(data).cast("B")
        super().write(view)
        lasting = None if self.lasting is None else self.lasting(view)
        if lasting is not None and isinstance(self._upload, LendingUpload):
            self.has_lent = True
            self.flush()
            self._send(view, lasting)
        elif view.nbytes < _BLOCK_BYTES:
            self._small += view
            if len(self._small) >= _BLOCK_BYTES:
                self.flush()
        else:
            self.flush()
            self._send(view)
        return view.nbytes

    @property
    def stored(self) -> Stored:
        """Size and checksums of everything written."""
        return replace(super().stored, seconds=self._seconds)

    def published(self) -> None:
        """Note that the object is visible; stops the clock."""
        self._seconds = time.monotonic() - self._began

    def progress(self) -> Progress:
        """The progress so far; may be called from any thread."""
        return Progress(self._url, self._nbytes, time.monotonic() - self._began, self.expected)

    def flush(self) -> None:
        """Pass buffered bytes to the store."""
        if self._small:
            small, self._small = self._small, bytearray()
            self._send(memoryview(small))

    def finish(self) -> None:
        """Pass everything to the store; nothing can be written afterwards."""
        self.flush()
        if isinstance(self._upload, SendingUpload):
            with translate_errors(self._url, "write"):
                self._upload.send_rest()

    def digests_beside(self) -> bytes | None:
        """Content of the block digest sidecar, with the store checksum if the store keeps one."""
        digests, blocks = self.block_digests, self.stored.blocks
        if digests is None or blocks is None or not isinstance(self._upload, ChecksummedUpload):
            return digests
        checksum = self._upload.store_checksum()
        return digests if checksum is None else with_store_checksum(digests, blocks, checksum)

    def _send(self, view: memoryview, lasting: memoryview | None = None) -> None:
        with translate_errors(self._url, "write"):
            if lasting is not None and isinstance(self._upload, LendingUpload):
                self._upload.lend(view, lasting)
            else:
                self._upload.write(view)
        if self.on_bytes is not None:
            self.on_bytes(view.nbytes, self._expected)


@contextmanager
def writing(url: str, algorithm: str | None = None, create: bool = False) -> Iterator[WritingFile]:
    """Open an object for writing: published when the block ends normally, discarded when it raises.

    After the block `file.stored` holds its checksum and size. Any exception in the block, at any
    byte, leaves nothing visible, no temporary file and no multipart upload behind. An object that
    was there before stays until the new one takes its place, in one step.

    Args:
        url: of the object; local folders are created where missing, buckets never.
        algorithm: of the checksum: xxh3_128 (default), sha256 or blake3.
        create: only create the object; an existing one is never replaced.

    Raises:
        OccupiedError: there is one, with `create`.
        ResourceNotFoundError: the bucket does not exist.
        TransferError: no permission, disk full, read-only, no connection.

    >>> with writing("memory://doc/a.bin") as file:
    ...     _ = file.write(b"cpr")
    >>> file.stored.nbytes
    3
    """
    store, path = open_store(url)
    with translate_errors(url, "write"):
        upload = store.upload(path, create)
    _under_way[upload] = url
    file = WritingFile(url, upload, algorithm)
    owner = write_owner.get()
    if owner is not None:
        _owned[file] = owner
    try:
        with progress_bar("writing", url) as file.on_bytes:
            yield file
            file.finish()
        # Beside the last parts; the object itself appears after them.
        put_blocks(url, file.digests_beside())
    except BaseException as error:
        _owned.pop(file, None)
        _abort(url, upload, seconds_to_clean_up(error))
        raise
    try:
        _publish(url, upload, file.stored)
        file.published()
    except BaseException as error:
        if isinstance(error, OccupiedError):
            with suppress(CprError):
                _restore_blocks(url, file)
        elif file.block_digests is not None:
            with suppress(CprError):
                remove(blocks_url(url))
        raise
    finally:
        _owned.pop(file, None)
        _under_way.pop(upload, None)


def _restore_blocks(url: str, ours: WritingFile) -> None:
    """Restore the block digests of the object that was there first, with its own algorithm."""
    if ours.block_digests is not None:
        put_blocks(url, _digested(url, ours.stored.checksum).block_digests)


def _digested(url: str, checksum: str) -> HashingSink:
    """Read an object and hash it, with the algorithm of a checksum."""
    there = HashingSink(checksum.partition(":")[0])
    with reading(url) as file:
        while block := file.read(_BLOCK_BYTES):
            there.write(block)
            file.release(file.tell())
    return there


def keep_blocks(url: str, stored: Stored, digests: bytes | None = None) -> None:
    """Store the block digests of an object beside it, unless they exist.

    Args:
        url: of the object.
        stored: its size and checksums.
        digests: of its blocks; computed by reading the object if not given.
    """
    if stored.blocks is None:
        return
    beside = verified(url, stored.nbytes, stored.blocks)
    with suppress(CorruptDataError, ResourceNotFoundError), beside as file:
        if file is not None:
            file.check_digests()
            return
    if digests is None:
        there = _digested(url, stored.checksum)
        # Another one than the one that was compared, by now.
        digests = there.block_digests if there.stored.blocks == stored.blocks else None
    put_blocks(url, digests)


def put_blocks(url: str, digests: bytes | None, beside: str | None = None) -> None:
    """Store the block digests beside an object, or elsewhere; before the object itself is published."""
    if digests is None:
        return
    beside = beside or blocks_url(url)
    counted = HashingSink()
    counted.write(digests)
    try:
        store, path = open_store(beside)
        with translate_errors(beside, "write"):
            upload = store.upload(path)
        _under_way[upload] = beside
        try:
            with translate_errors(beside, "write"):
                upload.write(memoryview(digests))
        except BaseException:
            _abort(beside, upload)
            raise
        try:
            _publish(beside, upload, counted.stored)
        finally:
            _under_way.pop(upload, None)
    except CprError as error:
        # The reader knows the object, not what is beside it.
        error.url = url
        raise


def _publish(url: str, upload: Upload, stored: Stored) -> None:
    try:
        with translate_errors(url, "write"):
            upload.commit()
    except CprError:
        # The answer may have been lost after the store had committed: look before calling it a failure.
        if _is_there(url, stored):
            log.info("%s: the store reported a failure, but the object is there and intact", url)
            return
        _abort(url, upload)
        raise
    except BaseException as error:
        _abort(url, upload, seconds_to_clean_up(error))
        raise


def _is_there(url: str, stored: Stored) -> bool:
    """Whether the store holds exactly these bytes; False if it cannot be asked."""
    try:
        with at_most(_LOOK_SECONDS):
            nbytes = stat(url).nbytes
        if nbytes != stored.nbytes:
            return False
        with reading(url, stored.checksum.partition(":")[0]) as file:
            return file.finish() == (stored.checksum, stored.nbytes)
    except CprError:
        return False


def _abort(url: str, upload: Upload, timeout: float | None = None) -> None:
    """Clean up after a failure without hiding its exception."""
    if _under_way.pop(upload, None) is None:
        return  # done when the interpreter began to end
    try:
        with translate_errors(url, "clean up"):
            upload.abort(timeout)
    except CprError as error:
        log.warning("%s: could not clean up after a failed write: %s", url, error)


def _abort_all() -> None:
    """Abort the uploads of files that were never closed.

    The interpreter would close them when the clients' threads are gone, and wait for ever.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for upload, url in list(_under_way.items()):
        _abort(url, upload, max(0.0, deadline - time.monotonic()))


# What is registered last is called first. Clients close their connections by finalizers, all of which
# run where the first of them was made: before ours here, so that it is made to run after ours.
weakref.finalize(_abort_all, int)
atexit.register(_abort_all)
# A forked process ends without touching what its parent is writing.
in_children(_under_way.clear)
