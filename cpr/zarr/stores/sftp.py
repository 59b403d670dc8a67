"""Zarr store for filesystems on which folders must be created before files, such as SFTP."""

from __future__ import annotations

from contextlib import suppress
from typing import Self

from zarr.abc.buffer import Buffer
from zarr.storage import FsspecStore

from cpr.io.answer_checks import BadAnswerError
from cpr.io.clients.fsspec import make_folders, size_of

__all__ = ["SftpStore"]


class SftpStore(FsspecStore):
    """Creates a folder when the first object in it is written."""

    def with_read_only(self, read_only: bool = False) -> Self:
        """As the base class."""
        return type(self)(self.fs, read_only, self.path, self.allowed_exceptions)

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """As the base class. Raises BadAnswerError for an object that is incomplete afterwards."""
        place = f"{self.path}/{key}"
        try:
            await super().set(key, value, byte_range)
        except FileNotFoundError:
            # Another may be making the same folder; whether it is there shows when it is written to.
            with suppress(OSError):
                await make_folders(self.fs, place.rpartition("/")[0])
            await super().set(key, value, byte_range)
        # Of files that take less than they are given nobody hears.
        if await size_of(self.fs, place) != len(value):
            raise BadAnswerError("NotWhatWasWritten")
