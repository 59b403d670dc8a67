"""Records what a code description depends on, so that it is reused until one of these things changes.

Describing a hundred functions takes some milliseconds, checking that they are still the same ones a tenth of
that. Only identity is compared here: the caller describes again what can change in place, which is data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["MISSING", "Guards"]

MISSING = object()
T = TypeVar("T")


@dataclass
class Guards:
    """The names and attributes that were looked up, with their values.

    >>> guards, names = Guards(), {"x": 1}
    >>> guards.lookup(names, "x"), guards.hold()
    (1, True)
    >>> names["x"] = 2
    >>> guards.hold()
    False
    """

    _lookups: list[tuple[Mapping[str, Any], str, Any]] = field(default_factory=list)
    _attributes: list[tuple[Any, str, Any]] = field(default_factory=list)
    _names: list[tuple[Mapping[str, Any], frozenset[str]]] = field(default_factory=list)
    _subclasses: list[tuple[type, list[type]]] = field(default_factory=list)
    _outcomes: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = field(default_factory=list)
    _closed: bool = False

    def close(self) -> None:
        """Stop recording."""
        self._closed = True

    def lookup(self, names: Mapping[str, Any], name: str) -> Any:
        """The value of a name, or MISSING."""
        value = names.get(name, MISSING)
        if not self._closed:
            self._lookups.append((names, name, value))
        return value

    def attribute(self, owner: Any, name: str) -> Any:
        """The value of an attribute, or MISSING."""
        value = _attribute(owner, name)
        if not self._closed:
            self._attributes.append((owner, name, value))
        return value

    def items(self, names: Mapping[str, Any], but: Collection[str] = ()) -> dict[str, Any]:
        """All present items, except those under some names."""
        known = frozenset(names)
        if not self._closed:
            self._names.append((names, known))
        return {name: self.lookup(names, name) for name in sorted(known.difference(but))}

    def subclasses(self, cls: type) -> list[type]:
        """The direct and indirect subclasses of a class."""
        found: list[type] = type.__subclasses__(cls)
        if not self._closed:
            self._subclasses.append((cls, found))
        return [*found, *(below for one in found for below in self.subclasses(one))]

    def outcome(self, test: Callable[..., T], *args: Any) -> T:
        """The result of a test of values that may change."""
        found = test(*args)
        if not self._closed:
            self._outcomes.append((test, args, found))
        return found

    def hold(self) -> bool:
        """Whether everything is unchanged."""
        return (
            all(names.get(name, MISSING) is value for names, name, value in self._lookups)
            and all(_attribute(owner, name) is value for owner, name, value in self._attributes)
            and all(names.keys() == known for names, known in self._names)
            and all(type.__subclasses__(cls) == found for cls, found in self._subclasses)
            and all(test(*args) == found for test, args, found in self._outcomes)
        )


def _attribute(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name, MISSING)
    except ValueError:  # a cell that nothing was assigned to yet
        return MISSING
