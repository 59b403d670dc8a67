"""Stores data: encodes, hashes and uploads it in one pass, unless an equal object is stored already."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cpr import io
from cpr.errors import CorruptDataError, FormatError, ResourceNotFoundError, TransferError
from cpr.format import PreviewMaker, Stream, Streams, naming, supports
from cpr.io.gc_mark_lists import is_marked
from cpr.io.hashing import DEFAULT_ALGORITHM, default_algorithm, hex16
from cpr.io.hashing_sink import HashingSink, Stored
from cpr.io.publishing import WritingFile, keep_blocks
from cpr.io.stores.base import OccupiedError
from cpr.previews.storage import attach_preview, store_preview
from cpr.records.content_digest import content_of_bytes
from cpr.verified_reading import decode_file

__all__ = ["Publication", "key_of", "may_be_deleted", "require_unmarked", "taken", "write_stream"]


@dataclass(frozen=True)
class Publication:
    """Data in memory that is to be written as one object.

    Attributes:
        format: that encodes the data.
        data: as the format takes it.
        data_hash: of the content, when it was handed over.
    """

    format: Any
    data: Any
    data_hash: str

    def publish(self, key: str, place: Callable[[str], str]) -> tuple[str, Stored, str | None]:
        """Store the data: skip the upload if an equal object exists, and repair a damaged one.

        Where the name is taken by an intact object of other bytes, that one stays as it is, and ours gets
        another name: it is equal content as another version has encoded it, or other content whose
        `data_hash` happens, or was made, to be the same.

        Args:
            key: in the name.
            place: URL for a key.

        Returns the key in the end, what is stored, and its content digest. Raises as `write`.
        """
        while True:
            url = place(key)
            try:
                return key, *self.write(url, create=True)
            except OccupiedError:
                ours, content = self._digested(url)
            if self.find_equal(url, ours.stored):
                keep_blocks(url, ours.stored, ours.block_digests)
                return key, ours.stored, content
            if not self._is_intact(url):
                return key, *self.write(url)
            key = hex16(f"{key} {ours.stored.checksum}".encode())

    def _is_intact(self, url: str) -> bool:
        """Whether an object with content of this `data_hash` exists, whatever its encoding."""
        try:
            with io.reading(url) as file:
                found = decode_file(url, file, self.format.decode)
            if self.format.fingerprint(found) != self.data_hash:
                return False
        except (FormatError, CorruptDataError, ResourceNotFoundError):
            return False
        return True

    def write(self, url: str, create: bool = False) -> tuple[Stored, str | None]:
        """Upload the data, all or nothing; with `create` only if the name is free.

        Returns checksums and size of the stored bytes, and the content digest.

        Raises OccupiedError, EncodeError, CorruptDataError for data that was changed since it was handed
        over, ResourceNotFoundError and TransferError.
        """
        file: WritingFile | None = None
        try:
            with io.writing(url, create=create) as file, naming(url):
                file.expected = _nbytes_of(self.data)
                maker, told = self._encode(url, file)
        except TransferError as error:
            # What is sent from the memory of the data is refused by the store if it has changed meanwhile.
            if file is not None and file.has_lent:
                self._require_unchanged(url, self.format.fingerprint(self.data), error)
            raise
        store_preview(url, file.stored.nbytes, maker)
        return file.stored, content_of_bytes(self.format, told, file.stored.checksum)

    def _digested(self, url: str) -> tuple[HashingSink, str | None]:
        counted = HashingSink()
        with naming(url):
            _, told = self._encode(url, counted)
        return counted, content_of_bytes(self.format, told, counted.stored.checksum)

    def find_equal(self, url: str, ours: Stored) -> bool:
        """Whether the object at the URL is byte for byte what `write` would store. Raises as `write`."""
        there = io.lookup(url)
        if there is None or there.nbytes != ours.nbytes:
            return False
        algorithm = ours.checksum.partition(":")[0]
        return io.read_through(url, algorithm, ours.nbytes) == (ours.checksum, ours.nbytes)

    def _encode(self, url: str, file: Any) -> tuple[PreviewMaker | None, str | None]:
        """Encode the data and check that it is still what was handed over.

        Returns the preview maker, and the content digest of its stream.
        """
        maker, told, nbytes = None, None, _nbytes_of(self.data)
        if supports(self.format, Streams):
            stream = self.format.stream(self.data)
            stream.expected = self.data_hash
            if isinstance(file, WritingFile):
                file.lasting = stream.lasting
            if nbytes is None or nbytes > io.SMALL_BYTES:
                # Of a small one none is kept.
                maker = attach_preview(self.format, stream)
            self.format.encode(stream, file)
            fingerprint, told = stream.fingerprint, stream.content
        else:
            self.format.encode(self.data, file)
            fingerprint = self.format.fingerprint(self.data)
        self._require_unchanged(url, fingerprint)
        return maker, told

    def _require_unchanged(self, url: str, fingerprint: str, cause: Exception | None = None) -> None:
        if fingerprint != self.data_hash:
            raise CorruptDataError(
                "the data was changed between set_data and the write",
                url=url,
                expected=self.data_hash,
                actual=fingerprint,
                remedy="give the target its own copy: set_data(array.copy())",
            ) from cause


def key_of(data_hash: str, options: Mapping[str, Any]) -> str:
    """The key in the file name, 16 hex digits, for content that is known before it is written.

    Results of other checksum algorithms have names of their own: digests of blocks are of one algorithm.
    """
    named: list[Any] = [data_hash, options]
    if (algorithm := default_algorithm()) != DEFAULT_ALGORITHM:
        named.append(algorithm)
    return hex16(json.dumps(named, sort_keys=True).encode())


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
    """Whether a garbage collection may be about to delete this object; the content then needs another name.

    True also if that cannot be found out: a store may allow writing but not listing. For a missing bucket
    False, as the write will raise.
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


def taken(url: str, expected: str) -> TransferError:
    """Make the error for a copy whose name is taken by another, possibly intact, object."""
    return TransferError(
        "another result, or a damaged one, is there under this name, and was not replaced",
        url=url,
        expected=f"{expected}, equal content in other bytes, or nothing",
        actual="other content",
        remedy="copy to another place; or delete what is there, if it is not wanted, and copy again",
    )


def _nbytes_of(data: Any) -> int | None:
    """Size of the data in memory, if known; for a stream, from its shape and dtype."""
    nbytes = getattr(data, "nbytes", None)
    if isinstance(nbytes, int):
        return nbytes
    shape, dtype = getattr(data, "shape", None), getattr(data, "dtype", None)
    itemsize = getattr(dtype, "itemsize", None)
    return math.prod(shape) * itemsize if isinstance(shape, tuple) and isinstance(itemsize, int) else None
