"""README's section Start, as somebody types it: a server, two workers, the flow twice, the commands."""

from __future__ import annotations

import pytest

from tests.flows.typed_pages import type_in
from tests.minio.process import free_ports
from tests.test_examples import blocks

PAGE = "README.md#start"
# What a machine has already, and the bucket that this test brings along.
DONE_BEFORE = ("python3 -m venv", "pip install", "docker ", "export AWS_")


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
    printed = type_in(tmp_path, typed, s3_server.environment())
    assert printed.count(" nuclei\n") == 8
    assert "12 targets intact of 12 read" in printed
    assert "12 targets, " in printed, "the second run has made something again"
    assert (tmp_path / "report.html").stat().st_size > 10_000
