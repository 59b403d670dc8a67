"""Uploads an object of unknown size to Google Cloud Storage in one pass.

A resumable upload is strictly sequential: one part is under way while the next is collected, so that two of
them bound the memory. The protocol, and how an interrupted upload goes on, is described at
https://cloud.google.com/storage/docs/performing-resumable-uploads.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from cpr.io.answer_checks import required_text, whole_number
from cpr.io.clients.gcsfs import Answer, Requests, named, passing_errors, refusal, wait_seconds, was_refused
from cpr.io.stores.base import OccupiedError
from cpr.io.throttling import counted_pauses
from cpr.io.timeouts import at_most, cleaning_up, wait_for

__all__ = ["CHECKSUM", "ResumableUpload", "put_checked", "put_whole"]

#: Of every object that is stored here.
CHECKSUM = "crc32c"

# Every part waits for the store to have it, a tenth of a second or so: they grow with the object, and
# 2 TB take 33,000 of them. All but the last must be multiples of 256 KiB.
_PART_BYTES = 8 << 20
_LARGEST_PART_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20
_PARTS_PER_SIZE = 32
# For a part; more than for other requests, for all that was sent before is lost with it.
_TRIES = 8
_PERMANENT_REDIRECT = 308  # here: the upload goes on
_CANCELLED = 499


def part_bytes(number: int) -> int:
    """Size of the part with this number (from 1): 8 MiB, doubling every 32 parts up to 64 MiB."""
    return min(_LARGEST_PART_BYTES, _PART_BYTES << ((number - 1) // _PARTS_PER_SIZE))


class ResumableUpload:
    """Uploads one object: in a single request if it fits in a part, else as a resumable upload.

    With `create` the store is to refuse it where there is an object by the end.
    """

    def __init__(self, requests: Requests, bucket: str, key: str, create: bool = False) -> None:
        self._requests = requests
        self._bucket = bucket
        self._key = key
        self._condition = {"ifGenerationMatch": "0"} if create else {}
        self._buffer = bytearray()
        self._session: str | None = None
        self._part: Future[dict[str, Any] | None] | None = None
        self._number = 1
        self._sent = 0
        self._crc = 0

    def write(self, block: memoryview) -> None:
        self._buffer += block
        # Never the last byte, for the last part is sent otherwise.
        with self._refusals_as_occupied():
            while len(self._buffer) > (size := part_bytes(self._number)):
                self._send(size, last=False)

    def _send(self, size: int, last: bool) -> None:
        if self._session is None:
            self._session = self._requests.wait(self._begin())
        if self._part is not None:
            wait_for(self._part, _LARGEST_PART_BYTES)
        part = self._take(size)
        total = self._sent + size if last else None
        self._part = self._requests.submit(self._put_part(part, self._sent, total))
        self._sent += size
        self._number += 1

    def _take(self, size: int) -> bytes:
        import google_crc32c

        with memoryview(self._buffer) as view:
            part = bytes(view[:size])
        del self._buffer[:size]
        self._crc = google_crc32c.extend(self._crc, part)
        return part

    async def _begin(self) -> str:
        kind = {"Content-Type": "application/json"}
        query = {"uploadType": "resumable", **self._condition}
        answer = await _begin_object(self._requests, self._bucket, self._key, query, kind, b"{}")
        return self._requests.place_given(required_text(answer.headers, "Location"))

    async def _put_part(self, part: bytes, start: int, total: int | None) -> dict[str, Any] | None:
        """Send a part until the store has all of it; the object, if it was the last.

        After a failure the store is asked how much has arrived, and gets what is missing.
        """
        view, stop = memoryview(part), start + len(part)
        arrived, asking = start, False
        length = "*" if total is None else str(total)
        attempt, pauses = 0, counted_pauses()
        while True:
            attempt += 1
            try:
                answer = await self._requests.once(
                    "PUT", self._location, None, *self._part_of(view, start, arrived, length, asking)
                )
            except passing_errors():
                if attempt == _TRIES:
                    raise
            else:
                if answer.status in (200, 201):
                    return answer.json()
                if answer.status == _PERMANENT_REDIRECT:
                    has = _persisted(answer)
                    if not start <= has <= stop:
                        # What is lacking is not here any more, or there is what we have not sent.
                        raise refusal(answer.status, "InvalidRange")
                    if has == stop and total is None:
                        return None
                    learnt = asking or has > arrived
                    # What counts are parts that did not arrive; the question is none.
                    attempt = 0 if has > arrived else attempt - asking
                    arrived, asking = has, False
                    if learnt and attempt < _TRIES:
                        continue
                if await was_refused(answer, pauses):
                    attempt -= 1
                    asking = True
                    continue
                if not answer.is_passing or attempt == _TRIES:
                    # A session that is gone is no missing object.
                    raise refusal(400 if answer.status in (404, 410) else answer.status, str(answer.status))
            asking = True
            await asyncio.sleep(wait_seconds(attempt))

    def _part_of(
        self, view: memoryview, start: int, arrived: int, length: str, asking: bool
    ) -> tuple[dict[str, str], memoryview | None]:
        """Headers and body of a request for a part, or of the question how much has arrived."""
        rest = view[arrived - start :]
        headers = {} if length == "*" else {"X-Goog-Hash": f"crc32c={self._digest}"}
        if asking or not rest:
            return {**headers, "Content-Range": f"bytes */{length}"}, None
        return {**headers, "Content-Range": f"bytes {arrived}-{start + len(view) - 1}/{length}"}, rest

    @property
    def _location(self) -> str:
        assert self._session is not None
        return self._session

    @property
    def _digest(self) -> str:
        return _in_base64(self._crc)

    def store_checksum(self) -> str | None:
        import google_crc32c

        crc = self._crc
        for start in range(0, len(self._buffer), _PIECE_BYTES):
            crc = google_crc32c.extend(crc, bytes(self._buffer[start : start + _PIECE_BYTES]))
        return f"{CHECKSUM}:{crc:08x}"

    @contextmanager
    def _refusals_as_occupied(self) -> Iterator[None]:
        """Raise OccupiedError where the store refuses to write over an object, be it ours after all."""
        try:
            yield
        except OSError as error:
            if self._condition and getattr(error, "code", None) == "412":
                raise OccupiedError from None
            raise

    def commit(self) -> None:
        with self._refusals_as_occupied():
            if self._session is None:
                found: dict[str, Any] | None = self._requests.wait(self._put_whole(), len(self._buffer))
            else:
                self._send(len(self._buffer), last=True)
                assert self._part is not None
                found = wait_for(self._part, _LARGEST_PART_BYTES)
        assert found is not None
        if (found.get("crc32c"), whole_number(found.get("size", 0))) != (self._digest, self._sent):
            if "generation" in found:
                self._requests.wait(self._remove(str(whole_number(found["generation"]))))
            raise refusal(400, "BadDigest")

    async def _put_whole(self) -> dict[str, Any]:
        self._sent = len(self._buffer)
        data = self._take(self._sent)
        return await put_whole(self._requests, self._bucket, self._key, data, self._digest, **self._condition)

    async def _remove(self, generation: str) -> None:
        """Take back this very object, and none that another has put there meanwhile."""
        path = named("/storage/v1/b/", self._bucket, "/o/", self._key)
        await self._requests.ask("DELETE", path, {"ifGenerationMatch": generation})

    def abort(self, timeout: float | None = None) -> None:
        self._buffer.clear()
        if self._part is not None:
            self._part.cancel()
            if not self._part.cancelled():
                self._part.exception(timeout)
        if self._session is None:
            return
        aborting = self._requests.submit(self._abort(self._session))
        if not self._requests.is_here():
            with cleaning_up(), at_most(10.0 if timeout is None else timeout):
                wait_for(aborting)

    async def _abort(self, session: str) -> None:
        answer = await self._requests.patiently("DELETE", session)
        # 499 says that it is cancelled; 404 and 410 that it is not there any more.
        if answer.status not in (_CANCELLED, 200, 204, 404, 410):
            raise refusal(answer.status)


async def put_whole(
    requests: Requests, bucket: str, key: str, data: bytes, crc32c: str | None = None, **condition: str
) -> dict[str, Any]:
    """A small object in one request, its description before its bytes; what the store says of it.

    Raises OSError with the code 412 where the condition (`ifGenerationMatch`) does not hold.
    """
    about = json.dumps({"name": key} if crc32c is None else {"name": key, "crc32c": crc32c}).encode()
    # Nobody's data can know it.
    boundary = secrets.token_hex(16).encode()
    body = b"".join(
        (
            *(b"--", boundary, b"\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n", about),
            *(b"\r\n--", boundary, b"\r\nContent-Type: application/octet-stream\r\n\r\n", data),
            *(b"\r\n--", boundary, b"--"),
        )
    )
    kind = {"Content-Type": f"multipart/related; boundary={boundary.decode()}"}
    query = {"uploadType": "multipart", **condition}
    answer = await _begin_object(requests, bucket, key, query, kind, body)
    return answer.json()


async def put_checked(requests: Requests, bucket: str, key: str, data: bytes) -> None:
    """A small object in one request; raises OSError with the code BadDigest where other bytes are stored."""
    import google_crc32c

    digest = _in_base64(google_crc32c.value(data))
    found = await put_whole(requests, bucket, key, data, digest)
    if (found.get("crc32c"), whole_number(found.get("size", 0))) != (digest, len(data)):
        raise refusal(400, "BadDigest")


def _in_base64(crc: int) -> str:
    return b64encode(crc.to_bytes(4, "big")).decode()


async def _begin_object(
    requests: Requests, bucket: str, key: str, query: dict[str, str], headers: dict[str, str], body: bytes
) -> Answer:
    """A request that begins an object: where there is nothing to be found it is the bucket."""
    path = named("/upload/storage/v1/b/", bucket, "/o")
    try:
        return await requests.ask("POST", path, {**query, "name": key}, headers, body)
    except FileNotFoundError:
        raise refusal(404, "NoSuchBucket") from None


def _persisted(answer: Answer) -> int:
    """How many bytes the store has, from `Range: bytes=0-N`; it is left out where it has none."""
    found = answer.headers.get("Range")
    return 0 if not found else whole_number(found.rpartition("-")[2]) + 1
