"""The target that writes arrays and groups as Zarr."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np
import zarr

from cpr.data.argument_types import ArrayData, Path, ZarrTargetArguments
from cpr.data.array_layout import ArrayLayout
from cpr.errors import NoDataError
from cpr.format import Region
from cpr.io.publishing import put_blocks
from cpr.io.write_markers import confirm
from cpr.previews.models import Preview
from cpr.records.registry import register
from cpr.zarr.chunking import as_declared, as_encode_errors, chunks_for, declared_source
from cpr.zarr.find_earlier_result import find_earlier, nbytes_of, traffic_of
from cpr.zarr.full_check import verify_all
from cpr.zarr.options import ZarrOptions, array_arguments
from cpr.zarr.parts.resumed import can_resume, write_resumed
from cpr.zarr.parts.target_in_parts import TargetInParts
from cpr.zarr.preview import picture_of
from cpr.zarr.reading import open_node
from cpr.zarr.stores.manifest import Manifest, manifest_url
from cpr.zarr.stores.recording_store import RecordingStore
from cpr.zarr.stores.verifying_store import VerifyingStore
from cpr.zarr.typed_error_nodes import Node
from cpr.zarr.unpublished_attempts import begin, discard, remove_leftovers, remove_notes, require_all_recorded
from cpr.zarr.writing import fill

if TYPE_CHECKING:
    from cpr.zarr.ZarrRegion import ZarrRegion

__all__ = ["ZarrTarget"]


@register
class ZarrTarget(TargetInParts):
    """An array, or a hierarchy of them, stored as Zarr in chunks that are verified one by one.

    Data is written at once, by the workers of a dask array where it is one, and a manifest of all objects
    last, by `persist`; without the manifest there is no result. Other programs open the URL as any Zarr.
    Options of `from_path`: see `cpr.zarr.options.ZarrOptions`.

    Attributes:
        data_hash: of all objects. Equal data written with equal options has an equal one; other chunks or
            codecs, or a zarr that writes its metadata differently, make it another.
        checksum: of the manifest, which vouches for every object.
        nbytes: of all that is stored, the manifest included.
        manifest: size of the manifest in bytes, known once persisted.
        uploaded: bytes that were sent for it, by Dask's workers too; None for one that was loaded.
        copied: bytes that the store has copied of an earlier result (see `base=`) instead.

    >>> target = cpr.ZarrTarget.from_path("memory://doc/cells.zarr", chunks=(1, 64, 64))
    >>> target.set_data(np.ones((3, 64, 64), "uint16"))
    >>> cpr.load(target.serialize()).get_data(region=np.s_[2, :2, 0])
    array([1, 1], dtype=uint16)
    """

    format_class = ZarrOptions

    if TYPE_CHECKING:

        @classmethod
        def from_path(cls, path: Path, **options: Unpack[ZarrTargetArguments]) -> Self: ...

    array_layout: ArrayLayout | None = None  # of what `set_data` has written
    _began = 0.0
    _manifest: Manifest | None = None  # of data that is written and not published yet
    _written: RecordingStore | None = None  # its objects

    def set_data(self, data: ArrayData, shape: tuple[int, ...] | None = None, dtype: Any = None) -> None:
        """Write an array; it becomes a result when the target is persisted.

        In a task with a cache key a dask array of several blocks, and from 256 MiB on whatever can be sliced,
        is written in parts: the same run, run again after a kill or an error, writes and computes what is
        missing.

        Args:
            data: a numpy array; a dask array, which its workers write (blocks that are not whole chunks are
                rechunked); a zarr array, memmap or other lazy array; or an iterable of planes or slabs in C
                order, of which as many as one chunk is deep, or 16 MiB, are in memory.
            shape: of the whole array, with an iterable.
            dtype: of every element, with an iterable.

        Raises:
            EncodeError: Zarr cannot hold the data, or the options do not fit it.
            TransferError, ResourceNotFoundError: it could not be written. What was written of it is removed,
                unless the same run can go on with it.
        """
        with self._lock, self._decoding():
            options: ZarrOptions = self.format
            source = declared_source(options, data, shape, dtype)
            native = np.dtype(source.dtype).newbyteorder("=")
            chunks, shards = chunks_for(options, as_declared(options, source), native)
            arguments = array_arguments(options, tuple(source.shape), native, chunks, shards)
            if self._written is None and can_resume(source, nbytes_of(source)):
                self._resume(source, chunks=chunks, shards=shards)
            else:
                with self._attempt(nbytes_of(source)) as store:
                    with as_encode_errors():
                        array = zarr.create_array(store, **arguments)
                    fill([array], source)
            self.array_layout = ArrayLayout.of(source)

    def create(self) -> zarr.Group:
        """An empty group at the target's place, for a hierarchy of one's own; `persist` closes it.

        Whatever is written through it or its store, by this process, becomes part of the result: equal data
        as equal bytes, and nothing unreadable where somebody changes an array meanwhile. Format and
        attributes are those of the options. Other processes, dask's workers too, refuse to write through
        it, with a RecordError.

        Raises TransferError and ResourceNotFoundError.
        """
        with self._lock:
            store, key = self._begin()
            store.lend()
            try:
                group = zarr.create_group(
                    store, zarr_format=self.format.zarr_format, attributes=dict(self.format.attributes or {})
                )
            except BaseException:
                discard(store)
                raise
            self._end(store, key)
            return group

    @contextmanager
    def _attempt(self, nbytes: int) -> Iterator[RecordingStore]:
        """Give a store to write to; on success what was written replaces an earlier attempt."""
        store, key = self._begin(nbytes)
        try:
            yield store
            manifest = Manifest.of(store.url, store.entries, store.algorithm)
        except BaseException:
            discard(store)
            raise
        self._end(store, key)
        self._take_manifest(manifest)

    def _begin(self, nbytes: int = 0) -> tuple[RecordingStore, str]:
        key = uuid.uuid4().hex[:16]
        self._began = time.monotonic()
        url = self._url(key)
        return begin(url, find_earlier(self, url, self.format, nbytes)), key

    def _resume(self, source: Any, **declared: Any) -> None:
        """Write what an earlier run of the running task has not; see `write_resumed`."""
        self._began = time.monotonic()
        store, key = write_resumed(self, source, **declared)
        self._end(store, key)
        self._take_manifest(Manifest.of(store.url, store.entries, store.algorithm))

    def _end(self, store: RecordingStore, key: str) -> None:
        """Take a new attempt in the place of an earlier one."""
        self._forget()
        self._written, self._key = store, key

    def _forget(self) -> None:
        if self._written is not None:
            discard(self._written)
        super()._forget()
        self.manifest = self._manifest = self._written = self.uploaded = self.copied = None

    def _take_manifest(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._take_content(manifest)

    def persist(self) -> Self:
        """Publish what was written, by one small object; does nothing when that has happened.

        Raises:
            NoDataError: nothing was written.
            CorruptDataError: objects of a hierarchy were written past the target.
            TransferError, ResourceNotFoundError: the manifest could not be stored, or the objects were
                removed as orphans meanwhile.
        """
        with self._lock:
            if self.checksum is not None:
                return self
            if self._written is None and self._adopted:
                notes = [part.place for part in self._adopted]
                self.assemble(self._adopted)
                remove_notes(self.url, notes)
                return self
            if self._written is None:
                raise NoDataError.of_empty(self.url, "be persisted")
            if self._manifest is None:
                self._written.seal()
                require_all_recorded(self._written)
                self._take_manifest(
                    Manifest.of(self._written.url, self._written.entries, self._written.algorithm)
                )
            assert self._manifest is not None and self._manifest.data is not None
            remove_leftovers(self._written)
            put_blocks(self._manifest.url, self._manifest.data)
            # Another run of the same key may have published the same.
            witness = f"{self._manifest.url}/{min(self._written.entries)}" if self._written.notes else None
            confirm(self._manifest.url, witness)
            remove_notes(self.url, self._written.notes)
            self._written.seal()
            self.uploaded, self.copied = traffic_of(self._written, self._manifest)
            self.checksum, self.manifest = self._manifest.checksum, self._manifest.nbytes
            self.nbytes = self._manifest.total + self._manifest.nbytes
            self.seconds = time.monotonic() - self._began
            self._manifest = self._written = None
        return self

    def get_data(self, cache: bool = False, region: Region | None = None) -> Any:
        """A lazy `zarr.Array` or `zarr.Group` that checks every object it reads; or part of an array.

        Only metadata is read now. Both travel to Dask workers, without credentials.

        Args:
            cache: keep what was opened.
            region: read this part, as numpy: its chunks (of a shard, the parts that hold them).

        Raises:
            NoDataError: the target is empty.
            ResourceNotFoundError: the result is gone.
            CorruptDataError: now, or when a chunk is read that is not the one that was written.
            TransferError: the store refused or failed.
        """
        return super().get_data(cache, region)

    def region(self, region: Region, path: str = "") -> ZarrRegion:
        """A part of an array, for a task that does not have to run again when other parts change.

        In cache keys a region counts with the digests of the chunks or shards that it touches, which the
        manifest has, and with what decides how they are read. It is published first if that has not
        happened; see `ZarrRegion`.

        Args:
            region: slices without steps, and integers, as `np.s_[:, 1]`.
            path: of the array, in a hierarchy.

        Raises:
            FormatError: no region of the array, an empty one, or a group.
            ResourceNotFoundError: there is no array at this path; or the result is gone.
            CorruptDataError: the manifest or the array's metadata are not what was written.
            TransferError: the store refused or failed.
        """
        from cpr.zarr.ZarrRegion import ZarrRegion

        return ZarrRegion.of(self.persist(), region, path)

    @property
    def place(self) -> str:
        """Where the manifest is stored, or will be."""
        return manifest_url(self.url)

    def _open(self) -> Node:
        store = self._store()
        # Known beforehand, nobody has to look for the other format's objects.
        return open_node(store, zarr_format=2 if store.manifest.find("zarr.json") is None else 3)

    def _store(self) -> VerifyingStore:
        if self._manifest is not None:
            return VerifyingStore.of(self._manifest)
        if self.checksum is None:
            raise NoDataError.of_empty(self.url, "be read")
        assert self.manifest is not None
        store = VerifyingStore.opened(self.url, self.manifest, self.checksum)
        self._require_content(store.manifest)
        return store

    def preview(self) -> Preview | None:
        """A picture of an array, from a few of its planes; none of a group.

        Raises as `get_data`.
        """
        return None if self._key is None else picture_of(self.get_data())

    def verify(self) -> int:
        """Fetch and check every object, several at a time, decoding none; how many there are.

        Raises:
            ResourceNotFoundError: the result is gone.
            CorruptDataError: an object is missing, is not the one that was written, or is none of ours.
            TransferError: the store refused or failed.
        """
        return verify_all(self._store())

    def identity(self) -> dict[str, Any]:
        """Name and content; closes a group that is still open. No I/O otherwise."""
        if self.data_hash is None and (self._written is not None or self._adopted):
            self.persist()
        return super().identity()
