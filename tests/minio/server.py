"""The ladder: a running S3 server from whatever there is, for the tests and the demo.

    with running_server(build=False) as server, server.exported():
        fsspec.open(f"s3://{server.bucket}/hello.txt", "w")

The rungs, first to last; CPR_TEST_S3=binary, say, or CPR_TEST_S3=container,binary, allows only those named,
and fails where none of them can be had:

    endpoint    CPR_TEST_S3_ENDPOINT, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (else minioadmin)
    container   MinIO of docker-compose.yml, where docker compose or podman-compose runs
    binary      a `minio` on PATH or in .tools/bin; with build=True built there by `go install`, given Go
    moto        an imitation written in Python, which proves nothing about concurrency

Servers listen on 127.0.0.1 at a free port and keep their data in a private place. They are stopped, and what
they left is removed, when the block is left - also by an exception, SIGTERM or SIGKILL
(see server_supervisor.py).
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.minio import binaries, buckets
from tests.minio.compose import IMAGES, MINIO_IMAGE, find_engine
from tests.minio.process import StartError, Supervised, Unavailable, free_ports, kept, wait
from tests.servers.environment import exported

PULL_SECONDS = 180
PROJECT = "cpr-test"  # how the names of a run's containers, network and volume begin
REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """An S3 server that runs, with a bucket that is ours alone."""

    kind: str
    description: str
    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str
    region: str = REGION
    token: str | None = field(default=None, repr=False)
    pid: int | None = None  # of the server itself, where it is a process of ours
    passed_over: tuple[str, ...] = ()  # the better rungs, each with the reason why not

    def environment(self) -> dict[str, str]:
        """The variables that make s3fs, botocore and obstore reach this server, in any process."""
        variables = {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }
        if self.token:
            variables["AWS_SESSION_TOKEN"] = self.token
        if self.endpoint.startswith("http://"):
            variables["AWS_ALLOW_HTTP"] = "true"  # obstore asks for it
        if buckets.is_local(self.endpoint):
            # An institute's proxy must not be asked for a server on this machine.
            others = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
            hosts = ["127.0.0.1", "localhost", *others.split(",")]
            variables["NO_PROXY"] = variables["no_proxy"] = ",".join(dict.fromkeys(filter(None, hosts)))
        return variables

    def exported(self) -> AbstractContextManager[None]:
        """Have `environment()` in os.environ, and nothing that contradicts it, until the block is left."""
        return exported(self.environment(), hide=("AWS_PROFILE", "AWS_SESSION_TOKEN", "FSSPEC_S3"))

    def client(self) -> Any:
        """A botocore client for this server."""
        return buckets.make_client(self.endpoint, self.access_key, self.secret_key, self.region, self.token)


Say = Callable[[str], None]
Rung = Callable[[bool, Say], AbstractContextManager[S3Server]]


@contextmanager
def running_server(build: bool, say: Say = lambda _: None) -> Iterator[S3Server]:
    """The server of the first rung that can be had. Raises Unavailable with all the reasons if there is none.

    build: whether images may be pulled and MinIO compiled, in minutes; else only what is there is started.
    say: is told, in one line each, what takes long.
    """
    named = os.environ.get("CPR_TEST_S3", "")
    allowed = named.split(",") if named else list(RUNGS)
    if not set(allowed) <= set(RUNGS):
        raise Unavailable(
            f"CPR_TEST_S3 is {named!r}; it can be {', '.join(RUNGS)} or some of them, with commas"
        )
    passed_over: list[str] = []
    with ExitStack() as stack:
        if os.environ.get("CPR_TEST_S3_ENDPOINT") and not named:
            # Asked for by name: where it does not answer nothing else will do.
            yield stack.enter_context(_endpoint())
            return
        for kind, rung in RUNGS.items():
            if kind not in allowed:
                continue
            try:
                server = _start(stack, rung, build, say)
            except Unavailable as reason:
                passed_over.append(f"{kind}: {reason}")
            else:
                yield replace(server, passed_over=tuple(passed_over))
                return
    raise Unavailable("; ".join(passed_over))


def _start(stack: ExitStack, rung: Rung, build: bool, say: Say) -> S3Server:
    try:
        return stack.enter_context(rung(build, say))
    except StartError:
        # Somebody may have taken the port between our looking and the server's.
        return stack.enter_context(rung(build, say))


@contextmanager
def _endpoint() -> Iterator[S3Server]:
    endpoint = os.environ["CPR_TEST_S3_ENDPOINT"]
    server = S3Server(
        kind="endpoint",
        description=f"the server at CPR_TEST_S3_ENDPOINT, {endpoint}",
        endpoint=endpoint,
        access_key=os.environ.get("AWS_ACCESS_KEY_ID", "minioadmin"),
        secret_key=os.environ.get("AWS_SECRET_ACCESS_KEY", "minioadmin"),
        token=os.environ.get("AWS_SESSION_TOKEN"),
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION,
        bucket=_fresh_bucket(),
    )
    client = server.client()
    try:
        buckets.create(client, server.bucket)
    except buckets.Failure as error:
        raise Unavailable(f"no bucket can be made at CPR_TEST_S3_ENDPOINT={endpoint}: {error}") from error
    try:
        yield server
    finally:
        buckets.remove(client, server.bucket)


@contextmanager
def _container(build: bool, say: Say) -> Iterator[S3Server]:
    engine = find_engine()
    if isinstance(engine, str):
        raise Unavailable(engine)
    for image in IMAGES:
        if engine.has_image(image):
            continue
        if not build:
            raise Unavailable(f"{engine.name} has no image {image} yet")
        say(f"pulling {image}")
        if not engine.pull(image, PULL_SECONDS):
            raise Unavailable(f"{engine.name} cannot pull {image}")
    project = f"{PROJECT}-{secrets.token_hex(4)}"
    port, console = free_ports(2)
    description = f"MinIO in a container ({engine.name}, {MINIO_IMAGE})"
    server = _local_server("container", description, port)
    settings = {
        "CPR_MINIO_ADDRESS": "127.0.0.1",
        "CPR_MINIO_PORT": str(port),
        "CPR_MINIO_CONSOLE_PORT": str(console),
        "CPR_MINIO_USER": server.access_key,
        "CPR_MINIO_PASSWORD": server.secret_key,
        "CPR_MINIO_BUCKET": server.bucket,
        "CPR_MINIO_DATA": "minio-data",
    }
    up, down = [engine.up_command(project)], [engine.down_command(project)]
    with kept(None, engine.environment(settings), before=up, after=down) as process:
        try:
            client = server.client()
            # The bucket is the init service's to make: it being there is the sign that all is up.
            wait(lambda: client.head_bucket(Bucket=server.bucket), process, server.description)
        except StartError as error:
            raise StartError(f"{error}\n{engine.logs(project)}") from error
        yield server


@contextmanager
def _binary(build: bool, say: Say) -> Iterator[S3Server]:
    program = binaries.find("minio")
    if program is None:
        if not build:
            raise Unavailable("no minio on PATH or in .tools/bin")
        say("building minio with go install; this takes some minutes, once")
        try:
            program = binaries.install("minio")
        except binaries.BuildError as error:
            raise Unavailable(f"no minio on PATH or in .tools/bin, and {error}") from error
    (port,) = free_ports(1)
    server = _local_server("binary", f"MinIO run from {_short(program)}", port)
    folder = tempfile.mkdtemp(prefix="cpr-s3-")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MINIO_")}
    environment.update(
        MINIO_ROOT_USER=server.access_key,
        MINIO_ROOT_PASSWORD=server.secret_key,
        MINIO_BROWSER="off",
        MINIO_UPDATE="off",
        HOME=folder,  # it looks for certificates there
    )
    command = [str(program), "server", folder + "/data", "--address", f"127.0.0.1:{port}"]
    with kept(command, environment, folder=folder) as process:
        yield _with_bucket(server, process)


@contextmanager
def _moto(build: bool, say: Say) -> Iterator[S3Server]:
    if not (importlib.util.find_spec("moto") and importlib.util.find_spec("flask")):
        raise Unavailable("moto[server] is not installed")
    (port,) = free_ports(1)
    server = _local_server("moto", "moto, an imitation of S3: no MinIO was to be had", port)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with kept(command, dict(os.environ)) as process:
        yield _with_bucket(server, process)


RUNGS: dict[str, Rung] = {"container": _container, "binary": _binary, "moto": _moto}


def _fresh_bucket() -> str:
    return f"cpr-test-{secrets.token_hex(6)}"


def _local_server(kind: str, description: str, port: int) -> S3Server:
    return S3Server(
        kind=kind,
        description=description,
        endpoint=f"http://127.0.0.1:{port}",
        access_key=secrets.token_hex(8),
        secret_key=secrets.token_hex(16),
        bucket=_fresh_bucket(),
    )


def _short(path: Path) -> str:
    return str(path.relative_to(binaries.ROOT)) if path.is_relative_to(binaries.ROOT) else str(path)


def _with_bucket(server: S3Server, process: Supervised) -> S3Server:
    client = server.client()
    wait(client.list_buckets, process, server.description)
    buckets.create(client, server.bucket)
    return replace(server, pid=process.pid)
