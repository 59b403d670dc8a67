"""Temporary names of files that are being written: `.<name>.<16 hex digits>.part`.

Zarr's own store of local files calls them `<name>.<32 hex digits>.partial`.
"""

from __future__ import annotations

import os
import re
import secrets

__all__ = ["is_temporary", "is_temporary_of_zarr", "temporary_name"]

_TEMPORARY = re.compile(r"\..{1,64}\.[0-9a-f]{16}\.part", re.DOTALL)
_OF_ZARR = re.compile(r".+\.[0-9a-f]{32}\.partial", re.DOTALL)


def temporary_name(name: str) -> str:
    """A new hidden name for a file that will be `name`; short, to stay within the system's limit.

    >>> is_temporary(temporary_name("a.tif"))
    True
    """
    beginning = os.fsencode(name)[:64].decode("utf-8", "ignore") or "file"
    return f".{beginning}.{secrets.token_hex(8)}.part"


def is_temporary(name: str) -> bool:
    """Whether a file name is temporary: of a file being written, or left by a killed writer."""
    return _TEMPORARY.fullmatch(name) is not None


def is_temporary_of_zarr(name: str) -> bool:
    """As `is_temporary`, for files that Zarr's own store writes."""
    return _OF_ZARR.fullmatch(name) is not None
