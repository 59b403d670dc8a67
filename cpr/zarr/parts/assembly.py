"""Assembles parts to a whole: their digests are merged, and their objects stay where they are.

Requests: one for each part, one for each 1000 objects (a listing), and a few for the whole. Pixels are read
only where a smaller level's chunk spans parts, from the level before it.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from cpr import io
from cpr.errors import CorruptDataError, CprError, PartError, ResourceNotFoundError
from cpr.io.error_translation import translate_errors
from cpr.io.objects import open_store, remove_many
from cpr.io.parallel_map import parallel_map
from cpr.io.stores.base import Entry as Listed
from cpr.io.stores.base import Stat
from cpr.io.transfer_width import side_by_side
from cpr.zarr.full_check import is_left_behind, verify_some
from cpr.zarr.parts.layout import Layout
from cpr.zarr.parts.regions import shown
from cpr.zarr.stores.chunk_verification import corrupt, missing
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.manifest_entries import Entries, make_entry
from cpr.zarr.stores.verifying_store import VerifyingStore

if TYPE_CHECKING:
    from cpr.zarr.ZarrPart import ZarrPart

__all__ = [
    "MANIFESTS_AT_ONCE",
    "Piece",
    "listing",
    "manifests_at",
    "merged",
    "read_pieces",
    "remove_leftovers",
    "require_layout",
    "require_piece",
    "require_stored",
]

MANIFESTS_AT_ONCE = 16
"""That are read, more where answers take long."""


@dataclass
class Piece:
    """A part, with the content of its manifest.

    Attributes:
        part: the part.
        manifest: of the part.
        entries: of its objects, without the metadata that all parts have.
        sealed: when its manifest was written.
    """

    part: ZarrPart
    manifest: Manifest
    entries: Entries
    sealed: datetime

    @property
    def name(self) -> str:
        """The part's name in error messages."""
        return f"part {shown(self.part.region)}"


def read_pieces(parts: Sequence[ZarrPart], layout: Layout, url: str) -> list[Piece]:
    """Read the manifests of parts, and their entries.

    Raises:
        PartError: one belongs to another whole, or has digests of another algorithm.
        ResourceNotFoundError: one was deleted.
        CorruptDataError: one is damaged.
    """
    listed: dict[str, Stat] = {}
    for place in {part.url for part in parts}:
        listed |= manifests_at(place)
    pieces = list(parallel_map(partial(_read_piece, listed), parts, side_by_side(MANIFESTS_AT_ONCE, url)))
    for piece in pieces:
        first = pieces[0]
        algorithm = piece.manifest.algorithm
        if algorithm != first.manifest.algorithm:
            raise PartError(
                "two parts have digests of different kinds",
                url=url,
                field=piece.name,
                expected=f"{first.manifest.algorithm}, as {first.name} has",
                actual=algorithm,
                remedy="set CPR_CHECKSUM alike for all workers, and write one of them again",
            )
        require_layout(piece, layout, url)
    return pieces


def manifests_at(url: str) -> dict[str, Stat]:
    """The manifests of parts in a folder, from a listing; empty if the bucket is missing.

    A part and its objects are compared by what listings say, for a HEAD may tell times less exactly.
    """
    try:
        return io.find(io.sidecar_url(glob.escape(url), ".*.digests"), hidden=True)
    except ResourceNotFoundError:
        return {}


def require_layout(piece: Piece, layout: Layout, url: str) -> None:
    """Raise PartError unless a part has the metadata of the whole; removes them from its entries."""
    for key, document in layout.documents.items():
        own = piece.entries.pop(key, None)
        digest = make_entry(memoryview(document), piece.manifest.algorithm, False).digest
        if own is None or own.digest != digest:
            raise PartError(
                "this part is of another whole",
                url=url,
                field=piece.name,
                expected=f"shape, dtype, chunks and codecs of {url}",
                actual=f"other metadata in {key} of {piece.part.url}",
                remedy="write the part again: whole.part(region).set_data(...)",
            )


def _read_piece(listed: dict[str, Stat], part: ZarrPart) -> Piece:
    assert part.manifest is not None and part.checksum is not None
    place = part.place
    try:
        found = listed.get(place) or io.stat(place)
        with io.reading(place, part.checksum.partition(":")[0], part.manifest) as file:
            blob = file.read()
    except ResourceNotFoundError as error:
        raise ResourceNotFoundError(
            "this part was deleted",
            url=part.url,
            field=f"part {shown(part.region)}",
            expected=f"its digests in {place}",
            actual="no such object",
            remedy="run its task again, or write it again: whole.part(region).set_data(...)",
        ) from error
    try:
        if len(blob) != part.manifest:
            raise corrupt(part.url, f"{part.manifest} bytes", f"{len(blob)} bytes in {place}")
        manifest = Manifest(part.url, part.manifest, part.checksum, blob, place)
        return Piece(part, manifest, manifest.entries(), found.modified)
    except CprError as error:
        error.field = f"part {shown(part.region)}"
        raise


def require_stored(url: str, pieces: Sequence[Piece], layout: Layout, full: bool) -> list[str]:
    """Check that the objects of parts in one folder are as written; returns other objects there.

    A listing shows which objects exist, their sizes, and which were modified since their part was published;
    only the latter are read. `full` reads everything.

    Raises CorruptDataError for an object that is missing or another one.
    """
    listed = listing(url)
    for key, document in layout.documents.items():
        if key not in listed:
            raise missing(
                f"{url}/{key}", make_entry(memoryview(document), pieces[0].manifest.algorithm, False)
            )
    verify_some(VerifyingStore.of(pieces[0].manifest), [*layout.documents])
    for piece in pieces:
        require_piece(piece, listed, full)
    for key in layout.documents:
        del listed[key]
    return [key for key in listed if not is_left_behind(key)]


def require_piece(piece: Piece, listed: dict[str, Listed], full: bool = False) -> None:
    """Check that the objects of a part exist; they are removed from the listing.

    Raises CorruptDataError for one that is missing or another one.
    """
    url, doubtful = piece.part.url, []
    for key, entry in piece.entries.items():
        found = listed.pop(key, None)
        if found is None:
            raise _of_part(missing(f"{url}/{key}", entry), piece)
        if found.nbytes != entry.size:
            raise _of_part(corrupt(f"{url}/{key}", f"{entry.size} bytes", f"{found.nbytes} bytes"), piece)
        if full or found.modified > piece.sealed:
            doubtful.append(key)
    try:
        verify_some(VerifyingStore.of(piece.manifest), doubtful)
    except CorruptDataError as error:
        raise _of_part(error, piece) from None


def _of_part(error: CorruptDataError, piece: Piece) -> CorruptDataError:
    error.field = piece.name
    error.remedy = "delete the part's record, so that its task runs again, or write the part again"
    return error


def listing(url: str) -> dict[str, Listed]:
    """All objects in a folder, by key."""
    store, path = open_store(url)
    with translate_errors(url, "list"):
        return {entry.url[len(url) + 1 :].replace("\\", "/"): entry for entry in store.walk(path)}


def remove_leftovers(
    url: str, pieces: Sequence[Piece], layout: Layout, others: Sequence[str], is_alone: bool = False
) -> list[str]:
    """Remove objects that belong to no part: leftovers of killed writers and assemblies.

    Returns the keys of those that stay where a run goes on alone: of smaller levels and labels, which are
    mostly written again, all the same. Another process of the run may be about to publish them.

    Args:
        url: of the folder.
        pieces: all parts.
        layout: of the whole.
        others: the keys of these objects.
        is_alone: all objects in the folder, labels too, were written by runs of one key.

    Raises PartError for one that is in no part's region: it may be of a part that was not given.
    """
    boxes = [layout.full.objects(piece.part.region) for piece in pieces]
    folders = [plan.path for plan in layout.plans[1:]]
    if is_alone and layout.description is not None:
        folders.append("labels")
    for key in others:
        numbers = layout.full.numbers(key)
        if numbers is None:
            ours = key == "zarr.json" or key.partition("/")[0] in folders
        else:
            ours = any(
                all(part.start <= n < part.stop for part, n in zip(box, numbers, strict=True))
                for box in boxes
            )
        if not ours:
            raise PartError(
                "there is an object that none of these parts has",
                url=f"{url}/{key}",
                field=f"{len(pieces)} parts",
                expected="the objects of these parts alone",
                actual="one that other programs would read as data of the whole",
                remedy="give assemble() its part as well, or write the parts of a new whole",
            )
    stay = [key for key in others if is_alone and layout.full.numbers(key) is None]
    kept = set(stay)
    remove_many(f"{url}/{key}" for key in others if key not in kept)
    return stay


def merged(pieces: Sequence[Piece], url: str) -> Entries:
    """Merge all entries. Raises CorruptDataError for an object that two parts list."""
    entries: Entries = {}
    count = 0
    for piece in pieces:
        entries |= piece.entries
        count += len(piece.entries)
    if len(entries) != count:
        raise corrupt(url, f"{count} objects in {len(pieces)} parts", f"{len(entries)} different ones")
    return entries
