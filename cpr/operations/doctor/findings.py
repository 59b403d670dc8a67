"""Findings of an examination, and store errors in plain words."""

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
    """The outcome of one check.

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
    """Make a finding: all is well."""
    return Finding("", "good", text, None, figures)


def poor(text: str, remedy: str, **figures: float) -> Finding:
    """Make a finding: it works, but with restrictions."""
    return Finding("", "poor", text, remedy, figures)


def wrong(text: str, remedy: str | None, **figures: float) -> Finding:
    """Make a finding: cpr cannot rely on this."""
    return Finding("", "wrong", text, remedy, figures)


def check(name: str) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
    """Decorator for a check: adds its name to the finding, and turns the store's errors into findings."""

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
    """Make a finding from an error of the store."""
    return Finding(check, "wrong", f"{error.problem} ({error.actual or type(error).__name__})", error.remedy)
