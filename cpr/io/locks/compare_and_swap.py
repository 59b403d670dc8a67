"""Small objects that are replaced only by who knows their present version: compare and swap.

Of many processes that see one version and write at once, exactly one succeeds:

    S3, MinIO        PUT with If-None-Match (create) or If-Match (replace)
    GCS              upload with ifGenerationMatch
    local files      hard links (see `cpr.io.locks.local_cas`); NFS too
    memory://        a lock of this process

No other store has conditional writes that fsspec can reach, and some that speak S3's language ignore
the condition and say nothing. So S3 and GCS are tried out first, once per process and folder.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import quote

from cpr.errors import CprError, UnsupportedStoreError
from cpr.io.error_translation import code_of, translate_errors
from cpr.io.fork_safe import PerProcess
from cpr.io.locks.local_cas import Versioned, VersionedFolder
from cpr.io.stores.base import open_store
from cpr.io.stores.fsspec import GenericStore
from cpr.io.stores.gcs import GCSStore
from cpr.io.stores.local import LocalStore
from cpr.io.stores.s3 import S3Store
from cpr.io.urls import filesystem, join, protocol_of

__all__ = ["Versioned", "read", "require_conditional", "swap"]

_REFUSALS = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_PROTOCOLS = frozenset({"file", "memory", "s3", "s3a", "gs", "gcs"})
_tried: PerProcess[str, None] = PerProcess()
_memory: PerProcess[str, None] = PerProcess()


class Conditional(Protocol):
    """One object in one store; raises what the store's client raises."""

    def read(self) -> Versioned | None:
        """Content and version now; None where there is no object."""

    def write_if(self, content: bytes, version: str | None) -> str | None:
        """Write if the version is still this one (None: if there is no object).

        Returns the new version, or None when the store refused.
        """


def read(url: str) -> Versioned | None:
    """A small object and its version; None where there is none. Raises TransferError."""
    place = _conditional(url)
    with translate_errors(url, "read"):
        return place.read()


def swap(url: str, content: bytes, version: str | None) -> tuple[bool, Versioned | None]:
    """Write an object if its version is still this one; None: if there is none yet.

    The content must be one that nobody writes twice: what is read back tells whether a write whose
    answer was lost is ours.

    Returns:
        Whether it is written, and what is there now.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the store refused or failed, and the content is not there.
        UnsupportedStoreError: the store has no conditional writes.
    """
    place = _conditional(url)
    try:
        with translate_errors(url, "write"):
            written = place.write_if(content, version)
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
    """Make sure, by trying it once per process, that a folder's store heeds conditions.

    Raises UnsupportedStoreError where it does not, TransferError or ResourceNotFoundError where that
    cannot be told.
    """
    if protocol_of(url) not in _PROTOCOLS:
        raise _unsupported(url, f"{protocol_of(url)}://")
    if protocol_of(url) in ("file", "memory"):
        return
    with _tried.lock:
        if url in _tried.known:
            return
    _try_out(url)
    with _tried.lock:
        _tried.known[url] = None


def _try_out(folder: str) -> None:
    url = join(folder, f".{secrets.token_hex(8)}.cpr-lease")
    place = _conditional(url)
    store, path = open_store(url)
    with translate_errors(url, "write"):
        first = place.write_if(b"1", None)
        try:
            again = place.write_if(b"2", None)
            second = None if first is None else place.write_if(b"3", first)
            stale = None if first is None else place.write_if(b"4", first)
        finally:
            store.remove(path)
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


def _conditional(url: str) -> Conditional:
    store, path = open_store(url)
    if isinstance(store, LocalStore):
        return VersionedFolder(path)
    if isinstance(store, S3Store):
        return _S3(store, path)
    if isinstance(store, GCSStore):
        return _Gcs(filesystem(url)[0], path)
    protocol = protocol_of(url)
    if isinstance(store, GenericStore) and protocol == "memory":
        return _Memory(store, path)
    raise _unsupported(url, f"{protocol}://")


class _S3:
    def __init__(self, store: S3Store, path: str) -> None:
        self._store = store
        self._bucket, _, self._key = path.partition("/")

    def read(self) -> Versioned | None:
        try:
            content, answer = self._store.get(self._bucket, self._key)
        except FileNotFoundError as error:
            if code_of(error) == "NoSuchBucket":
                raise
            return None
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        return Versioned(content, str(answer["ETag"]), _age(headers))

    def write_if(self, content: bytes, version: str | None) -> str | None:
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            answer = self._store.put(self._bucket, self._key, content, **condition)
        except FileNotFoundError as error:
            # If-Match on what is gone is answered by NoSuchKey.
            if code_of(error) == "NoSuchBucket":
                raise
            return None
        except OSError as error:
            if isinstance(error, FileExistsError) or code_of(error) in _REFUSALS:
                return None
            raise
        return str(answer["ETag"])


class _Gcs:
    def __init__(self, fs: Any, path: str) -> None:
        self._fs = fs
        self._bucket, _, self._key = path.partition("/")

    def read(self) -> Versioned | None:
        try:
            headers, content = self._call("GET", self._fs.url(f"{self._bucket}/{self._key}"))
        except FileNotFoundError:
            return None
        return Versioned(bytes(content), str(headers["X-Goog-Generation"]), _age(headers))

    def write_if(self, content: bytes, version: str | None) -> str | None:
        # The one kind of upload for which condition, name and content are one request.
        boundary = secrets.token_hex(16)
        body = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
            f"{json.dumps({'name': self._key})}\r\n"
            f"--{boundary}\r\nContent-Type: application/json\r\n\r\n"
        ).encode()
        try:
            _, answer = self._call(
                "POST",
                f"{self._fs._location}/upload/storage/v1/b/{quote(self._bucket, safe='')}/o",
                uploadType="multipart",
                ifGenerationMatch=version or "0",
                headers={"Content-Type": f'multipart/related; boundary="{boundary}"'},
                data=body + content + f"\r\n--{boundary}--".encode(),
            )
        except FileExistsError:
            return None
        return str(json.loads(answer)["generation"])

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        call = self._fs._call(*args, **kwargs)
        return asyncio.run_coroutine_threadsafe(call, self._fs.loop).result()


class _Memory:
    def __init__(self, store: GenericStore, path: str) -> None:
        self._fs = store._fs
        self._path = path

    def read(self) -> Versioned | None:
        with _memory.lock:
            return self._read()

    def _read(self) -> Versioned | None:
        try:
            content = bytes(self._fs.cat_file(self._path))
        except FileNotFoundError:
            return None
        # Nobody writes the same content twice.
        return Versioned(content, content.hex(), None)

    def write_if(self, content: bytes, version: str | None) -> str | None:
        with _memory.lock:
            now = self._read()
            if (None if now is None else now.version) != version:
                return None
            self._fs.pipe_file(self._path, content)
        return content.hex()


def _age(headers: Mapping[str, str]) -> float | None:
    """Seconds since an object was written, by the store's own clock; whole ones."""
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        now, written = (parsedate_to_datetime(lower[name]) for name in ("date", "last-modified"))
    except (KeyError, ValueError, TypeError):
        return None
    return max(timedelta(0), now - written).total_seconds()
