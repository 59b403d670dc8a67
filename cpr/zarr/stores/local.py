"""Zarr store for local files with little overhead per file, since many chunks are small."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from typing import Any

import numpy as np
from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from cpr.io.confinement import require_allowed
from cpr.io.stores.regular_files import open_regular
from cpr.zarr.stores.manifest_entries import EntryDigest
from cpr.zarr.zarr_internals import open_local

__all__ = ["FastLocalStore"]

# Smaller ones stay in a nearer cache, and threads spend more time on waiting for their turns.
_PIECE_BYTES = 512 << 10


class FastLocalStore(LocalStore):
    """Reads and writes whole files with one call each, and creates folders only when missing.

    Where a file is digested there is a call for every 512 KiB of it. Digesting takes about as long as this
    store saves. Files appear whole under their names, as zarr's own do, and what a killed writer leaves is
    named as zarr names it.
    """

    async def _open(self, **_: Any) -> None:
        open_local(self)

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
        digest: EntryDigest | None = None,
    ) -> Buffer | None:
        """As the base class; the bytes of a whole file are also passed to `digest` while cached."""
        if byte_range is not None:
            return super().get_sync(key, prototype=prototype, byte_range=byte_range)
        try:
            data = _read(f"{self.root}/{key}", digest)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    async def delete(self, key: str) -> None:
        """As the base class."""
        require_allowed(f"{self.root}/{key}")
        await super().delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """As the base class."""
        require_allowed(f"{self.root}/{prefix}".rstrip("/"))
        await super().delete_dir(prefix)

    def set_sync(self, key: str, value: Buffer) -> None:
        """As the base class."""
        self._check_writable()
        path = f"{self.root}/{key}"
        require_allowed(path)
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


def _read(path: str, digest: EntryDigest | None) -> memoryview:
    with open(path, "rb", buffering=0, opener=open_regular) as file:
        # Not a bytearray, which would be filled with zeros first.
        data = np.empty(os.fstat(file.fileno()).st_size, "B").data
        most = data.nbytes if digest is None else _PIECE_BYTES
        nbytes = 0
        while got := file.readinto(data[nbytes : nbytes + most]):
            if digest is not None:
                digest.update(data[nbytes : nbytes + got])
            nbytes += got
    return data[:nbytes]


def _write(path: str, value: Buffer) -> None:
    left = memoryview(value.as_buffer_like())
    with open(path, "xb", buffering=0) as file:
        while left.nbytes:  # one call takes 2 GiB at most
            left = left[file.write(left) :]
