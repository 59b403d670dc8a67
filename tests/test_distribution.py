"""What is released says the same everywhere: version, dependencies."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import cpr
from tools.distribution import LACKS, TRIALS, lacking

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RECIPE = yaml.safe_load((ROOT / "tools/conda/recipe.yaml").read_text())


def test_one_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == cpr.__version__
    assert RECIPE["context"]["version"] == cpr.__version__
    assert f"## {cpr.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_recipe_has_the_dependencies():
    conda_names = {"xxhash": "python-xxhash"}
    named = {re.split(r"[<>=]", one)[0]: one for one in PROJECT["dependencies"]}
    wanted = {conda_names.get(name, name): one.removeprefix(name) for name, one in named.items()}
    wanted["python"] = PROJECT["requires-python"]
    found = dict(one.split(" ", 1) for one in RECIPE["requirements"]["run"])
    assert found == wanted


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["all", "blake3"])  # the first has all others in it
def test_what_is_tried_works_here(extra, tmp_path):
    done = subprocess.run([sys.executable, "-c", TRIALS[extra]], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_extra_is_tried():
    assert set(TRIALS) == {"none", *PROJECT["optional-dependencies"]}
    assert set(LACKS) == set(PROJECT["optional-dependencies"]) - {"all", "openlineage"}


@pytest.mark.slow
@pytest.mark.parametrize("there", [None, *LACKS])
def test_what_is_lacking_is_told(there, tmp_path):
    """With no extra, and with each alone; what the others bring is made impossible to import."""
    extras = [one for one in LACKS if one != there]
    hidden = {LACKS[extra][0]: None for extra in extras}
    code = f"import sys; sys.modules.update({hidden!r})\n{lacking(extras)}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
