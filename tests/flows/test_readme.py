"""What the README's Python blocks print when they are run, and the demo's table."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cpr
from tests.test_examples import run_as_module
from tools.doc_blocks import blocks, fill_raw

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]


def test_python_blocks(s3_url, prefect_server, tmp_path, monkeypatch, capsys):
    fill_raw(s3_url)
    text = "\n\n".join(blocks("README.md", "python")).replace("s3://my-bucket", s3_url)
    text = text.replace('"/data/', f'"{tmp_path}/')
    module = run_as_module(text, "readme_blocks", tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    assert printed.count(f"{s3_url}/results/") == 2
    assert "(40, 50)" in printed
    assert f"{s3_url}/raw/no-such-image.tif" in printed
    assert "(100, 512)" in printed
    assert "uint16" in printed
    assert "('z', 'y', 'x') (20, 256, 256)" in printed
    laws = module.TestJson()
    for name in dir(laws):
        if name.startswith("test_"):
            getattr(laws, name)()
    states = module.on_dask(f"{s3_url}/raw", f"{s3_url}/results", return_state=True)
    assert states.is_completed()
    assert [target.get_data().shape for target in states.result()] == [(40, 50)] * 2
    records = cpr.io.find(f"{s3_url}/records/**")
    assert records, "Prefect's records are not in the bucket"
    module.in_a_folder(f"{s3_url}/raw", f"{tmp_path}/results")
    assert any((tmp_path / "records").iterdir()), "Prefect's records are not in the folder"


def test_a_format_of_ones_own_is_short():
    (block,) = (text for text in blocks("README.md", "python") if "class Json:" in text)
    assert len([line for line in block.splitlines() if line.strip()]) <= 28


def test_the_demo_prints_the_readmes_table(s3_server):
    environment = {
        **os.environ,
        **s3_server.environment(),
        "CPR_TEST_S3_ENDPOINT": s3_server.endpoint,
        "PYTHONPATH": str(ROOT),
    }
    for name in ("CPR_TEST_S3", "PREFECT_API_URL", "PREFECT_HOME"):
        environment.pop(name, None)
    demo = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    (table,) = blocks("README.md", "text")
    row = re.compile(
        r"/results/(\S*)-\w{16}(\.[\w.]+) +(\d+(?: x \d+)+) .* (computed|cached) +[\d.]+$", re.MULTILINE
    )
    shown = row.findall(demo.stdout)
    assert set(row.findall(table)) <= set(shown)
    assert [found[:3] for found in shown[: len(shown) // 2]] == [
        found[:3] for found in shown[len(shown) // 2 :]
    ]
    assert {found[3] for found in shown[len(shown) // 2 :]} == {"cached"}
    assert "times as fast" in demo.stdout
    assert "tifffile, straight from the bucket, reads s3://" in demo.stdout
    plane = re.search(r"(\d+) kB of (\d+) kB were transferred, in (\d+) requests", demo.stdout)
    transferred, stored, requests = map(int, plane.groups())
    assert 0 < transferred < 0.4 * stored
    assert requests < 30
