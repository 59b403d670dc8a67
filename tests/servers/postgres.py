"""A PostgreSQL of this machine's own programs, for Prefect's server to keep its runs in."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from tests.minio.process import Unavailable, free_ports, kept, wait

_PROGRAMS = ("initdb", "postgres", "setpriv")


@dataclass(frozen=True)
class Postgres:
    """A running server; `prefect` is user and database."""

    port: int
    password: str

    def ask(self, question: str, database: str = "prefect") -> list[Any]:
        """The rows of an answer."""
        return asyncio.run(self._ask(question, database))

    async def _ask(self, question: str, database: str) -> list[Any]:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user="prefect", password=self.password, database=database
        )
        try:
            return list(await connection.fetch(question))
        finally:
            await connection.close()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A new server until the block is left. Raises Unavailable where its programs are missing."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"no {', '.join(missing)} on PATH")
    (port,) = free_ports(1)
    server = Postgres(port, secrets.token_hex(12))
    with tempfile.TemporaryDirectory(prefix="cpr-postgres-") as folder:
        as_user = _as_user(folder)
        with open(os.path.join(folder, "password"), "w") as file:
            file.write(server.password)
        os.chmod(file.name, 0o644)
        data = os.path.join(folder, "data")
        made = [
            *as_user,
            "initdb",
            "-D",
            data,
            "-U",
            "prefect",
            "--auth=scram-sha-256",
            f"--pwfile={file.name}",
        ]
        subprocess.run(made, check=True, capture_output=True, cwd=folder)
        command = [*as_user, "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        command += ["-c", "unix_socket_directories=", "-c", "fsync=off"]
        with kept(command, dict(os.environ), folder=folder) as process:
            error = (OSError, asyncpg.PostgresError)
            wait(lambda: server.ask("CREATE DATABASE prefect", "postgres"), process, "postgres", error)
            yield server


def _as_user(folder: str) -> list[str]:
    """What makes a command run as somebody else than root, whom the folder is given to; root is refused."""
    if os.geteuid() != 0:
        return []
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise Unavailable("no user postgres to run it as") from None
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
