"""Where the demo keeps its files: an S3 server, a GCS emulator, or a folder of this machine."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from tests.faults.proxy import FaultProxy
from tests.minio.server import running_server
from tests.servers.gcs import running_gcs

HELP = """where the files are to be, one of
  s3       a bucket of an S3 server: MinIO, which is pulled or built in some minutes where it is not there,
           else an imitation; DEMO_SERVER=moto takes the imitation at once
  gs       a bucket of a GCS emulator
  ./name   a folder of this machine, and no server; it is kept"""


@dataclass(frozen=True)
class Storage:
    """A place that is ready.

    Attributes:
        url: of an empty bucket, or of a folder.
        description: what it is, for a person.
        endpoint: of the server; None for a folder.
        variables: that name the endpoint.
    """

    url: str
    description: str
    endpoint: str | None = None
    variables: tuple[str, ...] = ()

    @contextmanager
    def counted(self) -> Iterator[FaultProxy | None]:
        """A proxy before the server that counts what passes until the block is left; None for a folder."""
        if self.endpoint is None:
            yield None
            return
        with ExitStack() as stack:
            wire = stack.enter_context(FaultProxy(self.endpoint))
            stack.enter_context(patch.dict(os.environ, dict.fromkeys(self.variables, wire.endpoint)))
            yield wire


def chosen(arguments: Sequence[str]) -> str:
    """What `--storage` says: s3, gs, or the path of a folder."""
    parser = ArgumentParser("python -m demo", formatter_class=RawDescriptionHelpFormatter)
    parser.description = "A flow on real microscopy images, twice: computed, then cached."
    parser.add_argument("--storage", default="s3", type=_choice, metavar="PLACE", help=HELP)
    return str(parser.parse_args(arguments).storage)


def _choice(value: str) -> str:
    if value in ("s3", "gs") or os.sep in value:
        return value
    raise ArgumentTypeError(f"{value!r} is neither s3 nor gs, nor a folder such as ./{value}")


@contextmanager
def asked_for() -> Iterator[None]:
    """The server that DEMO_SERVER names: moto is there at once; MinIO is found, pulled or built."""
    kind = os.environ.get("DEMO_SERVER")
    with patch.dict(os.environ, {"CPR_TEST_S3": kind} if kind is not None else {}):
        yield


@contextmanager
def storage(choice: str) -> Iterator[Storage]:
    """The place, with what leads to it in os.environ until the block is left. Raises Unavailable."""
    if choice == "s3":
        with asked_for(), running_server(build=True, say=print) as server, server.exported():
            variables = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
            yield Storage(
                f"s3://{server.bucket}", f"S3 server: {server.description}", server.endpoint, variables
            )
    elif choice == "gs":
        with running_gcs() as gcs, gcs.exported():
            variables = ("STORAGE_EMULATOR_HOST",)
            yield Storage(f"gs://{gcs.bucket}", f"GCS emulator: {gcs.description}", gcs.endpoint, variables)
    else:
        # One of its own for each time: what is there already would be cached the first time.
        folder = os.path.join(os.path.abspath(os.path.expanduser(choice)), time.strftime("%Y%m%d-%H%M%S"))
        os.makedirs(folder)
        yield Storage(folder, f"Folder: {folder}")


def keep_records_in(folder: str) -> None:
    """Prefect's own records go there too: workers on other machines must find them."""
    from prefect.filesystems import LocalFileSystem, RemoteFileSystem

    kind = RemoteFileSystem if "://" in folder else LocalFileSystem
    kind(basepath=folder).save("cpr-demo")


def records_of(url: str) -> str:
    """The name of that block, for results at this URL."""
    return f"{'remote' if '://' in url else 'local'}-file-system/cpr-demo"
