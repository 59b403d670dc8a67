"""A region of an array or image that is written in parts by many tasks."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Self

from zarr.buffer import default_buffer_prototype

from cpr import io
from cpr.errors import NoDataError, RecordError, ResourceNotFoundError, UsageError
from cpr.format import Region
from cpr.io.hashing import hex16
from cpr.io.publishing import put_blocks
from cpr.io.write_markers import mark_unpublished, require_marked
from cpr.previews.models import Preview
from cpr.records.format_fields import read_format, to_json
from cpr.records.registry import register
from cpr.Target import Target
from cpr.zarr.copy import copy_all
from cpr.zarr.find_earlier_result import find_earlier, traffic_of
from cpr.zarr.folder import Folder
from cpr.zarr.full_check import verify_listed
from cpr.zarr.ome.extremes import Extremes
from cpr.zarr.parts.layout import Layout, array_on
from cpr.zarr.parts.opening import open_part
from cpr.zarr.parts.options import PartOptions
from cpr.zarr.parts.regions import Bounds, shown
from cpr.zarr.parts.source import source_of_part
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.part_store import PartStore
from cpr.zarr.stores.verifying_store import VerifyingStore
from cpr.zarr.typed_error_nodes import Node
from cpr.zarr.writing import fill
from cpr.zarr.zarr_internals import sync

__all__ = ["ZarrPart"]


@register
class ZarrPart(Folder):
    """A region of a Zarr that is written in parts; each is filled, hashed and published independently.

    `whole.part(region)` gives it, of a `ZarrTarget` or `OMEZarrTarget` with a declared shape and dtype. Its
    chunks are written where the whole has them; its digests, which make it a result, in one small object
    beside the whole. So a task returns and caches it as any target, and `whole.assemble(parts)` makes the
    whole of them, for which no pixel is read or moved. Until then other programs see an array with chunks
    missing.

    Attributes:
        data_hash: of the part's objects.
        checksum: of the part's manifest, which vouches for them.
        nbytes: of all that is stored of the part, its manifest included.
        region: (start, stop) along each axis, in the order in which the whole stores them.
        uploaded, copied: bytes that were sent, and that the store has copied of an earlier whole instead.

    >>> whole = cpr.ZarrTarget.from_path(
    ...     "memory://doc/volume.zarr", shape=(4, 64, 64), dtype="uint16", chunks=(1, 64, 64)
    ... )
    >>> part = whole.part(np.s_[2:4])
    >>> part.set_data(np.full((2, 64, 64), 7, "uint16"))
    >>> cpr.load(part.serialize()).get_data(region=np.s_[0, :2, 0])
    array([7, 7], dtype=uint16)
    """

    format_class = PartOptions

    _roots = ("zarr.json", ".zarray", "0/zarr.json")
    _began = 0.0
    _manifest: Manifest | None = None  # of what is written and not published yet
    _written: PartStore | None = None

    @classmethod
    def from_path(cls, path: Any, **options: Any) -> NoReturn:  # noqa: ARG003
        """Not available for parts, which `whole.part(region)` makes: raises UsageError."""
        raise UsageError(
            "a part is of a whole",
            url=io.normalise(path),
            expected="whole.part(region)",
            actual="ZarrPart.from_path(...)",
            remedy="ZarrTarget.from_path(url, shape=..., dtype=..., chunks=...).part(np.s_[0:64])",
        )

    @classmethod
    def of(cls, whole: Target, options: PartOptions, attempt: str) -> Self:
        """Make an empty part.

        Args:
            whole: the target that it is a part of.
            options: of the part.
            attempt: the whole's key.
        """
        format: Any = options  # encodes nothing by itself
        part = cls(whole.location, whole.name, whole.ext, format)
        part._parts_key = attempt
        return part

    @classmethod
    def stored(cls, whole: Target, options: Any, attempt: str, place: str) -> tuple[Self, Manifest]:
        """Load a published part from its manifest alone.

        Args:
            whole: that it is of.
            options: of the whole.
            attempt: the whole's key.
            place: where the part's manifest is.

        Raises CorruptDataError and RecordError for what is no manifest of such a part.
        """
        part = cls.of(whole, PartOptions(whole=options), attempt)
        part._key = attempt  # noqa: SLF001 - of this class
        manifest = Manifest.stored(part.url, place)
        if manifest is None:
            raise ResourceNotFoundError("the part was deleted meanwhile", url=place)
        part.format = dataclasses.replace(
            read_format(PartOptions, {} if manifest.part is None else manifest.part), whole=options
        )
        part._take_content(manifest)  # noqa: SLF001
        part.checksum = manifest.checksum
        part.manifest, part.nbytes = manifest.nbytes, manifest.total + manifest.nbytes
        if part.place != place:
            raise RecordError(
                "this is the manifest of another part",
                url=part.url,
                expected=place,
                actual=part.place,
                remedy=RecordError.NOT_OURS,
            )
        return part, manifest

    @property
    def region(self) -> Bounds:
        """Start and stop along each axis, in the order in which the whole stores them."""
        bounds: Bounds = self.format.region
        return bounds

    def set_data(self, data: Any, shape: tuple[int, ...] | None = None, dtype: Any = None) -> None:
        """Write the region, with its part of an image's smaller levels; `persist` publishes it.

        A part may be written again until the whole is assembled, by a task that is retried for one; what
        was written before is no result then.

        Args:
            data: as for `ZarrTarget.set_data`, of the region's shape; axes that the region has by an integer
                may be left out.
            shape: of an iterable's planes together; that of the region by default.
            dtype: of an iterable's elements; that of the whole by default.

        Raises:
            EncodeError: shape or dtype are others than the region's.
            RecordError: the whole was assembled already.
            TransferError, ResourceNotFoundError: the part could not be written.
        """
        with self._lock, self._decoding():
            layout: Layout = self.format.layout(self.name, self.url)
            source = source_of_part(layout, self.format, data, shape, dtype)
            shares = list(layout.shares(self.region))
            plans = layout.plans[: len(shares)]
            corners = {
                plan.path: tuple(objects.start for objects in plan.objects(share))
                for plan, share in zip(plans, shares, strict=True)
            }
            extremes = layout.extremes(self.region) if len(shares) == len(layout.plans) else None
            with self._writing(layout, corners, extremes) as store:
                arrays = [
                    array_on(store, plan, tuple(stop - start for start, stop in share))
                    for plan, share in zip(plans, shares, strict=True)
                ]
                fill(arrays, source, layout.halved, layout.method, extremes)

    @contextmanager
    def _writing(
        self, layout: Layout, corners: dict[str, tuple[int, ...]], extremes: Extremes | None
    ) -> Iterator[PartStore]:
        assert self._parts_key is not None
        url, began = self._url(self._parts_key), time.monotonic()
        if not mark_unpublished(url):
            raise RecordError(
                "the whole was assembled already, and a stored result is never changed",
                url=url,
                field=f"part {shown(self.region)}",
                expected="parts before assemble()",
                actual="a part after it",
                remedy="make a new whole with from_path, and its part",
            )
        # How much there is to be saved, all parts together tell.
        nbytes = math.prod(layout.full.shape) * layout.dtype.itemsize
        earlier = find_earlier(self, url, self.format.whole, nbytes)
        store = PartStore(url, earlier=earlier, corners=corners)
        try:
            for key, document in layout.documents.items():
                sync(store.set(key, default_buffer_prototype().buffer.from_bytes(document)))
            yield store
            ranges = () if extremes is None else extremes.ranges
            format = dataclasses.replace(self.format, ranges=ranges)
            manifest = Manifest.of(url, store.entries, store.algorithm, to_json(format))
        except BaseException:
            store.seal()
            self._take_back(store, set(layout.documents))
            raise
        before = self._written
        self._forget()
        if before is not None:
            self._take_back(before, set(store.entries))
        self._written, self._manifest, self._key = store, manifest, self._parts_key
        self._began, self.format = began, format
        self._take_content(manifest)

    @staticmethod
    def _take_back(store: PartStore, kept: set[str]) -> None:
        sync(store.take_back({key: entry for key, entry in store.entries.items() if key not in kept}))

    def _forget(self) -> None:
        super()._forget()
        self.manifest = self._manifest = self._written = self.uploaded = self.copied = None

    def persist(self) -> Self:
        """Publish the part with one small object; does nothing if already published.

        Raises:
            NoDataError: nothing was written.
            ResourceNotFoundError: the written objects were removed as orphans meanwhile.
            TransferError: the manifest could not be stored.
        """
        with self._lock:
            if self.checksum is not None:
                return self
            if self._manifest is None or self._written is None:
                raise NoDataError.of_empty(self.url, "be persisted")
            manifest = self._manifest
            put_blocks(self.url, manifest.data, self._place_of(manifest.checksum))
            require_marked(self.url)
            self._written.seal()
            self.uploaded, self.copied = traffic_of(self._written, manifest)
            self.checksum, self.manifest = manifest.checksum, manifest.nbytes
            self.nbytes = manifest.total + manifest.nbytes
            self.seconds = time.monotonic() - self._began
            self._manifest = self._written = None
        return self

    def _place_of(self, checksum: str) -> str:
        """URL of the part's manifest."""
        return io.sidecar_url(self.url, f".{hex16(f'{self.region} {checksum}'.encode())}.digests")

    @property
    def place(self) -> str:
        """URL of the part's stored manifest. Raises NoDataError before it is stored."""
        if self.checksum is None:
            raise NoDataError.of_empty(self.url, "have a manifest")
        return self._place_of(self.checksum)

    def get_data(self, cache: bool = False, region: Region | None = None) -> Any:
        """The part as a lazy `zarr.Array` in full resolution, which verifies every object it reads.

        Args:
            cache: keep what was opened.
            region: read only this region of the part, as numpy.

        Raises as `ZarrTarget.get_data`.
        """
        return super().get_data(cache, region)

    def _open(self) -> Node:
        return open_part(self._read_manifest(), self.region)

    def _read_manifest(self) -> Manifest:
        if self._manifest is not None:
            return self._manifest
        if self.checksum is None or self.manifest is None:
            raise NoDataError.of_empty(self.url, "be read")
        manifest = Manifest(self.url, self.manifest, self.checksum, place=self.place)
        self._require_content(manifest)
        return manifest

    def preview(self) -> Preview | None:
        """None: only the whole has a preview."""
        return None

    def verify(self) -> int:
        """Fetch and check every object of the part, in parallel; returns how many there are.

        Raises ResourceNotFoundError, CorruptDataError and TransferError, as `ZarrTarget.verify`.
        """
        return verify_listed(VerifyingStore.of(self._read_manifest()))

    def _copy_objects(self, twin: Self, is_new: bool, replace: bool) -> None:  # noqa: ARG002
        copy_all(self._read_manifest(), twin.url, twin.place, replace)

    def facts(self) -> dict[str, Any]:
        """Summary for people, without asking the store."""
        return {**super().facts(), "region": shown(self.region)}

    def __repr__(self) -> str:
        return f"ZarrPart({self.url!r}, {shown(self.region)})"
