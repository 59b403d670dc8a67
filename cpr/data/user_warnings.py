"""Warnings that name the user's line, however deep in cpr the reason is found."""

from __future__ import annotations

import inspect
import warnings

__all__ = ["warn_user"]


def warn_user(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the innermost line outside of cpr that led here."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "cpr":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)
