"""The site that `make site` builds: no dead link, nothing from elsewhere, an example for each public name."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import cpr
from cpr import errors
from cpr.io.store_problem_table import PROBLEMS

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]


class Page(HTMLParser):
    """Anchors of a page, what it links to, and what it loads."""

    LOADED = frozenset({("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src")})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value)
            elif (tag, name) == ("a", "href"):
                self.links.add(value)
            elif (tag, name) in self.LOADED and dict(attrs).get("rel") != "canonical":
                self.loaded.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_link_leads_somewhere(site, pages):
    dead = []
    for path, page in pages.items():
        # The page of a missing page is shown at any depth.
        for link in page.links | page.loaded if path.name != "404.html" else ():
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                dead.append(f"{path.relative_to(site)}: {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                dead.append(f"{path.relative_to(site)}: {link} has no such anchor")
    assert not dead, "\n".join(dead)


def test_nothing_is_loaded_from_elsewhere(pages):
    loaded = {link for page in pages.values() for link in page.loaded}
    assert [
        link for link in loaded if urlsplit(link).scheme not in ("", "data") or link.startswith("//")
    ] == []


def test_every_public_name_has_an_entry(pages, site):
    anchors = pages[site / "reference.html"].anchors
    paths = {name: f"{getattr(cpr, name).__module__}.{name}" for name in cpr.__all__}
    assert {name for name, path in paths.items() if path not in anchors} == set()


def test_every_error_names_a_section_of_the_site(pages, site):
    found = [getattr(errors, name)("is bad") for name in errors.__all__]
    found += [problem.error("s3://bucket/a", "read", "Code") for problem in PROBLEMS]
    for error in found:
        page, _, section = str(error).rpartition("; see docs/")[2].partition("#")
        assert section in pages[site / page.replace(".md", ".html")].anchors, error


@pytest.mark.parametrize("name", [name for name in cpr.__all__ if not name.endswith("Error")])
def test_an_entry_has_an_example(name):
    found = getattr(cpr, name)
    documented = [found, *vars(found).values()] if inspect.isclass(found) else [found]
    if not (inspect.isclass(found) or callable(found)):
        pytest.skip("no class and no function")
    assert any(">>> " in (inspect.getdoc(one) or "") for one in documented)


@pytest.mark.parametrize("width", [1400, 390])
def test_pages_that_are_opened_as_files_can_be_searched(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request", lambda one: one.url.startswith(("file:", "data:", "blob:")) or complaints.append(one.url)
    )
    page.goto(f"file://{site}/decisions/gc.html")
    if width < 960:
        page.click("header label[for=__search]:visible >> nth=0")
        page.wait_for_timeout(1000)  # until it has moved into its place
    else:
        page.click("input.md-search__input")
    page.keyboard.type("garbage")
    page.wait_for_selector(".md-search-result__item", state="attached", timeout=60_000)
    assert "garbage" in page.locator(".md-search-result__item").first.inner_text().lower()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
    assert complaints == []
