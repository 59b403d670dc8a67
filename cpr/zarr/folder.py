"""The base class of results that are a folder of objects, verified by a manifest."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

from cpr import io
from cpr.errors import CorruptDataError, CprError, NoDataError, ResourceNotFoundError
from cpr.format import Region
from cpr.records.record_fields import FolderFields
from cpr.Target import Target
from cpr.zarr.copy import copy_all
from cpr.zarr.reading import part_of, to_dask
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.typed_error_nodes import Node, own_copy

__all__ = ["Folder"]


class Folder(Target):
    """A result in a folder, or a part of one; a reader with its record reads the objects in its manifest.

    Attributes:
        manifest: size of the manifest in bytes, known once persisted.
        uploaded: bytes that were sent for it, by Dask's workers too; None for one that was loaded.
        copied: bytes that the store has copied of an earlier result (see `base=`) instead.
    """

    fields_class = FolderFields

    known_by_content = False
    digests_bytes = True

    manifest: int | None = None
    uploaded: int | None = None
    copied: int | None = None
    held_bytes: ClassVar[int] = 0
    """How many bytes of data wait for `persist`: `set_data` writes them."""

    _parts_key: str | None = None  # that all parts of the whole write under, in whichever process
    _written: Any = None  # the store of what is written and not published yet
    _roots: ClassVar[tuple[str, ...]] = ("zarr.json", ".zarray", ".zgroup")
    """Objects of which one is there as long as the folder is."""

    @property
    @abstractmethod
    def place(self) -> str:
        """URL of the manifest. Raises NoDataError for an empty part."""

    @abstractmethod
    def _open(self) -> Node:
        """Open the stored hierarchy lazily; reads only metadata."""

    @abstractmethod
    def verify(self) -> int:
        """Fetch and check every object, in parallel, without decoding; returns how many there are.

        Raises:
            ResourceNotFoundError: the result is gone.
            CorruptDataError: an object is missing, or is not the one that was written.
            TransferError: the store refused or failed.
        """

    def get_data(self, cache: bool = False, region: Region | None = None) -> Any:
        """The stored array or group, lazily; or a region, as numpy. Raises as `ZarrTarget.get_data`."""
        node: Node = self._cached if self._cached is not None else self._open()
        if cache:
            self._cached = node
        if region is not None:
            return part_of(node, region, self.url)
        return own_copy(node) if node is self._cached else node

    def get_dask(self) -> Any:
        """The array as a dask array, a block for each object (chunk or shard); nothing is read yet.

        Raises FormatError for a group, MissingDependencyError without dask, and as `get_data`.
        """
        return to_dask(self.get_data(), f"cpr-{self._token()}", self.url)

    def _token(self) -> str:
        """Name of the stored content in dask graphs."""
        return f"{self.data_hash}-{self.content_digest}-{self.key}"

    def check(self, full: bool = False) -> None:
        """Check that the result exists: its manifest and metadata, or with `full` everything, as `verify`."""
        if self.checksum is None or self.manifest is None:
            raise NoDataError.of_empty(self.url, "be checked")
        if full:
            self.verify()
            return
        try:
            nbytes = io.stat(self.place).nbytes
        except CprError as error:
            error.url = self.url
            raise
        if nbytes != self.manifest:
            raise CorruptDataError(
                "the manifest has another size",
                url=self.url,
                expected=f"{self.manifest} bytes",
                actual=f"{nbytes} bytes in {self.place}",
                remedy="delete the result, so that its task runs again, or restore it",
            )
        # A user who deletes the folder leaves the manifest beside it.
        if all(io.lookup(io.join(self.url, name)) is None for name in self._roots):
            raise ResourceNotFoundError(
                "there is no such Zarr",
                url=self.url,
                expected=" or ".join(self._roots),
                actual="nothing",
                remedy="a deleted result is made again when its task runs again",
            )

    def _take_content(self, manifest: Manifest) -> None:
        """Set `data_hash` and digests from a manifest."""
        self.data_hash, self._content_digest = manifest.data_hash, manifest.checksum

    def _require_content(self, manifest: Manifest) -> None:
        """Raise CorruptDataError if the record names other content than the manifest."""
        if manifest.data_hash != self.data_hash:
            raise CorruptDataError(
                "the record and the stored manifest contradict each other",
                url=self.url,
                expected=f"data_hash {self.data_hash}",
                actual=manifest.data_hash,
                remedy="delete the record, so that its task runs again",
            )

    def _is_intact(self) -> bool:
        """Always False: other objects have another manifest, and are another result."""
        return False

    def _copy_objects(self, twin: Self, is_new: bool, replace: bool) -> None:  # noqa: ARG002
        assert self.checksum is not None and self.manifest is not None
        copy_all(Manifest(self.url, self.manifest, self.checksum), twin.url, replace=replace)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._written is not None:
            self.persist()
        if self.data_hash is None:
            # Whoever fills a part of it elsewhere writes to the same place.
            empty = (self.location, self.name, self.ext, self.format)
            return type(self), empty, {"_parts_key": self._parts_key}
        return super().__reduce__()

    def _take_fields(self, fields: FolderFields) -> None:
        super()._take_fields(fields)
        self.manifest = fields.manifest
