"""The server programs: where they are found, and how Go builds them.

`minio` and `mc` are not published as binaries any more; `go install` builds the last public source, in
minutes, and a build is kept in `.tools/bin`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"

MODULES = {
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    "mc": "github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9",
    "fake-gcs-server": "github.com/fsouza/fake-gcs-server@v1.52.3",
}


class BuildError(RuntimeError):
    """`go install` did not give the program; the message ends with what Go said."""


def find(program: str) -> Path | None:
    """The program on PATH, else the one in `.tools/bin`, else None."""
    found = shutil.which(program) or shutil.which(program, path=str(TOOLS / "bin"))
    return Path(found) if found else None


def install(program: str, timeout: float = 1500) -> Path:
    """Build the pinned `program` into `.tools/bin` unless it is there already, and return its path.

    Two processes that ask at once build it once. Raises BuildError, also where there is no Go.
    """
    folder = TOOLS / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{program}.lock"):
        target = folder / program
        stamp = folder / f".{program}.module"
        module = MODULES[program]
        if target.exists() and (not stamp.exists() or stamp.read_text() == module):
            return target  # without a stamp it was put there by hand: respected
        go = shutil.which("go")
        if go is None:
            raise BuildError(f"no go on PATH to build {program} with")
        # CGO_ENABLED=0: a static program, which also runs in an image that holds nothing else.
        environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(folder), "GOFLAGS": "-modcacherw"}
        run_installer([go, "install", module], timeout, env=environment, cwd=folder)
        stamp.write_text(module)
        return target


def run_installer(command: list[str], timeout: float, **options: Any) -> None:
    """Run `PROGRAM install ... PACKAGE`, with what subprocess.run takes besides. Raises BuildError."""
    what = f"{Path(command[0]).name} install {command[-1]}"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **options,
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"{what} took longer than {timeout:.0f} s") from None
    if done.returncode != 0:
        raise BuildError(f"{what} failed: {done.stderr.strip()[-1000:]}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
