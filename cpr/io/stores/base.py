"""What cpr asks of a kind of storage: of local files, of S3, of any other filesystem.

Everything above speaks to stores through the protocol `Store`, so that hashing, streaming and publishing
exist once; what only some stores can do is a protocol of its own. Methods raise what the store's client
raises; the callers translate. `cpr.io.protocols` says which class serves which URLs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, Self, runtime_checkable

from cpr.io.answer_checks import BadAnswerError, require_sound, time_from_text

__all__ = [
    "MOST_SMALL_BYTES",
    "ChangedError",
    "ChecksumStore",
    "Conditional",
    "ConditionalStore",
    "CopyingStore",
    "Entry",
    "OccupiedError",
    "PagingStore",
    "PinningStore",
    "Stat",
    "Store",
    "Upload",
    "UploadListingStore",
    "Versioned",
    "age_of",
    "bucket_and_key",
    "folder_prefix",
    "modified_time",
    "version_of",
]

MOST_SMALL_BYTES = 1 << 16
"""Of an object that is written conditionally; of a larger one, somebody else's, the rest is not read."""

_UNKNOWN = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Stat:
    """What a store tells of an object without reading it. Raises BadAnswerError for what none can have.

    Attributes:
        nbytes: its size.
        version: changes whenever the object does: ETag, generation, or size and modification time.
        modified: when it was last written to, by the store's clock.
    """

    nbytes: int
    version: Mapping[str, str | int] = field(default_factory=dict)
    modified: datetime = field(default=_UNKNOWN, compare=False)

    def __post_init__(self) -> None:
        require_sound(self.nbytes, self.modified)


@dataclass(frozen=True)
class Entry:
    """A line of a listing. Raises BadAnswerError for a size or time that no object can have.

    Attributes:
        url: of the object.
        modified: when it was last written to.
        nbytes: its size.
        version: as `Stat.version`, where the listing tells it.
    """

    url: str
    modified: datetime
    nbytes: int
    version: Mapping[str, str | int] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        require_sound(self.nbytes, self.modified)


@dataclass(frozen=True)
class Versioned:
    """A small object as it was at one moment.

    Attributes:
        content: its bytes.
        version: changes with every write.
        age: seconds since it was written, by the store's own clock; None where that is not known.
    """

    content: bytes
    version: str
    age: float | None


class OccupiedError(Exception):
    """There is an object already where one was to be created."""


class ChangedError(Exception):
    """An object has another version than the one that was asked for."""


class Upload(Protocol):
    """An object that is being written: visible when `commit` returns, never before, never after `abort`.

    One that is to create its object raises OccupiedError from whichever call finds that one is there.
    """

    def write(self, block: memoryview) -> None:
        """Take the next bytes, copying what is not sent yet; raises if earlier ones failed."""

    def commit(self) -> None:
        """Wait for the bytes and publish the object whole."""

    def abort(self, timeout: float | None = None) -> None:
        """Discard what was written; nothing stays behind. Safe at any time before commit.

        Where requests are needed they may take `timeout` seconds.
        """


class Store(Protocol):
    """Requests to one kind of storage; paths are the filesystem's own."""

    @classmethod
    def open(cls, url: str) -> tuple[Self, str]:
        """The store that serves a URL in this process, and the path there."""

    def stat(self, path: str) -> Stat | None:
        """Size and version now, never from a cached listing; None where there is no such object."""

    def require_container(self, path: str) -> None:
        """Raise FileNotFoundError if the bucket itself does not exist, where that can be told."""

    def fetch(self, path: str, start: int, stop: int) -> bytes | memoryview:
        """The bytes from start to stop, fewer only where the object ends."""

    def upload(self, path: str, create: bool = False) -> Upload:
        """Begin an object. Creates local folders where they are missing, buckets never.

        With `create` an object that is there already is left alone: OccupiedError is raised, now or later.
        """

    def remove(self, path: str) -> None:
        """Delete an object. Raises FileNotFoundError where the store tells."""

    def find(self, pattern: str, hidden: bool = False) -> dict[str, Stat]:
        """URL or path and stat of the objects that match a glob pattern (see `cpr.io.stores.glob`)."""

    def has_folder(self, path: str) -> bool:
        """Whether there is such a folder, or any object whose key goes on after it."""

    def names_in(self, path: str) -> set[str]:
        """Names of the objects and folders that are in a folder; none where there is no such folder."""

    def walk(self, path: str) -> Iterator[Entry]:
        """All that is in a folder and below, hidden files too; nothing where there is no such folder."""


@runtime_checkable
class PinningStore(Protocol):
    """A store that gives the bytes of one version of an object, or none."""

    def can_pin(self, version: Mapping[str, str | int]) -> bool:
        """Whether requests can be bound to what `stat` has told of a version."""

    def fetch_version(
        self, path: str, start: int, stop: int, version: Mapping[str, str | int]
    ) -> bytes | memoryview:
        """As `Store.fetch`. Raises ChangedError, or FileNotFoundError, where another version is there."""


@runtime_checkable
class ChecksumStore(Protocol):
    """A store that keeps a checksum of what it has received, and tells it without reading the object."""

    def store_checksum(self, path: str) -> tuple[int, str | None]:
        """The size of an object, and `algorithm:hexdigest`; None where none is kept of this one.

        Raises FileNotFoundError where there is no such object.
        """


@runtime_checkable
class PagingStore(Protocol):
    """A store that lists a folder in the order of its names, from any of them on."""

    def page_after(self, path: str, name: str) -> tuple[dict[str, Stat], str | None]:
        """Some of the objects in a folder, not below it, whose names come after one, which need not exist.

        Returns them by name, and the last name that the page reaches; None where it reaches the end.
        """


@runtime_checkable
class UploadListingStore(Protocol):
    """A store that keeps uploads which were begun and never ended, and can list them."""

    def uploads(self, path: str) -> Iterator[tuple[Entry, str]]:
        """Those into a folder and below, with their ids."""

    def abort_upload(self, path: str, upload: str) -> None:
        """End one of them. Raises FileNotFoundError if it has ended already."""


@runtime_checkable
class BulkRemovingStore(Protocol):
    """A store that deletes many objects with one request."""

    def remove_many(self, paths: list[str]) -> None:
        """Delete up to 1000 objects; those that are gone already are no error."""


@runtime_checkable
class CopyingStore(Protocol):
    """A store that copies objects inside itself, and tells the digest of what it has copied."""

    def copy_equal(self, source: str, path: str, md5: str, nbytes: int) -> bool:
        """Make an object of another one, if that one holds these very bytes; whether it does.

        It is the store's own digest of the copy that is compared. After False, and after an error, anything
        may be at `path`, and it is to be written.

        Args:
            source: path of the other object.
            path: of the new one.
            md5: of the bytes, 32 hex digits.
            nbytes: how many they are.
        """


class Conditional(Protocol):
    """A small object that is written only if it is still the version that the writer knows."""

    def read(self) -> Versioned | None:
        """Content and version now, of a large one the first `MOST_SMALL_BYTES` or so; None for no object."""

    def write_if(self, content: bytes, version: str | None) -> str | None:
        """Write if the version is still this one (None: if there is no object).

        Returns the new version, or None when the store refused.
        """


@runtime_checkable
class ConditionalStore(Protocol):
    """A store with conditional writes.

    Attributes:
        conditions_may_be_ignored: whether some servers take conditions and ignore them.
    """

    conditions_may_be_ignored: bool

    def conditional(self, path: str) -> Conditional:
        """The object at a path, for conditional writes."""


def version_of(info: Mapping[str, Any]) -> dict[str, str | int]:
    """What changes with an object, from fsspec's `info`: ETag, generation, else size and time."""
    for name in ("ETag", "etag", "generation", "md5Hash", "content_md5"):
        if info.get(name):
            return {name.lower(): str(info[name]).strip('"')}
    version: dict[str, str | int] = {"size": int(info.get("size") or 0)}
    for name in ("mtime", "modified", "LastModified", "last_modified", "created"):
        if (time := info.get(name)) is not None:
            # info() and listings of one filesystem may disagree on datetime or seconds.
            version["mtime"] = str(time.timestamp() if hasattr(time, "timestamp") else time)
            break
    return version


def modified_time(info: Mapping[str, Any]) -> datetime:
    """When a file was last written to, from fsspec's `info`; now, where a filesystem does not tell.

    Raises BadAnswerError for what is no time.
    """
    for name in ("LastModified", "last_modified", "mtime", "modified", "updated", "created"):
        time = info.get(name)
        if isinstance(time, str):
            return time_from_text(time)
        if isinstance(time, datetime):
            return time if time.tzinfo else time.replace(tzinfo=UTC)
        if isinstance(time, (int, float)):
            try:
                return datetime.fromtimestamp(time, UTC)
            except (ValueError, OverflowError, OSError):
                raise BadAnswerError("NotATime") from None
    return datetime.now(UTC)


def age_of(headers: Mapping[str, str]) -> float | None:
    """Seconds since an object was written, from the headers of an answer: by the store's own clock, whole."""
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        now, written = (parsedate_to_datetime(lower[name]) for name in ("date", "last-modified"))
        return max(timedelta(0), now - written).total_seconds()
    except (KeyError, ValueError, TypeError, OverflowError):
        return None  # one of them may have a zone, and the other none


def folder_prefix(key: str) -> str:
    """What the keys of all objects in a folder, and below, begin with; "" is the whole bucket.

    >>> folder_prefix("results"), folder_prefix("odd//"), folder_prefix("")
    ('results/', 'odd//', '')
    """
    return key if not key or key.endswith("/") else f"{key}/"


def bucket_and_key(path: str) -> tuple[str, str]:
    """A path on an object store as the name of its bucket and the key there."""
    bucket, _, key = path.partition("/")
    return bucket, key
