"""Files on SFTP servers, through fsspec's filesystem and paramiko."""

from __future__ import annotations

from cpr.io.clients.paramiko import read_pipelined
from cpr.io.stores.fsspec import FsspecStore

__all__ = ["SFTPStore"]


class SFTPStore(FsspecStore):
    """As any filesystem of fsspec's, but for ranges, which are asked for in one go."""

    def fetch(self, path: str, start: int, stop: int) -> bytes | memoryview:
        found = read_pipelined(self._fs, self._ask("open", path, "rb"), start, stop)
        return super().fetch(path, start, stop) if found is None else found
