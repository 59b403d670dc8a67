"""Zarr store for Google Cloud Storage, with the same verified requests as for other results."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest
from zarr.storage import FsspecStore

from cpr.io.answer_checks import BadAnswerError, is_beyond_the_end, whole_number
from cpr.io.clients.gcsfs import Requests, named
from cpr.io.stores.base import bucket_and_key
from cpr.io.stores.gcs_upload import put_checked

__all__ = ["GcsStore"]

_PARTIAL_CONTENT = 206
_ANY_SIZE = sys.maxsize - 1  # what is asked for whole has to fit


class GcsStore(FsspecStore):
    """Reads and writes objects with cpr's requests; gcsfs does the rest.

    gcsfs would retry six times while the store is throttling, up to 32 s apart, and compare no CRC32C.

    Args:
        fs: gcsfs's async filesystem, of the running event loop.
        path: of the root, with its bucket.
        read_only: refuse to write.
    """

    def __init__(self, fs: Any, path: str, read_only: bool) -> None:
        super().__init__(fs, read_only=read_only, path=path)
        self._requests = Requests(fs)

    def with_read_only(self, read_only: bool = False) -> GcsStore:
        """As the base class."""
        return GcsStore(self.fs, self.path, read_only)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As the base class. Raises BadAnswerError if another range was returned."""
        bucket, name = bucket_and_key(f"{self.path}/{key}")
        place = named("/download/storage/v1/b/", bucket, "/o/", name)
        part: dict[str, str] = {}
        if byte_range is not None:
            part = {"Range": f"bytes={_range(byte_range)}", "Accept-Encoding": "gzip"}
        try:
            answer = await self._requests.ask("GET", place, {"alt": "media"}, part, most=_ANY_SIZE)
        except FileNotFoundError:
            return None
        except OSError as error:
            if byte_range is not None and is_beyond_the_end(error):
                return prototype.buffer.from_bytes(b"")
            raise
        if byte_range is not None and answer.status != _PARTIAL_CONTENT:
            raise BadAnswerError("RangeIgnored")
        return prototype.buffer.from_bytes(answer.body)

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """As the base class. Raises OSError if the store has received other bytes."""
        self._check_writable()
        if byte_range is not None:
            await super().set(key, value, byte_range)
            return
        await put_checked(self._requests, *bucket_and_key(f"{self.path}/{key}"), value.to_bytes())

    async def exists(self, key: str) -> bool:
        """As the other store, of objects alone."""
        try:
            await self.getsize(key)
        except FileNotFoundError:
            return False
        return True

    async def getsize(self, key: str) -> int:
        """As the other store. Raises BadAnswerError for an answer that is none of the store's."""
        answer = await self._requests.ask("GET", self._object(key), {"fields": "size"})
        return whole_number(answer.json().get("size"))

    async def delete(self, key: str) -> None:
        """As the other store, which takes one that is not there for deleted."""
        self._check_writable()
        with suppress(FileNotFoundError):
            await self._requests.ask("DELETE", self._object(key))

    def _object(self, key: str) -> str:
        bucket, name = bucket_and_key(f"{self.path}/{key}")
        return named("/storage/v1/b/", bucket, "/o/", name)


def _range(wanted: ByteRequest) -> str:
    if isinstance(wanted, RangeByteRequest):
        return f"{wanted.start}-{wanted.end - 1}"
    return f"{wanted.offset}-" if isinstance(wanted, OffsetByteRequest) else f"-{wanted.suffix}"
