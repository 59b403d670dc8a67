"""Encodes arrays of results reproducibly: equal data as equal bytes, despite later changes in memory.

Every array on a recording store is encoded this way, since zarr's own constructor is extended: whether cpr
writes it, or a user through the group of `ZarrTarget.create` or its store.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.storage import WrapperStore

from cpr.zarr.concurrency import WideCodecs, widen
from cpr.zarr.steady_gzip import without_times
from cpr.zarr.zarr_internals import on_every_array, with_own_copies, wrapped_store, zarrs_codecs

__all__ = ["encode_safely_on", "is_encoded_safely"]

_is_safe: ContextVar[bool] = ContextVar("cpr_zarr_is_encoded_safely", default=False)


class _SafeCodecs(WideCodecs):
    """The codecs of an array that is written.

    They write no timestamps into chunks, copy data in the caller's memory before encoding it, and adapt the
    number of parallel chunks to the store.
    """

    def __init__(self, url: str, chunk_bytes: int, codecs: Any) -> None:
        super().__init__(url, chunk_bytes, without_times(codecs))
        self._as_made = codecs

    async def write(self, batch_info: Iterable[Any], value: Any, *args: Any, **kwargs: Any) -> Any:
        codecs = with_own_copies(self._codecs, value.as_ndarray_like())
        token = _is_safe.set(True)
        try:
            await self._wide("write", codecs.write, list(batch_info), value, *args, **kwargs)
        finally:
            _is_safe.reset(token)

    def __reduce__(self) -> Any:
        # Shards are pickled as their metadata, which say nothing of times.
        return type(self), (self._url, self._chunk_bytes, self._as_made)


def encode_safely_on(kind: type[Store]) -> None:
    """Make every array on a store of this kind use this encoding from now on."""

    def prepare(array: zarr.AsyncArray[Any]) -> None:
        store = array.store_path.store
        while isinstance(store, WrapperStore):
            store = wrapped_store(store)
        if isinstance(store, kind):
            # Of chunks of several sizes, which are refused when the metadata are stored.
            with suppress(NotImplementedError):
                widen(array, lambda url, nbytes, _: _SafeCodecs(url, nbytes, zarrs_codecs(array)))

    on_every_array(prepare)


def is_encoded_safely() -> bool:
    """Whether the value being stored was encoded this way, and so has memory of its own."""
    return _is_safe.get()
