"""Uploads an object of unknown size to Azure as blocks, which are sent in parallel.

A blob becomes visible when its block list is committed, never before. Until then the blocks of all writers
of one name share one place, and the first commit makes the service discard blocks that are not in its list.
So blocks are named by their content: of two writers of the same content, the second finds that its blocks
were committed by the first. Limits: https://learn.microsoft.com/rest/api/storageservices/put-block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

import xxhash

from cpr.io.answer_checks import code_of
from cpr.io.clients.adlfs import AzureClient, content_md5
from cpr.io.stores.base import OccupiedError
from cpr.io.timeouts import wait_for
from cpr.io.transfer_width import width_of

__all__ = ["BlockUpload", "block_bytes", "is_refused_condition"]

_MIB = 1 << 20
_BLOCK_BYTES = 8 * _MIB
_LARGEST_BLOCK_BYTES = 4000 * _MIB
# Of 50,000; the others are for what exceeds what was said.
_PLANNED_BLOCKS = 40_000
# Where nothing was said: blocks up to this number have so many MiB. Together they hold 7 TiB.
_SIZES = ((10_000, 8), (30_000, 32), (45_000, 128), (50_000, 1024))
_REFUSALS = frozenset({"ConditionNotMet", "TargetConditionNotMet", "412", "BlobAlreadyExists", "409"})


def block_bytes(number: int, expected: int | None = None) -> int:
    """Size of block `number` (from 1) of an object of about `expected` bytes."""
    if expected is not None and number <= _PLANNED_BLOCKS:
        return min(max(_BLOCK_BYTES, -(-expected // _PLANNED_BLOCKS // _MIB) * _MIB), _LARGEST_BLOCK_BYTES)
    if expected is not None:
        return min(2 * block_bytes(1, expected), _LARGEST_BLOCK_BYTES)
    return next((size for last, size in _SIZES if number <= last), _SIZES[-1][1]) * _MIB


def is_refused_condition(error: OSError) -> bool:
    """Whether Azure refused a request because its condition does not hold."""
    return code_of(error) in _REFUSALS


class BlockUpload:
    """The upload of one object: a single request if it fits in one block, else blocks and a block list.

    Args:
        client: of the account.
        url: of the container, whose speed is remembered.
        container: its name.
        key: of the object.
        create: whether one that is there is left alone.
    """

    def __init__(self, client: AzureClient, url: str, container: str, key: str, create: bool) -> None:
        self._client = client
        self._blob = client.blob(container, key)
        self._create = create
        self._buffer = bytearray()
        self._ids: list[str] = []
        # Those that the service may not have yet.
        self._sending: list[tuple[Future[None], int]] = []
        self._width = width_of(url, "write")
        self._sharing = ExitStack()
        self._expected: int | None = None
        self._is_sent = False

    def announce(self, nbytes: int) -> None:
        self._expected = nbytes

    def write(self, block: memoryview) -> None:
        while len(self._buffer) + block.nbytes > (size := block_bytes(len(self._ids) + 1, self._expected)):
            room = size - len(self._buffer)
            self._buffer += block[:room]
            block = block[room:]
            self._send()
        self._buffer += block

    def _send(self) -> None:
        content = bytes(self._buffer)
        self._buffer.clear()
        if not self._ids:
            self._sharing.enter_context(self._width.transfer())
            if self._create and self._client.wait(self._blob.exists()):
                raise OccupiedError
        while self._sending and not self._has_room(len(content)):
            wait_for(self._sending[0][0], len(content))
        # As long as that of any other block, which the service insists on.
        name = f"{len(self._ids):05}-{xxhash.xxh3_128_hexdigest(content)}"
        self._ids.append(name)
        self._sending.append((self._client.submit(self._put_block(name, content)), len(content)))

    def _has_room(self, nbytes: int) -> bool:
        """Whether another block may be sent now; raises the errors of blocks that have failed."""
        for block, _ in self._sending:
            if block.done():
                block.result()
        self._sending = [one for one in self._sending if not one[0].done()]
        under_way = sum(size for _, size in self._sending)
        return len(self._sending) < self._width.requests and under_way + nbytes <= self._width.memory_bytes

    async def _put_block(self, name: str, content: bytes) -> None:
        with self._width.request(len(content)):
            # Elsewhere, for it takes longer than sending: 1.5 ms for a MiB.
            digest = await asyncio.to_thread(content_md5, content)
            headers = {"Content-MD5": digest}
            await self._blob.stage_block(name, content, length=len(content), headers=headers)

    def send_rest(self) -> None:
        if self._ids and not self._is_sent:
            self._is_sent = True
            if self._buffer:
                self._send()

    def commit(self) -> None:
        with _refusals_as_occupied(self._create):
            if not self._ids:
                self._put()
                return
            self.send_rest()
            for block, nbytes in self._sending:
                wait_for(block, nbytes)
            self._client.wait(self._put_list())
        self._sharing.close()

    def _put(self) -> None:
        content = bytes(self._buffer)
        self._client.wait(
            self._blob.upload_blob(content, length=len(content), overwrite=not self._create), len(content)
        )

    async def _put_list(self) -> None:
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock

        condition: Mapping[str, Any] = {}
        if self._create:
            condition = {"match_condition": MatchConditions.IfMissing}
        await self._blob.commit_block_list([BlobBlock(name) for name in self._ids], **condition)

    def abort(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """Give up the upload; its blocks are invisible, and the service discards them after a while."""
        self._sharing.close()
        self._buffer.clear()
        for block, _ in self._sending:
            block.cancel()


@contextmanager
def _refusals_as_occupied(create: bool) -> Iterator[None]:
    """Raise OccupiedError if the store refuses to overwrite an object, even one of our own lost answer."""
    try:
        yield
    except OSError as error:
        if create and is_refused_condition(error):
            raise OccupiedError from None
        raise
