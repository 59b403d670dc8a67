"""A strict reader for Thrift structs in Parquet files, used to check them before pyarrow decodes them.

What is checked here must be what pyarrow will read, so nothing ambiguous is accepted. pyarrow truncates
numbers to the bits of their type, interprets list items as the type that it expects, whatever the list
declares, and ignores fields of an unexpected type. So a struct is read by its known definition: everything
that has another type than defined, or more bits, is refused.

Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cpr.data.memory import require_memory

__all__ = ["BINARY", "BOOL", "I16", "I32", "I64", "Items", "Struct", "read_struct"]

BOOL, I16, I32, I64, BINARY = 1, 4, 5, 6, 8
_FALSE, _BYTE, _DOUBLE, _LIST, _SET, _MAP, _STRUCT = 2, 3, 7, 9, 10, 11, 12
_BITS = {I16: 16, I32: 32, I64: 64}
_LENGTH_BITS = 31

_MOST_DEPTH = 32
_MOST_ITEMS = 1_000_000  # as pyarrow, which makes room for all of them before it reads the first
_ITEM_BYTES = 300  # of memory for a struct that is kept


class Items(NamedTuple):
    """The items of a list: their type, or the struct that each of them is."""

    of: int | Struct


class Struct:
    """The known fields of a struct; unknown ones may be there too.

    Args:
        kept: by number, fields that are wanted: the kind of each.
        others: by number, fields that are left out, with all that is in them, and their kinds.
    """

    def __init__(
        self,
        kept: Mapping[int, int | Items | Struct] = {},
        others: Mapping[int, int | Items | Struct] = {},
    ) -> None:
        self.kept = kept
        self.known = {**others, **kept}


_UNKNOWN = Struct()


def read_struct(data: bytes | memoryview, start: int, struct: Struct) -> tuple[dict[int, Any], int]:
    """Read the requested fields of a struct by number; also returns where it ends.

    Args:
        data: bytes that contain it.
        start: of the struct.
        struct: the expected definition.

    Raises IndexError if it continues beyond the data, ValueError if it is malformed, DecodeError if there is
    not enough memory for it.
    """
    return _Reader(data, start).struct(struct, 0)


class _Reader:
    def __init__(self, data: bytes | memoryview, start: int) -> None:
        self.data, self.at = data, start
        self.kept = 0  # items of lists

    def struct(self, struct: Struct, depth: int) -> tuple[dict[int, Any], int]:
        if depth > _MOST_DEPTH:
            raise ValueError(f"structs in more than {_MOST_DEPTH} levels")
        fields: dict[int, Any] = {}
        seen = set()
        number = 0
        kept, known = struct.kept, struct.known
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.integer(I16)
            if number >> 15:
                raise ValueError(f"a field of the number {number}")
            # Of two, decoders take the last one of the kind that they expect: another than this might be.
            if number in seen:
                raise ValueError(f"field {number} twice")
            seen.add(number)
            kind = head & 15
            expected = known.get(number)
            if expected is not None and kind != _kind_of(expected) and (kind, expected) != (_FALSE, BOOL):
                raise ValueError(f"field {number} of kind {kind}, not {_kind_of(expected)}")
            if number in kept:
                # Of a truth value the kind is the value.
                is_truth = kind in (BOOL, _FALSE)
                fields[number] = kind == BOOL if is_truth else self.value(kind, expected, depth)
            elif kind not in (BOOL, _FALSE):
                self.skip(kind, expected, depth)
        return fields, self.at

    def value(self, kind: int, expected: int | Items | Struct | None, depth: int) -> Any:
        if kind in _BITS:
            return self.integer(kind)
        if kind == BINARY:
            return self.take(self.length())
        if isinstance(expected, Struct):
            return self.struct(expected, depth + 1)[0]
        if isinstance(expected, Items):
            kind, count = self.items(expected, depth)
            self.kept += count
            require_memory(self.kept * _ITEM_BYTES, "the footer")
            return [self.value(kind, expected.of, depth + 1) for _ in range(count)]
        if kind in (BOOL, _FALSE, _BYTE):  # truth values have a byte in lists
            return self.byte()
        if kind == _DOUBLE:
            return self.take(8)
        raise ValueError(f"a field of kind {kind}")

    def skip(self, kind: int, expected: int | Items | Struct | None, depth: int) -> None:
        """As `value`, without keeping anything, so that it takes no memory."""
        if kind in _BITS:
            self.integer(kind)
        elif kind == BINARY:
            nbytes = self.length()
            self.at += nbytes
        elif kind == _STRUCT:
            self.struct(expected if isinstance(expected, Struct) else _UNKNOWN, depth + 1)
        elif kind in (_LIST, _SET):
            items = expected if isinstance(expected, Items) else None
            kind, count = self.items(items, depth)
            for _ in range(count):
                self.skip(kind, None if items is None else items.of, depth + 1)
        elif kind in (BOOL, _FALSE, _BYTE):
            self.byte()
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _MAP:
            self.skip_map(depth)
        else:
            raise ValueError(f"a field of kind {kind}")

    def items(self, items: Items | None, depth: int) -> tuple[int, int]:
        """Read the header of a list: the type of its items, and how many there are."""
        if depth > _MOST_DEPTH:
            raise ValueError(f"lists in more than {_MOST_DEPTH} levels")
        head = self.byte()
        count = self.length() if head >> 4 == 15 else head >> 4
        if count > _MOST_ITEMS:
            raise ValueError(f"a list of {count}")
        kind = head & 15
        # An empty one may say anything.
        if items is not None and count and kind != _kind_of(items.of):
            raise ValueError(f"items of kind {kind}, not {_kind_of(items.of)}")
        return kind, count

    def skip_map(self, depth: int) -> None:
        if depth > _MOST_DEPTH:
            raise ValueError(f"maps in more than {_MOST_DEPTH} levels")
        if not (count := self.length()):
            return
        kinds = self.byte()
        for _ in range(count):
            self.skip(kinds >> 4, None, depth + 1)
            self.skip(kinds & 15, None, depth + 1)

    def byte(self) -> int:
        found = self.data[self.at]
        self.at += 1
        return found

    def take(self, nbytes: int) -> bytes:
        start, self.at = self.at, self.at + nbytes
        if self.at > len(self.data):
            raise IndexError("behind the end")
        return bytes(self.data[start : self.at])

    def length(self) -> int:
        return self.unsigned(_LENGTH_BITS)

    def unsigned(self, bits: int) -> int:
        found = self.data[self.at]
        self.at += 1
        if found < 128:
            return found
        found &= 127
        shift = 7
        while True:
            byte = self.data[self.at]
            self.at += 1
            found |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")
        # Decoders cut it: another number would be there than this.
        if found >> bits:
            raise ValueError(f"a number of more than {bits} bits")
        return found

    def integer(self, kind: int) -> int:
        found = self.unsigned(_BITS[kind])
        return (found >> 1) ^ -(found & 1)


def _kind_of(expected: int | Items | Struct) -> int:
    if isinstance(expected, int):
        return expected
    return _LIST if isinstance(expected, Items) else _STRUCT
