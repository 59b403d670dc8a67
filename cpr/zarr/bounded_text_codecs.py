"""Codecs for variable-length text and bytes that allocate no more memory than the chunk justifies.

Such a chunk begins with the number of texts; numcodecs allocates an array for that number before it checks
the length of the chunk, so that 64 bytes can claim 32 GB.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numcodecs
from numcodecs.compat import ensure_contiguous_ndarray
from zarr.abc.codec import Codec
from zarr.codecs import ShardingCodec, VLenBytesCodec, VLenUTF8Codec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.registry import get_pipeline_class

from cpr.zarr.zarr_internals import V2Codec

__all__ = ["counted"]

_LENGTH_BYTES = 4


def counted(codecs: Any) -> Any:
    """Wrap an array's codecs so that declared counts are checked against the length of the chunk.

    Args:
        codecs: zarr's pipeline of them.

    Decoding raises ValueError for chunks that claim more than they have.
    """
    own = getattr(codecs, "array_bytes_codec", None)
    found = None if own is None else _counted(own)
    return codecs if found is own else dataclasses.replace(codecs, array_bytes_codec=found)


def _require_room(chunk: Any) -> None:
    """Raise ValueError for a chunk that declares more texts than its bytes can hold."""
    data = ensure_contiguous_ndarray(chunk).reshape(-1).view("u1")
    claimed = int.from_bytes(bytes(data[:_LENGTH_BYTES]), "little")
    room = len(data) // _LENGTH_BYTES - 1
    if claimed > max(0, room):
        raise ValueError(f"a chunk of {len(data)} bytes that claims {claimed} texts")


class _Counts:
    """A codec of Zarr format 3 that checks a chunk before it is decoded."""

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        _require_room(chunk_bytes.as_array_like())
        return await super()._decode_single(chunk_bytes, chunk_spec)  # type: ignore[misc, no-any-return]

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        _require_room(chunk_bytes.as_array_like())
        return super()._decode_sync(chunk_bytes, chunk_spec)  # type: ignore[misc, no-any-return]


class _Texts(_Counts, VLenUTF8Codec):
    pass


class _Bytes(_Counts, VLenBytesCodec):
    pass


class _Shards(ShardingCodec):
    """A sharding codec whose inner chunks are checked too; a class, as zarr copies codecs."""

    @property
    def codec_pipeline(self) -> Any:
        """Zarr's pipeline, with checking codecs."""
        return get_pipeline_class().from_codecs(tuple(map(_counted, self.codecs)))


class _Filter:
    """A filter of Zarr format 2 that checks a chunk, under the name of the original filter."""

    def decode(self, buf: Any, out: Any = None) -> Any:
        """As numcodecs' method."""
        _require_room(buf)
        return super().decode(buf, out)  # type: ignore[misc]


class _TextFilter(_Filter, numcodecs.VLenUTF8):  # type: ignore[misc]
    pass


class _BytesFilter(_Filter, numcodecs.VLenBytes):  # type: ignore[misc]
    pass


class _ArrayFilter(_Filter, numcodecs.VLenArray):  # type: ignore[misc]
    pass


def _counted(codec: Codec) -> Codec:
    if type(codec) is VLenUTF8Codec:
        return _Texts()
    if type(codec) is VLenBytesCodec:
        return _Bytes()
    if type(codec) is ShardingCodec:
        return _Shards(
            chunk_shape=codec.chunk_shape,
            codecs=codec.codecs,
            index_codecs=codec.index_codecs,
            index_location=codec.index_location,
        )
    if isinstance(codec, V2Codec):
        filters = None if codec.filters is None else tuple(map(_counted_filter, codec.filters))
        compressor = None if codec.compressor is None else _counted_filter(codec.compressor)
        return dataclasses.replace(codec, filters=filters, compressor=compressor)
    return codec


def _counted_filter(codec: Any) -> Any:
    if type(codec) is numcodecs.VLenUTF8:
        return _TextFilter()
    if type(codec) is numcodecs.VLenBytes:
        return _BytesFilter()
    return _ArrayFilter(codec.dtype) if type(codec) is numcodecs.VLenArray else codec
