"""Data on its way into a store: encoded, hashed and uploaded in one pass, or found to be there already."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from cpr import io
from cpr.errors import CorruptDataError, CprError, ResourceNotFoundError, TransferError
from cpr.format import PreviewMaker, Stream, Streams, naming, supports
from cpr.io.stores.base import OccupiedError
from cpr.io.tombstones import is_marked
from cpr.io.writing import HashingSink, Stored, put_blocks
from cpr.previews.storage import attach_preview, store_preview
from cpr.retrieving import decode_file

__all__ = ["Publication", "may_be_deleted", "require_unmarked", "write_stream"]


@dataclass(frozen=True)
class Publication:
    """Data in memory.

    Attributes:
        format: what encodes it.
        data: as the format takes it.
        data_hash: of the content, when it was handed over.
    """

    format: Any
    data: Any
    data_hash: str

    def publish(self, url: str) -> Stored | None:
        """Make sure that the data is there: write it, unless an equal object is found; repair a damaged one.

        None where the name is taken: something else is there whose `data_hash` happens, or was made, to be
        the same. It stays as it is.

        Raises as `write`.
        """
        try:
            return self.write(url, create=True)
        except OccupiedError:
            return self.find_equal(url) or (None if self._is_taken(url) else self.write(url))

    def _is_taken(self, url: str) -> bool:
        """Whether an intact object of other content is there, told by a digest that nobody can forge."""
        try:
            with io.reading(url) as file:
                found = decode_file(url, file, self.format.decode)
            if self.format.fingerprint(found) != self.data_hash:
                return False  # a damaged object
            ours, theirs = HashingSink("sha256"), HashingSink("sha256")
            Publication(self.format, found, self.data_hash)._encode(url, theirs)  # noqa: SLF001
        except CprError:
            return False
        self._encode(url, ours)
        return ours.stored.checksum != theirs.stored.checksum

    def write(self, url: str, create: bool = False) -> Stored:
        """Put it there, all or nothing; with `create` only where nothing is.

        Raises OccupiedError, EncodeError, CorruptDataError for data that was changed since it was handed
        over, ResourceNotFoundError and TransferError.
        """
        with io.writing(url, create=create) as file, naming(url):
            file.expected = _nbytes_of(self.data)
            maker = self._encode(url, file)
        store_preview(url, file.stored.nbytes, maker)
        return file.stored

    def find_equal(self, url: str) -> Stored | None:
        """The object there in brief, if it is exactly what `write` would put there, else None.

        Raises as `write`.
        """
        there = io.lookup(url)
        if there is None:
            return None
        counted = HashingSink()
        with naming(url):
            self._encode(url, counted)
        stored = counted.stored
        if there.nbytes != stored.nbytes:
            return None
        found = io.read_through(url, stored.checksum.partition(":")[0], stored.nbytes)
        if found != (stored.checksum, stored.nbytes):
            return None
        put_blocks(url, counted.block_digests)
        return stored

    def _encode(self, url: str, file: Any) -> PreviewMaker | None:
        """Encode the data and check that it is still what was handed over; what has looked at it."""
        maker, nbytes = None, _nbytes_of(self.data)
        if supports(self.format, Streams):
            stream = self.format.stream(self.data)
            stream.expected = self.data_hash
            if nbytes is None or nbytes > io.SMALL_BYTES:
                # Of a small one none is kept.
                maker = attach_preview(self.format, stream)
            self.format.encode(stream, file)
            fingerprint = stream.fingerprint
        else:
            self.format.encode(self.data, file)
            fingerprint = self.format.fingerprint(self.data)
        if fingerprint != self.data_hash:
            raise CorruptDataError(
                "the data was changed between set_data and the write",
                url=url,
                expected=self.data_hash,
                actual=fingerprint,
                remedy="give the target its own copy: set_data(array.copy())",
            )
        return maker


def write_stream(format: Any, stream: Stream[Any], url: str) -> Stored:
    """Write a stream to a URL while it is produced, all or nothing.

    Raises what the stream raises, and as `Publication.write`.
    """
    maker = attach_preview(format, stream)
    with io.writing(url) as file:
        file.expected = _nbytes_of(stream)
        format.encode(stream, file)
    store_preview(url, file.stored.nbytes, maker)
    return file.stored


def may_be_deleted(url: str) -> bool:
    """Whether somebody deletes what is there, maybe while we look: the content then gets another name.

    So it does where that cannot be told: a store may let us write and not list. Of a missing bucket the write
    will tell.
    """
    try:
        return is_marked(url)
    except ResourceNotFoundError:
        return False
    except TransferError:
        return True


def require_unmarked(url: str) -> None:
    """Raise TransferError where `cpr gc` is about to delete what is there."""
    if is_marked(url):
        raise TransferError(
            "an equal object is about to be deleted there",
            url=url,
            expected="a place where nothing is marked",
            actual="an object that cpr gc has marked",
            remedy="copy to another place, or again when its grace period is over",
        )


def _nbytes_of(data: Any) -> int | None:
    """What data takes in memory, where it tells; a stream does by its shape and dtype."""
    nbytes = getattr(data, "nbytes", None)
    if isinstance(nbytes, int):
        return nbytes
    shape, dtype = getattr(data, "shape", None), getattr(data, "dtype", None)
    itemsize = getattr(dtype, "itemsize", None)
    return math.prod(shape) * itemsize if isinstance(shape, tuple) and isinstance(itemsize, int) else None
