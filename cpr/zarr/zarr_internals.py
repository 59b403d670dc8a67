"""Private parts of zarr that cpr uses; `tests/zarr/test_zarr_facts.py` tests each fact."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import numpy as np
import zarr
from zarr.abc.codec import ArrayArrayCodec
from zarr.codecs import BytesCodec, ShardingCodec
from zarr.codecs._v2 import V2Codec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import NDBuffer
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore, WrapperStore

__all__ = [
    "BatchedCodecPipeline",
    "V2Codec",
    "async_group_of",
    "entries_below",
    "objects_in_memory",
    "on_every_array",
    "open_local",
    "stores_as_it_is",
    "sync",
    "with_own_copies",
    "wrap_codecs",
    "wrapped_store",
    "zarrs_codecs",
]


def async_group_of(group: zarr.Group) -> zarr.AsyncGroup:
    """The asynchronous group behind a group; for arrays there is a public property."""
    return group._async_group  # noqa: SLF001


def wrap_codecs(array: zarr.Array[Any] | zarr.AsyncArray[Any], wrap: Callable[[Any], Any]) -> None:
    """Replace an array's codecs by a wrapper, where `array[...]` finds them."""
    inner = array.async_array if isinstance(array, zarr.Array) else array
    # A frozen dataclass; zarr sets this field of it in the same way.
    object.__setattr__(inner, "codec_pipeline", wrap(inner.codec_pipeline))


class _OwnCopy(ArrayArrayCodec):
    """A codec that copies chunks in foreign memory before encoding; leaves no trace in the metadata.

    zarr puts most chunks together in memory of its own: those are not copied once more.
    """

    is_fixed_size = True

    def __init__(self, foreign: Any) -> None:
        self._foreign = foreign

    def _encode_sync(self, chunk: NDBuffer, spec: ArraySpec) -> NDBuffer:
        found = chunk.as_ndarray_like()
        if hasattr(found, "__cuda_array_interface__"):
            return chunk
        is_known = isinstance(found, np.ndarray) and isinstance(self._foreign, np.ndarray)
        if is_known and not np.may_share_memory(found, self._foreign):
            return chunk
        # Small enough to stay in a cache; without it an encoder that looks twice sees two things.
        return spec.prototype.nd_buffer.from_numpy_array(np.array(found))

    async def _encode_single(self, chunk: NDBuffer, spec: ArraySpec) -> NDBuffer:
        return self._encode_sync(chunk, spec)

    def _decode_sync(self, chunk: NDBuffer, spec: ArraySpec) -> NDBuffer:  # noqa: ARG002
        return chunk

    async def _decode_single(self, chunk: NDBuffer, spec: ArraySpec) -> NDBuffer:  # noqa: ARG002
        return chunk

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:  # noqa: ARG002
        """The size is unchanged."""
        return input_byte_length


def with_own_copies(codecs: BatchedCodecPipeline, foreign: Any) -> BatchedCodecPipeline:
    """Codecs that copy chunks in foreign memory before encoding, as that memory may change meanwhile.

    Args:
        codecs: of an array; of shards those of the chunks inside are meant.
        foreign: what is written. Where it is no numpy array, every chunk is taken to be in its memory.
    """
    own = codecs.array_array_codecs
    inner = codecs.array_bytes_codec
    if isinstance(inner, ShardingCodec):
        return dataclasses.replace(codecs, array_bytes_codec=_with_own_copies_inside(inner, foreign))
    return dataclasses.replace(codecs, array_array_codecs=(_OwnCopy(foreign), *own))


def _with_own_copies_inside(shards: ShardingCodec, foreign: Any) -> ShardingCodec:
    # Beside another codec shards within shards could not be read and written in parts.
    if any(isinstance(one, ShardingCodec) for one in shards.codecs):
        codecs = tuple(
            _with_own_copies_inside(one, foreign) if isinstance(one, ShardingCodec) else one
            for one in shards.codecs
        )
    else:
        codecs = (_OwnCopy(foreign), *shards.codecs)
    return dataclasses.replace(shards, codecs=codecs)


def zarrs_codecs(array: zarr.AsyncArray[Any]) -> BatchedCodecPipeline:
    """The codecs of an array in zarr's own pipeline, whichever is configured."""
    codecs, metadata = array.codec_pipeline, array.metadata
    if isinstance(codecs, BatchedCodecPipeline):
        return codecs
    if metadata.zarr_format == 2:
        return BatchedCodecPipeline.from_codecs([V2Codec(metadata.filters, metadata.compressor)])
    return BatchedCodecPipeline.from_codecs(metadata.codecs)


def on_every_array(call: Callable[[zarr.AsyncArray[Any]], None]) -> None:
    """Call a function with each array that zarr makes from now on.

    There are dozens of ways to an array in a store, of groups, of zarr's modules, of other libraries; all
    of them end in the one constructor.
    """
    made = zarr.AsyncArray.__init__

    @wraps(made)
    def make(self: zarr.AsyncArray[Any], *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        call(self)

    zarr.AsyncArray.__init__ = make  # type: ignore[method-assign]


def stores_as_it_is(codecs: Any) -> bool:
    """Whether the codecs store a chunk's bytes unchanged."""
    codec = getattr(codecs, "array_bytes_codec", None)
    return (
        isinstance(codec, BytesCodec)
        and (codec.endian is None or getattr(codec.endian, "value", codec.endian) == sys.byteorder)
        and not codecs.bytes_bytes_codecs
        and all(isinstance(one, _OwnCopy) for one in codecs.array_array_codecs)
    )


def open_local(store: LocalStore) -> None:
    """Open a store of local files; zarr's `open` raises if another thread opened it meanwhile."""
    if not store._is_open:  # noqa: SLF001
        store._ensure_open_sync()  # noqa: SLF001


def wrapped_store(store: WrapperStore[Any]) -> Any:
    """The store inside one of zarr's wrappers."""
    return store._store  # noqa: SLF001


def objects_in_memory(store: MemoryStore) -> Mapping[str, Any]:
    """The content of a memory store: zarr's buffers, by key."""
    return store._store_dict  # noqa: SLF001


def entries_below(store: FsspecStore, folder: str) -> tuple[Any, Mapping[str, Mapping[str, Any]]]:
    """The filesystem of a store, and its present information on each object below a folder."""
    # zarr wraps filesystems that have no asynchronous methods.
    bare = getattr(store.fs, "sync_fs", None)
    fs = store.fs if bare is None else bare
    fs.invalidate_cache()
    return fs, fs.find(folder, detail=True) if bare is not None else sync(fs._find(folder, detail=True))  # noqa: SLF001
