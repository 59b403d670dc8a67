# ruff: noqa: E501 - users lines
"""What type checkers say of users' lines: wrong options and data are errors, README's blocks are not."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import cpr
from cpr.data import argument_types
from tests.minio.binaries import TOOLS
from tests.minio.process import Unavailable
from tests.servers import npm

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
PYRIGHT = "1.1.409"
FIRST_WRONG = SCRIPT[: SCRIPT.index(WRONG[0])].count("\n") + 1


def readme() -> str:
    return "\n".join(
        re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    )


ENVIRONMENT = {"MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)}


def mypy_errors(path: Path) -> set[int]:
    """The numbers of the lines that mypy refuses."""
    # A user's own checker is not as strict as ours, above all with packages that have no types.
    strict = ["--strict", "--config-file", str(ROOT / "pyproject.toml")]
    usual = ["--config-file", "", "--ignore-missing-imports"]
    command = [sys.executable, "-m", "mypy", *(strict if "script" in path.name else usual), str(path)]
    environment = os.environ | ENVIRONMENT
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return {int(n) for n in re.findall(rf"^\S*{path.name}:(\d+): error", done.stdout, re.MULTILINE)}


def pyright_errors(*paths: Path) -> list[set[int]]:
    """The numbers of the lines that pyright refuses, of each file; it takes its time once for all."""
    try:
        pyright = npm.program("pyright", f"pyright@{PYRIGHT}", TOOLS / f"pyright-{PYRIGHT}")
    except Unavailable as error:
        pytest.skip(str(error))
    settings = {
        "include": list(map(str, paths)),
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "standard",
    }
    config = paths[0].with_suffix(".json")
    config.write_text(json.dumps(settings))
    command = [pyright, "--outputjson", "--pythonpath", sys.executable, "-p", str(config)]
    environment = os.environ | ENVIRONMENT
    done = subprocess.run(command, cwd=config.parent, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == len(paths)
    errors = [one for one in report["generalDiagnostics"] if one["severity"] == "error"]
    return [
        {one["range"]["start"]["line"] + 1 for one in errors if Path(one["file"]).name == path.name}
        for path in paths
    ]


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_wrong_lines_are_refused_and_no_others_and_the_readme_is_accepted(checker, tmp_path):
    script, blocks = tmp_path / "script.py", tmp_path / "readme.py"
    script.write_text(SCRIPT)
    blocks.write_text(readme())
    if checker == "mypy":
        in_script, in_blocks = mypy_errors(script), mypy_errors(blocks)
    else:
        in_script, in_blocks = pyright_errors(script, blocks)
    assert in_script == set(range(FIRST_WRONG, FIRST_WRONG + len(WRONG)))
    lines = readme().splitlines()
    # Prefect's flows do not take prefect-dask's runner, as both declare it.
    assert [lines[n - 1] for n in sorted(in_blocks) if "DaskTaskRunner" not in lines[n - 1]] == []


_DESCRIPTION = {"shape", "dtype", "table", "origin"}
_WORDS = {"pixel_size", "unit", "custom", "like", "sep", "index_col"}


@pytest.mark.parametrize(
    "name", [name for name in cpr.__all__ if hasattr(argument_types, f"{name}Arguments")]
)
def test_the_types_are_the_options(name):
    told = set(typing.get_type_hints(getattr(argument_types, f"{name}Arguments")))
    cls = getattr(cpr, name)
    options = {field.name for field in dataclasses.fields(cls.format_class)}
    assert told - _WORDS - _DESCRIPTION <= options
    if name.endswith("Target"):
        assert options - _DESCRIPTION <= told
