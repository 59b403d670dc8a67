"""A far store on this machine: the S3 server behind a network with delays and limits (farstore/main.go)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from tests.minio.binaries import TOOLS, BuildError
from tests.minio.process import Unavailable

__all__ = ["FarNetwork", "far_network"]

_SOURCE = Path(__file__).with_name("farstore")
_DIRECT = build_opener(ProxyHandler({}))
_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


class FarNetwork:
    """A network that can be set anew while it runs.

    Attributes:
        endpoint: URL of the server behind it.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def set(self, **limits: Any) -> dict[str, Any]:
        """Set delay ("30ms"), rate, total (bytes a second), requests (a second) or refuse (a share).

        Returns what has passed since the last time: Requests by method, Refused, Most at once, Up and Down.
        """
        query = "&".join(f"{name}={value}" for name, value in limits.items())
        with _DIRECT.open(f"{self.endpoint}/__far?{query}") as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def far_network(server: str) -> Iterator[FarNetwork]:
    """The network before a server, to which the variables of S3's clients lead until the block is left.

    Raises Unavailable where there is no Go to build it with.
    """
    with subprocess.Popen(
        [_program(), "-to", server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        before = {name: os.environ.get(name) for name in _VARIABLES}
        try:
            network = FarNetwork(f"http://{process.stdout.readline().strip()}")
            os.environ.update(dict.fromkeys(_VARIABLES, network.endpoint))
            yield network
        finally:
            process.stdin.close()
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _program() -> str:
    """The program, built once for each state of its source. Raises Unavailable."""
    digest = hashlib.sha256((_SOURCE / "main.go").read_bytes()).hexdigest()[:16]
    program = TOOLS / "bin" / f"farstore-{digest}"
    if not program.exists():
        go = shutil.which("go")
        if go is None:
            raise Unavailable("no go on PATH to build the far network with")
        program.parent.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            [go, "build", "-o", unfinished, "."],
            cwd=_SOURCE,
            env={**os.environ, "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BuildError(done.stderr[-1000:])
        unfinished.rename(program)
    return str(program)
