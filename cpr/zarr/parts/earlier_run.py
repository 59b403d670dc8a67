"""Finds the parts that an earlier run of the same task has written, to resume it.

Every part's manifest contains its region. So a listing of the manifests shows everything that was written, by
any process, and whenever it was killed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from cpr import io
from cpr.errors import CprError, TransferError
from cpr.io.hashing import FORGERY_PROOF, default_algorithm, hex16
from cpr.io.parallel_map import parallel_map
from cpr.io.transfer_width import side_by_side
from cpr.io.write_markers import is_abandoned
from cpr.provenance.running_task import nth_of_run
from cpr.storing import may_be_deleted
from cpr.Target import Target
from cpr.zarr.parts.assembly import (
    MANIFESTS_AT_ONCE,
    Piece,
    listing,
    manifests_at,
    require_layout,
    require_piece,
)
from cpr.zarr.parts.coverage import Mask, require_regions
from cpr.zarr.parts.layout import Layout
from cpr.zarr.stores.manifest import Manifest, manifest_url
from cpr.zarr.stores.recording_store import was_abandoned

if TYPE_CHECKING:
    from cpr.zarr.ZarrPart import ZarrPart

__all__ = ["key_of_nth", "key_of_run", "parts_there", "uncovered"]

log = logging.getLogger("cpr")


def key_of_run(whole: Target, layout: Layout, key: str) -> str:
    """The key under which a run writes a whole: that of an unfinished earlier run, if there is one.

    Args:
        whole: the target.
        layout: of the whole.
        key: of the task run.
    """
    place = io.join(whole.location, f"{whole.name}{whole.ext}")
    found = hex16(f"{key}\0{place}\0{sorted(layout.documents.items())}".encode())
    # What is published, or is being removed, is written to no more.
    while True:
        url = io.join(whole.location, f"{whole.name}-{found}{whole.ext}")
        is_closed = was_abandoned(url) or io.lookup(manifest_url(url)) is not None
        if not is_closed and not is_abandoned(url) and not may_be_deleted(url):
            return found
        found = hex16(found.encode())


def key_of_nth(whole: Target, layout: Layout, key: str) -> str:
    """As `key_of_run`, for data that cannot be identified beforehand.

    The first, second, ... write of a run to one place are distinguished by their order, which is the same
    when it runs again.
    """
    place = io.join(whole.location, f"{whole.name}{whole.ext}")
    return key_of_run(whole, layout, f"{key}\0{nth_of_run(place)}")


def parts_there(whole: Target, layout: Layout, key: str) -> list[ZarrPart]:
    """The existing parts under a key; damaged ones and those of another layout are skipped.

    Takes a listing of their manifests, a request for each, and a listing of their objects.

    Empty if `CPR_CHECKSUM` is a forgery-proof one: no record verifies what a killed run has left, and anybody
    with write access could have put it there.
    """
    from cpr.zarr.ZarrPart import ZarrPart

    if default_algorithm() in FORGERY_PROOF:
        return []
    url = io.join(whole.location, f"{whole.name}-{key}{whole.ext}")
    places = manifests_at(url)
    listed = listing(url) if places else {}
    if not listed.keys() >= layout.documents.keys():
        return []  # somebody has deleted what every part needs

    def read(place: str) -> tuple[ZarrPart, Manifest] | CprError:
        try:
            return ZarrPart.stored(whole, whole.format, key, place)
        except TransferError:
            raise  # a store that fails is no reason to compute all anew
        except CprError as error:
            return error

    there: Mask = np.zeros(layout.full.grid, bool)
    found: list[ZarrPart] = []
    at_once = side_by_side(MANIFESTS_AT_ONCE, url)
    for (place, stat), stored in zip(places.items(), parallel_map(read, places, at_once), strict=True):
        try:
            if isinstance(stored, CprError):
                raise stored
            part, manifest = stored
            require_regions(layout.full, [part.region], url)
            piece = Piece(part, manifest, manifest.entries(), stat.modified)
            require_layout(piece, layout, url)
            cells = there[layout.full.cells(part.region)]
            if cells.any():
                continue  # of the same objects, which another part has
            require_piece(piece, listed)
        except TransferError:
            raise
        except CprError as error:
            # Anybody may have put something there: it stops no task, whatever it is.
            log.info("%s is not adopted, and made again: %s", place, error)
            continue
        cells[...] = True
        found.append(part)
    return found


def uncovered(
    layout: Layout, regions: Iterable[tuple[slice, ...]], parts: Iterable[ZarrPart]
) -> Iterator[tuple[slice, ...]]:
    """The regions that no part covers; of partly covered ones, the uncovered objects.

    Args:
        layout: of the whole.
        regions: of whole objects, in the order of the data's axes.
        parts: the existing parts.
    """
    plan = layout.full
    there: Mask = np.zeros(plan.grid, bool)
    for part in parts:
        there[plan.cells(part.region)] = True
    for region in regions:
        bounds = tuple((region[axis].start, region[axis].stop) for axis in layout.order)
        cells = there[plan.cells(bounds)]
        if not cells.any():
            yield region
            continue
        corner = [objects.start for objects in plan.objects(bounds)]
        for number in np.argwhere(~cells).tolist():
            found = [slice(0)] * len(corner)
            for axis, at, first, unit, extent in zip(
                layout.order, number, corner, plan.unit, plan.shape, strict=True
            ):
                start = (first + at) * unit
                found[axis] = slice(start, min(start + unit, extent))
            yield tuple(found)
