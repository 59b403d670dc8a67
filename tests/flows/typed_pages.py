"""Pages whose commands are typed as a whole, by somebody in a shell with an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.flows.isolated_workers import end_with_session
from tests.minio.process import free_ports
from tools.doc_blocks import START, blocks, fill_raw

ROOT = Path(__file__).parents[2]
# Of Start: what a machine has already, and the bucket that comes with `variables`.
DONE_BEFORE = ("python3 -m venv", "pip install", "docker ", "export AWS_")
DEPLOYMENTS = "docs/deployments.md"


def type_start(folder: Path, url: str, variables: Mapping[str, str], programs: Path | None = None) -> None:
    """README's section Start without its installing, its bucket at `url`: a server, two workers, two runs."""
    server, scheduler = map(str, free_ports(2))
    (code,) = blocks(START, "python")
    (folder / "nuclei.py").write_text(_with_places(code, {"8786": scheduler, "s3://cpr": url}))
    lines = "".join(blocks(START, "shell")).splitlines()
    typed = "\n".join(line for line in lines if not line.startswith(DONE_BEFORE))
    typed = _with_places(typed, {"4200": server, "8786": scheduler, "s3://cpr": url})
    printed = type_in(folder, typed, variables, programs)
    assert printed.count(" nuclei\n") == 8
    assert "12 targets intact of 12 read" in printed
    assert "12 targets, " in printed, "the second run has made something again"
    assert (folder / "report.html").stat().st_size > 10_000


def type_deployments(
    folder: Path, url: str, variables: Mapping[str, str], programs: Path | None = None
) -> None:
    """The page on deployments: a server, a work pool, a worker, a run from the shell, one from a program."""
    fill_raw(url)
    (port,) = map(str, free_ports(1))
    (folder / "segment.py").write_text(*blocks(DEPLOYMENTS, "python"))
    typed = _with_places("".join(blocks(DEPLOYMENTS, "shell")), {"4200": port, "s3://cpr": url})
    printed = type_in(folder, f"{typed}\nkill %1 %2", variables, programs)
    log = "".join((folder / f"{name}.log").read_text() for name in ("errors", "server", "worker"))
    assert "Completed" in printed
    assert re.search(rf"^{url}/results/one-mask-\w{{16}}\.tif \(40, 50\)$", printed, re.MULTILINE)
    assert log.count("Finished in state Cached") == 1, log


def type_in(folder: Path, typed: str, variables: Mapping[str, str], programs: Path | None = None) -> str:
    """Type it in a folder; what is printed. What goes to stderr is in `errors.log` there.

    The programs are those of a folder, by default this Python's, with the cpr of this checkout. Prefect's
    home is in the folder, and its server is the one that is typed. Whatever was started ends.
    """
    environment = {
        **os.environ,
        **variables,
        "PATH": f"{programs or Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(folder / "prefect"),
    }
    environment.pop("PREFECT_API_URL", None)
    if programs is not None:
        del environment["PYTHONPATH"]
    errors = folder / "errors.log"
    with errors.open("w") as stderr:
        shell = subprocess.Popen(
            ["bash", "-m", "-e", "-c", typed],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    try:
        printed, _ = shell.communicate(timeout=540)
    finally:
        end_with_session(shell)
    assert shell.returncode == 0, printed + errors.read_text()
    return printed


def _with_places(text: str, places: dict[str, str]) -> str:
    for written, place in places.items():
        assert written in text, f"the page does not speak of {written}"
        text = text.replace(written, place)
    return text
