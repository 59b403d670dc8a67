"""URLs: one spelling for each place, and its parts.

A location is a plain absolute path for local files, else an fsspec URL.
"""

from __future__ import annotations

import os
import re
import warnings

import fsspec
import fsspec.utils

from cpr.errors import CprError, TransferError
from cpr.io.clients.fsspec import local_path
from cpr.io.protocols import is_known, kind_of
from cpr.io.url_secrets import require_no_secret

__all__ = ["join", "normalise", "protocol_of", "split"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def normalise(path: str | os.PathLike[str]) -> str:
    """One spelling for each place: an absolute path without `file://`, or a URL as fsspec takes it.

    Takes strings, os.PathLike and UPath objects. Raises CprError for an empty path, one with control
    characters, and a URL with a secret in it.

    >>> normalise("file:///data/a.tif"), normalise("s3://bucket//a.tif")
    ('/data/a.tif', 's3://bucket/a.tif')
    """
    if getattr(path, "storage_options", None):
        warnings.warn(
            "the storage options of this UPath are not carried along: cpr takes them from fsspec's "
            "configuration and the environment, so that every worker finds its own",
            stacklevel=3,
        )
    # A UPath's str() is its URL; os.fspath() would strip the protocol.
    url = str(path) if not isinstance(path, bytes) else os.fsdecode(path)
    require_no_secret(url)
    if not url or _CONTROL.search(url):
        raise CprError(
            "not a usable path",
            url=ascii(url),
            expected="a path or fsspec URL without control characters",
            remedy="name a file, for example 's3://bucket/folder/image.tif'",
        )
    protocol = protocol_of(url)
    if protocol == "file":
        path = os.path.abspath(local_path(os.path.expanduser(url)))
        # POSIX leaves two slashes at the begin as they are; there is one spelling for each place.
        return f"/{path.lstrip('/')}" if os.name == "posix" else path
    if "::" in url:
        return url
    if not is_known(protocol) and protocol not in fsspec.available_protocols():
        raise TransferError(
            "no such protocol",
            url=url,
            expected="one of fsspec's: a local path, file, memory, s3, gs, az, sftp ...",
            actual=protocol,
            remedy="correct the URL, or install the package that implements the protocol",
        )
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.sub('/+', '/', rest).lstrip('/').rstrip('/')}"


def protocol_of(url: str) -> str:
    """The protocol as fsspec names it; `file` for plain paths."""
    # As fsspec does it, without a regular expression: this is asked a dozen times for each target.
    scheme, found, _ = url.partition("://")
    protocol = str(fsspec.utils.get_protocol(url)) if "::" in url else scheme if found else "file"
    return "file" if protocol == "local" else protocol


def join(location: str, name: str) -> str:
    """The place of `name` in a location."""
    if protocol_of(location) == "file":
        return os.path.join(location, name)
    return f"{location}{name}" if location.endswith("/") else f"{location}/{name}"


def split(url: str) -> tuple[str, str]:
    """A normalised URL as (location, file name).

    >>> split("s3://bucket/denoised/a.tif")
    ('s3://bucket/denoised', 'a.tif')
    """
    protocol = protocol_of(url)
    if protocol == "file":
        return os.path.split(url)
    location, _, name = url.rpartition("/")
    if location.endswith(":/") and kind_of(protocol).authority == "none":
        return f"{location}/", name
    if location.endswith(":/") or not name:
        raise CprError(
            "the URL names no object in a bucket or folder",
            url=url,
            expected="protocol://bucket/name.ext",
            remedy="add a file name to the URL",
        )
    return location, name
