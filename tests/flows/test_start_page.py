"""The page Start, as somebody types it: a server, a scheduler, two workers, the flow twice, the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.isolated_workers import end_with_session
from tests.minio.process import free_ports
from tests.test_examples import blocks

ROOT = Path(__file__).parents[2]
PAGE = "docs/start.md"
# What a machine has already, and the bucket that this test brings along.
DONE_BEFORE = ("python3 -m venv", "pip install", "make ", "export AWS_")


def with_places(text: str, places: dict[str, str]) -> str:
    for written, place in places.items():
        assert written in text, f"{PAGE} does not speak of {written}"
        text = text.replace(written, place)
    return text


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("prefect")
def test_all_of_it_works(s3_server, s3_url, tmp_path):
    server, scheduler = map(str, free_ports(2))
    (code,) = blocks(PAGE, "python")
    (tmp_path / "nuclei.py").write_text(with_places(code, {"8786": scheduler, "s3://cpr": s3_url}))
    lines = "".join(blocks(PAGE, "shell")).splitlines()
    typed = "\n".join(line for line in lines if not line.startswith(DONE_BEFORE))
    typed = with_places(typed, {"4200": server, "8786": scheduler, "s3://cpr": s3_url})
    environment = {
        **os.environ,
        **s3_server.environment(),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    shell = subprocess.Popen(
        ["bash", "-m", "-e", "-c", typed],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "errors.log").open("w"),
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = shell.communicate(timeout=540)
    finally:
        end_with_session(shell)
    log = (tmp_path / "errors.log").read_text()
    assert shell.returncode == 0, printed + log
    assert printed.count(" nuclei\n") == 8
    assert "12 targets intact of 12 read" in printed
    assert "12 targets, " in printed, "the second run has made something again"
    assert (tmp_path / "report.html").stat().st_size > 10_000
