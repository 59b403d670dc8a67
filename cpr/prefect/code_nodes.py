"""Nodes of the code graph: functions, classes and modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cpr.prefect.class_members import Kind
from cpr.prefect.description_graph import Part

__all__ = ["Node", "label_of", "number_of"]


@dataclass(eq=False)
class Node:
    """A function, class or module.

    Attributes:
        label: its name in messages.
        value: itself.
        kind: of the three.
        number: in the order in which they are met.
        part: the description of what it does, and what it uses.
        own: the part of the description that is its own, without what it uses.
        asked: names by which its description answers what code asks of it.
    """

    label: str
    value: Any
    kind: Kind
    number: int
    part: Part = field(default_factory=Part)
    own: Any = None
    asked: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.part.code = self


def label_of(node: Node) -> list[str]:
    """A name of a node that is the same in every description."""
    return [node.kind, node.label]


def number_of(node: Node) -> list[int]:
    """A name of a node within one description."""
    return [node.number]
