"""Names of files that are being written, beside their places: `.<name>.<16 hex digits>.part`.

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
    """A new hidden name for a file that will be `name`; short, so that one at a system's limit still fits.

    >>> is_temporary(temporary_name("a.tif"))
    True
    """
    beginning = os.fsencode(name)[:64].decode("utf-8", "ignore") or "file"
    return f".{beginning}.{secrets.token_hex(8)}.part"


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that is being written, or was when its writer was killed."""
    return _TEMPORARY.fullmatch(name) is not None


def is_temporary_of_zarr(name: str) -> bool:
    """The same of a file that Zarr's own store writes, in a Zarr."""
    return _OF_ZARR.fullmatch(name) is not None
