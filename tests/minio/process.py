"""Server processes that end with the block that needs them, whatever ends it (by server_supervisor.py)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.minio import buckets

START_SECONDS = 90


class Unavailable(RuntimeError):
    """This rung, or any, cannot be had on this machine; the message says why."""


class StartError(Unavailable):
    """A server was started and did not become ready; the message ends with what it said."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on just now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass(frozen=True)
class Supervised:
    """A server's supervisor, the server's process id (0 where there is no process) and what both print."""

    supervisor: subprocess.Popen[bytes]
    pid: int
    log: IO[bytes]

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-4000:]


@contextmanager
def kept(
    command: Sequence[str] | None,
    environment: dict[str, str],
    before: Sequence[Sequence[str]] = (),
    after: Sequence[Sequence[str]] = (),
    folder: str | None = None,
) -> Iterator[Supervised]:
    """Run `before`, then `command`, under server_supervisor.py until the block is left, then `after`.

    Raises StartError when one of `before` fails, or the command cannot be run.
    """
    folder = folder or tempfile.mkdtemp(prefix="cpr-s3-")
    spec = json.dumps({"before": before, "command": command, "after": after, "folder": folder})
    with tempfile.TemporaryFile() as log:
        supervisor = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server_supervisor.py")), spec],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us; the supervisor cleans up when we are done
        )
        assert supervisor.stdin is not None and supervisor.stdout is not None
        try:
            line = supervisor.stdout.readline()
            process = Supervised(supervisor, int(line or 0), log)
            if not line:
                supervisor.wait()  # it cleans up before it ends
                raise StartError(process.said())
            yield process
        finally:
            with suppress(OSError):
                supervisor.stdin.write(b".")
                supervisor.stdin.close()
            supervisor.wait()
            supervisor.stdout.close()


Failures = type[Exception] | tuple[type[Exception], ...]


def wait(
    ready: Callable[[], object], process: Supervised, name: str, failures: Failures = buckets.Failure
) -> None:
    """Poll until `ready` raises none of `failures` any more. Raises StartError with what the server said."""

    def alive() -> None:
        if process.supervisor.poll() is not None:
            raise StartError(f"{name} ended at once: {process.said()}")

    try:
        poll(ready, START_SECONDS, alive, failures)
    except failures as error:
        raise StartError(f"{name} not ready in {START_SECONDS} s ({error}): {process.said()}") from error


def poll(
    ready: Callable[[], object],
    seconds: float,
    between: Callable[[], None] = lambda: None,
    failures: Failures = buckets.Failure,
) -> None:
    """Call `ready` until it raises no more, for `seconds`; then its last failure is raised."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            ready()
        except failures:
            if time.monotonic() > deadline:
                raise
        else:
            return
        between()
        time.sleep(0.1)
