"""Every example that a reader sees is run: those of docstrings here, the blocks of all pages here as well.

The Python blocks of a page are run in their order, as one module, with a bucket of its own for `my-bucket`.
What README's print is looked at in tests/flows/test_readme.py.
"""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cpr
from tests.text_format import TextTarget
from tools.cli_pages import commands, options_of

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


# ---- docstrings


def modules_with_examples() -> list[str]:
    """By their text: nothing is imported while tests are collected."""
    found = [path for path in (ROOT / "cpr").rglob("*.py") if ">>> " in path.read_text()]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found]
    return sorted(name.removesuffix(".__init__") for name in names)


@pytest.fixture
def names() -> dict[str, Any]:
    """What an example may use without an import: the library, numpy, pandas, Prefect, a stored target."""
    import prefect
    from prefect.cache_policies import TASK_SOURCE

    target = TextTarget.from_path("memory://examples/note.txt")
    target.set_data("some text")
    image = np.zeros((3, 4), "uint16")
    public = {name: getattr(cpr, name) for name in cpr.__all__}
    return public | {
        "cpr": cpr,
        "np": np,
        "pd": pd,
        "json": json,
        "prefect": prefect,
        "TASK_SOURCE": TASK_SOURCE,
        "target": target.persist(),
        "image": image,
    }


@pytest.mark.parametrize("module", modules_with_examples())
def test_docstrings(module, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tested = importlib.import_module(module)
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = finder.find(tested, globs=names | vars(tested))
    assert any(test.examples for test in examples), f"no docstring holds the examples of {module}"
    printed: list[str] = []
    for test in examples:
        doctest.DocTestRunner(verbose=False).run(test, out=printed.append)
    assert not printed, "".join(printed)


# ---- pages


PAGES = {
    str(path.relative_to(ROOT)): BLOCK.findall(path.read_text())
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
}


def blocks(page: str, language: str) -> list[str]:
    """The texts of a page's blocks in a language."""
    return [text for found, text in PAGES[page] if found == language]


def run_as_module(text: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module made of blocks; in a file, for tasks are known by their source."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def fill_raw(url: str) -> None:
    """The images that the pages' flows begin with: `url/raw/{one,two}.tif`."""
    for name in ("one", "two"):
        image = cpr.ImageTarget.from_path(f"{url}/made/{name}.tif", resolution=(100, 100))
        image.set_data(np.random.default_rng(0).integers(0, 255, (40, 50), dtype="uint8"))
        with cpr.io.reading(image.persist().url) as file, cpr.io.writing(f"{url}/raw/{name}.tif") as copy:
            copy.write(file.read())


def test_all_blocks_are_of_languages_that_are_tested():
    languages = {language for found in PAGES.values() for language, _ in found}
    assert languages <= {"python", "shell", "text", "toml", "mermaid", "json", "yaml"}, (
        "a block says its language"
    )


# Its section Start is typed as a whole.
_START = "README.md#start"
_readme = (ROOT / "README.md").read_text()
_start = _readme[_readme.index("\n## Start\n") : _readme.index("\n## Images of your own\n")]
PAGES |= {_START: BLOCK.findall(_start), "README.md": BLOCK.findall(_readme.replace(_start, ""))}

# The blocks of these need a cluster, or a server: tests/flows/test_slurm.py and test_deployments.py.
RUN_ELSEWHERE = {"README.md", _START, "docs/places.md", "docs/deployments.md"}


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python") and page not in RUN_ELSEWHERE]
)
def test_python_blocks(page, s3_url, prefect_server, tmp_path, monkeypatch):
    fill_raw(s3_url)
    monkeypatch.chdir(tmp_path)
    text = "\n\n".join(blocks(page, "python")).replace("s3://my-bucket", s3_url)
    run_as_module(text, re.sub(r"\W", "_", page), tmp_path, monkeypatch)


# tests/flows/test_start_page.py and test_deployments.py type the whole pages.
TYPED = {_START, "docs/deployments.md"}
SHELL_PAGES = [page for page in PAGES if blocks(page, "shell") and page not in TYPED]


@pytest.mark.parametrize("page", SHELL_PAGES)
def test_shell_blocks(page):
    """A command of ours has the options it is given, a goal of make exists, a package has the extras."""
    known = {
        name: {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        for name, command in commands().items()
    }
    for line in "".join(blocks(page, "shell")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["cpr"]:
            command, options = options_of(line.partition(" #")[0])
            assert set(options) <= known[command], line
        elif words[:1] == ["make"]:
            subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        elif words[:2] == ["pip", "install"]:
            name, _, extras = words[2].rstrip("]").partition("[")
            project = _project()
            assert name == project["name"]
            assert set(extras.split(",")) - {""} <= set(project["optional-dependencies"]), line
        else:
            assert not words, f"nobody has tried this: {line}"


def _project() -> dict[str, Any]:
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
