"""Opens objects for reading: whole and hashed as they arrive, or in parts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from cpr.io.answer_checks import BadAnswerError
from cpr.io.error_translation import translate_errors
from cpr.io.hashing import default_algorithm, digest_of
from cpr.io.objects import open_store, require_stat
from cpr.io.progress_bar import progress_bar
from cpr.io.ranged_file import RangedFile
from cpr.io.read_ahead import Fetch
from cpr.io.seekable_files import BLOCK_BYTES, ArrivingFile, fetch_block
from cpr.io.stores.base import Store
from cpr.io.stores.local import LocalStore
from cpr.io.timeouts import NoAnswerError, is_interruption
from cpr.io.transfer_width import TransferWidth, width_of
from cpr.io.version_pinning import Pinned

__all__ = ["ranged", "ranged_file", "ranged_pinned", "read_through", "reading", "reading_pinned"]

log = logging.getLogger("cpr")


@contextmanager
def reading(url: str, algorithm: str | None = None, nbytes: int | None = None) -> Iterator[ArrivingFile]:
    """Open a whole object as a seekable file; `finish()` gives the checksum of every byte that arrived.

    Args:
        url: of the object.
        algorithm: to hash with, where the caller compares the checksum (of the same algorithm); without one
            an object that ends early raises TransferError.
        nbytes: its size as far as the caller knows: a small object that has it takes one request.

    Raises:
        ResourceNotFoundError: no such object or bucket.
        TransferError: the store refused or failed.
    """
    store, path = open_store(url)
    with translate_errors(url, "read"):
        block = _whole(store, path, nbytes)
    width = _width(url, store)
    started = time.monotonic()
    size = require_stat(store, path, url).nbytes if block is None else len(block)
    if width is not None and block is None:
        width.answered(time.monotonic() - started)
    fetch = partial(fetch_block, store, path)
    # A caller that names an algorithm compares the checksum, so a truncated object is reported as damaged.
    file = ArrivingFile(url, fetch, size, algorithm or default_algorithm(), width, exact=algorithm is None)
    if block is not None:
        file.begin_with(block)
    try:
        with progress_bar("reading", url, size) as file.on_bytes:
            yield file
    finally:
        file.close()


@contextmanager
def reading_pinned(pinned: Pinned) -> Iterator[ArrivingFile]:
    """As `reading`, for one version of an object that others may replace meanwhile.

    Raises SourceChangedError where that has happened, and as `reading`.
    """
    width = _width(pinned.url, pinned.store)
    file = ArrivingFile(pinned.url, pinned.fetch, pinned.nbytes, default_algorithm(), width)
    with pinned.held():
        try:
            with progress_bar("reading", pinned.url, pinned.nbytes) as file.on_bytes:
                yield file
        finally:
            file.close()


def _width(url: str, store: Store) -> TransferWidth | None:
    # The operating system reads local files ahead by itself.
    return None if isinstance(store, LocalStore) else width_of(url, "read")


def read_through(url: str, algorithm: str, nbytes: int) -> tuple[str, int]:
    """Checksum (`algorithm:hexdigest`) and size of an object that should have `nbytes`.

    A small one takes a single request. Raises as `reading`.
    """
    store, path = open_store(url)
    with translate_errors(url, "read"):
        block = _whole(store, path, nbytes)
    if block is not None:
        return f"{algorithm}:{digest_of(block, algorithm).hex()}", len(block)
    with reading(url, algorithm) as file:
        return file.finish()


def _whole(store: Store, path: str, nbytes: int | None) -> bytes | memoryview | None:
    """Fetch a small object with one request if it has this size; None if it must be fetched in steps."""
    if nbytes is None or nbytes > BLOCK_BYTES:
        return None
    try:
        # One byte more, so that a longer object is noticed.
        block = store.fetch(path, 0, nbytes + 1)
    except (NoAnswerError, BadAnswerError):
        raise
    except Exception as error:
        if is_interruption(error):
            raise
        log.debug("an object is asked for its size first, after %s", type(error).__name__)
        return None
    return block if len(block) == nbytes else None


@contextmanager
def ranged(url: str, block: int = 64 << 10, blocks: int = 64) -> Iterator[RangedFile]:
    """Open an object as a seekable file that fetches parts; at least `block` bytes for every small read.

    Raises ResourceNotFoundError and TransferError as `reading` does.
    """
    store, path = open_store(url)
    nbytes = require_stat(store, path, url).nbytes
    fetch = partial(fetch_block, store, path)
    with RangedFile(url, fetch, nbytes, block, blocks, _width(url, store)) as file:
        yield file


@contextmanager
def ranged_pinned(pinned: Pinned, block: int = 64 << 10, blocks: int = 64) -> Iterator[RangedFile]:
    """As `ranged`, for one version of an object that others may replace meanwhile.

    Raises SourceChangedError where that has happened, and as `reading`.
    """
    with pinned.held(), ranged_file(pinned, block, blocks) as file:
        yield file


def ranged_file(pinned: Pinned, block: int, blocks: int, fetch: Fetch | None = None) -> RangedFile:
    """As `ranged_pinned`, if the caller compares the version; `fetch` replaces how parts are fetched."""
    width = _width(pinned.url, pinned.store)
    return RangedFile(pinned.url, fetch or pinned.fetch, pinned.nbytes, block, blocks, width)
