"""Make the images of `docker-compose.yml` available on this machine: there already, pulled, or built here.

    python -m tools.local_images [gcs]

Where an image cannot be pulled, one is built under the same tag around the programs that `go install` gives;
its label `cpr.built` says so, and `podman rmi` or `docker rmi` gets rid of it. With `gcs` that of the GCS
emulator as well. Prints what it did; exit code 1, and the reason, when containers cannot be run here at all.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.minio.binaries import BuildError, install
from tests.minio.compose import (
    GCS_IMAGE,
    IMAGES,
    MC_IMAGE,
    MINIO_IMAGE,
    PODMAN_CONFIGURATION,
    Engine,
    find_engine,
)

PULL_SECONDS = 120
PROGRAMS = {MINIO_IMAGE: ("minio", "mc"), MC_IMAGE: ("mc",), GCS_IMAGE: ("fake-gcs-server",)}

# FROM scratch there is no folder at all: /tmp is for mc's configuration and minio's temporary files.
CONTAINERFILE = """\
FROM scratch
LABEL cpr.built="around go install'ed programs, where the published image could not be pulled"
COPY bin /usr/bin
COPY --chmod=1777 tmp /tmp
ENV PATH=/usr/bin HOME=/tmp MC_CONFIG_DIR=/tmp/.mc
ENTRYPOINT ["/usr/bin/{program}"]
"""

# crun, podman's first choice, and the limits podman asks for need rights that a nested machine does not give.
CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
"""


def main(arguments: list[str]) -> int:
    """Provide the images and find out how to run them; the exit code."""
    engine = find_engine()
    if isinstance(engine, str):
        print(f"no container engine: {engine}")
        return 1
    try:
        for image in (*IMAGES, GCS_IMAGE) if "gcs" in arguments else IMAGES:
            started = time.monotonic()
            did = provide(engine, image)
            print(f"{image}: {did} ({time.monotonic() - started:.1f} s)", flush=True)
    except (BuildError, subprocess.CalledProcessError) as error:
        print(f"could not be built: {error}")
        return 1
    problem = configure(engine)
    if problem:
        print(f"{engine.name} cannot run a container here: {problem}")
        return 1
    print(f"{engine.name} runs containers here")
    return 0


def provide(engine: Engine, image: str) -> str:
    """Make `image` available; returns how that was done, in two words."""
    if engine.has_image(image):
        return "there already"
    if engine.pull(image, PULL_SECONDS):
        return "pulled"
    with tempfile.TemporaryDirectory(prefix="cpr-image-") as folder:
        context = Path(folder)
        (context / "bin").mkdir()
        (context / "tmp").mkdir()
        for program in PROGRAMS[image]:
            shutil.copy2(install(program), context / "bin" / program)
        (context / "Containerfile").write_text(CONTAINERFILE.format(program=PROGRAMS[image][0]))
        subprocess.run(
            [engine.program, "build", "--quiet", "-t", image, "-f", f"{folder}/Containerfile", folder],
            env=engine.environment(),
            check=True,
        )
    return "built here"


def configure(engine: Engine) -> str:
    """Find settings under which the engine runs a container; returns why there are none, else ''."""
    problem = trial(engine)
    if not problem or engine.name != "podman":
        return problem
    PODMAN_CONFIGURATION.parent.mkdir(exist_ok=True)
    PODMAN_CONFIGURATION.write_text(CONFIGURATION)
    problem = trial(engine)
    if problem:
        PODMAN_CONFIGURATION.unlink()
    return problem


def trial(engine: Engine) -> str:
    """Run a container that does nothing; what went wrong, or ''."""
    done = subprocess.run(
        [engine.program, "run", "--rm", MC_IMAGE, "--version"],
        env=engine.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr.strip()[-1000:] or f"exit code {done.returncode}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
