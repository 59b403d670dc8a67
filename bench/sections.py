"""What the sections of the benchmark are, and how large."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Protocol, cast

__all__ = ["SECTIONS", "Row", "Section", "Size", "section"]

Row = dict[str, Any]

# Modules of this package, in the order of the page.
SECTIONS = (
    "side_by_side",
    "far",
    "round_trips",
    "levels",
    "hashing",
    "wire",
    "growth",
    "threads",
    "small_targets",
    "zarr_stores",
    "verifying",
    "flows",
    "keys",
)


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        mib: of the large arrays; 1024 for the page in docs. Sections scale everything else with it.
        rounds: how often contenders take turns.
    """

    mib: int = 1024
    rounds: int = 3

    def scaled(self, mib: int, least: int = 8) -> int:
        """`mib` of the full benchmark in one of this size, in whole 8 MiB."""
        return max(least, mib * self.mib // 1024 // 8 * 8)


class Section(Protocol):
    """A module that measures one thing; see the package's docstring."""

    TITLE: str

    def run(self, url: str, size: Size) -> list[Row]: ...
    def report(self, rows: list[Row]) -> str: ...


def section(name: str) -> Section:
    """The section of a name."""
    return cast(Section, importlib.import_module(f"bench.{name}"))
