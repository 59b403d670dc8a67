"""The containers of `docker-compose.yml`, with docker compose or with podman and podman-compose."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.minio.binaries import ROOT, TOOLS

FILE = ROOT / "docker-compose.yml"
MINIO_IMAGE = "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z"
MC_IMAGE = "quay.io/minio/mc:RELEASE.2025-08-13T08-35-41Z"
IMAGES = (MINIO_IMAGE, MC_IMAGE)
GCS_IMAGE = "docker.io/fsouza/fake-gcs-server:1.52.3"  # of the profile `gcs`
# Written by tools/local_images.py on machines whose podman does not run with its own settings.
PODMAN_CONFIGURATION = TOOLS / "containers.conf"


class EngineError(RuntimeError):
    """The engine could not do what was asked; the message ends with what it said."""


@dataclass(frozen=True)
class Engine:
    """A container engine that answers, and the compose command that goes with it."""

    name: str
    program: str
    compose: tuple[str, ...]

    def environment(self, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment for the engine: our own, with `settings` (for the compose file) on top."""
        environment = {**os.environ, **(settings or {})}
        if self.name == "podman" and PODMAN_CONFIGURATION.exists():
            environment.setdefault("CONTAINERS_CONF", str(PODMAN_CONFIGURATION))
        return environment

    def has_image(self, image: str) -> bool:
        return _succeeds([self.program, "image", "inspect", image], self.environment(), timeout=30)

    def pull(self, image: str, timeout: float) -> bool:
        """Whether the image was pulled in `timeout` seconds; False is no error, machines may be offline."""
        return _succeeds([self.program, "pull", "--quiet", image], self.environment(), timeout)

    def up_command(self, project: str) -> list[str]:
        return [*self.compose, "-f", str(FILE), "-p", project, "up", "-d"]

    def down_command(self, project: str, *, volumes: bool = True) -> list[str]:
        return [*self.compose, "-f", str(FILE), "-p", project, "down", *(["-v"] if volumes else [])]

    def logs(self, project: str) -> str:
        command = [*self.compose, "-f", str(FILE), "-p", project, "logs"]
        return _run(command, self.environment(), timeout=30)[1][-4000:]

    def up(self, project: str, settings: Mapping[str, str], timeout: float = 120) -> None:
        """Start the services in the background. Raises EngineError."""
        code, said = _run(self.up_command(project), self.environment(settings), timeout)
        if code != 0:
            raise EngineError(f"{' '.join(self.compose)} up failed ({code}): {said[-3000:]}")

    def down(self, project: str, *, volumes: bool = True, timeout: float = 120) -> None:
        """Stop and remove the services. Raises EngineError."""
        code, said = _run(self.down_command(project, volumes=volumes), self.environment(), timeout)
        if code != 0:
            raise EngineError(f"{' '.join(self.compose)} down failed ({code}): {said[-3000:]}")


def find_engine() -> Engine | str:
    """The engine of this machine, or the reason why there is none, for a person to read."""
    reasons = []
    if docker := shutil.which("docker"):
        if not _succeeds([docker, "compose", "version"], os.environ, timeout=20):
            reasons.append("docker has no compose plugin")
        elif not _succeeds([docker, "info"], os.environ, timeout=20):
            reasons.append("docker's engine does not answer")
        else:
            return Engine("docker", docker, (docker, "compose"))
    else:
        reasons.append("no docker")
    if podman := shutil.which("podman"):
        if compose := _podman_compose():
            return Engine("podman", podman, compose)
        reasons.append("podman without podman-compose")
    else:
        reasons.append("no podman")
    return ", ".join(reasons)


def _podman_compose() -> tuple[str, ...] | None:
    if importlib.util.find_spec("podman_compose"):
        return (sys.executable, "-m", "podman_compose")
    found = shutil.which("podman-compose")
    return (found,) if found else None


def _succeeds(command: list[str], environment: Mapping[str, str], timeout: float) -> bool:
    return _run(command, environment, timeout)[0] == 0


def _run(command: list[str], environment: Mapping[str, str], timeout: float) -> tuple[int, str]:
    """Exit code and output; a program that cannot start or takes too long counts as failed."""
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            cwd=Path(ROOT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        return 127, str(error)
    except subprocess.TimeoutExpired as error:
        return 124, f"no answer within {timeout:.0f} s; it had said: {error.output!r}"
    return done.returncode, done.stdout
