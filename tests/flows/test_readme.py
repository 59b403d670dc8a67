"""Every block of the README is run, in order, and the demo prints the README's table."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import cpr

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def test_all_blocks_are_of_languages_that_are_tested():
    assert {language for language, _ in BLOCKS} == {
        *("python", "shell", "text"),
        "toml",  # tests/io/test_config.py
    }


def test_python_blocks(s3_url, prefect_server, tmp_path, monkeypatch, capsys):
    for name in ("one", "two"):
        image = cpr.ImageTarget.from_path(f"{s3_url}/made/{name}.tif", resolution=(100, 100))
        image.set_data(np.random.default_rng(0).integers(0, 255, (40, 50), dtype="uint8"))
        with cpr.io.reading(image.persist().url) as file, cpr.io.writing(f"{s3_url}/raw/{name}.tif") as copy:
            copy.write(file.read())
    # In a file, for tasks are known by their source.
    path = tmp_path / "readme_blocks.py"
    path.write_text("\n\n".join(blocks("python")).replace("s3://my-bucket", s3_url))
    spec = importlib.util.spec_from_file_location("readme_blocks", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "readme_blocks", module)
    spec.loader.exec_module(module)
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


def test_a_format_of_ones_own_is_short():
    (block,) = (text for text in blocks("python") if "class Json:" in text)
    assert len([line for line in block.splitlines() if line.strip()]) <= 28


def test_shell_blocks():
    lines = [line for text in blocks("shell") for line in text.splitlines()]
    # What `cpr` is called with is tested in tests/cli/test_docs.py.
    lines = [line for line in lines if not line.startswith("cpr ")]
    assert lines == ["make demo", "make test", 'pip install "prefect-cpr[s3,dask,parquet]"']
    subprocess.run(["make", "--dry-run", "demo", "test"], cwd=ROOT, check=True, capture_output=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "prefect-cpr"
    assert {"s3", "dask", "parquet"} <= set(project["optional-dependencies"])


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
    (table,) = blocks("text")
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
