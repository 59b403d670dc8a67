"""The examples that a reader sees, found and run: the blocks of all pages, and those of docstrings.

tests/test_examples.py runs them in the environment of development, tools/fresh_examples.py in one that is
made as README says. So nothing here needs more than cpr and the packages that examples speak of.

    python -m tools.doc_blocks    the examples of all docstrings; exit code 1 when one is wrong
"""

from __future__ import annotations

import doctest
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Block(NamedTuple):
    """A block of code on a page.

    Attributes:
        language: as the page says.
        text: what is in it.
        needs: what no single machine has (`a SLURM cluster`), as the comment above it says:
            `<!-- needs a SLURM cluster -->`. Nobody can run it elsewhere.
    """

    language: str
    text: str
    needs: str | None


_BLOCK = re.compile(
    r"^(?:<!-- needs (?P<needs>[^\n]*) -->\n+)?```(?P<language>\w*)\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)


def blocks_in(markdown: str) -> list[Block]:
    """The blocks of a page, in their order."""
    return [Block(one["language"], one["text"], one["needs"]) for one in _BLOCK.finditer(markdown)]


# README's section Start is typed as a whole, and so is a page of its own here as on the site.
START = "README.md#start"
_readme = (ROOT / "README.md").read_text()
_start = _readme[_readme.index("\n## Start\n") : _readme.index("\n## Images of your own\n")]

PAGES: dict[str, list[Block]] = {
    str(path.relative_to(ROOT)): blocks_in(path.read_text())
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
} | {START: blocks_in(_start), "README.md": blocks_in(_readme.replace(_start, ""))}


def blocks(page: str, language: str) -> list[str]:
    """The texts of a page's blocks in a language."""
    return [block.text for block in PAGES[page] if block.language == language]


def install_lines() -> dict[str, list[str]]:
    """README's lines that make an environment and install, as typed: for Start alone, and with all extras."""
    make, first = blocks(START, "shell")[0].splitlines()
    (complete,) = re.findall(r"`(pip install [^`]*)`\s+installs all extras", _start)
    return {"start": [make, first], "all": [make, complete]}


# ---- docstrings


def modules_with_examples() -> list[str]:
    """By their text: nothing is imported to find them."""
    found = [path for path in (ROOT / "cpr").rglob("*.py") if ">>> " in path.read_text()]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found]
    return sorted(name.removesuffix(".__init__") for name in names)


def example_names() -> dict[str, Any]:
    """What an example may use without an import: the library, numpy, pandas, Prefect, a stored target."""
    import numpy as np
    import pandas as pd
    import prefect
    from prefect.cache_policies import TASK_SOURCE

    import cpr
    from tests.text_format import TextTarget

    target = TextTarget.from_path("memory://examples/note.txt")
    target.set_data("some text")
    return {name: getattr(cpr, name) for name in cpr.__all__} | {
        "cpr": cpr,
        "np": np,
        "pd": pd,
        "json": json,
        "prefect": prefect,
        "TASK_SOURCE": TASK_SOURCE,
        "target": target.persist(),
        "image": np.zeros((3, 4), "uint16"),
    }


def run_docstrings(module: str) -> tuple[int, str]:
    """How many docstrings of a module have examples, and what doctest says of those that are wrong."""
    tested = importlib.import_module(module)
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [one for one in finder.find(tested, globs=example_names() | vars(tested)) if one.examples]
    printed: list[str] = []
    for test in found:
        doctest.DocTestRunner(verbose=False).run(test, out=printed.append)
    return len(found), "".join(printed)


# ---- pages


def fill_raw(url: str) -> None:
    """The images that the pages' flows begin with: `url/raw/{one,two}.tif`."""
    import numpy as np

    import cpr

    for name in ("one", "two"):
        image = cpr.ImageTarget.from_path(f"{url}/made/{name}.tif", pixel_size=0.25, unit="micron")
        image.set_data(np.random.default_rng(0).integers(0, 255, (40, 50), dtype="uint8"))
        with cpr.io.reading(image.persist().url) as file, cpr.io.writing(f"{url}/raw/{name}.tif") as copy:
            copy.write(file.read())


def main() -> int:
    """Run the examples of all docstrings; print what is wrong, and how many there are."""
    results = {module: run_docstrings(module) for module in modules_with_examples()}
    wrong = [text for _, text in results.values() if text]
    print(*wrong, sep="\n")
    print(f"{sum(count for count, _ in results.values())} docstrings of {len(results)} modules")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
