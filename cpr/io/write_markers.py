"""Markers beside folders of objects that are being written and not published yet.

The marker `.cpr/<name>.unfinished` lies beside such a folder from before its first object until it is
published, which is done by the digests beside it (`blocks_url`). A killed process leaves the marker, which
proves that the folder is no result: a folder without a marker is never touched, whatever its name is.

A writer that pauses for long may conflict with a process that removes orphans. So

    the writer    publishes, then reads its marker; if the marker has changed, it withdraws the publication
    the remover   empties the marker, then looks for a publication; if there is one, the folder stays

and the second one always notices the first. A published folder has all its objects.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from cpr.errors import CprError, ResourceNotFoundError
from cpr.io.block_digests import blocks_url
from cpr.io.objects import lookup, remove
from cpr.io.parallel_map import parallel_map
from cpr.io.publishing import writing
from cpr.io.sidecars import object_of_sidecar, sidecar_url
from cpr.io.stores.base import Stat

__all__ = [
    "confirm",
    "folder_of",
    "is_abandoned",
    "mark",
    "mark_once",
    "mark_unpublished",
    "marker_url",
    "require_marked",
    "take_over",
    "unmark",
]

log = logging.getLogger("cpr")

_ENDING = ".unfinished"
_CONTENT = b"cpr: this folder is being written, or its writer was killed\n"


def marker_url(url: str) -> str:
    """URL of a folder's marker."""
    return sidecar_url(url, _ENDING)


def folder_of(url: str) -> str | None:
    """The folder that a marker belongs to; None if the URL is not a marker's."""
    return object_of_sidecar(url) if url.endswith(_ENDING) else None


def mark(url: str) -> None:
    """Mark a folder as being written. Raises TransferError and ResourceNotFoundError."""
    _write(url, _CONTENT)


def mark_once(url: str) -> None:
    """Mark a folder as being written, unless another of its writers has done so.

    Raises ResourceNotFoundError if it was taken for an orphan meanwhile, and TransferError.
    """
    _mark_unless(lookup(marker_url(url)), url)


def mark_unpublished(url: str) -> bool:
    """As `mark_once`, for a folder that may be published already: then returns False and marks nothing."""
    published, marker = parallel_map(lookup, (blocks_url(url), marker_url(url)), 2)
    if published is None:
        _mark_unless(marker, url)
    return published is None


def _mark_unless(marker: Stat | None, url: str) -> None:
    if marker is None:
        mark(url)
    else:
        _require_whole(url, marker)


def require_marked(url: str) -> None:
    """Raise ResourceNotFoundError if the marker is gone, because the folder was taken for an orphan."""
    _require_whole(url, lookup(marker_url(url)))


def _require_whole(url: str, marker: Stat | None) -> None:
    if marker is None or marker.nbytes != len(_CONTENT):
        raise _taken_for_an_orphan(url, marker)


def is_abandoned(url: str) -> bool:
    """Whether a folder is being removed as an orphan."""
    marker = lookup(marker_url(url))
    return marker is not None and marker.nbytes != len(_CONTENT)


def _taken_for_an_orphan(url: str, marker: Stat | None) -> ResourceNotFoundError:
    return ResourceNotFoundError(
        "what was written was removed as an orphan before it was published",
        url=url,
        expected=f"a marker of {len(_CONTENT)} bytes beside it",
        actual="no marker" if marker is None else f"one of {marker.nbytes} bytes",
        remedy="write it again; older_than= of remove_orphans is to exceed any pause of a writer",
    )


def confirm(url: str, witness: str | None = None) -> None:
    """After publishing a folder, check that nobody took it for an orphan, and remove its marker.

    Args:
        url: of the folder.
        witness: an object in it, of a folder that several may publish, all the same: a marker that is gone
            while this is there was removed by another of them, because `remove_orphans` removes it last.

    Raises:
        ResourceNotFoundError: somebody has; the publication is taken back.
        TransferError: the store cannot be asked; the publication is taken back, and the folder is to be
            published again.
    """
    try:
        marker = lookup(marker_url(url))
    except CprError:
        if witness is None:
            # Its writer is told that it failed: nobody else shall find it.
            with suppress(CprError):
                remove(blocks_url(url))
        raise
    if marker is None and witness is not None and lookup(witness) is not None:
        return
    if marker is None or marker.nbytes != len(_CONTENT):
        remove(blocks_url(url))
        # Whatever is left is an orphan again, and no second try may publish it.
        _write(url, b"")
        raise _taken_for_an_orphan(url, marker)
    unmark(url)


def unmark(url: str) -> None:
    """Remove the marker; one that stays is found as an orphan."""
    try:
        remove(marker_url(url))
    except CprError as error:
        log.warning("%s: could not remove its marker: %s", url, error)


def take_over(url: str) -> bool:
    """Claim a marked folder in order to remove it; False if it was published, which is left alone."""
    _write(url, b"")
    if lookup(blocks_url(url)) is None:
        return True
    remove(marker_url(url))
    return False


def _write(url: str, content: bytes) -> None:
    try:
        with writing(marker_url(url)) as file:
            file.write(content)
    except CprError as error:
        # The caller knows the folder, not what is beside it.
        error.url = url
        raise
