"""Files on SFTP servers, through fsspec's filesystem and paramiko."""

from __future__ import annotations

from typing import Any

from cpr.io.clients.paramiko import list_folder, read_pipelined
from cpr.io.stores.fsspec import FsspecStore

__all__ = ["SFTPStore"]


class SFTPStore(FsspecStore):
    """As any filesystem of fsspec's, but for ranges, which are asked for in one go, and listings."""

    def fetch(self, path: str, start: int, stop: int) -> bytes | memoryview:
        found = self._call(
            lambda fs: read_pipelined(fs, fs.open(path, "rb"), start, stop), nbytes=stop - start
        )
        return super().fetch(path, start, stop) if found is None else found

    def _ls_of(self, folder: str) -> list[dict[str, Any]]:
        return self._call(lambda fs: list_folder(fs, folder), is_endless=True)
