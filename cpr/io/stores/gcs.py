"""Google Cloud Storage, through gcsfs's session, endpoint and credentials.

gcsfs checks nothing that it uploads unless it is told to, publishes a truncated object when a `with` body
raises, and leaves out of a glob what it could not list. Here an object is one resumable upload that is
completed only when it is told to, and the store compares its CRC32C with ours before it shows the object.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Self

from cpr.io.answers import BadAnswerError, require_other, require_range
from cpr.io.clients.gcsfs import Answer, Requests, named, refusal
from cpr.io.filesystems import filesystem
from cpr.io.stores.base import (
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


class GCSStore:
    """Buckets; paths are `bucket/key`.

    Args:
        fs: gcsfs's filesystem, made in this process.
    """

    # The emulators do not all heed them.
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
            if getattr(error, "code", None) == "416":  # the object ends before
                return b""
            raise

    def can_pin(self, version: Mapping[str, str | int]) -> bool:
        """Whether the store has told a generation."""
        return "generation" in version

    def fetch_version(self, path: str, start: int, stop: int, version: Mapping[str, str | int]) -> bytes:
        """As `fetch`, of the object's generation; that of the answer counts, whatever the server heeds."""
        if stop <= start:
            return b""
        generation = str(version["generation"])
        try:
            answer = self._fetch(path, start, stop, ifGenerationMatch=generation)
        except OSError as error:
            if getattr(error, "code", None) in ("412", "416"):
                raise ChangedError from None
            raise
        if answer.headers.get("X-Goog-Generation", generation) != generation:
            raise ChangedError
        return answer.body

    def _fetch(self, path: str, start: int, stop: int, **conditions: str) -> Answer:
        part = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "gzip"}
        query = {"alt": "media", **conditions}
        answer = self._ask("GET", f"/download{_object(path)}", query, part, nbytes=stop - start)
        require_range(answer.headers.get("Content-Range"), start, stop, len(answer.body))
        return answer

    def upload(self, path: str, create: bool = False) -> ResumableUpload:
        if create and self.stat(path) is not None:
            raise OccupiedError
        return ResumableUpload(self._requests, *bucket_and_key(path))

    def store_checksum(self, path: str) -> tuple[int, str | None]:
        found = self._ask("GET", _object(path), {"fields": f"{_FIELDS},crc32c"}).json()
        crc = found.get("crc32c")
        return _stat(found).nbytes, crc and f"{CHECKSUM}:{b64decode(crc).hex()}"

    def remove(self, path: str) -> None:
        self._ask("DELETE", _object(path))

    def find(self, pattern: str, hidden: bool = False) -> dict[str, Stat]:
        return matching_in_bucket(self, "gs", pattern, self._listed, hidden)

    def has_folder(self, path: str) -> bool:
        bucket, key = bucket_and_key(path)
        return bool(next(self._pages(bucket, {"prefix": folder_prefix(key), "maxResults": "1"})).get("items"))

    def _listed(self, bucket: str, prefix: str, deep: bool) -> tuple[list[tuple[str, Stat]], list[str]]:
        """All objects and folders whose names begin with a prefix, of however many pages."""
        objects: list[tuple[str, Stat]] = []
        folders: list[str] = []
        for page in self._pages(bucket, {"prefix": prefix, "delimiter": "" if deep else "/"}):
            objects += [(item["name"], _stat(item)) for item in page.get("items", [])]
            folders += page.get("prefixes", [])
        return objects, folders

    def page_after(self, path: str, name: str) -> tuple[dict[str, Stat], str | None]:
        bucket, key = bucket_and_key(path)
        prefix = folder_prefix(key)
        page = next(self._pages(bucket, {"prefix": prefix, "delimiter": "/", "startOffset": prefix + name}))
        objects = {item["name"][len(prefix) :]: _stat(item) for item in page.get("items", [])}
        if "nextPageToken" not in page:
            return objects, None
        folders = [folder[len(prefix) :] for folder in page.get("prefixes", [])]
        return objects, max([*objects, *folders], default="")

    def names_in(self, path: str) -> set[str]:
        return names_in_bucket(path, self._listed)

    def walk(self, path: str) -> Iterator[Entry]:
        bucket, key = bucket_and_key(path)
        for page in self._pages(bucket, {"prefix": folder_prefix(key)}):
            for item in page.get("items", []):
                if item["name"].endswith("/"):
                    continue  # the marker of a folder
                modified = datetime.fromisoformat(item["updated"])
                url = f"gs://{bucket}/{item['name']}"
                yield Entry(url, modified, int(item["size"]), _stat(item).version)

    def copy_equal(self, source: str, path: str, md5: str, nbytes: int) -> bool:
        digest = b64encode(bytes.fromhex(md5)).decode()
        place = _object(source) + named("/rewriteTo/b/", *_quotable(path))
        try:
            found = self._ask("GET", _object(source), {"fields": f"{_FIELDS},md5Hash"}).json()
            if found.get("md5Hash") != digest:  # what was composed of others has none
                return False
            query = {"ifSourceGenerationMatch": str(found.get("generation"))}
            while not (answer := self._ask("POST", place, query, nbytes=nbytes).json()).get("done"):
                if query.get("rewriteToken") == answer.get("rewriteToken"):
                    raise BadAnswerError("RewriteRepeats")
                query["rewriteToken"] = str(answer["rewriteToken"])
        except FileNotFoundError:
            return False
        except OSError as error:
            if getattr(error, "code", None) == "412":
                return False
            raise
        return bool((answer.get("resource") or {}).get("md5Hash") == digest)

    def conditional(self, path: str) -> _ConditionalObject:
        """The object at a path, for conditional writes."""
        return _ConditionalObject(self._requests, *bucket_and_key(path))

    def _pages(self, bucket: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        query = {name: value for name, value in query.items() if value}
        query["fields"] = f"items({_FIELDS}),prefixes,nextPageToken"
        before: object = None
        while True:
            try:
                answer = self._ask("GET", named(_API, bucket, "/o"), query)
            except FileNotFoundError:
                raise refusal(404, _NO_SUCH_BUCKET) from None
            page = answer.json()
            if not {"kind", "items", "prefixes", "nextPageToken"} & page.keys() and page:
                raise BadAnswerError("NotAListing")
            before = require_other(before, page.get("items"), page.get("prefixes"))
            yield page
            if not (token := page.get("nextPageToken")):
                return
            if query.get("pageToken") == token:
                raise BadAnswerError("ListingRepeats")
            query["pageToken"] = token

    def _ask(self, *arguments: Any, nbytes: int = 0) -> Answer:
        return self._requests.wait(self._requests.ask(*arguments), nbytes)


class _ConditionalObject:
    def __init__(self, requests: Requests, bucket: str, key: str) -> None:
        self._requests = requests
        self._bucket = bucket
        self._key = key

    def read(self) -> Versioned | None:
        path = f"/download{_object(f'{self._bucket}/{self._key}')}"
        try:
            answer = self._requests.wait(self._requests.ask("GET", path, {"alt": "media"}))
        except FileNotFoundError:
            return None
        return Versioned(answer.body, str(answer.headers["X-Goog-Generation"]), age_of(answer.headers))

    def write_if(self, content: bytes, version: str | None) -> str | None:
        put = put_whole(self._requests, self._bucket, self._key, content, ifGenerationMatch=version or "0")
        try:
            found = self._requests.wait(put)
        except OSError as error:
            if getattr(error, "code", None) == "412":
                return None
            raise
        return str(found["generation"])


def _object(path: str) -> str:
    return named(_API, *_quotable(path))


def _quotable(path: str) -> tuple[str, str, str]:
    bucket, key = bucket_and_key(path)
    return bucket, "/o/", key


def _stat(item: dict[str, Any]) -> Stat:
    try:
        version = {"generation": str(item["generation"])}
        return Stat(int(item["size"]), version, datetime.fromisoformat(item["updated"]))
    except (KeyError, TypeError, ValueError):
        raise BadAnswerError("NotAnObject") from None
