"""S3 and what speaks its language, through s3fs's client and configuration.

s3fs writes the parts of a file one after another inside write(), and publishes a truncated object
when a `with` body raises. Here parts go up side by side while the next one is made, and an upload is
completed only when it is told to; an interrupted one is aborted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import Any, TypeVar

from cpr.io.stores.base import Entry, OccupiedError, Stat, version_of
from cpr.io.stores.glob import matching_in_bucket
from cpr.io.stores.s3_obstore import fast_bucket
from cpr.io.urls import normalise

__all__ = ["S3Store", "S3Upload"]

T = TypeVar("T")

log = logging.getLogger("cpr")

# Parts double in size every 1000 parts: 10,000 of them (the most S3 takes) hold over 5 TiB, the
# most an object can have, and the first thousands stay small in memory.
_PART_BYTES = 8 << 20
_PARTS_PER_SIZE = 1000
# A server syncs every part, so that several have to be under way to keep it busy: docs/decisions/transfer.md.
_BYTES_IN_FLIGHT = 48 << 20
_LEAST_IN_FLIGHT = 3
# To send so little takes no longer than to ask whether it is there.
_TINY_BYTES = 64 << 10
# A connection lost in the middle of an answer's body: the client repeats requests, bodies are ours to repeat.
_TRIES = 4
_FIRST_WAIT_SECONDS = 0.1
# Clocks in HTTP headers have seconds.
_CLOCK = timedelta(seconds=2)
_CREATE = "before-send.s3.CreateMultipartUpload"
_attempts: ContextVar[list[None] | None] = ContextVar("_attempts", default=None)


def part_bytes(number: int) -> int:
    """Size of the part with this number (from 1): 8 MiB, doubling every 1000 parts."""
    return _PART_BYTES << ((number - 1) // _PARTS_PER_SIZE)


class S3Store:
    """Buckets; paths are `bucket/key`."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    @property
    def fs(self) -> Any:
        """s3fs's filesystem."""
        return self._fs

    def stat(self, path: str) -> Stat | None:
        bucket, key = _bucket_and_key(path)
        fast = fast_bucket(self._fs, bucket)
        try:
            found = None if fast is None else fast.stat(key)
            if found is not None:
                return found
            head = self._call("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return None
        return Stat(int(head["ContentLength"]), version_of(head), head["LastModified"])

    def require_container(self, path: str) -> None:
        # A HEAD cannot tell a missing bucket from a missing object; a listing names it.
        with suppress(PermissionError):
            self._call("list_objects_v2", Bucket=_bucket_and_key(path)[0], MaxKeys=1)

    def fetch(self, path: str, start: int, stop: int) -> bytes | memoryview:
        if stop <= start:
            return b""
        bucket, key = _bucket_and_key(path)
        fast = fast_bucket(self._fs, bucket)
        # What is not there s3fs shall report, for it knows whether it is the bucket.
        with suppress(FileNotFoundError):
            found = None if fast is None else fast.fetch(key, start, stop)
            if found is not None:
                return found
        return self.get(bucket, key, Range=f"bytes={start}-{stop - 1}")[0]

    def get(self, bucket: str, key: str, **arguments: Any) -> tuple[bytes, dict[str, Any]]:
        """The body of an object through s3fs's client, and the answer that it came with."""
        return self._run(self._get(bucket, key, arguments))

    async def _get(self, bucket: str, key: str, arguments: Any) -> tuple[bytes, dict[str, Any]]:
        from s3fs import core

        for attempt in range(1, _TRIES + 1):
            response = await self._fs._call_s3("get_object", Bucket=bucket, Key=key, **arguments)
            try:
                async with response["Body"] as body:
                    return bytes(await body.read()), response
            except (OSError, *core.S3_RETRYABLE_ERRORS):
                if attempt == _TRIES:
                    raise
                await asyncio.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
        raise AssertionError("unreachable")

    def put(self, bucket: str, key: str, content: bytes, **arguments: Any) -> Any:
        """One PUT, with what is to go with it; its answer."""
        return self._call("put_object", Bucket=bucket, Key=key, Body=content, **arguments)

    def upload(self, path: str, create: bool = False) -> S3Upload:
        return S3Upload(self, path, create)

    def remove(self, path: str) -> None:
        bucket, key = _bucket_and_key(path)
        self._call("delete_object", Bucket=bucket, Key=key)

    def find(self, pattern: str) -> dict[str, Stat]:
        return matching_in_bucket(self, "s3", pattern, self._listed)

    def walk(self, path: str) -> Iterator[Entry]:
        bucket, key = _bucket_and_key(path)
        fast = fast_bucket(self._fs, bucket)
        found = None if fast is None else fast.walk(key)
        last = ""
        if found is not None:
            try:
                for last, stat in found:
                    yield Entry(normalise(f"s3://{bucket}/{last}"), stat.modified, stat.nbytes)
            except Exception as error:
                # A key that obstore cannot spell, or what s3fs meets as well, and knows a name for.
                log.debug("s3fs lists on, after %s", type(error).__name__)
            else:
                return
        for answer in self._pages(bucket, f"{key}/" if key else "", "", after=last):
            for item in answer.get("Contents", []):
                yield Entry(
                    normalise(f"s3://{bucket}/{item['Key']}"), item["LastModified"], int(item["Size"])
                )

    def uploads(self, path: str) -> Iterator[tuple[Entry, str]]:
        bucket, key = _bucket_and_key(path)
        page: dict[str, str] = {}
        while True:
            # Without a prefix: asked for one, MinIO lists only uploads whose key it is.
            answer = self._call("list_multipart_uploads", Bucket=bucket, **page)
            for found in answer.get("Uploads", []):
                if key and not found["Key"].startswith(f"{key}/"):
                    continue
                url, upload = normalise(f"s3://{bucket}/{found['Key']}"), found["UploadId"]
                parts = self._parts(bucket, found["Key"], upload)
                modified = max([found["Initiated"], *(part["LastModified"] for part in parts)])
                yield Entry(url, modified, sum(int(part["Size"]) for part in parts)), upload
            if not answer.get("IsTruncated"):
                return
            page = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    def _parts(self, bucket: str, key: str, upload: str) -> list[dict[str, Any]]:
        """The parts of an upload; none if it has ended meanwhile."""
        parts: list[dict[str, Any]] = []
        page: dict[str, int] = {}
        with suppress(FileNotFoundError):
            while True:
                answer = self._call("list_parts", Bucket=bucket, Key=key, UploadId=upload, **page)
                parts += answer.get("Parts", [])
                if not answer.get("IsTruncated"):
                    break
                page = {"PartNumberMarker": answer["NextPartNumberMarker"]}
        return parts

    def abort_upload(self, path: str, upload: str) -> None:
        bucket, key = _bucket_and_key(path)
        self._call("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)

    def _listed(self, bucket: str, prefix: str, deep: bool) -> tuple[list[tuple[str, Stat]], list[str]]:
        """All objects and folders whose names begin with a prefix, of however many pages."""
        objects: list[tuple[str, Stat]] = []
        folders: list[str] = []
        for answer in self._pages(bucket, prefix, "" if deep else "/"):
            objects += [
                (one["Key"], Stat(int(one["Size"]), version_of(one), one["LastModified"]))
                for one in answer.get("Contents", [])
            ]
            folders += [item["Prefix"] for item in answer.get("CommonPrefixes", [])]
        return objects, folders

    def _pages(self, bucket: str, prefix: str, delimiter: str, after: str = "") -> Iterator[dict[str, Any]]:
        page = {"StartAfter": after} if after else {}
        while True:
            answer = self._call("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter=delimiter, **page)
            yield answer
            if not answer.get("IsTruncated"):
                return
            page = {"ContinuationToken": answer["NextContinuationToken"]}

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._run(self._fs._call_s3(method, **arguments))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._fs.loop).result()


def _bucket_and_key(path: str) -> tuple[str, str]:
    bucket, _, key = path.partition("/")
    return bucket, key


class S3Upload:
    """One object: a single PUT if it fits in a part, else a multipart upload with parts side by side."""

    def __init__(self, store: S3Store, path: str, create: bool) -> None:
        self._store = store
        self._path = path
        self._only_new = create
        self._fs = store.fs
        bucket, key = _bucket_and_key(path)
        self._where = {"Bucket": bucket, "Key": key}
        self._buffer = BytesIO()
        # Of parts that have left: new memory for every part would cost more than filling it.
        self._emptied: list[BytesIO] = []
        self._upload_id: str | None = None
        self._parts: list[Future[dict[str, Any]]] = []
        self._creations = 0
        self._creating = (0.0, 0.0)

    def write(self, block: memoryview) -> None:
        if self._only_new and self._buffer.tell() + block.nbytes > _TINY_BYTES:
            self._require_free()
        while self._buffer.tell() + block.nbytes > (size := part_bytes(len(self._parts) + 1)):
            room = size - self._buffer.tell()
            self._buffer.write(block[:room])
            block = block[room:]
            self._send()
        self._buffer.write(block)

    def _require_free(self) -> None:
        self._only_new = False
        if self._store.stat(self._path) is not None:
            raise OccupiedError

    def _send(self) -> None:
        part = self._buffer
        part.truncate()
        if self._upload_id is None:
            self._submit(self._create()).result()
        number = len(self._parts) + 1
        most = max(_LEAST_IN_FLIGHT, _BYTES_IN_FLIGHT // part_bytes(number))
        if number > most:
            self._parts[-most].result()
        self._parts.append(self._submit(self._put_part(number, part)))
        self._buffer = self._emptied.pop() if self._emptied else BytesIO()

    async def _create(self) -> None:
        client = await self._fs.set_session()
        client.meta.events.register(_CREATE, _count_attempt, unique_id="cpr-attempts")
        attempts: list[None] = []
        _attempts.set(attempts)
        started = time.monotonic()
        try:
            answer = await self._fs._call_s3("create_multipart_upload", **self._where)
            self._upload_id = answer["UploadId"]
        finally:
            self._creations = len(attempts)
            self._creating = (started, time.monotonic())

    async def _put_part(self, number: int, part: BytesIO) -> dict[str, Any]:
        from s3fs import core

        await self._fs.set_session()
        client = await self._fs.get_s3(self._where["Bucket"])
        arguments = self._fs._get_s3_method_kwargs(
            client.upload_part, **self._where, UploadId=self._upload_id, PartNumber=number, Body=part
        )

        async def attempt() -> dict[str, Any]:
            # s3fs would send what is left of it after the attempt before.
            part.seek(0)
            answer: dict[str, Any] = await client.upload_part(**arguments)
            return answer

        answer = await core._error_wrapper(attempt, retries=self._fs.retries)
        part.seek(0)
        self._emptied.append(part)
        return {"PartNumber": number, "ETag": answer["ETag"], **_checksums(answer)}

    def commit(self) -> None:
        if self._upload_id is None:
            self._put()
            return
        self._send()
        parts = [part.result() for part in self._parts]
        self._call("complete_multipart_upload", UploadId=self._upload_id, MultipartUpload={"Parts": parts})
        if self._creations > 1:
            self._submit(self._abort_unseen()).result()

    def _put(self) -> None:
        fast = fast_bucket(self._fs, self._where["Bucket"])
        content = self._buffer.getvalue()
        # Of a missing bucket s3fs shall report. Whatever obstore did, the same once more is the same.
        with suppress(FileNotFoundError):
            if fast is not None and fast.put(self._where["Key"], content, self._only_new):
                return
        if self._only_new:
            self._require_free()
        self._call("put_object", Body=content)

    def abort(self, timeout: float | None = None) -> None:
        for part in self._parts:
            part.cancel()
        for part in self._parts:
            if not part.cancelled():
                part.exception()
        if self._upload_id is None and self._creations == 0:
            return
        aborting = self._submit(self._abort())
        if not self._is_here():
            aborting.result(timeout)

    async def _abort(self) -> None:
        unseen = self._creations > (self._upload_id is not None)
        if self._upload_id is not None:
            try:
                await self._fs._call_s3("abort_multipart_upload", **self._where, UploadId=self._upload_id)
            except FileNotFoundError:
                # NoSuchUpload: it is gone, which is what was wanted, or the id was damaged on its way.
                unseen = True
        if unseen:
            await self._abort_unseen()

    def _is_here(self) -> bool:
        """Whether this is the thread of the requests, which would wait for itself.

        The garbage collector runs in any thread, and so does what an abandoned writer does at its end.
        """
        try:
            return asyncio.get_running_loop() is self._fs.loop
        except RuntimeError:
            return False

    async def _abort_unseen(self) -> None:
        """Abort uploads that a repeated request has begun and whose ids were lost with its answers."""
        try:
            await self._find_and_abort_unseen()
        except Exception as error:
            log.warning(
                "s3://%s/%s: an upload whose id was lost may be left open (%s); a lifecycle rule of the "
                "bucket removes such",
                *self._where.values(),
                type(error).__name__,
            )

    async def _find_and_abort_unseen(self) -> None:
        call, where = self._fs._call_s3, self._where
        answer = await call("list_multipart_uploads", Bucket=where["Bucket"], Prefix=where["Key"])
        # Others may write the same content to this key: only an upload that was begun while we asked for
        # ours, by the server's clock, and has no part although all of ours are done, can be ours.
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        started, ended = (now - timedelta(seconds=time.monotonic() - moment) for moment in self._creating)
        for upload in answer.get("Uploads", []):
            if upload["Key"] != where["Key"] or upload["UploadId"] == self._upload_id:
                continue
            if not started - _CLOCK <= upload["Initiated"] <= ended + _CLOCK:
                continue
            parts = await call("list_parts", **where, UploadId=upload["UploadId"])
            if not parts.get("Parts"):
                with suppress(FileNotFoundError):
                    await call("abort_multipart_upload", **where, UploadId=upload["UploadId"])

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._submit(self._fs._call_s3(method, **self._where, **arguments)).result()

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._fs.loop)


def _checksums(answer: dict[str, Any]) -> dict[str, Any]:
    """The part's checksums as the store computed them; completing must name them again."""
    return {
        name: value
        for name, value in answer.items()
        if name.startswith("Checksum") and name != "ChecksumType"
    }


def _count_attempt(**_: Any) -> None:
    attempts = _attempts.get()
    if attempts is not None:
        attempts.append(None)
