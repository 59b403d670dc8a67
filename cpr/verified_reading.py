"""Reads stored objects: verifies them against their record and decodes them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cpr import io
from cpr.errors import CorruptDataError, DecodeError, FormatError, ResourceNotFoundError
from cpr.format import Region, RegionReader, naming
from cpr.io.hashing import FORGERY_PROOF
from cpr.io.hashing_sink import Stored
from cpr.records.content_digest import digest_content

__all__ = ["StoredResult", "corrupt", "decode_file"]

T = TypeVar("T")


def decode_file(url: str, file: io.SeekableFile, decode: Callable[[Any], T]) -> T:
    """Decode a file; if the underlying read fails, that error is raised, not the decoder's."""
    try:
        with naming(url):
            return decode(file)
    except FormatError:
        if file.failure is not None:
            raise file.failure from None
        raise


def corrupt(url: str, problem: str, expected: object, actual: object) -> CorruptDataError:
    """Make the error for a stored result whose bytes are not those that were written."""
    return CorruptDataError(
        problem,
        url=url,
        expected=str(expected),
        actual=str(actual),
        remedy="delete the object, so that its task runs again, or restore it",
    )


@dataclass(frozen=True)
class StoredResult:
    """A stored result of one object, as its record describes it.

    Attributes:
        url: of the object.
        format: that decodes the object.
        data_hash: of the content.
        stored: checksum, size, and digest of its blocks; None where the content alone vouches for it.
        is_sealed: whether the record vouches for what it says of the content.
        content: digest of the content beside `data_hash`, where the record has one.
    """

    url: str
    format: Any
    data_hash: str
    stored: Stored | None
    is_sealed: bool = True
    content: str | None = None

    def read(self, decode: Callable[[Any], Any] | None = None) -> Any:
        """Read and decode the object, with the format or another decoder, from the bytes that are hashed.

        A checksum that agrees is enough. Where it does not, the decoded content is hashed, by both its
        digests: another program may have stored the same content again. A checksum that resists forgery
        (sha256, blake3) must agree, since other content with the same two digests can be constructed.

        Raises CorruptDataError where neither is as it was, ResourceNotFoundError and TransferError.
        """
        if self.stored is None:
            return self._verified()[0]
        expected = self.stored.checksum, self.stored.nbytes
        algorithm = _algorithm(self.stored)
        with io.reading(self.url, algorithm, self.stored.nbytes) as file:
            try:
                data = decode_file(self.url, file, decode or self.format.decode)
            except DecodeError as error:
                actual = file.finish()
                if actual == expected:
                    raise
                problem = f"the stored object is damaged ({error.problem})"
                raise corrupt(self.url, problem, _brief(expected), _brief(actual)) from error
            actual = file.finish()
        if actual != expected:
            if algorithm in FORGERY_PROOF:
                raise _replaced(self.url, expected, actual)
            whole, again = (data, actual) if decode is None else self._whole(algorithm)
            # What the wire did to one answer, another has not: all that is said of a part by reading again
            # is said of the bytes that are read then.
            if again != actual or not self._has_content(whole, algorithm):
                raise _replaced(self.url, expected, actual)
        elif not self.is_sealed and decode is None and _is_array(data):
            # The bytes do not say of which shape an array was; its hash does.
            self._require_content(data, "the record and the stored object contradict each other")
        return data

    def _verified(self) -> tuple[Any, Stored]:
        """The decoded object, with its content verified, and its checksum and size."""
        data, actual = self._whole(None)
        self._require_content(data, "the stored object holds other content than was written")
        return data, Stored(*actual, None)

    def _whole(self, algorithm: str | None) -> tuple[Any, tuple[str, int]]:
        """The decoded object, unverified, and its checksum and size."""
        with io.reading(self.url, algorithm) as file:
            try:
                data = decode_file(self.url, file, self.format.decode)
            except DecodeError as error:
                problem = f"the stored object is damaged ({error.problem})"
                raise corrupt(self.url, problem, f"data_hash {self.data_hash}", "no such file") from error
            return data, file.finish()

    def _has_content(self, data: Any, algorithm: str) -> bool:
        """Whether data in memory equals the content that was written, whatever its encoding."""
        if self.format.fingerprint(data) != self.data_hash:
            return False
        return self.content is None or self.content == digest_content(
            self.format, data, self.data_hash, algorithm
        )

    def _require_content(self, data: Any, problem: str) -> None:
        if (found := self.format.fingerprint(data)) != self.data_hash:
            raise corrupt(self.url, problem, f"data_hash {self.data_hash}", found)

    def verify(self) -> Stored:
        """Checksum and size of the stored object, after its content was verified. Raises as `read`."""
        return self._verified()[1]

    def is_there(self) -> bool:
        """Whether this content is stored, whatever its encoding. Raises TransferError."""
        try:
            self.read()
        except (CorruptDataError, FormatError, ResourceNotFoundError):
            return False
        return True

    def read_region(self, reader: RegionReader, region: Region) -> Any:
        """Read and verify a region; with block digests, little more than the region is transferred."""
        if self.stored is not None and self.stored.blocks is not None:
            first = getattr(reader, "read_first", "ends")
            with io.verified(self.url, self.stored.nbytes, self.stored.blocks, first) as part:
                if part is not None:
                    return decode_file(self.url, part, lambda file: reader.decode_region(file, region))
        return self.read(lambda file: reader.decode_region(file, region))

    def require_size(self) -> None:
        """Raise unless an object of the recorded size exists."""
        nbytes = io.stat(self.url).nbytes
        if self.stored is not None and nbytes != self.stored.nbytes:
            raise corrupt(
                self.url,
                "the stored object has another size",
                f"{self.stored.nbytes} bytes",
                f"{nbytes} bytes",
            )

    def require_checksum(self) -> None:
        """Raise if any byte differs; `read` also accepts another encoding of equal content."""
        if self.stored is None:
            self.verify()
            return
        expected = self.stored.checksum, self.stored.nbytes
        for _ in range(2):  # what the wire did to one answer, another has not
            actual = io.read_through(self.url, _algorithm(self.stored), self.stored.nbytes)
            if actual == expected:
                return
        raise _replaced(self.url, expected, actual)


def _algorithm(stored: Stored) -> str:
    return stored.checksum.partition(":")[0]


def _replaced(url: str, expected: tuple[str, int], actual: tuple[str, int]) -> CorruptDataError:
    problem = "the stored object is not the one that was written"
    return corrupt(url, problem, _brief(expected), _brief(actual))


def _is_array(data: object) -> bool:
    # Code that only reads records need not import numpy.
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(data, numpy.ndarray)


def _brief(stored: tuple[str, int]) -> str:
    return f"{stored[0]} ({stored[1]} bytes)"
