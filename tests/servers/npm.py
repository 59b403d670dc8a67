"""Programs from npm, each in a pinned version in a folder of `.tools`."""

from __future__ import annotations

import shutil
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
                binaries.run_installer([*command, package], _SECONDS)
            except binaries.BuildError as error:
                raise Unavailable(str(error)) from None
            if not local.exists():
                raise Unavailable(f"npm install {package} brings no {name}")
    return str(local)
