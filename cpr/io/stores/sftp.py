"""Store for SFTP servers, through fsspec's filesystem and paramiko."""

from __future__ import annotations

from typing import Any

from cpr.io.clients.paramiko import (
    is_broken_link,
    is_connection_lost,
    list_folder,
    name_if_free,
    read_pipelined,
)
from cpr.io.stores.base import OccupiedError
from cpr.io.stores.fsspec import FsspecStore, RenamedUpload
from cpr.io.timeouts import is_interruption

__all__ = ["SFTPStore"]


class _SFTPUpload(RenamedUpload):
    """An upload that, for a new file, never replaces one written by someone else at the same time."""

    def _rename(self) -> None:
        if not self._is_new:
            super()._rename()
        elif not name_if_free(self._fs, self._temporary, self._path):
            raise OccupiedError


class SFTPStore(FsspecStore):
    """As FsspecStore, with pipelined ranges, and its own listings and creation of files."""

    def fetch(self, path: str, start: int, stop: int) -> bytes | memoryview:
        found = self._call(
            lambda fs: read_pipelined(fs, fs.open(path, "rb"), start, stop), nbytes=stop - start
        )
        return super().fetch(path, start, stop) if found is None else found

    def _followed(self, info: dict[str, Any]) -> dict[str, Any]:
        try:
            return super()._followed(info)
        except OSError as error:
            if is_interruption(error) or isinstance(error, PermissionError) or is_connection_lost(error):
                raise
            if not self._call(lambda fs: is_broken_link(fs, info["name"])):
                raise
            # As on local disks it is found, and whoever reads it is told.
            return {**info, "type": "file"}

    def _ls_of(self, folder: str) -> list[dict[str, Any]]:
        return self._call(lambda fs: list_folder(fs, folder), is_endless=True)

    def _renamed(self, temporary: str, path: str, is_new: bool) -> RenamedUpload:
        return _SFTPUpload(self._fs, temporary, path, is_new)
