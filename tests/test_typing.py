# ruff: noqa: E501 - users lines
"""What type checkers say of users' lines: wrong options and data are errors, README's blocks are not."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import cpr
from cpr.data import typed

ROOT = Path(__file__).parents[1]

RIGHT = """
import numpy as np
import pandas as pd
import cpr
from cpr.image.ImageTarget import ImageTarget

image = ImageTarget.from_path("a.tif", compression="zstd", level=3, metadata={"axes": "YX", "unit": "micron"}, imagej=False)
image.set_data(np.zeros((3, 4), "uint8"))
image.set_data((np.zeros((3, 4), "uint8") for _ in range(3)), shape=(3, 3, 4), dtype="uint8")
again = ImageTarget(location="x", name="a", ext=".tif", metadata={"axes": "YX"}, resolution=[1.0, 1.0])
array: np.ndarray = cpr.ImageSource.from_path("a.tif", image=1).get_data()
frame: pd.DataFrame = cpr.CSVSource.from_path("a.csv", sep=";", decimal=",", dtype={"id": "str"}).get_data()
cpr.CSVTarget.from_path("a.csv").set_data(frame)
cpr.ParquetTarget.from_path("a.parquet", compression="snappy").set_data([frame, frame])
cpr.ZarrTarget.from_path("a.zarr", chunks=(1, 64, 64), compressors="blosc").set_data(array)
part = cpr.ZarrSource.from_path("a.zarr", group="0", slices_start=[0], slices_stop=[1], mode="r+")
cpr.OMEZarrTarget.from_path("a.ome.zarr", levels=3, downsample="mode", pixel_size=0.5, unit="micron")
"""

WRONG = [
    'cpr.ImageTarget.from_path("a.tif", compresion="zlib")',
    'cpr.ImageTarget.from_path("a.tif", compression="zib")',
    'cpr.ImageTarget.from_path("a.tif", level="high")',
    'cpr.ImageTarget.from_path("a.tif").set_data("raw.tif")',
    'cpr.ImageTarget.from_path("a.tif").set_data(None)',
    'cpr.CSVTarget.from_path("a.csv").set_data(np.zeros(3))',
    'cpr.CSVSource.from_path("a.csv", delimiter=";")',
    'cpr.ParquetTarget.from_path("a.parquet", compression="zlib")',
    'cpr.NumpyTarget.from_path("a.npy", imagej=True)',
    'cpr.ZarrSource.from_path("a.zarr", mode="rw")',
    'cpr.ZarrTarget.from_path("a.zarr", chunk=(1, 64))',
    'frame: pd.DataFrame = cpr.ImageSource.from_path("a.tif").get_data()',
]

SCRIPT = RIGHT + "\n" + "\n".join(WRONG) + "\n"
FIRST_WRONG = SCRIPT[: SCRIPT.index(WRONG[0])].count("\n") + 1


def readme() -> str:
    return "\n".join(
        re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    )


def lines_with_errors(checker: str, path: Path) -> set[int]:
    """The numbers of a script's lines that a checker refuses."""
    environment = os.environ | {"MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)}
    if checker == "mypy":
        # A user's own checker is not as strict as ours, above all with packages that have no types.
        strict = ["--strict", "--config-file", str(ROOT / "pyproject.toml")]
        usual = ["--config-file", "", "--ignore-missing-imports"]
        how = strict if "script" in path.name else usual
        command = [sys.executable, "-m", "mypy", *how, str(path)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
        return {int(n) for n in re.findall(rf"^\S*{path.name}:(\d+): error", done.stdout, re.MULTILINE)}
    settings = {"include": [str(path)], "extraPaths": [str(ROOT)], "typeCheckingMode": "standard"}
    config = path.with_suffix(".json")
    config.write_text(json.dumps(settings))
    command = [shutil.which("pyright"), "--outputjson", "--pythonpath", sys.executable, "-p", str(config)]
    done = subprocess.run(command, cwd=path.parent, env=environment, capture_output=True, text=True)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1 for one in found if one["severity"] == "error"}


CHECKERS = [
    pytest.param("mypy", marks=pytest.mark.slow),
    pytest.param(
        "pyright",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(shutil.which("pyright") is None, reason="npm install -g pyright"),
        ],
    ),
]


@pytest.mark.parametrize("checker", CHECKERS)
def test_wrong_lines_are_refused_and_no_others(checker, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    assert lines_with_errors(checker, path) == set(range(FIRST_WRONG, FIRST_WRONG + len(WRONG)))


@pytest.mark.parametrize("checker", CHECKERS)
def test_the_readme_is_accepted(checker, tmp_path):
    path = tmp_path / "readme.py"
    path.write_text(readme())
    lines = readme().splitlines()
    found = [lines[n - 1] for n in lines_with_errors(checker, path)]
    # Prefect's flows do not take prefect-dask's runner, as both declare it.
    assert [line for line in found if "DaskTaskRunner" not in line] == []


_DESCRIPTION = {"shape", "dtype", "table", "origin"}
_WORDS = {"pixel_size", "unit", "custom", "like", "sep", "index_col"}


@pytest.mark.parametrize("name", [name for name in cpr.__all__ if hasattr(typed, f"{name}Arguments")])
def test_the_types_are_the_options(name):
    told = set(typing.get_type_hints(getattr(typed, f"{name}Arguments")))
    cls = getattr(cpr, name)
    options = {field.name for field in dataclasses.fields(cls.format_class)}
    assert told - _WORDS - _DESCRIPTION <= options
    if name.endswith("Target"):
        assert options - _DESCRIPTION <= told
