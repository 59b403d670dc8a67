"""A list that keeps many similar items compressed in memory."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

__all__ = ["CompactList"]

T = TypeVar("T")

_AT_ONCE = 1024  # items that are packed together


class CompactList(Collection[T], Generic[T]):
    """A list that pickles and compresses all but the last thousand items.

    A million errors that differ in their URLs take some 70 MiB instead of a gigabyte. What comes out is equal
    to what went in, not the same object.

    Args:
        items: to begin with.

    >>> errors = CompactList("abc")
    >>> errors.append("d")
    >>> len(errors), errors[1], errors == ["a", "b", "c", "d"]
    (4, 'b', True)
    """

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._packed: list[bytes] = []
        self._last: list[T] = []
        for item in items:
            self.append(item)

    def append(self, item: T) -> None:
        """Append an item, which must be picklable and must not change any more."""
        self._last.append(item)
        if len(self._last) == _AT_ONCE:
            self._packed.append(zlib.compress(pickle.dumps(self._last), 1))
            self._last = []

    def __len__(self) -> int:
        return len(self._packed) * _AT_ONCE + len(self._last)

    def __iter__(self) -> Iterator[T]:
        for part in range(len(self._packed)):
            yield from self._part(part)
        yield from self._last

    def __contains__(self, item: object) -> bool:
        return any(item == one for one in self)

    def __getitem__(self, index: int) -> T:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        part, at = divmod(index % len(self), _AT_ONCE)
        return self._part(part)[at]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (list, CompactList)):
            return NotImplemented
        return len(self) == len(other) and all(map(lambda one, two: bool(one == two), self, other))

    def __repr__(self) -> str:
        more = ", ..." if len(self) > 3 else ""
        return f"CompactList([{', '.join(map(repr, islice(self, 3)))}{more}])"

    def _part(self, number: int) -> list[T]:
        if number == len(self._packed):
            return self._last
        found: list[T] = pickle.loads(zlib.decompress(self._packed[number]))  # noqa: S301 - packed above
        return found
