"""Checks that names and links do not lead outside of a folder.

Keys of object stores may be anything, `results/../../x` too; on local disks links lead elsewhere. Nothing
that a listing or a record names is written to, overwritten or deleted outside the place that a command was
given.
"""

from __future__ import annotations

import os
import re

from cpr import io
from cpr.errors import RecordError
from cpr.io.confinement import require_allowed, writing_only_below
from cpr.io.url_policy import require_safe
from cpr.io.urls import protocol_of

__all__ = ["is_below", "leads_out", "moved", "require_inside"]

_SEPARATOR = re.compile(r"[/\\]")


def is_below(url: str, folder: str) -> bool:
    """Whether a normalised URL is a folder's own, or that of something in it.

    >>> is_below("s3://bucket/a/b", "s3://bucket/a"), is_below("s3://bucket/ab", "s3://bucket/a")
    (True, False)
    """
    base = folder.rstrip("/")
    return url == folder or url.startswith((f"{base}/", f"{base}{os.sep}"))


def leads_out(url: str, folder: str) -> RecordError | None:
    """The reason why a listed object is not inside the folder; None if it is.

    >>> leads_out("s3://bucket/a/../../etc/x", "s3://bucket/a").problem
    'the name leads out of the folder that was listed'
    """
    # A bucket's console makes folders by empty objects whose keys end in a slash.
    rest = url[len(folder.rstrip("/")) :].strip("/")
    if is_below(url, folder) and (not rest or not {"", ".", ".."} & set(rest.split("/"))):
        return None
    return RecordError(
        "the name leads out of the folder that was listed",
        url=url,
        expected=f"names below {folder}, without '', '.' and '..' between slashes",
        actual=ascii(rest)[:200],
        remedy="nothing was done with it: delete the object if it is not yours, or give it another name",
    )


def moved(url: str, old: str, new: str) -> str:
    """The new URL of something below a folder, when the folder is copied to another place.

    Raises RecordError for a name that would lead out of the new folder, or be another one there.

    >>> moved("s3://bucket/a/b/c", "s3://bucket/a", "/archive")
    '/archive/b/c'
    """
    steps = _SEPARATOR.split(url[len(old) :].lstrip("/" + os.sep)) if url != old else []
    place = new
    for step in steps:
        if step in ("", ".", "..") or (re.match("[A-Za-z]:", step) and protocol_of(new) == "file"):
            raise RecordError(
                "the name leads out of its place",
                url=url,
                expected="names that stay below the destination, without '.', '..' and drive letters",
                actual=ascii(step),
                remedy="give the object another name, then copy again",
            )
        require_safe(place, step)
        place = io.join(place, step)
    return place


def require_inside(url: str, folder: str) -> None:
    """Raise TransferError unless a local place is inside a folder after resolving links.

    Whatever is written passes the same question again (`cpr.io.confinement`); here it is asked beforehand.
    Elsewhere than on local disks names are all there is, and this asks nothing.
    """
    if protocol_of(url) != "file":
        return
    with writing_only_below(folder):
        # Where a file is written to is what its folder is, for a link in the file's own place is replaced.
        for place in (os.path.join(url, "") if os.path.isdir(url) else url, io.sidecar_url(url, "")):
            require_allowed(place)
