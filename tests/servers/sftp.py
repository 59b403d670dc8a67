"""A running SFTP server: asyncssh's, in a thread of this process, at a free port, on a folder of its own."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

USER = "me"
#: Nothing of these names may be opened, listed or made.
FORBIDDEN = "forbidden"


@dataclass
class SFTPServer:
    """An SFTP server that runs."""

    port: int
    folder: Path
    password: str = field(repr=False)
    connections: list[Any] = field(default_factory=list, repr=False)
    loop: Any = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"sftp://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """What fsspec's configuration is to hold."""
        # Records may name hosts that are configured, no others.
        login = {"host": "127.0.0.1", "username": USER, "password": self.password}
        return {**login, "look_for_keys": False, "allow_agent": False}

    def drop(self) -> int:
        """End all connections, as a server does that is restarted; how many there were."""
        found, self.connections[:] = list(self.connections), []
        for connection in found:
            self.loop.call_soon_threadsafe(connection.abort)
        return len(found)


@contextmanager
def running_sftp(folder: Path, base: type[asyncssh.SFTPServer] = asyncssh.SFTPServer) -> Iterator[SFTPServer]:
    """A new server until the block is left; its root is the folder, and `base` answers for the files."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = SFTPServer(0, folder, secrets.token_hex(16), loop=loop)
    listening = asyncio.run_coroutine_threadsafe(_listen(server, folder, base), loop).result(60)
    server.port = listening.get_port()
    try:
        yield server
    finally:
        server.drop()
        asyncio.run_coroutine_threadsafe(_close(listening), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _listen(server: SFTPServer, folder: Path, base: Any) -> Any:
    class Login(asyncssh.SSHServer):
        def connection_made(self, conn: Any) -> None:
            server.connections.append(conn)

        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, server.password)

    class Files(base):  # type: ignore[misc]
        def __init__(self, chan: Any) -> None:
            super().__init__(chan, chroot=str(folder).encode())

        def map_path(self, path: bytes) -> bytes:
            if f"/{FORBIDDEN}".encode() in b"/" + path:
                raise asyncssh.SFTPPermissionDenied("not for you")
            return super().map_path(path)

    key = asyncssh.generate_private_key("ssh-ed25519")
    return await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[key], server_factory=Login, sftp_factory=Files
    )


async def _close(listening: Any) -> None:
    listening.close()
    await listening.wait_closed()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
