"""What of zarr is used that it does not promise to keep; `tests/zarr/test_zarr_facts.py` tests each fact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zarr
from zarr.core.sync import sync
from zarr.storage import LocalStore

__all__ = ["async_group_of", "open_local", "sync", "wrap_codecs"]


def async_group_of(group: zarr.Group) -> zarr.AsyncGroup:
    """The asynchronous group inside a group; arrays have a public property for theirs."""
    return group._async_group  # noqa: SLF001


def wrap_codecs(array: zarr.Array[Any], wrap: Callable[[Any], Any]) -> None:
    """Put what `wrap` makes of an array's codecs in their place, where `array[...]` finds it."""
    inner = array.async_array
    # A frozen dataclass; zarr sets this field of it in the same way.
    object.__setattr__(inner, "codec_pipeline", wrap(inner.codec_pipeline))


def open_local(store: LocalStore) -> None:
    """Open a store of local files. Its own `open` raises where another thread has opened it meanwhile."""
    if not store._is_open:  # noqa: SLF001
        store._ensure_open_sync()  # noqa: SLF001
