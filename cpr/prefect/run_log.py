"""Into the log of the run, where people look."""

from __future__ import annotations

from typing import Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

__all__ = ["log"]


def log(level: int, message: str, *args: Any) -> None:
    """Into the log of the run, or cpr's where none is running."""
    try:
        get_run_logger().log(level, message, *args)
    except MissingContextError:
        get_logger("cpr").log(level, message, *args)
