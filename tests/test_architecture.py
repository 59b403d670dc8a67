"""docs/architecture.md says what is true: the drawing, the walk of an array, the files of each errand.

No page of docs names a file that is not there.
"""

from __future__ import annotations

import pkgutil
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import cpr
from tools import architecture

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FILE = re.compile(r"`((?:cpr|tests|tools|bench|demo|docs)/[\w./-]*)`")


def section(title: str) -> str:
    """The text under a heading of the page."""
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^#{{1,3}} |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def test_the_drawing_is_what_the_imports_are():
    stale = [path.name for path, text in architecture.made().items() if path.read_text() != text]
    assert not stale, "python -m tools.architecture writes it anew"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_pages_name_are_there(page):
    named = {name for name in FILE.findall(page.read_text()) if "NAME" not in name}
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert not missing


def test_files_that_comments_and_docstrings_name_are_there():
    named = {
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / "cpr").rglob("*.py")
        for name in re.findall(r"\b(?:tests|tools|bench|docs)/[\w./-]+\.(?:py|md)\b", path.read_text())
    }
    assert named
    assert not sorted(one for one in named if not (ROOT / one[1]).exists())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_that_pages_mention_exist(page):
    groups = {"cpr.resources", "cpr.storage"}  # of entry points
    for name in set(re.findall(r"`(cpr(?:\.\w+)+)`", page.read_text())) - groups:
        assert pkgutil.resolve_name(name) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[\w-]+)?\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_walk_passes_the_modules_that_it_names(tmp_path):
    """In each step of the walk, and in the order of the steps."""
    target = cpr.ImageTarget.from_path(str(tmp_path / "nuclei.tif"), metadata={"unit": "micron"})
    image = np.random.default_rng(0).integers(0, 99, (3, 600, 700)).astype("uint16")
    record: dict = {}
    steps = {
        "`set_data`": lambda: target.set_data(image),
        "`persist`": target.persist,
        "`serialize`": lambda: record.update(target.serialize()),
        "`load`": lambda: record.update(loaded=cpr.load({"__cpr__": record["__cpr__"]})),
        "`get_data`": lambda: np.testing.assert_array_equal(record["loaded"].get_data(), image),
    }
    rows = re.findall(r"^\| (`\w+`) \| ([^|]*) \|", section("The way of an array"), re.MULTILINE)
    assert list(dict.fromkeys(step for step, _ in rows)) == list(steps)
    for step, call in steps.items():
        entered = modules_entered(call)
        named = {name for other, cell in rows if other == step for name in FILE.findall(cell)}
        assert named <= entered, f"{step}: {sorted(named - entered)}"


def modules_entered(call) -> set[str]:
    """The files of cpr whose functions run meanwhile, in any thread."""
    found: set[str] = set()

    def note(frame, event, argument):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(f"{ROOT}/cpr/"):
            found.add(name.removeprefix(f"{ROOT}/"))

    before = sys.getprofile()
    threading.setprofile_all_threads(note) if sys.version_info >= (3, 12) else threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
        threading.setprofile_all_threads(None) if sys.version_info >= (3, 12) else threading.setprofile(None)
    return found


# What the plan of the package allows, beside the package or module that is new.
ALLOWED = {
    "A new format": 2,
    "A new kind of storage": 2,
    "A new command": 3,
    "A new field of the record": 2,
    "A change of what counts in a cache key": 2,
}


@pytest.mark.parametrize("errand", ALLOWED)
def test_an_errand_touches_few_files(errand):
    touched = re.findall(r"^- `([\w./-]+)`", section(errand), re.MULTILINE)
    new = re.findall(r"^- new: `([\w./-]+)`", section(errand), re.MULTILINE)
    assert len(touched) <= ALLOWED[errand]
    assert all((ROOT / name).exists() for name in touched)
    assert all((ROOT / name.partition("NAME")[0]).is_dir() for name in new)
    assert touched or new
