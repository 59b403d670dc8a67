"""The base class of targets: files that cpr writes all or nothing, and verifies when they are read."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Callable
from typing import Any, ClassVar, Self

from cpr import io
from cpr.errors import NoDataError, RecordError
from cpr.format import Describes, Previews, Region, Stream, supports
from cpr.io.hashing_sink import Stored
from cpr.io.stores.base import OccupiedError
from cpr.predecessor.arguments import Arguments
from cpr.predecessor.results_without_checksum import KnownByContent
from cpr.previews.models import Preview
from cpr.previews.storage import make_preview, read_preview
from cpr.provenance.provenance_record import Made
from cpr.provenance.storage import copy_whole, fit, read_whole
from cpr.records.content_digest import NamesContent, content_of_bytes
from cpr.records.record_fields import FileFields, TargetFields
from cpr.records.registry import RECORD_KEY
from cpr.records.usage_errors import FindsNoFiles
from cpr.Resource import Resource
from cpr.storing import Publication, key_of, may_be_deleted, require_unmarked, taken, write_stream
from cpr.verified_reading import StoredResult

__all__ = ["Target"]


class Target(FindsNoFiles, NamesContent, KnownByContent, Resource):
    """A file that cpr writes: filled with data once, stored once, and verified by everyone who reads it.

    Subclasses name their format: `class MyTarget(Target): format_class = MyFormat`.

    Attributes:
        data_hash: 16 hex digits that name the content, known as soon as `set_data` returns.
        content_digest: a longer digest of the same content; see `cpr.records.content_digest`.
        checksum: `algorithm:hexdigest` of the stored bytes, known once persisted.
        nbytes: size of the stored object in bytes, known once persisted.
        blocks: digest of the list of block digests (see `cpr.io.block_digests`); None for a small object.
        url: where it is, or will be, `location/name-KEY.ext`; `cpr gc` may make `persist` choose another KEY.
        seconds: how long writing took, if this object did it; None if the file was there already.
        made: provenance, as far as the record contains it (see `get_made`); not part of the content.
    """

    fields_class: ClassVar[type[TargetFields]] = FileFields
    data_hash: str | None = None
    checksum: str | None = None
    nbytes: int | None = None
    blocks: str | None = None
    seconds: float | None = None
    made: Made | None = None
    _made_field: dict[str, Any] | None = None
    _key: str | None = None
    _data: Any = None

    def set_data(self, data: Any) -> None:
        """Fill the target.

        Data in memory is held, and hashed at once, block by block; `persist` writes it. A `Stream`
        is written now, hashed while it passes, and never held.

        Raises:
            EncodeError: the format cannot hold this data; the target is as it was.
            TransferError, ResourceNotFoundError: a stream could not be written; nothing is visible.
        """
        with self._lock:
            if isinstance(data, Stream):
                self._set_stream(data)
                return
            with self._decoding():
                format = self._told_format()
                format = format.describe(data) if supports(format, Describes) else format
                fingerprint = format.fingerprint(data)
            self._forget()
            self.format, self.data_hash, self._data = format, fingerprint, data
            self._key = None

    def _set_stream(self, stream: Stream[Any]) -> None:
        key = uuid.uuid4().hex[:16]
        url = self._url(key)
        with self._decoding():
            format = self.format.describe(stream) if supports(self.format, Describes) else self.format
            stored = write_stream(format, stream, url)
        self._forget()
        self.format = dataclasses.replace(format, **stream.described())
        self.data_hash, self._key = stream.fingerprint, key
        self._content_digest = content_of_bytes(format, stream.content, stored.checksum)
        self._take(stored)

    def _forget(self) -> None:
        self.data_hash = self.checksum = self.nbytes = self.blocks = None
        self.seconds = self.made = self._made_field = self._key = self._data = self._cached = None
        self._content_digest = None

    def _take(self, stored: Stored) -> None:
        self.checksum, self.nbytes, self.blocks = stored.checksum, stored.nbytes, stored.blocks
        self.seconds, self._data = stored.seconds, None

    def _set_format(self, **changes: Any) -> None:
        """Change options of the format; possible until the target is persisted."""
        with self._lock:
            if self.checksum is not None:
                raise RecordError(
                    "a stored result is never changed",
                    url=self.url,
                    field=", ".join(changes),
                    expected="a target that is not persisted yet",
                    actual="a stored one",
                    remedy="make a new target with these options and set its data",
                )
            self._content_digest = None
            super()._set_format(**changes)

    @property
    def key(self) -> str:
        """The 16 hex digits in the file name: digest of content and options; for streams, unique per attempt.

        Raises NoDataError before `set_data`.
        """
        if self._key is not None:
            return self._key
        if self.data_hash is None:
            raise NoDataError.of_empty(self.url, "be named")
        return key_of(self.data_hash, self._format_fields())

    @property
    def url(self) -> str:
        """URL where the object is or will be stored; before `set_data`, without its key."""
        if self._key is None and self.data_hash is None:
            return io.join(self.location, self.name + self.ext)
        return self._url(self.key)

    def _url(self, key: str) -> str:
        return io.join(self.location, f"{self.name}-{key}{self.ext}")

    def persist(self) -> Self:
        """Store the data, all or nothing, and release it from memory; does nothing if already stored.

        Encodes, hashes and uploads in one pass. An equal object that is there already is not written
        again; one that was damaged or replaced is repaired.

        Raises:
            NoDataError: `set_data` was never called.
            EncodeError: the format cannot hold the data.
            CorruptDataError: the data was changed since `set_data`.
            ResourceNotFoundError: the bucket does not exist.
            TransferError: no permission, disk full, no connection.
        """
        with self._lock:
            if self.checksum is not None:
                return self
            if self.data_hash is None:
                raise NoDataError.of_empty(self.url, "be persisted")
            if self._is_known_by_content():
                self._take(self._stored("be persisted").verify())
                return self
            key = self.key
            if may_be_deleted(self._url(key)):
                key = uuid.uuid4().hex[:16]
            publication = Publication(self.format, self._data, self.data_hash)
            self._key, stored, self._content_digest = publication.publish(key, self._url)
            self._take(stored)
        return self

    async def apersist(self) -> Self:
        """`persist` in a thread, for callers on an event loop."""
        return await asyncio.to_thread(self.persist)

    def get_data(self, cache: bool = False, region: Region | None = None) -> Any:
        """The data: from memory while it is held, else the stored object, verified and decoded.

        It is decoded from the very bytes that were hashed. A checksum that agrees is enough; where
        it does not (another program stored the same content again), the decoded content is hashed.

        Args:
            cache: hold the data until this object goes away.
            region: only this part, where the format can.

        Raises:
            NoDataError: the target is empty.
            ResourceNotFoundError: the object is gone.
            CorruptDataError: neither checksum nor content are those of this result.
            TransferError: the store refused or failed.
        """
        held = self._data if self._data is not None else self._cached
        if held is not None:
            return self._shared(held, region)
        result = self._stored("be read")
        if region is not None and result.stored is not None:
            return result.read_region(self._region_reader(region), region)
        data = result.read()
        if region is not None:
            return self._shared(data, region)
        return self._keep(data) if cache else data

    def _stored(self, action: str) -> StoredResult:
        """Describe the stored object, to read or check it. Raises NoDataError before it is persisted."""
        if self.data_hash is None or (self.checksum is None and not self._is_known_by_content()):
            raise NoDataError.of_empty(self.url, action)
        stored = None
        if self.checksum is not None and self.nbytes is not None:
            stored = Stored(self.checksum, self.nbytes, self.blocks)
        return StoredResult(
            self.url, self.format, self.data_hash, stored, self._is_sealed, self.content_digest
        )

    def preview(self) -> Preview | None:
        """The thumbnail or first rows that were made when the target was written.

        Raises as `get_data`; an empty target has none.
        """
        if not supports(self.format, Previews):
            return None
        held = self._data if self._data is not None else self._cached
        if held is not None:
            return make_preview(self.format, held)
        if self.checksum is None or self.nbytes is None:
            return None
        if self.nbytes <= io.SMALL_BYTES:
            return make_preview(self.format, self.get_data())
        return read_preview(self.url, self.format.preview_class) or self._sampled()

    def facts(self) -> dict[str, Any]:
        """Summary for people, without asking the store."""
        known = {"bytes": self.nbytes, "data_hash": self.data_hash, "checksum": self.checksum}
        return {**super().facts(), **{name: value for name, value in known.items() if value is not None}}

    def check(self, full: bool = False) -> None:
        """Check that the stored object exists: by its size, or with `full` by its checksum.

        Raises ResourceNotFoundError when it is gone, CorruptDataError when it is another one,
        TransferError when the store cannot be asked.
        """
        result = self._stored("be checked")
        if full:
            result.require_checksum()
        else:
            result.require_size()

    def copy_to(
        self, location: str, is_new: bool = False, may_replace: Callable[[], bool] = lambda: False
    ) -> Self:
        """Copy the object to another location, under the same name and key, verifying it on the way.

        An object that is there already is kept: if its content is equal, it is the copy; else this raises.

        Args:
            location: folder or bucket prefix.
            is_new: a listing has shown that the destination is free, so the store is not asked again.
            may_replace: called if another object is there; says whether that object is known to be damaged.

        Raises:
            CorruptDataError: the stored object is not the one that was written; nothing was copied.
            ResourceNotFoundError, TransferError: as `get_data` and `persist`; something else is there.

        >>> target.copy_to("memory://doc/elsewhere").get_data() == target.get_data()
        True
        """
        record = super().serialize() if self.checksum is not None else self.serialize()
        made = {} if self.made is None else {"made": self.made.to_json()}
        fields = {**record[RECORD_KEY], **made, "location": io.normalise(location)}
        twin = type(self).deserialize({RECORD_KEY: fields})
        require_unmarked(twin.url)
        try:
            self._copy_objects(twin, is_new, False)
        except OccupiedError:
            if not twin._is_intact():  # noqa: SLF001 - it is one of ours
                if not may_replace():
                    raise taken(twin.url, f"{self.checksum} ({self.nbytes} bytes)") from None
                self._copy_objects(twin, False, True)
        if self.made is not None and self.made.more is not None:
            copy_whole(self.made, self.url, twin.url)
        return twin

    def _copy_objects(self, twin: Self, is_new: bool, replace: bool) -> None:
        """Copy this target's stored objects to where another target points. Raises OccupiedError."""
        assert self.checksum is not None and self.nbytes is not None
        io.copy(self.url, twin.url, Stored(self.checksum, self.nbytes, self.blocks), is_new, replace)

    def _is_intact(self) -> bool:
        """Whether the content is stored, whatever its encoding."""
        return self._stored("be checked").is_there()

    def set_made(self, made: Made) -> None:
        """Set the provenance; the first call counts, until new data is set."""
        with self._lock:
            if self.made is None:
                self.made = made

    def get_made(self) -> Made | None:
        """The full provenance, with all inputs; None if it is not known.

        Reads one small object beside the result where the record had no room for all of it.

        Raises as `cpr.provenance.storage.read_whole`.
        """
        return None if self.made is None else read_whole(self.made, self.url)

    def serialize(self) -> dict[str, Any]:
        """The record; stores the data first if that has not been done yet.

        `"data_hash" in record` is True for targets and False for sources, as in custom-prefect-result.
        """
        with self._lock:  # all of it is of one filling, though another thread may wait to fill it anew
            self.persist()
            record = super().serialize()
            if self.made is not None and self._made_field is None:
                self._made_field = fit(self.made, self.url, record)
            if self._made_field is not None:
                record[RECORD_KEY]["made"] = self._made_field
            return {**record, "data_hash": self.data_hash}

    def _take_fields(self, fields: Any) -> None:
        self._is_sealed = fields.seal is not None or not self._format_fields()
        self._key, self.data_hash = fields.key, fields.data_hash
        self.checksum, self.nbytes = fields.checksum, fields.nbytes
        self._take_content_digest(fields.content_digest)
        self.blocks = getattr(fields, "blocks", None)
        self.made = Made.parse(fields.made) if fields.made else None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.data_hash is None:
            # An empty target may be handed to the task that fills it.
            return _rebuilt, (type(self), (self.location, self.name, self.ext, self._told_format()))
        if self._is_known_by_content():
            return _rebuilt, (type(self), (self.location, self.name, self.ext, self.format, self.data_hash))
        return super().__reduce__()


def _rebuilt(cls: type[Target], arguments: tuple[Any, ...]) -> Target:
    return cls._of(Arguments(*arguments))
