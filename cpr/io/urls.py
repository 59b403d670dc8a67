"""URLs and the filesystems behind them.

A location is a plain absolute path for local files, else an fsspec URL. Storage options come from the
local table (`cpr.io.config`), fsspec's own configuration and the providers' environment variables, never
from a URL or record.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import warnings
from typing import Any

import fsspec
import fsspec.core
import fsspec.utils
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem

from cpr.errors import CprError, MissingDependencyError, TransferError
from cpr.io.config import VARIABLE, current_table
from cpr.io.fork_safe import PerProcess
from cpr.io.thread_lock import serialize_calls
from cpr.io.url_policy import PROTOCOLS, Objection, as_record_error, objection_to, redacted, secret_in

__all__ = ["filesystem", "join", "normalise", "protocol_of", "require_no_secret", "require_safe", "split"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_CONFIGURATION = ("AWS_", "FSSPEC_", "GOOGLE_", "STORAGE_EMULATOR", "AZURE_", "GCSFS_")

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}

_WITHOUT_HOST = ("s3", "s3a", "gs", "gcs", "file", "memory")
_CONNECT_SECONDS = 20
_SILENCE_SECONDS = 120

_filesystems: PerProcess[tuple[Any, ...], _Slot] = PerProcess()
_environment: tuple[dict[Any, Any], int] = ({}, 0)


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
        path = str(os.path.abspath(LocalFileSystem._strip_protocol(os.path.expanduser(url))))
        # POSIX leaves two slashes at the begin as they are; there is one spelling for each place.
        return f"/{path.lstrip('/')}" if os.name == "posix" else path
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
    objection = objection_to(location, name)
    if objection is None:
        assert isinstance(location, str) and isinstance(name, str)
        if not _is_normal(location):
            allowed = f"an absolute path or a URL of {', '.join(sorted(PROTOCOLS))}"
            objection = Objection("records may not name this location", "location", allowed)
        elif not current_table().allows(join(location, name)):
            objection = Objection(
                "the local configuration does not let records name this location",
                "location",
                f"a location below one of the prefixes of `records` in the table that {VARIABLE} names",
                "add its prefix if you trust it; else delete the record, so that its task runs again",
            )
    if objection is not None:
        raise as_record_error(objection, location, name)


def _is_normal(location: str) -> bool:
    """Whether this is how cpr spells the place: two spellings would be two places to who compares them."""
    try:
        if location != normalise(location):
            return False
    except CprError:
        return False  # a protocol that nothing here implements
    return protocol_of(location) == "memory" or not location.endswith("://")


def require_no_secret(url: str) -> None:
    """Raise CprError for a URL with a password, a key or a signature in it: it would be stored and shown."""
    if secret_in(url):
        raise CprError(
            "the URL carries a secret",
            url=redacted(url),
            expected="a URL without password, key, token or signature",
            remedy="give credentials in the environment, in fsspec's configuration or in the table that "
            f"{VARIABLE} names, on every worker",
        )


class _Slot:
    """The place of one filesystem, which one thread at a time may make; others need not wait for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.fs: fsspec.AbstractFileSystem | None = None


def filesystem(
    url: str, instead_of: fsspec.AbstractFileSystem | None = None
) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem that serves a URL in this process, and the path there.

    Listings are never cached (a cached one makes `exists` wrong in both directions). An instance is shared
    by the threads of a process, and made anew after a fork or when the configuration has changed.

    Args:
        url: of something on it.
        instead_of: one that has lost its connection, and is to be replaced.
    """
    require_no_secret(url)
    protocol = protocol_of(url)
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        raise MissingDependencyError(
            f"the package for {protocol}:// is not installed",
            url=url,
            expected=str(error),
            remedy=f"pip install 'prefect-cpr[{extra}]'" if extra else "install the package named above",
        ) from error
    # The host of protocols that have one; the others' paths need not be known, and may not be understood.
    authority = "" if protocol in _WITHOUT_HOST else url.partition("://")[2].partition("/")[0]
    root = url if "::" in url or not authority else f"{protocol}://{authority}/"
    conf, options = fsspec.config.conf.get(protocol, {}), _options(url)
    key = (
        root if "::" in url else authority,
        protocol,
        _configuration(),
        hash(json.dumps([conf, options], sort_keys=True, default=repr)) if conf or options else 0,
    )
    with _filesystems.lock:
        slot = _filesystems.known.setdefault(key, _Slot())
    with slot.lock:
        if slot.fs is None or slot.fs is instead_of:
            slot.fs = _connected(root, {**options, **_client_options(protocol, {**conf, **options})})
        fs = slot.fs
    return fs, _path(fs, url)


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


def _options(url: str) -> dict[str, Any]:
    """What the local table has for a URL; fsspec adds its own configuration. Raises ConfigurationError."""
    table = current_table()
    options = dict(table.options_for(url))
    for link in url.split("::")[1:]:
        # Of a chain, options are told apart by their protocols.
        options[protocol_of(link)] = dict(table.options_for(link))
    return options


def _connected(url: str, options: dict[str, Any]) -> fsspec.AbstractFileSystem:
    if issubclass(fsspec.get_filesystem_class(protocol_of(url)), AsyncFileSystem):
        # Others may not know it: the one for SFTP hands whatever it is given to paramiko.
        options = {"use_listings_cache": False, **options}
    fs, _ = fsspec.core.url_to_fs(url, skip_instance_cache=True, **options)
    fs.dircache.use_listings_cache = False
    serialize_calls(fs)
    if hasattr(fs, "ftp"):
        _settle(fs.ftp.get_channel())
    return fs


def _settle(channel: Any) -> None:
    """Make paramiko's connection notice a line that went dead without a word, and not wait for nothing."""
    channel.settimeout(_SILENCE_SECONDS)
    transport = channel.get_transport()
    transport.set_keepalive(_SILENCE_SECONDS // 4)
    # Else the end of every 32 KiB is held back until the other side has acknowledged their beginning.
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _path(fs: fsspec.AbstractFileSystem, url: str) -> str:
    """The path of a URL on its filesystem, question marks and hashes too: some take them for a query."""
    if "://" not in url or "::" in url or url.startswith("http"):
        return str(fs._strip_protocol(url))
    hidden = url.replace("?", "\x01").replace("#", "\x02")
    return str(fs._strip_protocol(hidden)).replace("\x01", "?").replace("\x02", "#")


def _client_options(protocol: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options that cost nothing but time to do without, unless the user has set them: `options`."""
    if protocol in ("sftp", "ssh"):
        waits = dict.fromkeys(("timeout", "banner_timeout", "auth_timeout"), _CONNECT_SECONDS)
        return {name: seconds for name, seconds in waits.items() if name not in options}
    if protocol in ("gs", "gcs") and "consistency" not in options:
        # What zarr writes through it is compared with what has arrived.
        return {"consistency": "md5"}
    if protocol not in ("s3", "s3a"):
        return {}
    # Bodies carry a CRC, which the store checks; a SHA-256 of them in the signature would only say it
    # again, at a third of an upload's CPU time.
    config = options.get("config_kwargs", {})
    signing = {"payload_signing_enabled": False, **config.get("s3", {})}
    return {"config_kwargs": {**config, "s3": signing}}
