"""The cache of fsspec filesystems of this process, renewed when the configuration changes.

Storage options come from the local table (`cpr.io.config`), fsspec's own configuration and the providers'
environment variables, never from a URL or record.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import fsspec

from cpr.errors import MissingDependencyError
from cpr.io.clients.fsspec import configured, new_filesystem, options_in_url, path_on
from cpr.io.clients.thread_lock import serialize_calls
from cpr.io.config import current_table
from cpr.io.fork_safe import PerProcess
from cpr.io.protocols import StorageKind, all_kinds, kind_of
from cpr.io.request_threads import in_thread
from cpr.io.timeouts import NoAnswerError, request_seconds, wait_for
from cpr.io.url_secrets import require_no_secret
from cpr.io.urls import protocol_of

__all__ = ["filesystem"]

_filesystems: PerProcess[tuple[Any, ...], _Slot] = PerProcess()
_MOST = 32  # of one configuration: hosts, containers and options of the table may be many
_environment: tuple[dict[Any, Any], int] = ({}, 0)


class _Slot:
    """The cache entry of one filesystem; one thread at a time creates it, others wait within their limits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.fs: fsspec.AbstractFileSystem | None = None

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=(seconds := request_seconds())):
            raise NoAnswerError(seconds)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def filesystem(
    url: str, instead_of: fsspec.AbstractFileSystem | None = None
) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem that serves a URL in this process, and the path there.

    Listings are never cached. An instance is shared by the threads of a process, and made anew after a fork
    or when the configuration has changed.

    Args:
        url: of something on it.
        instead_of: one that has lost its connection, and is to be replaced.
    """
    require_no_secret(url)
    protocol = protocol_of(url)
    kind = kind_of(protocol)
    _require_client(kind, protocol, url)
    # The host of protocols that have one; the others' paths need not be known, and may not be understood.
    has_host = kind.authority in ("host", "container")
    authority = url.partition("://")[2].partition("/")[0] if has_host else ""
    root = url if "::" in url or not authority else f"{protocol}://{authority}/"
    given, options = configured(protocol), _options(url)
    configuration = _configuration()
    key = (
        configuration,
        root if "::" in url else authority,
        protocol,
        hash(json.dumps([given, options], sort_keys=True, default=repr)) if given or options else 0,
    )
    slot, left = _slot_of(key)
    del left  # a filesystem may close its connections now: not under the lock
    with slot:
        if slot.fs is None or slot.fs is instead_of:
            slot.fs = _connected(kind, protocol, root, {**options_in_url(protocol, root), **given}, options)
        fs = slot.fs
    return fs, path_on(fs, url)


def _connected(
    kind: StorageKind, protocol: str, root: str, given: dict[str, Any], options: dict[str, Any]
) -> fsspec.AbstractFileSystem:
    """Make a new filesystem. Raises NoAnswerError for a host that does not answer."""

    def connect() -> fsspec.AbstractFileSystem:
        fs = new_filesystem(protocol, root, {**options, **kind.client_options({**given, **options})})
        serialize_calls(fs)
        kind.settle(fs)
        return fs

    # Clients of hosts connect at once, and none of them limits all of what that takes.
    return wait_for(in_thread(connect)) if kind.authority == "host" else connect()


def _slot_of(key: tuple[Any, ...]) -> tuple[_Slot, list[_Slot]]:
    """Get the cache entry of a filesystem; also one that was evicted but is still in use.

    A filesystem of another configuration is not asked for any more. Each takes some 12 MiB.
    """
    with _filesystems.lock:
        known = _filesystems.known
        slot = known.setdefault(key, _Slot())
        known.move_to_end(key)
        old = [one for one in known if one[0] != key[0]]
        old += list(known)[: max(0, len(known) - len(old) - _MOST)]
        return slot, [known.pop(one) for one in dict.fromkeys(old)]


def _require_client(kind: StorageKind, protocol: str, url: str) -> None:
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        extra = f"pip install 'prefect-cpr[{kind.extra}]'"
        remedy = extra if kind.extra else "install the package named above"
        raise MissingDependencyError(
            f"the package for {protocol}:// is not installed", url=url, expected=str(error), remedy=remedy
        ) from error


def _configuration() -> int:
    """A value that changes whenever a variable changes that a client may read."""
    global _environment  # noqa: PLW0603
    # The undecoded variables, where they can be had: comparing them costs a hundredth of reading them all.
    now = dict(getattr(os.environ, "_data", os.environ))
    before, digest = _environment
    if now != before:
        beginnings = ("FSSPEC_", *(name for kind in all_kinds() for name in kind.variables))
        chosen = {k: v for k, v in os.environ.items() if k.startswith(beginnings)}
        digest = hash(json.dumps(chosen, sort_keys=True))
        _environment = (now, digest)
    return digest


def _options(url: str) -> dict[str, Any]:
    """The storage options for a URL from the local table; fsspec adds its own. Raises ConfigurationError."""
    table = current_table()
    options = dict(table.options_for(url))
    for link in url.split("::")[1:]:
        # Of a chain, options are told apart by their protocols.
        options[protocol_of(link)] = dict(table.options_for(link))
    return options
