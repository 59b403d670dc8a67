"""The protocols of stores: what cpr needs from local files, S3 and any other filesystem.

All other code uses stores through the protocol `Store`, so that hashing, streaming and publishing are
implemented once; each ability that only some stores have is a protocol of its own. Methods raise the errors
of the store's client; the callers translate them. `cpr.io.protocols` says which class serves which URLs.
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
    "is_older",
    "modified_time",
    "version_of",
]

MOST_SMALL_BYTES = 1 << 16
"""Of an object that is written conditionally; of a larger one, somebody else's, the rest is not read."""

_UNKNOWN = datetime.fromtimestamp(0, UTC)
_SAME_TIME = timedelta(seconds=2)  # as coarse as disks are


@dataclass(frozen=True)
class Stat:
    """Size, version and time of an object, as the store reports them. Raises BadAnswerError if impossible.

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
    """An entry of a listing. Raises BadAnswerError for an impossible size or time.

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
    """A small object at one moment: content, version and age.

    Attributes:
        content: its bytes.
        version: changes with every write.
        age: seconds since it was written, by the store's own clock; None where that is not known.
    """

    content: bytes
    version: str
    age: float | None


class OccupiedError(Exception):
    """An object exists where one was to be created."""


class ChangedError(Exception):
    """An object has another version than the one that was requested."""


class Upload(Protocol):
    """An object that is being written: visible when `commit` returns, never before, never after `abort`.

    One that is to create its object raises OccupiedError from whichever call finds that one is there.
    """

    def write(self, block: memoryview) -> None:
        """Send the next bytes, copying what is not sent yet; raises if earlier ones failed."""

    def commit(self) -> None:
        """Wait until all bytes are sent, and publish the object."""

    def abort(self, timeout: float | None = None) -> None:
        """Discard what was written, without leftovers. Safe at any time before commit.

        Where requests are needed they may take `timeout` seconds.
        """


class Store(Protocol):
    """Requests to one kind of storage; paths are the filesystem's own."""

    @classmethod
    def open(cls, url: str) -> tuple[Self, str]:
        """Get the store that serves a URL in this process, and the path there."""

    def stat(self, path: str) -> Stat | None:
        """Present size and version, never from a cached listing; None if there is no such object."""

    def require_container(self, path: str) -> None:
        """Raise FileNotFoundError if the bucket itself does not exist, as far as the store can tell."""

    def fetch(self, path: str, start: int, stop: int) -> bytes | memoryview:
        """Fetch the bytes from start to stop; fewer only at the end of the object."""

    def upload(self, path: str, create: bool = False) -> Upload:
        """Start to write an object. Missing local folders are created, buckets never.

        With `create` an object that is there already is left alone: OccupiedError is raised, now or later.
        """

    def remove(self, path: str) -> None:
        """Delete an object. Raises FileNotFoundError if the store reports that."""

    def find(self, pattern: str, hidden: bool = False) -> dict[str, Stat]:
        """URL or path, and stat, of the objects that match a glob pattern (see `cpr.io.stores.glob`)."""

    def has_folder(self, path: str) -> bool:
        """Whether a folder exists, or any object whose key continues after it."""

    def names_in(self, path: str) -> set[str]:
        """Names of the objects and folders in a folder; none if it does not exist."""

    def walk(self, path: str) -> Iterator[Entry]:
        """Everything in a folder and below, including hidden files; nothing if it does not exist."""


@runtime_checkable
class PinningStore(Protocol):
    """A store that can read one particular version of an object."""

    def can_pin(self, version: Mapping[str, str | int]) -> bool:
        """Whether requests can be made conditional on this version, as `stat` reported it."""

    def fetch_version(
        self, path: str, start: int, stop: int, version: Mapping[str, str | int]
    ) -> bytes | memoryview:
        """As `Store.fetch`. Raises ChangedError or FileNotFoundError if another version is there."""


@runtime_checkable
class ChecksumStore(Protocol):
    """A store that keeps a checksum of each object and reports it without reading the object."""

    def store_checksum(self, path: str) -> tuple[int, str | None]:
        """Size of an object and its `algorithm:hexdigest`; None if the store keeps none of it.

        Raises FileNotFoundError where there is no such object.
        """


@runtime_checkable
class PagingStore(Protocol):
    """A store that lists a folder in order of names, starting after any name."""

    def page_after(self, path: str, name: str) -> tuple[dict[str, Stat], str | None]:
        """A page of the objects directly in a folder whose names sort after a name, existing or not.

        Returns them by name, and the last name that the page reaches; None where it reaches the end.
        """


@runtime_checkable
class UploadListingStore(Protocol):
    """A store that can list multipart uploads which were started and never completed."""

    def uploads(self, path: str) -> Iterator[tuple[Entry, str]]:
        """Unfinished uploads into a folder and below, with their ids."""

    def abort_upload(self, path: str, upload: str) -> None:
        """Abort one of them. Raises FileNotFoundError if it has ended already."""


@runtime_checkable
class BulkRemovingStore(Protocol):
    """A store that deletes many objects with one request."""

    def remove_many(self, paths: list[str]) -> None:
        """Delete up to 1000 objects; missing ones are no error."""


@runtime_checkable
class CopyingStore(Protocol):
    """A store that copies objects server-side, and reports the digest of the copy."""

    def copy_equal(self, source: str, path: str, md5: str, nbytes: int) -> bool:
        """Copy an object server-side if it holds exactly these bytes; returns whether it does.

        It is the store's own digest of the copy that is compared. After False, and after an error, anything
        may be at `path`, and it is to be written.

        Args:
            source: path of the other object.
            path: of the new one.
            md5: of the bytes, 32 hex digits.
            nbytes: how many they are.
        """


class Conditional(Protocol):
    """A small object with compare-and-swap: written only if its version is the one that the writer knows."""

    def read(self) -> Versioned | None:
        """Present content and version, cut at about `MOST_SMALL_BYTES`; None for no object."""

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
    """The version in fsspec's `info`: ETag, generation, else size and time."""
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
    """The modification time in fsspec's `info`; the present time if the filesystem reports none.

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


def is_older(found: Mapping[str, Any], written: Mapping[str, Any]) -> bool:
    """Whether one `info` of fsspec is of an earlier modification time than another, where both report one.

    A rename keeps the time, or, where the server copies, makes it later.
    """
    if not all("mtime" in version_of(info) for info in (found, written)):
        return False
    return modified_time(found) + _SAME_TIME < modified_time(written)


def age_of(headers: Mapping[str, str]) -> float | None:
    """Age of an object in whole seconds, from the headers of an answer, by the store's own clock."""
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        now, written = (parsedate_to_datetime(lower[name]) for name in ("date", "last-modified"))
        return max(timedelta(0), now - written).total_seconds()
    except (KeyError, ValueError, TypeError, OverflowError):
        return None  # one of them may have a zone, and the other none


def folder_prefix(key: str) -> str:
    """Prefix of the keys of all objects in a folder and below; "" is the whole bucket.

    >>> folder_prefix("results"), folder_prefix("odd//"), folder_prefix("")
    ('results/', 'odd//', '')
    """
    return key if not key or key.endswith("/") else f"{key}/"


def bucket_and_key(path: str) -> tuple[str, str]:
    """Split a path on an object store into the name of its bucket and the key."""
    bucket, _, key = path.partition("/")
    return bucket, key
