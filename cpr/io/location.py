"""URLs and the filesystems behind them.

A location is a plain absolute path for local files, else an fsspec URL. Storage options come from
fsspec's own configuration and the providers' environment variables, never from a URL or record.
"""

from __future__ import annotations

import json
import os
import re
import threading
import warnings
from typing import Any

import fsspec
import fsspec.core
import fsspec.utils
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem

from cpr.errors import CprError, MissingDependencyError, RecordError, TransferError
from cpr.io.process import PerProcess

__all__ = ["filesystem", "join", "normalise", "protocol_of", "require_safe", "split"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_CONFIGURATION = ("AWS_", "FSSPEC_", "GOOGLE_", "STORAGE_EMULATOR", "AZURE_", "GCSFS_")

# What a stored record may name: places that hold objects, nothing that interprets or forwards.
_RECORD_PROTOCOLS = frozenset(
    "file memory s3 s3a gs gcs az abfs abfss adl sftp ssh smb hdfs webhdfs oci oss r2 hf lakefs".split()
)

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}

_filesystems: PerProcess[tuple[Any, ...], fsspec.AbstractFileSystem] = PerProcess()
_environment: tuple[dict[Any, Any], int] = ({}, 0)


def normalise(path: str | os.PathLike[str]) -> str:
    """One spelling for each place: an absolute path without `file://`, or a URL as fsspec takes it.

    Takes strings, os.PathLike and UPath objects. Raises CprError for an empty path or one with
    control characters.

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
    if not url or _CONTROL.search(url):
        raise CprError(
            "not a usable path",
            url=ascii(url),
            expected="a path or fsspec URL without control characters",
            remedy="name a file, for example 's3://bucket/folder/image.tif'",
        )
    protocol = protocol_of(url)
    if protocol == "file":
        return str(os.path.abspath(LocalFileSystem._strip_protocol(os.path.expanduser(url))))
    if "::" in url:
        return url
    if protocol not in fsspec.available_protocols():
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
    if location.endswith(":/") and protocol == "memory":
        return f"{location}/", name
    if location.endswith(":/") or not name:
        raise CprError(
            "the URL names no object in a bucket or folder",
            url=url,
            expected="protocol://bucket/name.ext",
            remedy="add a file name to the URL",
        )
    return location, name


def require_safe(location: object, name: object) -> None:
    """Raise RecordError unless a location and name from a stranger's record may be used; no I/O."""
    for field, value in (("location", location), ("name", name)):
        if not isinstance(value, str) or not value or len(value) > 4096 or _CONTROL.search(value):
            raise RecordError(
                "not a usable name",
                field=field,
                expected="a non-empty string without control characters",
                actual=ascii(value)[:200],
                remedy="the record was not written by cpr: delete it, so that its task runs again",
            )
    assert isinstance(location, str) and isinstance(name, str)
    if "/" in name or "\\" in name or name in (".", ".."):
        raise RecordError(
            "the name leaves its location",
            field="name",
            expected="a file name without path separators",
            actual=ascii(name),
            remedy="the record was not written by cpr: delete it, so that its task runs again",
        )
    protocol = protocol_of(location)
    steps = re.split(r"[/\\]", location)
    hostile = "::" in location or ".." in steps or protocol not in _RECORD_PROTOCOLS
    hostile = hostile or (location.endswith("://") and protocol != "memory")
    if hostile or location != normalise(location):
        raise RecordError(
            "records may not name this location",
            field="location",
            expected=f"an absolute path or a URL of {', '.join(sorted(_RECORD_PROTOCOLS))}",
            actual=ascii(location)[:200],
            remedy="the record was not written by cpr: delete it, so that its task runs again",
        )


def filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem that serves a URL in this process, and the path there.

    Listings are never cached (a cached one makes `exists` wrong in both directions). Instances are
    shared by threads where fsspec's async ones allow it, and made anew after a fork or when the
    configuration has changed.
    """
    protocol = protocol_of(url)
    try:
        cls = fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        raise MissingDependencyError(
            f"the package for {protocol}:// is not installed",
            url=url,
            expected=str(error),
            remedy=f"pip install 'prefect-cpr[{extra}]'" if extra else "install the package named above",
        ) from error
    shared = issubclass(cls, AsyncFileSystem)
    options = fsspec.config.conf.get(protocol, {})
    key = (
        None if shared else threading.get_ident(),
        ""
        if protocol in ("s3", "s3a", "gs", "gcs", "file", "memory")
        else url.partition("://")[2].partition("/")[0],
        protocol,
        _configuration(),
        hash(json.dumps(options, sort_keys=True, default=repr)) if options else 0,
    )
    with _filesystems.lock:
        fs = _filesystems.known.get(key)
        if fs is None:
            fs, _ = fsspec.core.url_to_fs(
                url, use_listings_cache=False, skip_instance_cache=True, **_client_options(protocol, options)
            )
            _filesystems.known[key] = fs
    return fs, str(fs._strip_protocol(url))


def _configuration() -> int:
    """Changes whenever a variable does that a client may look at."""
    global _environment  # noqa: PLW0603
    # The undecoded variables, where they can be had: comparing them costs a hundredth of reading them all.
    now = dict(getattr(os.environ, "_data", os.environ))
    before, digest = _environment
    if now != before:
        chosen = {k: v for k, v in os.environ.items() if k.startswith(_CONFIGURATION)}
        digest = hash(json.dumps(chosen, sort_keys=True))
        _environment = (now, digest)
    return digest


def _client_options(protocol: str, options: Any) -> dict[str, Any]:
    """Options that cost nothing but time to do without, unless the user has set them."""
    if protocol not in ("s3", "s3a"):
        return {}
    # Bodies carry a CRC, which the store checks; a SHA-256 of them in the signature would only say it
    # again, at a third of an upload's CPU time.
    config = options.get("config_kwargs", {})
    signing = {"payload_signing_enabled": False, **config.get("s3", {})}
    return {"config_kwargs": {**config, "s3": signing}}
