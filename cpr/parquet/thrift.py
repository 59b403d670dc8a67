"""Structs in a Parquet file (footers, headers of pages), read so that they are judged before pyarrow decodes.

Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any

__all__ = ["read_struct"]

_MOST_DEPTH = 32
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 7, 8, 12
_INTEGERS, _LISTS, _MAP = (4, 5, 6), (9, 10), 11


def read_struct(data: bytes | memoryview, start: int = 0) -> tuple[dict[int, Any], int]:
    """The fields of a struct by number, and where it ends.

    Args:
        data: that it is in.
        start: of the struct.

    Raises IndexError where it goes on behind the data, ValueError for what is no such struct.
    """
    return _Reader(data, start).struct(0)


class _Reader:
    def __init__(self, data: bytes | memoryview, start: int) -> None:
        self.data, self.at = data, start

    def struct(self, depth: int) -> tuple[dict[int, Any], int]:
        if depth > _MOST_DEPTH:
            raise ValueError(f"structs in more than {_MOST_DEPTH} levels")
        fields: dict[int, Any] = {}
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.integer()
            kind = head & 15
            # Of two, decoders take the last one of the kind that they expect: another than this might be.
            if number in fields:
                raise ValueError(f"field {number} twice")
            # Of a truth value the kind is the value.
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self.value(kind, depth)
        return fields, self.at

    def value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self.integer()
        if kind == _BINARY:
            return self.take(self.unsigned())
        if kind == _STRUCT:
            return self.struct(depth + 1)[0]
        if kind in _LISTS:
            return self.values(depth)
        if kind in (_TRUE, _FALSE, _BYTE):  # truth values have a byte in lists
            return self.byte()
        if kind == _DOUBLE:
            return self.take(8)
        if kind == _MAP:
            return self.map(depth)
        raise ValueError(f"a field of kind {kind}")

    def values(self, depth: int) -> list[Any]:
        if depth > _MOST_DEPTH:
            raise ValueError(f"lists in more than {_MOST_DEPTH} levels")
        head = self.byte()
        count = self.unsigned() if head >> 4 == 15 else head >> 4
        # A struct has at least the byte that ends it, so that a list cannot be longer than the data.
        return [self.value(head & 15, depth + 1) for _ in range(count)]

    def map(self, depth: int) -> list[Any]:
        if not (count := self.unsigned()):
            return []
        kinds = self.byte()
        return [self.value(kind, depth + 1) for _ in range(count) for kind in (kinds >> 4, kinds & 15)]

    def byte(self) -> int:
        found = self.data[self.at]
        self.at += 1
        return found

    def take(self, nbytes: int) -> bytes:
        start, self.at = self.at, self.at + nbytes
        if self.at > len(self.data):
            raise IndexError("behind the end")
        return bytes(self.data[start : self.at])

    def unsigned(self) -> int:
        found = shift = 0
        while True:
            byte = self.byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def integer(self) -> int:
        found = self.unsigned()
        return (found >> 1) ^ -(found & 1)
