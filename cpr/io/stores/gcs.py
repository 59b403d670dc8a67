"""Store for Google Cloud Storage, with gcsfs's session, endpoint and credentials.

By default gcsfs does not verify uploads, it publishes a truncated object when a `with` body raises, and its
glob silently omits folders that could not be listed. Here an object is one resumable upload that is completed
only on commit, and the store compares its CRC32C with ours before the object becomes visible.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Self

from cpr.io.answer_checks import (
    BadAnswerError,
    PageGuard,
    code_of,
    is_beyond_the_end,
    require_range,
    required_text,
    time_from_text,
    whole_number,
)
from cpr.io.clients.gcsfs import Answer, Requests, named, refusal
from cpr.io.filesystems import filesystem
from cpr.io.stores.base import (
    MOST_SMALL_BYTES,
    ChangedError,
    Entry,
    OccupiedError,
    Stat,
    Versioned,
    age_of,
    bucket_and_key,
    folder_prefix,
)
from cpr.io.stores.gcs_upload import CHECKSUM, ResumableUpload, put_whole
from cpr.io.stores.glob import matching_in_bucket, names_in_bucket

__all__ = ["GCSStore"]

_API = "/storage/v1/b/"
_FIELDS = "name,size,generation,updated"
_NO_SUCH_BUCKET = "NoSuchBucket"


class _Page(NamedTuple):
    """A page of a listing.

    Attributes:
        objects: their names and properties.
        folders: with a slash at their ends.
        token: of the next page.
    """

    objects: list[tuple[str, Stat]]
    folders: list[str]
    token: str | None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Self:
        """Parse an answer. Raises BadAnswerError if it is not a listing of objects."""
        if answer and not {"kind", "items", "prefixes", "nextPageToken"} & answer.keys():
            raise BadAnswerError("NotAListing")
        items, folders, token = (answer.get(name) for name in ("items", "prefixes", "nextPageToken"))
        if not (isinstance(items or [], list) and isinstance(folders or [], list)):
            raise BadAnswerError("NotAListing")
        objects = [(required_text(_object_of(item), "name"), _stat(item)) for item in items or ()]
        if not all(isinstance(one, str) and one for one in folders or ()):
            raise BadAnswerError("NotAFolder")
        return cls(objects, folders or [], required_text(answer, "nextPageToken") if token else None)


class GCSStore:
    """Buckets of Google Cloud Storage; paths are `bucket/key`.

    Args:
        fs: gcsfs's filesystem, made in this process.
    """

    # Some emulators ignore them.
    conditions_may_be_ignored = True

    def __init__(self, fs: Any) -> None:
        self._requests = Requests(fs)

    @classmethod
    def open(cls, url: str) -> tuple[Self, str]:
        # Keys are taken as they are written: gcsfs would drop what looks like a generation, or a slash.
        return cls(filesystem(url)[0]), url.partition("://")[2]

    def stat(self, path: str) -> Stat | None:
        try:
            answer = self._ask("GET", _object(path), {"fields": _FIELDS})
        except FileNotFoundError:
            return None
        return _stat(answer.json())

    def require_container(self, path: str) -> None:
        # An object's 404 does not tell which of the two is missing; a listing's can only be the bucket.
        with suppress(PermissionError):
            next(self._pages(bucket_and_key(path)[0], {"maxResults": "1"}))

    def fetch(self, path: str, start: int, stop: int) -> bytes:
        if stop <= start:
            return b""
        try:
            return self._fetch(path, start, stop).body
        except OSError as error:
            if is_beyond_the_end(error):
                return b""
            raise

    def can_pin(self, version: Mapping[str, str | int]) -> bool:
        """Whether the version is a generation."""
        return "generation" in version

    def fetch_version(self, path: str, start: int, stop: int, version: Mapping[str, str | int]) -> bytes:
        """As `fetch`, for this generation of the object, which the answer must carry too."""
        if stop <= start:
            return b""
        generation = str(version["generation"])
        try:
            answer = self._fetch(path, start, stop, ifGenerationMatch=generation)
        except OSError as error:
            if code_of(error) == "412" or is_beyond_the_end(error):
                raise ChangedError from None
            raise
        if answer.headers.get("X-Goog-Generation", generation) != generation:
            raise ChangedError
        return answer.body

    def _fetch(self, path: str, start: int, stop: int, **conditions: str) -> Answer:
        part = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "gzip"}
        query = {"alt": "media", **conditions}
        answer = self._ask(
            "GET", f"/download{_object(path)}", query, part, nbytes=stop - start, most=stop - start
        )
        require_range(answer.headers.get("Content-Range"), start, stop, len(answer.body))
        return answer

    def upload(self, path: str, create: bool = False) -> ResumableUpload:
        if create and self.stat(path) is not None:
            raise OccupiedError
        return ResumableUpload(self._requests, *bucket_and_key(path), create)

    def store_checksum(self, path: str) -> tuple[int, str | None]:
        found = self._ask("GET", _object(path), {"fields": f"{_FIELDS},crc32c"}).json()
        crc = found.get("crc32c") and required_text(found, "crc32c")
        try:
            return _stat(found).nbytes, crc and f"{CHECKSUM}:{b64decode(crc, validate=True).hex()}"
        except ValueError:
            raise BadAnswerError("NotADigest") from None

    def remove(self, path: str) -> None:
        self._ask("DELETE", _object(path))

    def find(self, pattern: str, hidden: bool = False) -> dict[str, Stat]:
        return matching_in_bucket(self, "gs", pattern, self._listed, hidden)

    def has_folder(self, path: str) -> bool:
        bucket, key = bucket_and_key(path)
        return bool(next(self._pages(bucket, {"prefix": folder_prefix(key), "maxResults": "1"})).objects)

    def _listed(self, bucket: str, prefix: str, deep: bool) -> tuple[list[tuple[str, Stat]], list[str]]:
        """All objects and folders whose names start with a prefix, over all pages."""
        objects: list[tuple[str, Stat]] = []
        folders: list[str] = []
        for page in self._pages(bucket, {"prefix": prefix, "delimiter": "" if deep else "/"}):
            objects += page.objects
            folders += page.folders
        return objects, folders

    def page_after(self, path: str, name: str) -> tuple[dict[str, Stat], str | None]:
        bucket, key = bucket_and_key(path)
        prefix = folder_prefix(key)
        page = next(self._pages(bucket, {"prefix": prefix, "delimiter": "/", "startOffset": prefix + name}))
        objects = {name[len(prefix) :]: stat for name, stat in page.objects}
        if page.token is None:
            return objects, None
        folders = [folder[len(prefix) :] for folder in page.folders]
        return objects, max([*objects, *folders], default="")

    def names_in(self, path: str) -> set[str]:
        return names_in_bucket(path, self._listed)

    def walk(self, path: str) -> Iterator[Entry]:
        bucket, key = bucket_and_key(path)
        for page in self._pages(bucket, {"prefix": folder_prefix(key)}):
            for name, stat in page.objects:
                if not name.endswith("/"):  # the marker of a folder
                    yield Entry(f"gs://{bucket}/{name}", stat.modified, stat.nbytes, stat.version)

    def copy_equal(self, source: str, path: str, md5: str, nbytes: int) -> bool:
        digest = b64encode(bytes.fromhex(md5)).decode()
        place = _object(source) + named("/rewriteTo/b/", *_quotable(path))
        try:
            found = self._ask("GET", _object(source), {"fields": f"{_FIELDS},md5Hash"}).json()
            if found.get("md5Hash") != digest:  # what was composed of others has none
                return False
            query = {"ifSourceGenerationMatch": str(found.get("generation"))}
            while not (answer := self._ask("POST", place, query, nbytes=nbytes).json()).get("done"):
                token = required_text(answer, "rewriteToken")
                if query.get("rewriteToken") == token:
                    raise BadAnswerError("RewriteRepeats")
                query["rewriteToken"] = token
        except FileNotFoundError:
            return False
        except OSError as error:
            if getattr(error, "code", None) == "412":
                return False
            raise
        return bool(_object_of(answer.get("resource")).get("md5Hash") == digest)

    def conditional(self, path: str) -> _ConditionalObject:
        """The object at a path, for conditional writes."""
        return _ConditionalObject(self._requests, *bucket_and_key(path))

    def _pages(self, bucket: str, query: dict[str, str]) -> Iterator[_Page]:
        query = {name: value for name, value in query.items() if value}
        query["fields"] = f"items({_FIELDS}),prefixes,nextPageToken"
        guard = PageGuard()
        while True:
            try:
                answer = self._ask("GET", named(_API, bucket, "/o"), query)
            except FileNotFoundError:
                raise refusal(404, _NO_SUCH_BUCKET) from None
            page = _Page.of(answer.json())
            guard.require_other(page.objects, page.folders)
            yield page
            if page.token is None:
                return
            if query.get("pageToken") == page.token:
                raise BadAnswerError("ListingRepeats")
            query["pageToken"] = page.token

    def _ask(self, *arguments: Any, nbytes: int = 0, **options: Any) -> Answer:
        return self._requests.wait(self._requests.ask(*arguments, **options), nbytes)


class _ConditionalObject:
    def __init__(self, requests: Requests, bucket: str, key: str) -> None:
        self._requests = requests
        self._bucket = bucket
        self._key = key

    def read(self) -> Versioned | None:
        path = f"/download{_object(f'{self._bucket}/{self._key}')}"
        try:
            answer = self._requests.wait(
                self._requests.ask("GET", path, {"alt": "media"}, most=MOST_SMALL_BYTES)
            )
        except FileNotFoundError:
            return None
        generation = required_text(answer.headers, "X-Goog-Generation")
        return Versioned(answer.body, generation, age_of(answer.headers))

    def write_if(self, content: bytes, version: str | None) -> str | None:
        put = put_whole(self._requests, self._bucket, self._key, content, ifGenerationMatch=version or "0")
        try:
            found = self._requests.wait(put)
        except OSError as error:
            if getattr(error, "code", None) == "412":
                return None
            raise
        return str(whole_number(found.get("generation")))


def _object(path: str) -> str:
    return named(_API, *_quotable(path))


def _quotable(path: str) -> tuple[str, str, str]:
    bucket, key = bucket_and_key(path)
    return bucket, "/o/", key


def _stat(item: dict[str, Any]) -> Stat:
    # Some emulators tell numbers where the service tells their digits.
    generation = str(whole_number(item.get("generation")))
    return Stat(
        whole_number(item.get("size")), {"generation": generation}, time_from_text(item.get("updated"))
    )


def _object_of(item: object) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise BadAnswerError("NotAnObject")
    return item
