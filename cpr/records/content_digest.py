"""Content identity: `data_hash` and a longer content digest, by which two results count as equal.

`data_hash` has 16 digits, so somebody can construct other content with the same hash. A result in the cache
therefore has a second digest too, the content digest:

- of the content, in 128 bits, if the format's stream computes it: the same for every encoding;
- else, and if the checksum resists forgery (sha256, blake3), the checksum itself: cache keys then count the
  digest that every read is verified by, and a record can claim nothing else.

docs/decisions/keys.md weighs this.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from cpr.errors import NoDataError, RecordError
from cpr.format import Format, naming, supports
from cpr.format import Streams as Streaming
from cpr.io.hashing import default_algorithm, is_forgery_proof
from cpr.io.hashing_sink import HashingSink

__all__ = ["NamesContent", "content_key", "content_of_bytes", "digest_content", "same_content"]


def content_of_bytes(format: Format, told: str | None, checksum: str) -> str | None:
    """The content digest of encoded data.

    Args:
        format: that has encoded it.
        told: the content digest that its stream computed.
        checksum: of the bytes.

    None by default for a format that does not encode equal data alike (`encodes_alike = False`): a class in
    the predecessor's style, whose file may have the time in it.
    """
    if is_forgery_proof(checksum):
        return checksum
    return told or (checksum if _encodes_alike(format) else None)


def digest_content(format: Format, data: Any, data_hash: str, algorithm: str | None = None) -> str | None:
    """The content digest that data in memory will have once stored; encodes the data if necessary.

    Args:
        format: that encodes it.
        data: as the format takes it.
        data_hash: of it.
        algorithm: of the checksum.

    Raises EncodeError.
    """
    sink = HashingSink(algorithm or default_algorithm())
    if supports(format, Streaming):
        stream = format.stream(data)
        if not is_forgery_proof(sink.stored.checksum):
            for _ in stream:
                pass
            if stream.content is not None:
                return stream.content
            stream = format.stream(data)
        stream.expected = data_hash
        data = stream
    elif not _encodes_alike(format) and not is_forgery_proof(sink.stored.checksum):
        return None
    format.encode(data, sink)
    return content_of_bytes(format, None, sink.stored.checksum)


def _encodes_alike(format: Format) -> bool:
    return bool(getattr(format, "encodes_alike", True))


def content_key(fields: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The part of a record's fields that is equal for equal content: `data_hash` and content digest.

    The digest is None in records of earlier versions with the default checksum.
    """
    return fields.get("data_hash"), _content(fields.get("content_digest"), fields.get("checksum"))


def same_content(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two records describe equal content, as far as both of them know."""
    (name, digest), (other_name, other_digest) = content_key(one), content_key(other)
    if digest is None or other_digest is None or _algorithm(digest) != _algorithm(other_digest):
        return name == other_name
    return (name, digest) == (other_name, other_digest)


def _algorithm(digest: str) -> str:
    return digest.partition(":")[0]


def _content(digest: str | None, checksum: str | None) -> str | None:
    # Nobody gets at an answer for another's bytes by leaving a field out.
    return digest or (checksum if checksum is not None and is_forgery_proof(checksum) else None)


class NamesContent:
    """Base class for targets: the part of them that counts in cache keys."""

    digests_bytes: ClassVar[bool] = False
    """Whether its content digest is its checksum, whatever the algorithm."""

    data_hash: str | None
    checksum: str | None
    format: Any
    url: Any
    _lock: threading.RLock
    _data: Any
    _content_digest: str | None = None

    if TYPE_CHECKING:

        def _is_known_by_content(self) -> bool: ...
        def _place(self) -> dict[str, Any]: ...
        def _format_fields(self) -> dict[str, Any]: ...

    @property
    def content_digest(self) -> str | None:
        """The digest, `algorithm:hexdigest`; None before it is known, and for results of earlier versions."""
        return _content(self._content_digest, self.checksum)

    def identity(self) -> dict[str, Any]:
        """Name, content and options: equal whether the data is in memory or stored; no I/O."""
        with self._lock:
            if self.data_hash is None:
                raise NoDataError.of_empty(self.url, "take part in a cache key")
            if self._content_digest is None and self._is_held():
                with naming(self.url):
                    self._content_digest = digest_content(self.format, self._data, self.data_hash)
            digest = self.content_digest
            counted = {} if digest is None else {"content_digest": digest}
            return {**self._place(), "data_hash": self.data_hash, **counted, **self._format_fields()}

    def _is_held(self) -> bool:
        """Whether data is in memory that is not stored yet."""
        return self.checksum is None and not self._is_known_by_content()

    def _take_content_digest(self, digest: str | None) -> None:
        """Set the digest from a record. Raises RecordError if the checksum contradicts it."""
        assert self.checksum is not None
        if digest is not None and not self._may_have(digest, self.checksum):
            raise RecordError(
                "the content is not that of the bytes",
                url=self.url,
                field="content_digest",
                expected=self.checksum,
                actual=digest,
                remedy=RecordError.NOT_OURS,
            )
        self._content_digest = digest

    def _may_have(self, digest: str, checksum: str) -> bool:
        is_proof = is_forgery_proof(digest) or is_forgery_proof(checksum)
        return digest == checksum or not (self.digests_bytes or is_proof)
