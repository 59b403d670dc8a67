"""An SFTP server that misbehaves in one way, for every request.

    with misbehaving_sftp(folder) as server:
        server.fault = "trickle"

What concerns bytes on the wire is done by a relay before a real server, the rest by the server itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncssh

from tests.servers.sftp import SFTPServer, running_sftp

SFTP_FAULTS = (
    "no answer",  # to anything: requests of a session, and those for a new one
    "no answer to requests",  # new sessions are made, and what they ask for is never answered
    "trickle",  # a byte a second
    "endless list",  # the same names again and again
    "short body",  # a file ends in the middle of what its size says
    "wrong range",
    "other bytes",
    "closed half",  # half of an answer, then the end of the connection
)


class MisbehavingSFTP:
    """The server; `fault` is None while it is well."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.port = 0
        self.options: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"sftp://127.0.0.1:{self.port}"


@contextmanager
def misbehaving_sftp(folder: Path) -> Iterator[MisbehavingSFTP]:
    """A new server until the block is left; its root is the folder."""
    state = MisbehavingSFTP()
    with running_sftp(folder, _files(state)) as server:
        state.options = server.options
        listening = asyncio.run_coroutine_threadsafe(_relay(state, server), server.loop).result(60)
        state.port = listening.sockets[0].getsockname()[1]
        try:
            yield state
        finally:
            state.fault = None
            server.loop.call_soon_threadsafe(listening.close)


def _files(state: MisbehavingSFTP) -> type[asyncssh.SFTPServer]:
    one_by_one = asyncio.Lock()

    class Files(asyncssh.SFTPServer):
        def __getattribute__(self, name: str) -> Any:
            if state.fault == "no answer to requests" and name in (
                "stat",
                "lstat",
                "open",
                "mkdir",
                "remove",
            ):
                return _never
            return super().__getattribute__(name)

        async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
            if state.fault == "slow":
                async with one_by_one:
                    await asyncio.sleep(0.05)
            if state.fault == "wrong range":
                offset += 1
            data = bytes(super().read(file_obj, offset, size))
            if state.fault == "other bytes":
                return bytes(byte ^ 1 for byte in data)
            if state.fault == "short body":
                file_obj.seek(0, 2)
                return data[: max(0, file_obj.tell() // 2 - offset)]
            return data

        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            if state.fault == "no answer to requests":
                await _never()
            entries = [entry async for entry in super().scandir(path)]
            for entry in entries:
                yield entry
            while state.fault == "endless list":
                for entry in entries:
                    yield entry
                await asyncio.sleep(0)

    return Files


async def _never(*_: Any) -> None:
    await asyncio.sleep(3600)


async def _relay(state: MisbehavingSFTP, server: SFTPServer) -> Any:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, to_server = await asyncio.open_connection("127.0.0.1", server.port)
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(_pass(reader, to_server), _answer(state, behind, writer))
        for end in (writer, to_server):
            end.close()

    return await asyncio.start_server(connected, "127.0.0.1", 0)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _answer(state: MisbehavingSFTP, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        if state.fault == "no answer":
            await _never()
        if state.fault == "trickle":
            for position in range(len(data)):
                writer.write(data[position : position + 1])
                await writer.drain()
                await asyncio.sleep(1)
        elif state.fault == "closed half":
            writer.write(data[: len(data) // 2])
            await writer.drain()
            break
        else:
            writer.write(data)
            await writer.drain()
    writer.close()
