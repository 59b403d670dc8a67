"""Compare-and-swap for small objects: a write succeeds only if the writer knows the present version.

Of many processes that see one version and write at once, exactly one succeeds:

    S3, MinIO        PUT with If-None-Match (create) or If-Match (replace)
    GCS              upload with ifGenerationMatch
    local files      hard links (see `cpr.io.stores.local_cas`); NFS too
    memory://        a lock of this process

No other store has conditional writes that fsspec can reach, and some that speak S3's language ignore
the condition and say nothing. So S3 and GCS are tried out first, once per process and folder.
"""

from __future__ import annotations

import secrets

from cpr.errors import CprError, UnsupportedStoreError
from cpr.io.error_translation import translate_errors
from cpr.io.fork_safe import PerProcess
from cpr.io.objects import open_store, remove
from cpr.io.protocols import kind_of, load_store
from cpr.io.stores.base import Conditional, ConditionalStore, Versioned
from cpr.io.urls import join, protocol_of

__all__ = ["Versioned", "read", "require_conditional", "swap"]

_tried: PerProcess[str, None] = PerProcess()


def read(url: str) -> Versioned | None:
    """Read a small object and its version; None if there is none. Raises TransferError."""
    with translate_errors(url, "read"):
        return _conditional(url).read()


def swap(url: str, content: bytes, version: str | None) -> tuple[bool, Versioned | None]:
    """Write an object if its version is still this one (None: if there is none yet).

    The content must be unique to each write: reading it back shows whether a write whose answer was lost has
    succeeded.

    Returns:
        Whether it is written, and what is there now.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the store refused or failed, and the content is not there.
        UnsupportedStoreError: the store has no conditional writes.
    """
    try:
        with translate_errors(url, "write"):
            written = _conditional(url).write_if(content, version)
    except CprError:
        now = _unless_it_fails(url)
        if now is None or now.content != content:
            raise
        return True, now
    if written is not None:
        return True, Versioned(content, written, None)
    now = read(url)
    return now is not None and now.content == content, now


def _unless_it_fails(url: str) -> Versioned | None:
    try:
        return read(url)
    except CprError:
        return None


def require_conditional(url: str) -> None:
    """Check, once per process, that a folder's store honours conditional writes.

    Raises UnsupportedStoreError if it does not, TransferError or ResourceNotFoundError if that cannot be
    found out.
    """
    if not _store(url)[0].conditions_may_be_ignored:
        return
    with _tried.lock:
        if url in _tried.known:
            return
    _try_out(url)
    with _tried.lock:
        _tried.known[url] = None


def _try_out(folder: str) -> None:
    url = join(folder, f".{secrets.token_hex(8)}.cpr-lease")
    trial = _conditional(url)
    with translate_errors(url, "write"):
        first = trial.write_if(b"1", None)
        try:
            again = trial.write_if(b"2", None)
            second = None if first is None else trial.write_if(b"3", first)
            stale = None if first is None else trial.write_if(b"4", first)
        finally:
            remove(url)
    if first is None or second is None or again is not None or stale is not None:
        raise _unsupported(folder, "a store that takes them and ignores the condition")


def _unsupported(url: str, actual: str) -> UnsupportedStoreError:
    return UnsupportedStoreError(
        "this store has no conditional writes, so that nothing can be locked here",
        url=url,
        expected="S3, MinIO, GCS, a local or NFS folder, or memory://",
        actual=actual,
        remedy="put the locks into a bucket that has them, or do without: equal tasks that run at the same "
        "time are then computed twice, to the same result",
    )


def _store(url: str) -> tuple[ConditionalStore, str]:
    # By its class: a store that cannot be reached may still be known to lack them.
    kind = kind_of(protocol_of(url))
    if not hasattr(load_store(kind.store), "conditional"):
        raise _unsupported(url, f"{protocol_of(url)}://")
    store, path = open_store(url)
    assert isinstance(store, ConditionalStore)
    return store, path


def _conditional(url: str) -> Conditional:
    store, path = _store(url)
    return store.conditional(path)
