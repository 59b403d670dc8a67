"""Uploads an object of unknown size to S3 as a multipart upload; a part is filled while others are sent.

s3fs writes the parts of a file one after another inside write(), and publishes a truncated object when a
`with` body raises. Here an upload is completed only on commit; an interrupted one is aborted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from cpr.io.answer_checks import BadAnswerError, code_of
from cpr.io.clients.s3_body import Body, LentBody
from cpr.io.clients.s3_checksums import ObjectChecksum
from cpr.io.clients.s3fs import S3Client, required
from cpr.io.request_threads import in_thread
from cpr.io.stores import s3_obstore
from cpr.io.stores.base import OccupiedError, Stat
from cpr.io.stores.lost_uploads import abort_unseen
from cpr.io.stores.part_sizes import FAR_PART_BYTES, PART_BYTES, part_bytes
from cpr.io.timeouts import at_most, cleaning_up, wait_for
from cpr.io.transfer_width import still_silent, width_of

__all__ = ["S3Upload", "is_refused_condition", "stat_object"]

_REFUSALS = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})

# AWS, and whoever does as it does; others are asked once more.
_USUAL_ETAG = re.compile('"?[0-9a-fA-F]{32}(-[0-9]+)?"?')
# To send so little takes no longer than to ask whether it is there.
_TINY_BYTES = 64 << 10
# Of a store that does not answer; a lifecycle rule of the bucket removes what is left.
_ABORT_SECONDS = 10.0


def stat_object(client: S3Client, Bucket: str, Key: str) -> Stat | None:  # noqa: N803 - S3's own names
    """Size and version of an object; None if there is none."""
    fast = s3_obstore.fast_bucket(client.fs, Bucket)
    try:
        found = None if fast is None else fast.stat(Key)
        if found is not None:
            return found
        head = _head(client, Bucket, Key)
    except FileNotFoundError:
        return None
    modified, nbytes = required(head, "LastModified"), int(required(head, "ContentLength"))
    return Stat(nbytes, {"etag": str(required(head, "ETag")).strip('"')}, modified)


def is_refused_condition(error: OSError) -> bool:
    """Whether S3 refused a request because its condition does not hold."""
    return isinstance(error, FileExistsError) or code_of(error) in _REFUSALS


@contextmanager
def _refusals_as_occupied(condition: Mapping[str, str]) -> Iterator[None]:
    """Raise OccupiedError if the store refuses to overwrite an object, even one of our own lost answer.

    A refusal of what was asked without a condition is another failure.
    """
    try:
        yield
    except OSError as error:
        if condition and is_refused_condition(error):
            raise OccupiedError from None
        raise


def _head(client: S3Client, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
    try:
        found: dict[str, Any] = client.call("head_object", Bucket=Bucket, Key=Key)
    except OSError as error:
        # An answer to HEAD has no body that would say why it was refused; the same right reads a byte.
        if code_of(error) in ("400", "403"):
            client.call("get_object", Bucket=Bucket, Key=Key, Range="bytes=0-0")
        raise
    return found


class S3Upload:
    """The upload of one object: a single PUT if it fits in one part, else a multipart upload in parallel."""

    def __init__(self, client: S3Client, bucket: str, key: str, create: bool) -> None:
        self._client = client
        self._only_new = create
        self._condition = {"IfNoneMatch": "*"} if create else {}
        self._where = {"Bucket": bucket, "Key": key}
        self._part = Body()
        # Of parts that have left: new memory for every part would cost more than filling it.
        self._emptied: list[Body] = []
        self._upload_id: str | None = None
        self._parts: list[Future[dict[str, Any]]] = []
        # Those that the store may not have yet, and their own memory; waited for in their order.
        self._sending: list[tuple[Future[dict[str, Any]], Body, int]] = []
        self._width = width_of(f"s3://{bucket}", "write")
        self._sharing = ExitStack()
        self._checksum: ObjectChecksum | None = None
        self._first_bytes: int | None = None
        self._expected: int | None = None
        self._looking: Future[Stat | None] | None = None
        self._is_sent = False
        self._creations = 0
        self._creating = (0.0, 0.0)

    def announce(self, nbytes: int) -> None:
        self._expected = nbytes
        if nbytes > PART_BYTES:
            self._width.announce()

    def write(self, block: memoryview) -> None:
        self._collect(block, None)

    def lend(self, block: memoryview, lasting: memoryview) -> None:
        # Only the store can tell that it has got what was hashed, for it is read again when it is sent.
        self._collect(block, lasting if self._checksum is not None else None)

    def _collect(self, block: memoryview, lasting: memoryview | None) -> None:
        nbytes = self._part.collected + block.nbytes
        if self._only_new and nbytes > _TINY_BYTES:
            self._look()
        if self._first_bytes is None and nbytes > FAR_PART_BYTES:
            self._first_bytes = FAR_PART_BYTES if self._width.is_far else PART_BYTES
        while self._part.collected + block.nbytes > (size := self._part_bytes()):
            room = size - self._part.collected
            self._add(block[:room], None if lasting is None else lasting[:room])
            block, lasting = block[room:], None if lasting is None else lasting[room:]
            self._send()
        self._add(block, lasting)

    def _add(self, block: memoryview, lasting: memoryview | None) -> None:
        if self._checksum is not None:
            self._checksum.update(block)
        if lasting is None:
            self._part.write(block)
            return
        part = self._part
        if not isinstance(part, LentBody):
            self._part = LentBody()
            if part.collected:
                self._part.write(part.getbuffer()[: part.collected])
            self._keep_memory(part)
            part = self._part
        part.lend(lasting)

    def _keep_memory(self, part: Body) -> None:
        """Keep the buffer of a part for reuse."""
        if not isinstance(part, LentBody):
            part.seek(0)
            self._emptied.append(part)

    def _part_bytes(self) -> int:
        """Size of the next part; some servers require equal sizes."""
        return part_bytes(len(self._parts) + 1, self._first_bytes or PART_BYTES, self._expected)

    def _look(self) -> None:
        """Start to check whether the name is free, while the first part is filled."""
        self._only_new = False

        def ask() -> Stat | None:
            started = time.monotonic()
            found = stat_object(self._client, **self._where)
            self._width.answered(time.monotonic() - started)
            return found

        self._looking = in_thread(ask)

    def _require_free(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None and wait_for(looking) is not None:
            raise OccupiedError

    def _send(self) -> None:
        part = self._part
        own, nbytes = part.own_bytes, part.collected
        part.end()
        if self._upload_id is None:
            self._sharing.enter_context(self._width.transfer())
            if not self._width.is_far:
                self._require_free()
            # Far away both are asked at once; what is begun in vain is aborted.
            wait_for(self._client.submit(self._create()))
            self._require_free()
            if self._checksum is not None:
                self._checksum.update(part.getbuffer())
        while self._sending and not self._has_room(own):
            self._wait_for_room(own)
        number = len(self._parts) + 1
        named = {} if self._checksum is None else self._checksum.end_part()
        sent = self._client.submit(self._put_part(number, part, nbytes, named))
        self._sending.append((sent, part, own))
        self._parts.append(sent)
        self._part = self._emptied.pop() if self._emptied else Body()

    def _has_room(self, own: int) -> bool:
        """Whether another part may be sent now; raises the errors of parts that have failed."""
        for part, _, _ in self._sending:
            if part.done():
                part.result()
        self._sending = [one for one in self._sending if not one[0].done()]
        return len(self._sending) < self._width.requests and self._has_memory(own)

    def _has_memory(self, own: int) -> bool:
        return own + sum(size for _, _, size in self._sending) <= self._width.memory_bytes

    def _wait_for_room(self, own: int) -> None:
        """Wait for the oldest part; for an unknown store, only until more requests are allowed."""
        first = self._sending[0][0]
        if not (self._has_memory(own) and still_silent(first, self._width)):
            self._wait(first)

    def _wait(self, part: Future[dict[str, Any]]) -> dict[str, Any]:
        """Wait for a part's answer, as long as any part in progress advances."""
        return wait_for(part, alive=lambda: max((body.sent for _, body, _ in self._sending), default=0.0))

    async def _create(self) -> None:
        attempts: list[None] = []
        started = time.monotonic()
        try:
            self._upload_id, is_kept = await self._client.create_upload(attempts, **self._where)
        finally:
            self._creations = len(attempts)
            self._creating = (started, time.monotonic())
        self._width.answered(time.monotonic() - started)
        self._checksum = ObjectChecksum() if is_kept else None

    async def _put_part(
        self, number: int, part: Body, nbytes: int, checksum: dict[str, str]
    ) -> dict[str, Any]:
        with self._width.request(nbytes):
            answer = await self._client.send(
                "upload_part",
                part,
                **self._where,
                UploadId=self._upload_id,
                PartNumber=number,
                **checksum,
            )
        self._keep_memory(part)
        return {"PartNumber": number, "ETag": required(answer, "ETag"), **_checksums(answer)}

    def send_rest(self) -> None:
        if self._upload_id is not None and not self._is_sent:
            self._is_sent = True
            self._send()

    def store_checksum(self) -> str | None:
        return None if self._checksum is None else str(self._checksum)

    def commit(self) -> None:
        if self._upload_id is None:
            self._put()
            return
        self.send_rest()
        parts = [self._wait(part) for part in self._parts]
        named = {"UploadId": self._upload_id, "MultipartUpload": {"Parts": parts}}
        if self._checksum is not None:
            named |= self._checksum.of_object
        with _refusals_as_occupied(self._condition):
            required(self._call("complete_multipart_upload", **named, **self._condition), "ETag")
        self._sharing.close()
        if self._creations > 1:
            wait_for(self._client.submit(self._abort_unseen()))

    def _put(self) -> None:
        self._require_free()
        fast = s3_obstore.fast_bucket(self._client.fs, self._where["Bucket"])
        content = self._part.getvalue()
        # Of a missing bucket s3fs shall report. Whatever obstore did, the same once more is the same.
        with suppress(FileNotFoundError):
            if fast is not None:
                etag = fast.put(self._where["Key"], content, create=bool(self._condition))
                if etag is not None:
                    self._require_stored(etag, len(content))
                    return
        if self._only_new:
            self._look()
            self._require_free()
        body = Body(content)
        put = self._client.submit(self._client.send("put_object", body, **self._where, **self._condition))
        with _refusals_as_occupied(self._condition):
            answer: dict[str, Any] = wait_for(put, alive=lambda: body.sent)
            etag = str(required(answer, "ETag"))
        self._require_stored(etag, len(content))

    def _require_stored(self, etag: str, nbytes: int) -> None:
        """Raise BadAnswerError if an answer was not S3's and no such object exists.

        The page of a proxy that wants a login has an ETag too.
        """
        if _USUAL_ETAG.fullmatch(etag) is None:
            found = stat_object(self._client, **self._where)
            if found is None or found.nbytes != nbytes:
                raise BadAnswerError("NoETag")

    def abort(self, timeout: float | None = None) -> None:
        self._sharing.close()
        for part in self._parts:
            part.cancel()
        for part in self._parts:
            if not part.cancelled():
                part.exception()
        if self._upload_id is None and self._creations == 0:
            return
        aborting = self._client.submit(self._abort())
        if not self._client.is_here():
            with cleaning_up(), at_most(_ABORT_SECONDS if timeout is None else timeout):
                wait_for(aborting)

    async def _abort(self) -> None:
        unseen = self._creations > (self._upload_id is not None)
        if self._upload_id is not None:
            try:
                await self._client.request("abort_multipart_upload", **self._where, UploadId=self._upload_id)
            except FileNotFoundError:
                # NoSuchUpload: it is gone, which is what was wanted, or the id was damaged on its way.
                unseen = True
        if unseen:
            await self._abort_unseen()

    async def _abort_unseen(self) -> None:
        await abort_unseen(self._client, self._where, self._upload_id, self._creating)

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._client.call(method, **self._where, **arguments)


def _checksums(answer: dict[str, Any]) -> dict[str, Any]:
    """The checksums of a part as the store computed them; the completing request must repeat them."""
    return {
        name: value
        for name, value in answer.items()
        if name.startswith("Checksum") and name != "ChecksumType"
    }
