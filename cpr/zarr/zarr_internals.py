"""What of zarr is used that it does not promise to keep; `tests/zarr/test_zarr_facts.py` tests each fact."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.abc.codec import ArrayArrayCodec
from zarr.codecs import BytesCodec, ShardingCodec
from zarr.codecs._v2 import V2Codec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import NDBuffer
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore, WrapperStore

__all__ = [
    "V2Codec",
    "async_group_of",
    "copy_before_encoding",
    "entries_below",
    "objects_in_memory",
    "open_local",
    "stores_as_it_is",
    "sync",
    "wrap_codecs",
    "wrapped_store",
]


def async_group_of(group: zarr.Group) -> zarr.AsyncGroup:
    """The asynchronous group inside a group; arrays have a public property for theirs."""
    return group._async_group  # noqa: SLF001


def wrap_codecs(array: zarr.Array[Any], wrap: Callable[[Any], Any]) -> None:
    """Put what `wrap` makes of an array's codecs in their place, where `array[...]` finds it."""
    inner = array.async_array
    # A frozen dataclass; zarr sets this field of it in the same way.
    object.__setattr__(inner, "codec_pipeline", wrap(inner.codec_pipeline))


class _OwnCopy(ArrayArrayCodec):
    """A chunk in somebody else's memory becomes ours before it is encoded; nothing tells of it afterwards.

    zarr puts most chunks together in memory of its own: those are not copied once more.
    """

    is_fixed_size = True

    def __init__(self, foreign: Sequence[np.ndarray[Any, Any]]) -> None:
        self._foreign = foreign

    def _encode_sync(self, chunk: NDBuffer, spec: ArraySpec) -> NDBuffer:
        found = chunk.as_numpy_array()
        if not any(np.may_share_memory(found, one) for one in self._foreign):
            return chunk
        # Small enough to stay in a cache; without it an encoder that looks twice sees two things.
        return spec.prototype.nd_buffer.from_numpy_array(found.copy())

    async def _encode_single(self, chunk: NDBuffer, spec: ArraySpec) -> NDBuffer:
        return self._encode_sync(chunk, spec)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:  # noqa: ARG002
        """As large as it was."""
        return input_byte_length


def copy_before_encoding(array: zarr.Array[Any], foreign: Sequence[np.ndarray[Any, Any]]) -> None:
    """Let chunks in somebody else's memory be copied before they are encoded: it may change meanwhile.

    Shards are put together in memory of their own.

    Args:
        array: that is written.
        foreign: whose memory it is; looked at for each chunk, so that they may be others for each.
    """
    codecs = array.async_array.codec_pipeline
    own = getattr(codecs, "array_array_codecs", None)
    if own is not None and not isinstance(getattr(codecs, "array_bytes_codec", None), ShardingCodec):
        copies = (_OwnCopy(foreign), *own)
        wrap_codecs(array, lambda pipeline: dataclasses.replace(pipeline, array_array_codecs=copies))


def stores_as_it_is(codecs: Any) -> bool:
    """Whether codecs make no other bytes of a chunk than those that it has in memory."""
    codec = getattr(codecs, "array_bytes_codec", None)
    return (
        isinstance(codec, BytesCodec)
        and (codec.endian is None or getattr(codec.endian, "value", codec.endian) == sys.byteorder)
        and not codecs.bytes_bytes_codecs
        and all(isinstance(one, _OwnCopy) for one in codecs.array_array_codecs)
    )


def open_local(store: LocalStore) -> None:
    """Open a store of local files. Its own `open` raises where another thread has opened it meanwhile."""
    if not store._is_open:  # noqa: SLF001
        store._ensure_open_sync()  # noqa: SLF001


def wrapped_store(store: WrapperStore[Any]) -> Any:
    """The store that one of zarr's wrappers is around."""
    return store._store  # noqa: SLF001


def objects_in_memory(store: MemoryStore) -> Mapping[str, Any]:
    """What a store in memory holds: zarr's buffers, by key."""
    return store._store_dict  # noqa: SLF001


def entries_below(store: FsspecStore, folder: str) -> tuple[Any, Mapping[str, Mapping[str, Any]]]:
    """The filesystem of a store, and what that says of each object below a folder, as it is now."""
    # zarr wraps filesystems that have no asynchronous methods.
    bare = getattr(store.fs, "sync_fs", None)
    fs = store.fs if bare is None else bare
    fs.invalidate_cache()
    return fs, fs.find(folder, detail=True) if bare is not None else sync(fs._find(folder, detail=True))  # noqa: SLF001
