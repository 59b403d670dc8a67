"""Warnings that point at the user's line of code, however deep in cpr their cause is found."""

from __future__ import annotations

import inspect
import warnings

__all__ = ["warn_user"]


def warn_user(text: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the innermost line outside of cpr that led here."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "cpr":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)
