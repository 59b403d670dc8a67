"""Reproducible gzip for Zarr chunks: without a timestamp, so that equal chunks are equal bytes.

zarr's gzip codecs put the present time into the header of each chunk (MTIME, RFC 1952), so that an array
written again would be another result, and none of its chunks could be copied from the previous one.
"""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numcodecs
from numcodecs.compat import ensure_contiguous_ndarray
from zarr.codecs import GzipCodec, ShardingCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer

from cpr.zarr.zarr_internals import BatchedCodecPipeline, V2Codec

__all__ = ["without_times"]

_NAMES = ("gzip", "numcodecs.gzip")
_WITH_HEADER = 31  # zlib's window bits for gzip; it writes no time
_LEVEL = 5  # zarr's own, where a codec says none


def without_times(codecs: BatchedCodecPipeline) -> BatchedCodecPipeline:
    """Equivalent codecs that write no timestamps into chunks."""
    return dataclasses.replace(
        codecs,
        array_bytes_codec=_steady(codecs.array_bytes_codec),
        bytes_bytes_codecs=tuple(map(_steady, codecs.bytes_bytes_codecs)),
    )


class _Gzip(GzipCodec):
    def _encode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return chunk_spec.prototype.buffer.from_bytes(_compressed(chunk_bytes.as_numpy_array(), self.level))


class _Gzip2(numcodecs.GZip):  # type: ignore[misc]
    """The gzip codec of Zarr format 2, without timestamps."""

    def encode(self, buf: Any) -> bytes:
        """As the original codec."""
        return _compressed(ensure_contiguous_ndarray(buf), self.level)


def _compressed(data: Any, level: int) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, _WITH_HEADER)
    return compressor.compress(memoryview(data).cast("B")) + compressor.flush()


def _steady(codec: Any) -> Any:
    """The codec, or an equivalent one without timestamps."""
    if isinstance(codec, ShardingCodec):
        inner, index = tuple(map(_steady, codec.codecs)), tuple(map(_steady, codec.index_codecs))
        return dataclasses.replace(codec, codecs=inner, index_codecs=index)
    if isinstance(codec, V2Codec):
        filters = codec.filters and tuple(map(_steady_2, codec.filters))
        return dataclasses.replace(codec, filters=filters, compressor=_steady_2(codec.compressor))
    said = codec.to_dict()
    if said.get("name") not in _NAMES:
        return codec
    return _Gzip(level=said.get("configuration", {}).get("level", _LEVEL))


def _steady_2(codec: Any) -> Any:
    return _Gzip2(codec.level) if isinstance(codec, numcodecs.GZip) else codec
