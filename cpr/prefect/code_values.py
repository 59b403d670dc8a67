"""Symbolic values on the stack of a code object: the names that they may stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["NOTHING", "Change", "Import", "Reference", "Value", "attribute_of", "named", "roots"]


@dataclass(frozen=True, order=True)
class Reference:
    """A name that code reads, with the attributes that follow it: `pkg.sub.fn` is pkg with (sub, fn).

    Attributes:
        scope: "global" of the module, "closure", or "import" of what the function itself imports.
        name: of the variable, or of the module.
        attributes: the chain of attributes that follows.
    """

    scope: Literal["global", "closure", "import"]
    name: str
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, order=True)
class Import:
    """An import statement inside a function.

    Attributes:
        level: the number of leading dots.
        module: the name after them.
        names: the names imported from it.
    """

    level: int
    module: str
    names: tuple[str, ...]


@dataclass(frozen=True, order=True)
class Change:
    """A change of something in place, without reading it.

    Attributes:
        reference: a name by which it is reached.
        depth: how many steps, by attributes and items, it lies below the variable.
        called: whether a method of its own changes it.
    """

    reference: Reference
    depth: int
    called: bool


@dataclass(frozen=True)
class Value:
    """A possible value of a stack entry.

    Attributes:
        names: that it is, lies in or was computed from.
        inside: whether it is one of these or lies in it: a change of it changes that.
        extends: whether an attribute of it is named by one more attribute of the reference.
        method: the attribute that was taken last.
        changed: whether it is what a method gave that changes its object.
        text: the literal that it is.
        space: whether its items are the attributes of what it is.
        own: whether it is the module where the code stands.
        keyed: whether it was got by a key from what is named, or says whether the key is there.
        depth: how many steps, by attributes and items, it lies below what is named.
        trail: names that lead to it, of variables and attributes.
    """

    names: frozenset[Reference] = frozenset()
    inside: bool = False
    extends: bool = False
    method: str | None = None
    changed: bool = False
    text: str | None = None
    space: bool = False
    own: bool = False
    keyed: bool = False
    depth: int = 0
    trail: tuple[str, ...] = ()


NOTHING = Value()


def named(reference: Reference) -> Value:
    """The value of a name."""
    return Value(frozenset({reference}), inside=True, extends=True, trail=(reference.name,))


def attribute_of(value: Value, name: str) -> Value:
    """An attribute of named values; for the code's own module, the value of that name."""
    if value.own:
        return named(Reference("global", name))
    names = frozenset(replace(one, attributes=(*one.attributes, name)) for one in value.names)
    trail = (*value.trail, name)
    return Value(
        names, value.inside, value.extends, name, keyed=value.keyed, depth=value.depth + 1, trail=trail
    )


def roots(values: Iterable[Value]) -> frozenset[tuple[str, str]]:
    """Scopes and names of the variables that some values come from."""
    return frozenset((one.scope, one.name) for value in values for one in value.names)
