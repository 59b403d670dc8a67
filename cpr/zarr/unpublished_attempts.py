"""Attempts to write a hierarchy: begun, discarded, or cleaned up before publication."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from cpr.errors import CorruptDataError, CprError
from cpr.io.objects import remove_many
from cpr.io.write_markers import mark, unmark
from cpr.zarr.full_check import is_left_behind
from cpr.zarr.stores.copy_unchanged import Earlier
from cpr.zarr.stores.recording_store import RecordingStore
from cpr.zarr.stores.url_store import UrlStore
from cpr.zarr.zarr_internals import sync

__all__ = ["begin", "discard", "remove_leftovers", "remove_notes", "require_all_recorded"]

log = logging.getLogger("cpr")


def begin(url: str, earlier: Earlier | None = None) -> RecordingStore:
    """A store for a new attempt, with a marker by which it is removed if this process is killed.

    Args:
        url: of the attempt.
        earlier: result of which equal objects are copied.

    Raises TransferError and ResourceNotFoundError.
    """
    store = RecordingStore(url, earlier=earlier)
    mark(url)
    return store


def discard(store: RecordingStore) -> None:
    """Remove what was written by a failed attempt; what cannot be removed remains invisible."""
    store.abandon()
    try:
        sync(UrlStore(store.url).delete_dir(""))
        remove_many(store.notes)
        unmark(store.url)
    except CprError as error:
        log.warning("%s: could not remove what was written of a failed attempt: %s", store.url, error)


def remove_leftovers(store: RecordingStore) -> None:
    """Remove leftovers of a killed run that were not written again. Raises TransferError."""
    remove_many(f"{store.url}/{key}" for key in store.leftovers - store.entries.keys())
    store.leftovers.clear()


def remove_notes(url: str, notes: Iterable[str]) -> None:
    """Remove the progress notes of a published result; any that stay are deleted with the result."""
    try:
        remove_many(notes)
    except CprError as error:
        log.warning("%s: could not remove what told of its progress: %s", url, error)


def require_all_recorded(store: RecordingStore) -> None:
    """Raise CorruptDataError unless the place holds exactly the objects that the store has recorded."""
    there = {key for key in sync(_listed(store)) if not is_left_behind(key)}
    strangers = sorted(there ^ store.entries.keys())
    if strangers:
        raise CorruptDataError(
            "this hierarchy was not written through the group that create() gave, in this process",
            url=f"{store.url}/{strangers[0]}",
            expected=f"{len(store.entries)} objects",
            actual=f"{len(there)} objects, {len(strangers)} of them unknown or missing",
            remedy="write the arrays of the group in the process that made it, dask arrays with set_data",
        )


async def _listed(store: UrlStore) -> list[str]:
    return [key async for key in store.list()]
