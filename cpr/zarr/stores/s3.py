"""The faster of zarr's two stores for S3, with the other one at hand."""

from __future__ import annotations

from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, ObjectStore

from cpr.io.stores.s3_obstore import Patience

__all__ = ["FastStore"]


class FastStore(FsspecStore):
    """Objects go and come through obstore; whatever fails there is asked of s3fs.

    s3fs has retries and errors of its own, and says what is wrong. Writing an object twice is the same
    as writing it once.

    Args:
        fs: s3fs's async filesystem.
        path: of the root, with its bucket.
        read_only: refuse to write.
        fast: the bucket through obstore.
        prefix: of the root inside the bucket.
    """

    def __init__(self, fs: Any, path: str, read_only: bool, fast: ObjectStore[Any], prefix: str) -> None:
        super().__init__(fs, read_only=read_only, path=path)
        self._fast = fast
        self._prefix = prefix
        self._patience = Patience()

    def with_read_only(self, read_only: bool = False) -> FastStore:
        """As the other store."""
        return FastStore(self.fs, self.path, read_only, self._fast.with_read_only(read_only), self._prefix)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As the other store."""
        if not self._patience.is_over:
            try:
                value = await self._fast.get(f"{self._prefix}/{key}", prototype, byte_range)
            except Exception as error:
                self._patience.failed(error)
            else:
                self._patience.answered()
                return value
        return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """As the other store."""
        self._check_writable()
        if not self._patience.is_over and byte_range is None:
            try:
                await self._fast.set(f"{self._prefix}/{key}", value)
            except Exception as error:
                self._patience.failed(error)
            else:
                self._patience.answered()
                return
        await super().set(key, value, byte_range)
