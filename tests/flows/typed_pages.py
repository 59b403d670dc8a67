"""A page's commands, as somebody types them into a shell with an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.flows.isolated_workers import end_with_session

ROOT = Path(__file__).parents[2]


def type_in(folder: Path, typed: str, variables: Mapping[str, str]) -> str:
    """Type it in a folder; what is printed. What goes to stderr is in `errors.log` there.

    Prefect's home is in the folder, and its server is the one that is typed. Whatever was started ends.
    """
    environment = {
        **os.environ,
        **variables,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(folder / "prefect"),
    }
    environment.pop("PREFECT_API_URL", None)
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
