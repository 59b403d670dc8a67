"""The base class of targets that many tasks write in parts."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from zarr.buffer import default_buffer_prototype

from cpr import io
from cpr.errors import PartError, UsageError
from cpr.format import Region
from cpr.io.publishing import put_blocks
from cpr.io.write_markers import confirm, mark_once, require_marked
from cpr.provenance.running_task import running_key
from cpr.storing import may_be_deleted
from cpr.zarr.copy import copy_objects
from cpr.zarr.folder import Folder
from cpr.zarr.ome.options import OMEZarrOptions
from cpr.zarr.parts.assembly import Piece, merged, read_pieces, remove_leftovers, require_stored
from cpr.zarr.parts.coverage import owners_of, require_no_gap, require_regions
from cpr.zarr.parts.earlier_run import key_of_nth, parts_there, uncovered
from cpr.zarr.parts.layout import Layout, layout_of
from cpr.zarr.parts.levels import complete_image
from cpr.zarr.parts.options import PartOptions
from cpr.zarr.parts.regions import bounds_of, regions_of, require_whole_objects, shown
from cpr.zarr.stores.manifest import Manifest, manifest_url
from cpr.zarr.stores.manifest_entries import make_entry
from cpr.zarr.stores.recording_store import RecordingStore
from cpr.zarr.zarr_internals import sync

if TYPE_CHECKING:
    from cpr.zarr.ZarrPart import ZarrPart

__all__ = ["TargetInParts"]


class TargetInParts(Folder):
    """A target that can be written in parts, if its shape and dtype are declared."""

    _adopted: list[ZarrPart] | None = None  # parts that were written here, or found

    def _take_arguments(self, found: Any) -> None:
        super()._take_arguments(found)
        if self.format.shape is not None:
            self._parts_key = uuid.uuid4().hex[:16]

    def part(self, region: Region) -> ZarrPart:
        """Make a part for a region of the array, to be filled by any task on any machine.

        Regions are made of whole chunks, or of whole shards where there are any: an object that two parts
        share would be written by both. Of an image, in the order of the metadata's axes; a part writes its
        share of every smaller level as well, as far as it has whole chunks there.

        Args:
            region: slices without steps, and integers, as `np.s_[0:64]`.

        Raises:
            EncodeError: the target was made without `shape=` and `dtype=`.
            FormatError: no region of this shape.
            PartError: the region cuts a chunk or a shard.

        >>> whole = cpr.ZarrTarget.from_path(
        ...     "memory://doc/volume.zarr", shape=(4, 64, 64), dtype="uint16", chunks=(1, 64, 64)
        ... )
        >>> parts = [whole.part(region) for region in whole.regions((2,))]
        >>> for part in parts:
        ...     part.set_data(np.ones((2, 64, 64), "uint16"))
        >>> whole.assemble(parts).get_data().shape
        (4, 64, 64)
        """
        from cpr.zarr.ZarrPart import ZarrPart

        layout = layout_of(self.format, self.name)
        assert self._parts_key is not None
        given, dropped = bounds_of(region, self.format.shape)
        bounds = tuple(given[axis] for axis in layout.order)
        require_whole_objects(bounds, layout.full.shape, layout.full.unit, self.url)
        return ZarrPart.of(self, PartOptions(bounds, whole=self.format, dropped=dropped), self._parts_key)

    def regions(self, size: Sequence[int | None] | None = None) -> list[tuple[slice, ...]]:
        """Regions that cover the array without cutting chunks or shards: one for each part.

        Args:
            size: of a region, rounded up to whole objects; None for all of an axis, as for axes that are left
                out. By default a region is one object.

        Raises as `part`.

        >>> whole = cpr.ZarrTarget.from_path("memory://doc/a.zarr", shape=(5, 9), dtype="u1", chunks=(2, 9))
        >>> whole.regions((3,))
        [(slice(0, 4, None), slice(0, 9, None)), (slice(4, 5, None), slice(0, 9, None))]
        """
        layout = layout_of(self.format, self.name)
        unit = [1] * len(layout.order)
        for axis, one in zip(layout.order, layout.full.unit, strict=True):
            unit[axis] = one
        return list(regions_of(self.format.shape, tuple(unit), size))

    def missing(self, size: Sequence[int | None] | None = None) -> list[tuple[slice, ...]]:
        """The regions still to be written: `regions` without those of an earlier run.

        With `target[region] = data` each of them is published by itself; `persist`, or returning the target
        from its task, assembles them. So a task that was killed goes on where it was: run again with the same
        cache key (a retry, another worker, a flow that is started again), it finds what it wrote, checks it,
        and does not compute it anew. What another key has written is never looked at; outside of tasks every
        target begins anew.

        Args:
            size: of a region; see `regions`.

        Raises as `part`, and TransferError.

        >>> target = cpr.ZarrTarget.from_path(
        ...     "memory://doc/long.zarr", shape=(4, 64, 64), dtype="uint16", chunks=(1, 64, 64)
        ... )
        >>> for region in target.missing():
        ...     target[region] = np.full((1, 64, 64), region[0].start, "uint16")
        >>> target.persist().get_data(region=np.s_[:, 0, 0])
        array([0, 1, 2, 3], dtype=uint16)
        """
        with self._lock:
            layout = layout_of(self.format, self.name)
            self._adopt(layout)
            return list(uncovered(layout, self.regions(size), self._adopted or ()))

    def __setitem__(self, region: Region, data: Any) -> None:
        """Write and publish a region; see `missing`. Raises as `part` and `ZarrPart.set_data`."""
        with self._lock:
            self._adopt(layout_of(self.format, self.name))
            part = self.part(region)
            part.set_data(data)
            assert self._adopted is not None
            self._adopted.append(part.persist())

    def _adopt(self, layout: Layout) -> None:
        """Find, once, what an earlier run of the running task has written."""
        if self._adopted is not None:
            return
        key = running_key()
        if key is None:
            self._adopted = []
        else:
            self._begin_parts(key_of_nth(self, layout, key), layout)

    def _begin_parts(self, key: str, layout: Layout) -> list[ZarrPart]:
        """Write parts under a run's key from now on; returns the existing parts, to be extended."""
        self._parts_key = key
        self._adopted = parts_there(self, layout, key)
        return self._adopted

    def assemble(self, parts: Iterable[ZarrPart], *, fill: bool = False, full: bool = False) -> Self:
        """Publish the whole that parts make up; no pixel is read or moved.

        The parts' digests are merged into a manifest, with which the whole exists. Its content, and its
        `data_hash`, are what `set_data` of all data at once would have made. Cached parts that an earlier run
        has written for another whole than the other parts are copied.

        Args:
            parts: all parts, in any order, as tasks returned them.
            fill: let what no part has hold the fill value; without it a gap is an error.
            full: read and check every object first. By default only those that were written to since their
                part was published are read; of the others presence and size are checked.

        Raises, before anything is published:
            PartError: parts overlap, leave a gap, cut a chunk or shard, or are of another whole.
            ResourceNotFoundError: a part was deleted.
            CorruptDataError: an object of a part is missing, or is not the one that was written.
            TransferError: the store refused or failed.
        """
        with self._lock:
            began = time.monotonic()
            layout = layout_of(self.format, self.name)
            given = [self._own(part) for part in parts]
            bounds = [part.region for part in given]
            require_regions(layout.full, bounds, self.url)
            there = owners_of(layout.full, bounds, self.url) >= 0
            if not fill:
                require_no_gap(layout.full, there, bounds, self.url)
            pieces = read_pieces([part.persist() for part in given], layout, self.url)
            key, published = self._home(pieces, layout)
            if published is None:
                store = self._gather(key, pieces, layout, full)
                if isinstance(self.format, OMEZarrOptions):
                    complete_image(store, layout, self.format, pieces, there)
                published = Manifest.of(store.url, store.entries, store.algorithm)
                self._publish(published, layout)
            self._forget()
            self._adopted = None
            self._key, self.seconds = key, time.monotonic() - began
            self._take_published(published, layout)
            self.uploaded = sum(part.uploaded or 0 for part in given)
            self.copied = sum(part.copied or 0 for part in given)
        return self

    def _own(self, part: Any) -> ZarrPart:
        """Check that a part belongs to a whole of this name. Raises UsageError and PartError."""
        from cpr.zarr.ZarrPart import ZarrPart

        if not isinstance(part, ZarrPart):
            raise UsageError(
                "only parts are assembled",
                url=self.url,
                expected="what whole.part(region) gave, filled",
                actual=type(part).__name__,
                remedy="return the part from its task, and give assemble() the results",
            )
        own, its = (io.join(one.location, f"{one.name}{one.ext}") for one in (self, part))
        if own != its:
            raise PartError(
                "this part is of another whole",
                url=own,
                field=f"part {shown(part.region)}",
                expected=f"a part of {own}",
                actual=f"a part of {its}",
                remedy="give assemble() the parts that whole.part() gave",
            )
        return part

    def _home(self, pieces: Sequence[Piece], layout: Layout) -> tuple[str, Manifest | None]:
        """The key for the whole, and its manifest if it exists already.

        The whole is where the parts are, if they are all in one place; else their objects are copied to a new
        place, which no reader uses yet.
        """
        keys = {piece.part.key for piece in pieces}
        if len(keys) == 1 and not may_be_deleted(self._url(key := keys.pop())):
            published = Manifest.stored(self._url(key))
            if published is None or _is_made_of(published, pieces, layout):
                return key, published
        assert self._parts_key is not None
        if io.lookup(manifest_url(self._url(self._parts_key))) is not None:
            self._parts_key = uuid.uuid4().hex[:16]
        return self._parts_key, None

    def _gather(
        self, key: str, pieces: Sequence[Piece], layout: Layout, full: bool, is_alone: bool = False
    ) -> RecordingStore:
        """Collect all objects of the parts in one folder, verified; returns a store that knows them.

        `is_alone`: all that is in the folder was written by runs of one key.
        """
        url = self._url(key)
        leftovers: list[str] = []
        places: dict[str, list[Piece]] = {}
        for piece in pieces:
            places.setdefault(piece.part.url, []).append(piece)
        for place, some in places.items():
            found = require_stored(place, some, layout, full)
            if place == url:
                leftovers = found
        if set(places) == {url}:
            require_marked(url)
        else:
            mark_once(url)
        leftovers = remove_leftovers(url, pieces, layout, leftovers, is_alone)
        for place, some in places.items():
            for piece in some if place != url else ():
                copy_objects(piece.manifest, url)
        store = RecordingStore(url, algorithm=pieces[0].manifest.algorithm if pieces else None)
        store.leftovers.update(leftovers)
        for name, document in layout.documents.items():
            if url in places:
                store.entries[name] = make_entry(memoryview(document), store.algorithm, False)
            else:
                sync(store.set(name, default_buffer_prototype().buffer.from_bytes(document)))
        store.entries.update(merged(pieces, url))
        return store

    def _publish(self, manifest: Manifest, layout: Layout) -> None:
        put_blocks(manifest.url, manifest.data)
        confirm(manifest.url, witness=io.join(manifest.url, next(iter(layout.documents))))

    def _take_published(self, manifest: Manifest, layout: Layout) -> None:
        """Set this target's digests and options from the published whole."""
        self._take_content(manifest)
        self.checksum, self.manifest = manifest.checksum, manifest.nbytes
        self.nbytes = manifest.total + manifest.nbytes
        options = self.format
        if layout.description is not None and options.known().axes not in (None, layout.description.axes):
            # What the target says of itself is what is stored.
            self.format = dataclasses.replace(
                options,
                metadata={**(options.metadata or {}), "axes": layout.description.axes},
                shape=tuple(options.shape[axis] for axis in layout.order),
            )


def _is_made_of(published: Manifest, pieces: Sequence[Piece], layout: Layout) -> bool:
    """Whether a published whole consists of these parts.

    Chunks of smaller levels that span parts are accepted as they were published.
    """
    entries = published.entries()
    count = 0
    for piece in pieces:
        if any(entries.get(key) != entry for key, entry in piece.entries.items()):
            return False
        count += sum(layout.full.numbers(key) is not None for key in piece.entries)
    return count == sum(layout.full.numbers(key) is not None for key in entries)
