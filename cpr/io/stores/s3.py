"""Store for S3 and compatible servers, with s3fs's client and configuration."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Self

from cpr.io.answer_checks import (
    BadAnswerError,
    PageGuard,
    code_of,
    is_beyond_the_end,
    require_items,
    require_range,
)
from cpr.io.clients.s3_checksums import checksum_of_head
from cpr.io.clients.s3fs import S3Client, required
from cpr.io.filesystems import filesystem
from cpr.io.stores import s3_obstore
from cpr.io.stores.base import (
    MOST_SMALL_BYTES,
    ChangedError,
    Entry,
    Stat,
    Versioned,
    age_of,
    bucket_and_key,
    folder_prefix,
    version_of,
)
from cpr.io.stores.glob import matching_in_bucket, names_in_bucket
from cpr.io.stores.listings import Line
from cpr.io.stores.s3_copy import copy_equal
from cpr.io.stores.s3_listing import Found
from cpr.io.stores.s3_upload import S3Upload, is_refused_condition, stat_object
from cpr.io.timeouts import is_interruption
from cpr.io.transfer_width import width_of

__all__ = ["S3Store"]

log = logging.getLogger("cpr")


class _NotRemovedError(OSError):
    """S3's error for one object of a bulk deletion."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("Code")))
        self.response = {"Error": error}


class S3Store:
    """Buckets of S3; paths are `bucket/key`.

    Args:
        fs: s3fs's filesystem, made in this process.
    """

    # Some servers that speak S3's language drop the condition, and so do some proxies.
    conditions_may_be_ignored = True

    def __init__(self, fs: Any) -> None:
        self._client = S3Client(fs, lambda bucket, way: width_of(f"s3://{bucket}", way).throttled())

    @classmethod
    def open(cls, url: str) -> tuple[Self, str]:
        # Keys are taken as they are written: s3fs would drop what looks like a query, or a slash.
        return cls(filesystem(url)[0]), url.partition("://")[2]

    def stat(self, path: str) -> Stat | None:
        return stat_object(self._client, *bucket_and_key(path))

    def require_container(self, path: str) -> None:
        # A HEAD cannot tell a missing bucket from a missing object; a listing names it.
        with suppress(PermissionError):
            self._client.call("list_objects_v2", Bucket=bucket_and_key(path)[0], MaxKeys=1)

    def fetch(self, path: str, start: int, stop: int) -> bytes | memoryview:
        if stop <= start:
            return b""
        bucket, key = bucket_and_key(path)
        fast = s3_obstore.fast_bucket(self._client.fs, bucket)
        # What is not there s3fs shall report, for it knows whether it is the bucket.
        with suppress(FileNotFoundError):
            found = None if fast is None else fast.fetch(key, start, stop)
            if found is not None:
                return found
        try:
            return self._client.get_range(bucket, key, start, stop)
        except OSError as error:
            if is_beyond_the_end(error):
                return b""
            raise

    def can_pin(self, version: Mapping[str, str | int]) -> bool:
        """Whether the version is an ETag."""
        return "etag" in version

    def fetch_version(
        self, path: str, start: int, stop: int, version: Mapping[str, str | int]
    ) -> bytes | memoryview:
        """As `fetch`, for the object with this ETag, which the answer must carry too."""
        if stop <= start:
            return b""
        bucket, key = bucket_and_key(path)
        etag = str(version["etag"])
        fast = s3_obstore.fast_bucket(self._client.fs, bucket)
        with suppress(FileNotFoundError):
            found = None if fast is None else fast.fetch_version(key, start, stop, etag)
            if found is not None:
                return found
        try:
            part = f"bytes={start}-{stop - 1}"
            block, answer = self._client.get(bucket, key, stop - start, Range=part, IfMatch=f'"{etag}"')
        except OSError as error:
            if is_refused_condition(error) or is_beyond_the_end(error):
                raise ChangedError from None
            raise
        if str(required(answer, "ETag")).strip('"') != etag:
            raise ChangedError
        require_range(answer.get("ContentRange"), start, stop, len(block))
        return block

    def store_checksum(self, path: str) -> tuple[int, str | None]:
        bucket, key = bucket_and_key(path)
        head = self._client.call("head_object", Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        return int(required(head, "ContentLength")), checksum_of_head(head)

    def put_once(self, path: str, content: bytes, **arguments: Any) -> Any:
        """Send one PUT with extra arguments, without retrying a refusal; returns its answer."""
        bucket, key = bucket_and_key(path)
        return self._client.call_once("put_object", Bucket=bucket, Key=key, Body=content, **arguments)

    def upload(self, path: str, create: bool = False) -> S3Upload:
        return S3Upload(self._client, *bucket_and_key(path), create)

    def remove(self, path: str) -> None:
        bucket, key = bucket_and_key(path)
        self._client.call("delete_object", Bucket=bucket, Key=key)

    def remove_many(self, paths: list[str]) -> None:
        buckets: dict[str, list[dict[str, str]]] = {}
        for bucket, key in map(bucket_and_key, paths):
            buckets.setdefault(bucket, []).append({"Key": key})
        for bucket, keys in buckets.items():
            deletion = {"Objects": keys, "Quiet": True}
            answer = self._client.call("delete_objects", Bucket=bucket, Delete=deletion)
            for error in answer.get("Errors", []):
                if error.get("Code") not in ("NoSuchKey", "NoSuchVersion"):
                    raise _NotRemovedError(error)

    def find(self, pattern: str, hidden: bool = False) -> dict[str, Stat]:
        return matching_in_bucket(self, "s3", pattern, self._listed, hidden)

    def has_folder(self, path: str) -> bool:
        return self._has_prefix(*bucket_and_key(path))

    def names_in(self, path: str) -> set[str]:
        return names_in_bucket(path, self._listed)

    def walk(self, path: str) -> Iterator[Entry]:
        head = f"s3://{bucket_and_key(path)[0]}/"
        for key, nbytes, modified, etag in self._found(path):
            yield Entry(head + key, modified, nbytes, version_of({"ETag": etag, "LastModified": modified}))

    def lines(self, path: str) -> Iterator[Line]:
        """As `walk`, in its order, for millions of objects."""
        head = f"s3://{bucket_and_key(path)[0]}/"
        for key, nbytes, modified, etag in self._found(path):
            version = "etag=" + etag.strip('"') if etag else ""
            yield head + key, nbytes, modified.timestamp(), version

    def _found(self, path: str) -> Iterator[Found]:
        bucket, key = bucket_and_key(path)
        fast = s3_obstore.fast_bucket(self._client.fs, bucket)
        # obstore would give keys that begin with a slash without it.
        found = None
        if fast is not None and (key or not self._has_prefix(bucket, "/")):
            found = fast.list_keys(key, lambda: not self._is_minio(bucket))
        last = ""
        if found is not None:
            try:
                for one in found:
                    last = one.key
                    # What is empty may be the marker of a folder, whose key ends with a slash.
                    if one.nbytes or self.stat(f"{bucket}/{last}") is not None:
                        yield one
            except Exception as error:
                if is_interruption(error):
                    raise
                # A key that obstore cannot spell, or what s3fs meets as well, and knows a name for.
                log.debug("s3fs lists on, after %s", type(error).__name__)
            else:
                # To obstore a page of HTML is an empty listing.
                if last:
                    return
        for answer in self._pages(bucket, folder_prefix(key), "", after=last):
            for item in answer.get("Contents", []):
                # A server may not heed where it was told to begin.
                if not item["Key"].endswith("/") and item["Key"] > last:
                    yield Found(item["Key"], int(item["Size"]), item["LastModified"], item.get("ETag"))

    def _is_minio(self, bucket: str) -> bool:
        answer = self._client.call("list_objects_v2", Bucket=bucket, MaxKeys=1)
        return "minio" in str(answer["ResponseMetadata"]["HTTPHeaders"].get("server")).lower()

    def _has_prefix(self, bucket: str, key: str) -> bool:
        found = self._client.call("list_objects_v2", Bucket=bucket, Prefix=folder_prefix(key), MaxKeys=1)
        return bool(found.get("Contents"))

    def uploads(self, path: str) -> Iterator[tuple[Entry, str]]:
        bucket, key = bucket_and_key(path)
        page: dict[str, Any] = {}
        guard = PageGuard()
        while True:
            # Without a prefix: asked for one, MinIO lists only uploads whose key it is.
            answer = self._client.call("list_multipart_uploads", Bucket=bucket, **page)
            if "IsTruncated" not in answer:
                raise BadAnswerError("NotAListing")
            require_items(answer, "Uploads", Key=str, UploadId=str, Initiated=datetime)
            guard.require_other(answer.get("Uploads"))
            for found in answer.get("Uploads", []):
                if key and not found["Key"].startswith(f"{key}/"):
                    continue
                url, upload = f"s3://{bucket}/{found['Key']}", found["UploadId"]
                parts = self._parts(bucket, found["Key"], upload)
                modified = max([found["Initiated"], *(part["LastModified"] for part in parts)])
                yield Entry(url, modified, sum(int(part["Size"]) for part in parts)), upload
            if not answer.get("IsTruncated"):
                return
            page = _next(
                page, KeyMarker=answer.get("NextKeyMarker"), UploadIdMarker=answer.get("NextUploadIdMarker")
            )

    def _parts(self, bucket: str, key: str, upload: str) -> list[dict[str, Any]]:
        """The parts of an upload; none if it has ended meanwhile."""
        parts: list[dict[str, Any]] = []
        page: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            while True:
                answer = self._client.call("list_parts", Bucket=bucket, Key=key, UploadId=upload, **page)
                require_items(answer, "Parts", LastModified=datetime, Size=int)
                parts += answer.get("Parts", [])
                if not answer.get("IsTruncated"):
                    break
                page = _next(page, PartNumberMarker=answer.get("NextPartNumberMarker"))
        return parts

    def abort_upload(self, path: str, upload: str) -> None:
        bucket, key = bucket_and_key(path)
        self._client.call("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)

    def _listed(self, bucket: str, prefix: str, deep: bool) -> tuple[list[tuple[str, Stat]], list[str]]:
        """All objects and folders whose names start with a prefix, over all pages."""
        objects: list[tuple[str, Stat]] = []
        folders: list[str] = []
        for answer in self._pages(bucket, prefix, "" if deep else "/"):
            objects += [(one["Key"], _stat(one)) for one in answer.get("Contents", [])]
            folders += [item["Prefix"] for item in answer.get("CommonPrefixes", [])]
        return objects, folders

    def page_after(self, path: str, name: str) -> tuple[dict[str, Stat], str | None]:
        bucket, key = bucket_and_key(path)
        prefix = folder_prefix(key)
        fast = s3_obstore.fast_bucket(self._client.fs, bucket)
        with suppress(FileNotFoundError):
            found = None if fast is None else fast.page_after(key, name)
            if found is not None:
                return found
        answer = next(self._pages(bucket, prefix, "/", after=prefix + name))
        objects = {one["Key"][len(prefix) :]: _stat(one) for one in answer.get("Contents", [])}
        if not answer["IsTruncated"]:
            return objects, None
        folders = [one["Prefix"][len(prefix) :] for one in answer.get("CommonPrefixes", [])]
        return objects, max([*objects, *folders], default="")

    def _pages(self, bucket: str, prefix: str, delimiter: str, after: str = "") -> Iterator[dict[str, Any]]:
        query = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter}
        page: dict[str, Any] = {"StartAfter": after} if after else {}
        guard = PageGuard()
        while True:
            answer = self._client.call("list_objects_v2", **query, **page)
            if "IsTruncated" not in answer:
                raise BadAnswerError("NotAListing")
            require_items(answer, "Contents", Key=str, Size=int, LastModified=datetime)
            require_items(answer, "CommonPrefixes", Prefix=str)
            guard.require_other(answer.get("Contents"), answer.get("CommonPrefixes"))
            yield answer
            if not answer["IsTruncated"]:
                return
            page = _next(page, ContinuationToken=answer.get("NextContinuationToken"))

    def copy_equal(self, source: str, path: str, md5: str, nbytes: int) -> bool:
        return copy_equal(self._client, source, path, md5, nbytes)

    def conditional(self, path: str) -> _ConditionalObject:
        """The object at a path, for conditional writes."""
        return _ConditionalObject(self._client, *bucket_and_key(path))


def _stat(item: dict[str, Any]) -> Stat:
    return Stat(int(item["Size"]), version_of(item), item["LastModified"])


def _next(page: dict[str, Any], **markers: Any) -> dict[str, Any]:
    """The start of the next page of a listing. Raises BadAnswerError if the listing would never end."""
    if None in markers.values():
        raise BadAnswerError("ListingCut")
    if page == markers:
        raise BadAnswerError("ListingRepeats")
    return markers


class _ConditionalObject:
    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        self._client = client
        self._where = {"Bucket": bucket, "Key": key}

    def read(self) -> Versioned | None:
        try:
            content, answer = self._client.get(self._where["Bucket"], self._where["Key"], MOST_SMALL_BYTES)
        except FileNotFoundError as error:
            if code_of(error) == "NoSuchBucket":
                raise
            return None
        return Versioned(
            content, str(required(answer, "ETag")), age_of(answer["ResponseMetadata"]["HTTPHeaders"])
        )

    def write_if(self, content: bytes, version: str | None) -> str | None:
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            answer = self._client.call("put_object", **self._where, Body=content, **condition)
        except FileNotFoundError as error:
            # If-Match on what is gone is answered by NoSuchKey.
            if code_of(error) == "NoSuchBucket":
                raise
            return None
        except OSError as error:
            if is_refused_condition(error):
                return None
            raise
        return str(required(answer, "ETag"))
