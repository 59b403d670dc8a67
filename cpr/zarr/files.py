"""Zarr's store for local files, with less to do for each: many of them are small."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import LocalStore

__all__ = ["FileStore"]


class FileStore(LocalStore):
    """Whole files are read and written with one call each, and folders made when one is missing.

    Digesting the bytes takes about as long as that saves. Files appear whole under their names, as zarr's
    own do, and what a killed writer leaves is named as zarr names it.
    """

    async def _open(self, **_: Any) -> None:
        # Zarr's own complains if a thread has opened it meanwhile.
        if not self._is_open:
            self._ensure_open_sync()

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """As the other store."""
        if byte_range is not None:
            return super().get_sync(key, prototype=prototype, byte_range=byte_range)
        try:
            with open(f"{self.root}/{key}", "rb", buffering=0) as file:
                data = file.read()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    def set_sync(self, key: str, value: Buffer) -> None:
        """As the other store."""
        self._check_writable()
        path = f"{self.root}/{key}"
        unfinished = f"{path}.{uuid.uuid4().hex}.partial"
        try:
            try:
                _write(unfinished, value)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                _write(unfinished, value)
            os.replace(unfinished, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(unfinished)
            raise


def _write(path: str, value: Buffer) -> None:
    left = memoryview(value.as_buffer_like())
    with open(path, "xb", buffering=0) as file:
        while left.nbytes:  # one call takes 2 GiB at most
            left = left[file.write(left) :]
