"""Zarr store for S3 that uses obstore first, and s3fs if that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest
from zarr.storage import FsspecStore, ObjectStore

from cpr.io.stores.s3_obstore import CircuitBreaker, says_slow_down
from cpr.io.throttling import pauses
from cpr.io.transfer_width import TransferWidth, width_of

__all__ = ["ObstoreFirstStore"]


class ObstoreFirstStore(FsspecStore):
    """Reads and writes objects through obstore, which is faster; falls back to s3fs.

    s3fs has retries and errors of its own, and says what is wrong. Writing an object twice is the same
    as writing it once.

    Args:
        fs: s3fs's async filesystem.
        path: of the root, with its bucket.
        read_only: refuse to write.
        obstore: the bucket through obstore.
        prefix: of the root inside the bucket.
    """

    def __init__(self, fs: Any, path: str, read_only: bool, obstore: ObjectStore[Any], prefix: str) -> None:
        super().__init__(fs, read_only=read_only, path=path)
        self._obstore = obstore
        self._prefix = prefix
        self._breaker = CircuitBreaker()
        bucket = f"s3://{path.partition('/')[0]}"
        self._read_width, self._write_width = width_of(bucket, "read"), width_of(bucket, "write")

    def with_read_only(self, read_only: bool = False) -> ObstoreFirstStore:
        """As the base class."""
        obstore = self._obstore.with_read_only(read_only)
        return ObstoreFirstStore(self.fs, self.path, read_only, obstore, self._prefix)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As the base class."""
        place = f"{self._prefix}/{key}"
        answer = await self._ask(lambda: self._obstore.get(place, prototype, byte_range), self._read_width)
        return await super().get(key, prototype, byte_range) if answer is None else answer[0]

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """As the base class."""
        self._check_writable()
        place = f"{self._prefix}/{key}"
        if byte_range is None and await self._ask(lambda: self._obstore.set(place, value), self._write_width):
            return
        await super().set(key, value, byte_range)

    async def _ask(self, request: Callable[[], Awaitable[Any]], width: TransferWidth) -> tuple[Any] | None:
        """The answer of obstore, in a tuple; None if s3fs has to be used."""
        if self._breaker.is_open:
            return None
        waits = pauses()
        while True:
            try:
                answer = await request()
            except Exception as error:
                if says_slow_down(error) and (seconds := next(waits, None)) is not None:
                    width.throttled()
                    await asyncio.sleep(seconds)
                    continue
                self._breaker.failed(error)
                return None
            self._breaker.succeeded()
            return (answer,)
