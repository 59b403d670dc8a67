"""Every example that a reader sees is run: those of docstrings here, the blocks of all pages here as well.

They are run in an environment that is made as README says by tools/fresh_examples.py.
The Python blocks of a page are run in their order, as one module, with a bucket of its own for `my-bucket`.
What README's print is looked at in tests/flows/test_readme.py.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tools.cli_pages import commands, options_of
from tools.doc_blocks import (
    PAGES,
    START,
    blocks,
    fill_raw,
    modules_with_examples,
    run_docstrings,
)

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("module", modules_with_examples())
def test_docstrings(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, wrong = run_docstrings(module)
    assert found, f"no docstring holds the examples of {module}"
    assert not wrong, wrong


def test_all_blocks_are_of_languages_that_are_tested():
    languages = {block.language for found in PAGES.values() for block in found}
    assert languages <= {"python", "shell", "text", "toml", "mermaid", "json", "yaml"}, (
        "a block says its language"
    )


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


# The blocks of these need a cluster, or a server: tests/flows/test_slurm.py and test_deployments.py.
RUN_ELSEWHERE = {"README.md", START, "docs/places.md", "docs/deployments.md"}


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
TYPED = {START, "docs/deployments.md"}
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
