"""Formats sizes and counts for people, the same in logs, tables and pages."""

from __future__ import annotations

__all__ = ["counted", "human_size"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def human_size(nbytes: float) -> str:
    """Format a number of bytes.

    >>> human_size(88), human_size(1.2 * 2**30), human_size(1000 * 2**20)
    ('88 B', '1.2 GiB', '1000 MiB')
    """
    for unit in _UNITS:
        if nbytes < 1024 or unit == _UNITS[-1]:
            break
        nbytes /= 1024
    return f"{nbytes:.1f} {unit}" if nbytes < 10 and unit != "B" else f"{nbytes:.0f} {unit}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Format a number with its noun, singular or plural.

    >>> counted(1, "record"), counted(12000, "target")
    ('1 record', '12,000 targets')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
