"""Estimates the memory that a Parquet page needs when decoded, from its header and encoded lengths.

Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cpr.parquet.text_sizes import length_count, shared_bytes, text_lengths, used_bytes

__all__ = ["LITTLE_BYTES", "Chunk", "Leaf", "Page"]

LITTLE_BYTES = 16 << 20
"""Nobody runs out of memory by so little: of such texts it is not counted how often each is used."""

_CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
_HADOOP_LZ4 = 5
_TEXTS = (6, 7)
_WIDTHS = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8, 6: 4}
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3
_BIT_PACKED, _SHARED, _NUMBERS = 4, 7, (2, 8)
_LENGTHS_FIRST = (6, 7)


@dataclass(frozen=True)
class Leaf:
    """A leaf column of the schema.

    Attributes:
        physical: its type's number.
        length: of each of its values, if their type is that of values of one length.
        top: the number of the field at the top of the schema that it is in.
        definition: levels of values that may be missing.
        repetition: levels of lists.
    """

    physical: int
    length: int
    top: int
    definition: int
    repetition: int

    @property
    def width(self) -> int:
        """Bytes of a value in memory; for text, without the text itself."""
        return _WIDTHS.get(self.physical, self.length)


@dataclass
class Chunk:
    """A column chunk of a row group, and how far it was read.

    Attributes:
        start: its first byte in the file.
        stop: the byte behind it.
        leaf: the column.
        codec: number of the codec of its pages.
        values: number of values in its pages, including missing ones.
        rows: of the group.
        at: the byte that is read next.
        seen: values that its pages have had.
    """

    start: int
    stop: int
    leaf: Leaf
    codec: int
    values: int
    rows: int
    at: int = -1
    seen: int = 0
    skip: int = 0
    pending: bytes = b""
    _lengths: Any = None
    _dictionary: memoryview | None = None
    _entries: int = 0
    _longest: int = 0

    def restart(self) -> None:
        """Start again at its first byte."""
        self.at, self.seen, self.skip, self.pending = self.start, 0, 0, b""
        self._lengths, self._dictionary, self._entries, self._longest = None, None, 0, 0

    def keep_dictionary(self, entries: int, content: memoryview) -> None:
        """Keep the dictionary of texts to which later pages refer."""
        self._entries, self._dictionary, self._longest, self._lengths = entries, content, len(content), None

    def used(self, count: int, content: Any) -> int:
        """Total bytes of so many texts of the dictionary.

        Args:
            count: of texts.
            content: gives the page's, if the texts may be so long that it must be known which they are.
        """
        if count * self._longest <= LITTLE_BYTES or self._dictionary is None:
            return count * self._longest
        if self._lengths is None:
            self._lengths = text_lengths(self._dictionary, self._entries)
            self._longest = int(self._lengths.max(initial=0))
        most = count * self._longest
        return most if most <= LITTLE_BYTES else used_bytes(content(), self._lengths, count)


@dataclass
class Page:
    """A page, described by its header.

    Args:
        chunk: the column chunk of the page.
        header: as read.

    Raises KeyError, TypeError or ValueError for a header of no page.
    """

    chunk: Chunk
    header: dict[int, Any]
    kind: int = field(init=False)
    nbytes: int = field(init=False)
    stored: int = field(init=False)
    count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.kind, self.nbytes, self.stored = self.header[1], self.header[2], self.header[3]
        if self.nbytes < 0 or self.stored < 0:
            raise ValueError("a page of less than no bytes")
        if self.kind not in (_DATA, _DATA_2, _DICTIONARY):
            return
        self._said = self.header[{_DATA: 5, _DATA_2: 8, _DICTIONARY: 7}[self.kind]]
        self.count = self._said[1]
        leaf = self.chunk.leaf
        most = self.nbytes // max(1, leaf.width) if self.kind == _DICTIONARY else self.chunk.rows
        if self.count < 0 or (self.count > most and not (leaf.repetition and self.kind != _DICTIONARY)):
            raise ValueError(f"a page of {self.count} values, where {most} have room")

    @property
    def has_values(self) -> bool:
        """Whether the page holds values, and is not a dictionary or index."""
        return self.kind in (_DATA, _DATA_2)

    def claim(self, data: memoryview, is_coded: bool) -> tuple[int, int]:
        """Bytes that the page's values take, and temporary bytes while decoding.

        Args:
            data: what follows the header; at least all of the page.
            is_coded: texts stay numbers in a dictionary.

        Raises ValueError or IndexError for a page that is damaged.
        """
        leaf, data = self.chunk.leaf, data[: self.stored]
        if self.kind == _DICTIONARY:
            if leaf.physical in _TEXTS:
                self.chunk.keep_dictionary(self.count, self._decompressed(data))
            return 0, self.nbytes
        if not self.has_values:
            return 0, 0
        # Whatever the footer has said of rows.
        fixed = self.count * (leaf.width + 4 * bool(leaf.repetition))
        encoding = self._said[4 if self.kind == _DATA_2 else 2]
        if leaf.physical not in _TEXTS:
            return fixed, self.nbytes
        if encoding in _NUMBERS:
            if is_coded or leaf.length:
                return fixed, self.nbytes
            return fixed + self.chunk.used(self.count, lambda: self._values(data)), self.nbytes
        if encoding not in _LENGTHS_FIRST:
            return fixed + self.nbytes, self.nbytes
        values = self._values(data)
        if values and length_count(values) > self.count:
            raise ValueError(f"{length_count(values)} lengths of {self.count} texts")
        if encoding != _SHARED or not values:
            return fixed + self.nbytes, self.nbytes + 4 * self.count
        # Decoded twice: one after the other, then as a column.
        shared = shared_bytes(values)
        return fixed + shared + self.nbytes, shared + self.nbytes + 8 * self.count

    def _values(self, data: memoryview) -> memoryview:
        """The encoded values after the levels."""
        if self.kind == _DATA_2:
            levels = self._said[5] + self._said[6]
            if self._said[5] < 0 or self._said[6] < 0 or levels > min(len(data), self.nbytes):
                raise ValueError(f"{levels} bytes of levels")
            if self._said.get(7) is False:  # and not a number in its place, which decoders skip
                return data[levels:]
            return self._decompressed(data[levels:], self.nbytes - levels)
        data = self._decompressed(data)
        for levels, coded in ((self.chunk.leaf.repetition, 4), (self.chunk.leaf.definition, 3)):
            if not levels:
                continue
            if self._said[coded] == _BIT_PACKED:
                skipped = (self.count * levels.bit_length() + 7) // 8
            else:
                skipped = 4 + int.from_bytes(data[:4], "little")
            if skipped > len(data):
                raise ValueError(f"{skipped} bytes of levels")
            data = data[skipped:]
        return data

    def _decompressed(self, data: memoryview, nbytes: int | None = None) -> memoryview:
        nbytes = self.nbytes if nbytes is None else nbytes
        if not self.chunk.codec or not nbytes:
            return data[:nbytes]
        if self.chunk.codec == _HADOOP_LZ4:
            return _hadoop_lz4(data, nbytes)
        if self.chunk.codec not in _CODECS:
            raise ValueError(f"codec {self.chunk.codec}")
        return _decompressed(data, nbytes, _CODECS[self.chunk.codec])


def _hadoop_lz4(data: memoryview, nbytes: int) -> memoryview:
    """Decompress LZ4 with Hadoop's framing, or without it, as some older writers did."""
    found, rest = [], data
    left = nbytes
    while len(rest) >= 8:
        length, stored = int.from_bytes(rest[:4]), int.from_bytes(rest[4:8])
        if length > left or stored > len(rest) - 8:
            break
        try:
            found.append(_decompressed(rest[8 : 8 + stored], length, "lz4_raw"))
        except OSError:
            break
        rest, left = rest[8 + stored :], left - length
    if not rest and not left:
        return memoryview(b"".join(found))
    return _decompressed(data, nbytes, "lz4_raw")


def _decompressed(data: memoryview, nbytes: int, codec: str) -> memoryview:
    import pyarrow as pa

    return memoryview(pa.decompress(data, nbytes, codec)).cast("B")
