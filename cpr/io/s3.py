"""S3 and what speaks its language, through s3fs's client and configuration.

s3fs writes the parts of a file one after another inside write(), and publishes a truncated object
when a `with` body raises. Here parts go up side by side while the next one is made, and an upload is
completed only when it is told to; an interrupted one is aborted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from cpr.io.location import normalise
from cpr.io.store import Stat, has_magic, version_of

__all__ = ["S3Store", "S3Upload"]

T = TypeVar("T")

# Parts double in size every 1000 parts: 10,000 of them (the most S3 takes) hold over 5 TiB, the
# most an object can have, and the first thousands stay small in memory.
_PART_BYTES = 8 << 20
_PARTS_PER_SIZE = 1000
_PARTS_IN_FLIGHT = 3


def part_bytes(number: int) -> int:
    """Size of the part with this number (from 1): 8 MiB, doubling every 1000 parts."""
    return _PART_BYTES << ((number - 1) // _PARTS_PER_SIZE)


class S3Store:
    """Buckets; paths are `bucket/key`."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def stat(self, path: str) -> Stat | None:
        bucket, key = _bucket_and_key(path)
        try:
            head = self._call("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return None
        return Stat(int(head["ContentLength"]), version_of(head))

    def require_container(self, path: str) -> None:
        # A HEAD cannot tell a missing bucket from a missing object; a listing names it.
        with suppress(PermissionError):
            self._call("list_objects_v2", Bucket=_bucket_and_key(path)[0], MaxKeys=1)

    def fetch(self, path: str, start: int, stop: int) -> bytes:
        if stop <= start:
            return b""
        bucket, key = _bucket_and_key(path)
        return self._run(self._fetch(bucket, key, start, stop))

    async def _fetch(self, bucket: str, key: str, start: int, stop: int) -> bytes:
        response = await self._fs._call_s3(
            "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}"
        )
        async with response["Body"] as body:
            return bytes(await body.read())

    def upload(self, path: str) -> S3Upload:
        return S3Upload(self._fs, *_bucket_and_key(path))

    def remove(self, path: str) -> None:
        bucket, key = _bucket_and_key(path)
        self._call("delete_object", Bucket=bucket, Key=key)

    def find(self, pattern: str) -> dict[str, Stat]:
        bucket = pattern.partition("/")[0]
        if not has_magic(bucket):
            # glob() gives an empty answer for a bucket that does not exist.
            self.require_container(pattern)
        found: dict[str, dict[str, Any]] = self._fs.glob(pattern, detail=True)
        return {
            normalise(f"s3://{path}"): Stat(int(info["size"]), version_of(info))
            for path, info in found.items()
            if info["type"] == "file"
        }

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._run(self._fs._call_s3(method, **arguments))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._fs.loop).result()


def _bucket_and_key(path: str) -> tuple[str, str]:
    bucket, _, key = path.partition("/")
    return bucket, key


class S3Upload:
    """One object: a single PUT if it fits in a part, else a multipart upload with parts side by side."""

    def __init__(self, fs: Any, bucket: str, key: str) -> None:
        self._fs = fs
        self._where = {"Bucket": bucket, "Key": key}
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[Future[dict[str, Any]]] = []

    def write(self, block: memoryview) -> None:
        self._buffer += block
        while len(self._buffer) > (size := part_bytes(len(self._parts) + 1)):
            rest = self._buffer[size:]
            del self._buffer[size:]
            self._send(self._buffer)
            self._buffer = rest

    def _send(self, part: bytearray) -> None:
        if self._upload_id is None:
            self._upload_id = self._call("create_multipart_upload")["UploadId"]
        number = len(self._parts) + 1
        if number > _PARTS_IN_FLIGHT:
            self._parts[-_PARTS_IN_FLIGHT].result()
        self._parts.append(self._submit(self._put_part(number, part)))

    async def _put_part(self, number: int, part: bytearray) -> dict[str, Any]:
        answer = await self._fs._call_s3(
            "upload_part", **self._where, UploadId=self._upload_id, PartNumber=number, Body=part
        )
        return {"PartNumber": number, "ETag": answer["ETag"], **_checksums(answer)}

    def commit(self) -> None:
        if self._upload_id is None:
            self._call("put_object", Body=bytes(self._buffer))
            return
        self._send(self._buffer)
        parts = [part.result() for part in self._parts]
        self._call("complete_multipart_upload", UploadId=self._upload_id, MultipartUpload={"Parts": parts})

    def abort(self) -> None:
        for part in self._parts:
            part.cancel()
        for part in self._parts:
            if not part.cancelled():
                part.exception()
        if self._upload_id is not None:
            # NoSuchUpload: it is gone, which is what was wanted.
            with suppress(FileNotFoundError):
                self._call("abort_multipart_upload", UploadId=self._upload_id)

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
