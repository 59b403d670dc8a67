"""What an examination finds, and what errors of a store come to in plain words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cpr.errors import CprError

__all__ = ["Finding", "Status", "check", "diagnosed", "good", "poor", "wrong"]

Status = Literal["good", "poor", "wrong", "not tried"]


@dataclass(frozen=True)
class Finding:
    """What one check came to.

    Attributes:
        check: its name: "atomic writes".
        status: "good"; "poor": cpr works, with less than could be; "wrong": cpr cannot rely on this store as
            it is; "not tried".
        text: what was found, in a sentence.
        remedy: what to do about it; None if nothing is needed.
        figures: measured numbers, by name.
    """

    check: str
    status: Status
    text: str
    remedy: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


def good(text: str, **figures: float) -> Finding:
    """All is well."""
    return Finding("", "good", text, None, figures)


def poor(text: str, remedy: str, **figures: float) -> Finding:
    """It works, with less than could be."""
    return Finding("", "poor", text, remedy, figures)


def wrong(text: str, remedy: str | None, **figures: float) -> Finding:
    """This cannot be relied on."""
    return Finding("", "wrong", text, remedy, figures)


def check(name: str) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
    """Decorator of a function that tries something out: names what it finds, and what the store raises."""

    def named(function: Callable[..., Finding]) -> Callable[..., Finding]:
        @functools.wraps(function)
        def run(*args: Any) -> Finding:
            try:
                return replace(function(*args), check=name)
            except CprError as error:
                return diagnosed(name, error)

        run.check = name  # type: ignore[attr-defined]
        return run

    return named


def diagnosed(check: str, error: CprError) -> Finding:
    """A finding from what a store has raised."""
    return Finding(check, "wrong", f"{error.problem} ({error.actual or type(error).__name__})", error.remedy)
