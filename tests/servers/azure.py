"""A running Azure Blob Storage: Azurite, Microsoft's emulator, at a free port, with its data in its memory.

    with running_azure() as server, server.exported():
        fsspec.open(f"az://{server.container}/hello.txt", "w")

It stops with the block, even when the process is killed (see server_supervisor.py). npm puts it into
`.tools/azurite` once. It heeds conditions and compares digests, as the service does.
"""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.minio import binaries
from tests.minio.process import Unavailable, free_ports, kept, wait
from tests.servers import npm
from tests.servers.environment import exported

PROGRAM = "azurite-blob"
PACKAGE = "azurite@3.35.0"
FOLDER = binaries.TOOLS / "azurite"
ACCOUNT = "cprtest"


@dataclass(frozen=True)
class AzureServer:
    """An emulator that runs, with a container that is ours alone."""

    endpoint: str
    key: str = field(repr=False)
    container: str

    def environment(self, endpoint: str | None = None, key: str | None = None) -> dict[str, str]:
        """The variables that make adlfs reach this server, or another endpoint, in any process."""
        blobs = f"BlobEndpoint={endpoint or self.endpoint}/{ACCOUNT}"
        login = f"AccountName={ACCOUNT};AccountKey={key or self.key}"
        return {"AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;{login};{blobs}"}

    def exported(self) -> AbstractContextManager[None]:
        """Have `environment()` in os.environ, and nothing that contradicts it, until the block is left."""
        return exported(self.environment(), hide=("AZURE_STORAGE_", "FSSPEC_AZ", "FSSPEC_ABFS"))

    def client(self) -> Any:
        """Azure's own client, past everything of ours."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient.from_connection_string(*self.environment().values(), retry_total=0)


def program() -> str:
    """The emulator on PATH or in `.tools/azurite`, put there now if need be. Raises Unavailable."""
    return npm.program(PROGRAM, PACKAGE, FOLDER)


@contextmanager
def running_azure() -> Iterator[AzureServer]:
    """A new emulator until the block is left. Raises Unavailable where there is none."""
    try:
        from azure.core.exceptions import AzureError
    except ImportError:
        raise Unavailable("adlfs is not installed") from None
    found = program()
    (port,) = free_ports(1)
    key = b64encode(secrets.token_bytes(32)).decode()
    server = AzureServer(f"http://127.0.0.1:{port}", key, f"cpr-{secrets.token_hex(6)}")
    command = [found, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    # It knows no newer version of the interface than its own, and the client may.
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"}
    with kept(command, environment) as process:
        with server.client() as client:
            wait(lambda: client.create_container(server.container), process, PROGRAM, AzureError)
        yield server
