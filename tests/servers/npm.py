"""Programs from npm, each in a pinned version in a folder of `.tools`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.minio import binaries
from tests.minio.process import Unavailable

_SECONDS = 180


def program(name: str, package: str, folder: Path) -> str:
    """A program in a folder, put there now if need be; without npm one on PATH. Raises Unavailable.

    Args:
        name: of the program.
        package: with its version, as npm takes it.
        folder: for this version of it alone.
    """
    local = folder / "node_modules" / ".bin" / name
    if local.exists():
        return str(local)
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        if found := shutil.which(name):  # of whatever version
            return found
        raise Unavailable(f"no {name} on PATH or in {folder.name}, and no node and npm to install it with")
    folder.mkdir(parents=True, exist_ok=True)
    with binaries.locked(folder / ".lock"):
        if not local.exists():
            command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
            try:
                done = subprocess.run(
                    [*command, package],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise Unavailable(f"npm install {package} took longer than {_SECONDS} s") from None
            if done.returncode != 0 or not local.exists():
                raise Unavailable(f"npm install {package} failed: {done.stderr.strip()[-500:]}")
    return str(local)
