"""Fast reads and small writes for S3 through obstore, with the endpoint and credentials of s3fs's client.

obstore (https://developmentseed.org/obstore) reads twice as fast as s3fs for half the CPU time, and puts a
small object for a fifth of it. It is used only if all of s3fs's configuration can be expressed for it; if it
cannot, or if a request fails, s3fs is used, which has its own retries and errors.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from cpr.io.answer_checks import BadAnswerError
from cpr.io.clients.s3fs import S3Client
from cpr.io.request_threads import answer_to
from cpr.io.stores.base import ChangedError, OccupiedError, Stat, version_of
from cpr.io.stores.s3_listing import PAGE, Found, list_keys
from cpr.io.throttling import SLOW_DOWN, pauses
from cpr.io.timeouts import AbandonedError, NoAnswerError, is_interruption, pause
from cpr.io.transfer_width import TransferWidth, width_of

__all__ = ["CircuitBreaker", "FastBucket", "fast_bucket", "says_slow_down"]

T = TypeVar("T")

log = logging.getLogger("cpr")

# s3fs repeats what fails here.
_RETRIES: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
_TIMEOUTS: Any = {"timeout": "120s", "connect_timeout": "10s"}
# Rotating credentials are asked for again after this time; botocore renews them well before they end.
_CREDENTIALS_LAST = timedelta(minutes=2)
# After so many failures in a row it is not asked any more: it may sign for another region, say.
_PATIENCE = 5
# How obstore says that the store has answered so.
_SLOW_DOWN = re.compile(rf"status code: ({'|'.join(map(str, sorted(SLOW_DOWN)))})\b")
_UNSPEAKABLE = frozenset({"", ".", ".."})  # steps of a key
_SMALL_BYTES = 64 << 10  # an answer of so little tells how long the way is
_PUT_SECONDS = 0.005, 0.015

# Where a filesystem keeps its own, which go when it goes.
_BUCKETS = "_cpr_buckets"
# obstore's threads do not survive a fork.
_first_pid: int | None = None


class CircuitBreaker:
    """Stops using obstore after several failures in a row."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def is_open(self) -> bool:
        """Whether s3fs is used directly from now on."""
        return self._failures >= _PATIENCE

    def succeeded(self) -> None:
        """Record that obstore has answered."""
        self._failures = 0

    def failed(self, error: Exception) -> None:
        """Record a failure, after which s3fs is asked the same; throttling does not count."""
        self._failures += not says_slow_down(error)
        log.debug("s3fs is asked again, after %s", type(error).__name__)


class FastBucket:
    """One bucket through obstore; every method returns None if s3fs has to be used.

    They raise FileNotFoundError where there is no such object, or no such bucket.
    """

    def __init__(
        self, store: Any, has_answered: Callable[[], None] = lambda: None, url: str = "s3://"
    ) -> None:
        self._store = store
        self._width, self._write_width = width_of(url, "read"), width_of(url, "write")
        self._has_answered = has_answered
        self._breaker = CircuitBreaker()

    @property
    def store(self) -> Any:
        """The obstore object for the bucket, for libraries that use it."""
        return self._store

    def fetch(self, key: str, start: int, stop: int) -> memoryview | None:
        """Fetch the bytes from start to stop."""
        import obstore

        def ask() -> memoryview:
            return memoryview(obstore.get_range(self._store, key, start=start, end=stop))

        return self._ask(ask, stop - start) if _can_spell(key) else None

    def fetch_version(self, key: str, start: int, stop: int, etag: str) -> memoryview | None:
        """As `fetch`, for the object with an ETag. Raises ChangedError if it has another."""
        import obstore

        def ask() -> memoryview:
            options: Any = {"range": (start, stop), "if_match": f'"{etag}"'}
            try:
                answer = obstore.get(self._store, key, options=options)
            except obstore.exceptions.PreconditionError:
                raise ChangedError from None
            if str(answer.meta["e_tag"]).strip('"') != etag:
                raise ChangedError
            return memoryview(answer.bytes())

        return self._ask(ask, stop - start) if _can_spell(key) else None

    def stat(self, key: str) -> Stat | None:
        """Size and version of an object."""
        import obstore

        def ask() -> Stat:
            head = obstore.head(self._store, key)
            if head["e_tag"] is None:
                raise BadAnswerError("NoETag")
            return Stat(int(head["size"]), version_of({"ETag": head["e_tag"]}), head["last_modified"])

        return self._ask(ask) if _can_spell(key) else None

    def put(self, key: str, data: bytes | bytearray, create: bool) -> str | None:
        """Put an object in one request, signed with a SHA-256 of its body; returns its ETag.

        With `create` on the condition that there is none: raises OccupiedError.
        """
        import obstore

        def ask() -> str:
            mode: Any = "create" if create else "overwrite"
            try:
                answer = obstore.put(self._store, key, data, mode=mode, use_multipart=False)
            except obstore.exceptions.AlreadyExistsError:
                raise OccupiedError from None
            return answer["e_tag"] or ""

        if not _can_spell(key):
            return None
        started = time.monotonic()
        found = self._ask(ask, len(data), self._write_width)
        seconds = time.monotonic() - started
        # It waits for a disk as well: what takes neither long nor short says nothing of the way.
        if (
            found is not None
            and len(data) <= _SMALL_BYTES
            and not _PUT_SECONDS[0] < seconds < _PUT_SECONDS[1]
        ):
            self._took(seconds)
        return found

    def list_keys(
        self, folder: str, may_begin_anywhere: Callable[[], bool] = lambda: True
    ) -> Iterator[Found] | None:
        """The objects in a folder and below, in order of keys; see `s3_listing`.

        May raise what it likes after any of them, as at a key that it cannot spell ("a//b"). Drops a slash
        at the beginning or end of a key, so that "a" stands for "a/" too.
        """
        if self._breaker.is_open or not (folder == "" or _can_spell(folder)):
            return None
        return list_keys(self._store, folder, may_begin_anywhere)

    def page_after(self, folder: str, name: str) -> tuple[dict[str, Stat], str | None] | None:
        """As `PagingStore.page_after`; objects below the folder count towards a page."""
        import obstore

        prefix = f"{folder}/"

        def ask() -> tuple[dict[str, Stat], str | None]:
            pages = obstore.list(self._store, folder, offset=prefix + name, chunk_size=PAGE)
            page = next(pages, [])
            names = [one["path"][len(prefix) :] for one in page]
            stats = {
                name: Stat(int(one["size"]), version_of({"ETag": one["e_tag"]}), one["last_modified"])
                for name, one in zip(names, page, strict=True)
                if "/" not in name
            }
            return stats, names[-1] if len(page) == PAGE else None

        return self._ask(ask) if folder and _can_spell(folder) else None

    def _ask(
        self, question: Callable[[], T], nbytes: int = 0, width: TransferWidth | None = None
    ) -> T | None:
        if self._breaker.is_open:
            return None
        started = time.monotonic()
        try:
            answer = answer_to(partial(_patiently, question, width or self._width), nbytes)
        except (FileNotFoundError, OccupiedError, ChangedError) as error:
            self._breaker.succeeded()
            if isinstance(error, FileNotFoundError):
                self._took(time.monotonic() - started)
            raise
        except (NoAnswerError, AbandonedError):
            raise  # s3fs would wait as long again
        except Exception as error:
            if is_interruption(error):
                raise
            self._breaker.failed(error)
            return None
        self._breaker.succeeded()
        self._has_answered()
        if isinstance(answer, Stat) or (isinstance(answer, memoryview) and answer.nbytes <= _SMALL_BYTES):
            self._took(time.monotonic() - started)
        return answer

    def _took(self, seconds: float) -> None:
        """Record the latency of an answer that carries almost no data."""
        self._width.answered(seconds)
        self._write_width.answered(seconds)


def _patiently(question: Callable[[], T], width: TransferWidth) -> T:
    """Ask a store with retries while it is throttling, and send it fewer requests from now on."""
    waits = pauses()
    while True:
        try:
            return question()
        except Exception as error:
            if not says_slow_down(error) or (seconds := next(waits, None)) is None:
                raise
        width.throttled()
        pause(seconds)


def says_slow_down(error: Exception) -> bool:
    """Whether obstore's error means that the store still throttles after obstore's retries."""
    return _SLOW_DOWN.search(str(error)) is not None


def _can_spell(key: str) -> bool:
    """Whether obstore requests exactly this key; it refuses or changes some."""
    return _UNSPEAKABLE.isdisjoint(key.split("/"))


def fast_bucket(fs: Any, bucket: str) -> FastBucket | None:
    """Open a bucket through obstore; None if s3fs has to be used.

    Args:
        fs: s3fs's filesystem, made in this process.
        bucket: its name.
    """
    global _first_pid  # noqa: PLW0603
    if _first_pid is None:
        _first_pid = os.getpid()
    if _first_pid != os.getpid():
        return None
    buckets: dict[str, FastBucket | None] = fs.__dict__.setdefault(_BUCKETS, {})
    if bucket in buckets:
        return buckets[bucket]
    try:
        found = _make(fs, bucket)
    except Exception as error:
        if is_interruption(error):
            raise
        # Not a failure: s3fs does the same, slower, and says what is wrong where something is.
        log.debug("s3://%s: read through s3fs, for %s", bucket, type(error).__name__)
        found = None
    return buckets.setdefault(bucket, found)


def _make(fs: Any, bucket: str) -> FastBucket | None:
    try:
        from obstore.store import S3Store
    except ImportError:
        return None
    client = S3Client(fs)
    access = client.access(bucket)
    if access is None:
        return None
    options: dict[str, Any] = {
        "endpoint": access.endpoint,
        "region": access.region,
        "client_options": {**_TIMEOUTS, "allow_http": access.endpoint.startswith("http://")},
        "retry_config": _RETRIES,
    }
    if access.credentials is None:
        options["skip_signature"] = True
    else:
        options["credential_provider"] = partial(_credentials, access.credentials)
    return FastBucket(S3Store(bucket, **options), client.has_answered, f"s3://{bucket}")


def _credentials(provide: Callable[[], dict[str, Any]]) -> Any:
    """Make a provider of credentials for obstore, which refreshes them before they rotate."""
    found = provide()
    rotate = found.pop("rotate")
    return {**found, "expires_at": datetime.now(UTC) + _CREDENTIALS_LAST if rotate else None}
