"""Describes classes for cache keys: bodies, decorators and base classes."""

from __future__ import annotations

import enum
import functools
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from cpr.prefect.annotations import texts_of, values_in_annotations
from cpr.prefect.class_members import (
    BUILT_IN,
    OF_ENUM,
    OF_MEMBER,
    OF_NO_MATTER,
    SLOTS,
    annotations_of_fields,
    asks_for_subclasses,
    fields_of,
    is_generated,
)
from cpr.prefect.code_memo_validity import Guards
from cpr.prefect.code_nodes import Node
from cpr.prefect.code_put_into_packages import registered_with
from cpr.prefect.description_graph import Unordered
from cpr.prefect.own_code import is_extension
from cpr.prefect.qualified_names import text_of_annotation

__all__ = ["Walk", "describe_class"]


class Walk(Protocol):
    """Describes the code and data that a class refers to."""

    guards: Guards
    named_in: dict[str, tuple[Any, ...]]

    def any(self, value: Any, label: str) -> Any:
        """Describe code or data."""

    def module(self, module: Any) -> Any:
        """Describe a module."""

    def subclasses(self, cls: type) -> Any:
        """Describe the user's subclasses of a class."""


def describe_class(node: Node, walk: Walk) -> None:
    """Describe the class of a node."""
    cls: type = node.value
    names = walk.guards.items(vars(cls))
    walk.guards.attribute(cls, "__bases__")
    members = {
        name: _member(value, f"{node.label}.{name}", walk)
        for name, value in names.items()
        if not _is_left_out(cls, name, value)
    }
    if issubclass(cls, enum.Enum):
        members["members"] = [
            [name, _member_of_enum(member, f"{node.label}.{name}", walk)]
            for name, member in cls.__members__.items()
        ]
    bases = [walk.any(one, node.label) for one in (*cls.__bases__, type(cls))]
    module = sys.modules.get(cls.__module__)
    if module is not None and is_extension(module):
        bases.append(walk.module(module))
    fields = list(fields_of(cls, lambda value, name: walk.any(value, f"{node.label}.{name}")))
    generic = names.get("__orig_bases__", ())
    annotations = names.get("__annotations__", {})
    texts = [texts_of(annotations), [text_of_annotation(one) for one in generic]]
    node.own = ["class", cls.__qualname__, sorted(members), fields, texts]
    walk.named_in.update((f"{node.label}.{name}", (members, node.own[2])) for name in members)
    of_types = [*annotations.values(), *annotations_of_fields(cls), *generic]
    space: Mapping[str, Any] = {} if module is None else vars(module)
    types = [
        walk.any(one, f"{node.label}.__annotations__")
        for one in values_in_annotations(of_types, space, walk.guards)
    ]
    node.part.description = [*node.own, members, bases, types]
    if registered := walk.guards.outcome(registered_with, cls):
        node.part.description.append(Unordered(walk.any(one, node.label) for one in registered))
    if any(asks_for_subclasses(value) for value in names.values()):
        node.part.description.append(walk.subclasses(cls))


def _is_left_out(cls: type, name: str, value: Any) -> bool:
    """Whether a member adds nothing that is not described elsewhere."""
    return (
        name in OF_NO_MATTER
        or name.startswith("__pydantic_")
        or isinstance(value, (*SLOTS, *BUILT_IN))
        or ("__dataclass_fields__" in vars(cls) and is_generated(value))
        or (issubclass(cls, enum.Enum) and (name in cls.__members__ or name in OF_ENUM))
    )


def _member_of_enum(member: enum.Enum, label: str, walk: Walk) -> Any:
    """The value of an enum member, and its own attributes."""
    names = walk.guards.items(vars(member))
    more = {name: walk.any(one, f"{label}.{name}") for name, one in names.items() if name not in OF_MEMBER}
    return [walk.any(member.value, label), *([more] if more else [])]


def _member(value: Any, label: str, walk: Walk) -> Any:
    if isinstance(value, (staticmethod, classmethod)):
        return [type(value).__name__, _member(value.__func__, label, walk)]
    if isinstance(value, property):
        parts = [value.fget, value.fset, value.fdel]
        return ["property", [part if part is None else _member(part, label, walk) for part in parts]]
    if isinstance(value, functools.partialmethod):
        bound = (value.func, value.args, value.keywords)
        return ["partialmethod", *(walk.any(one, label) for one in bound)]
    return walk.any(value, label)
