"""The pictures of pages in docs/pictures, made anew: `python -m tools.pictures [NAME ...]`.

Chromium (on PATH, driven by playwright) looks at the site, a notebook, a report and Prefect's two UIs, on a
desk and on a telephone, by day and by night. The report and the artifact are of the demo's flow, run with a
Prefect server that is started for it. It says which of the pages are too wide.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
WIDTHS = {1400: 1000, 390: 844}  # and heights, in pixels
SCHEMES = ("light", "dark")
PATIENCE = 300.0  # seconds
# The site's header would lie on what is at the top.
BELOW_HEADER = "one => { one.style.scrollMarginTop = '4.5rem'; one.scrollIntoView() }"


@dataclass(frozen=True)
class Page:
    """Something to look at.

    Attributes:
        name: of its pictures, which are called `name-width-scheme.webp`.
        url: where it is, with `{place}` for the folder of what was made, `{prefect}` for Prefect's server and
            `{artifact}` for what the last run of the demo shows there.
        shows: a CSS selector of what is there once all is drawn.
        scrolls_to: a selector of what is to be at the top.
        schemes: those that it follows.
    """

    name: str
    url: str
    shows: str
    scrolls_to: str | None = None
    schemes: tuple[str, ...] = SCHEMES


PAGES = [
    Page("site", "file://{place}/site/start.html", "h1"),
    Page("reference", "file://{place}/site/reference.html", "h2", "#cpr\\.image\\.ImageTarget\\.ImageTarget"),
    Page(
        "notebook",
        "file://{place}/site/notebooks/images.html",
        ".md-content img",
        "pre:has-text('nuclei[0]')",
    ),
    Page("report", "file://{place}/report.html", "img"),
    Page("artifact", "{prefect}/artifacts/artifact/{artifact}", "td img", schemes=("dark",)),
    Page("artifact-v2", "{prefect}/v2/artifacts/artifact/{artifact}", "td img"),
]


@contextmanager
def prefect_server(home: Path, python: str = sys.executable) -> Iterator[None]:
    """The Prefect server of an environment, for this process as well."""
    from tests.minio.process import free_ports

    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    os.environ |= {
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "records"),
    }
    command = [python, "-m", "prefect", "server", "start", "--port", str(port)]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            end = time.monotonic() + PATIENCE
            while not _answers(f"{url}/api/health"):
                if time.monotonic() > end or server.poll() is not None:
                    raise TimeoutError((home / "server.log").read_text())
                time.sleep(1)
            yield
        finally:
            server.terminate()
            server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def make_report(place: Path) -> None:
    """Run the demo's flow twice, the second time with another weight, and write the report."""
    from cpr.operations.report import gather, render
    from demo.__main__ import put_images
    from demo.flow import analyse

    images, results = (str(place / name) for name in ("raw", "results"))
    put_images(images)
    for weight in (8.0, 12.0):
        analyse(images, results, weight)
    found, _ = gather(os.environ["PREFECT_LOCAL_STORAGE_PATH"])
    (place / "report.html").write_text(render(found, "The demo"))


def last_artifact() -> dict[str, str]:
    """Prefect's server, and the id of its youngest artifact."""
    api = os.environ["PREFECT_API_URL"]
    asked = urllib.request.Request(f"{api}/artifacts/filter", b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        found = json.load(answer)
    return {
        "prefect": api.removesuffix("/api"),
        "artifact": max(found, key=lambda one: one["created"])["id"],
    }


def take(browser: Any, page: Page, url: str) -> None:
    """The pictures of a page."""
    for width, height in WIDTHS.items():
        for scheme in page.schemes:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            tab = context.new_page()
            tab.set_default_timeout(PATIENCE * 1000)
            tab.goto(url)
            tab.wait_for_selector(page.shows)
            if page.scrolls_to is not None:
                tab.locator(page.scrolls_to).first.evaluate(BELOW_HEADER)
            tab.wait_for_timeout(2000)
            wide = tab.evaluate("document.documentElement.scrollWidth")
            path = FOLDER / f"{page.name}-{width}-{scheme}.webp"
            Image.open(io.BytesIO(tab.screenshot())).save(path, quality=80, method=6)
            too_wide = f"; {wide} pixels wide" if wide > width else ""
            print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB{too_wide}", flush=True)
            context.close()


def main() -> None:
    """Make the pictures that are named, or all."""
    from playwright.sync_api import sync_playwright

    chosen = [page for page in PAGES if page.name in sys.argv[1:] or not sys.argv[1:]]
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        if any("/site/" in page.url for page in chosen):
            build = [sys.executable, "-m", "mkdocs", "build", "--site-dir", f"{folder}/site"]
            subprocess.run(build, cwd=ROOT, check=True)
        with sync_playwright() as playwright:
            flags = ["--no-sandbox", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=program, args=flags)
            for page in chosen:
                if "/site/" in page.url:
                    take(browser, page, page.url.format(place=folder))
            rest = [page for page in chosen if "/site/" not in page.url]
            if rest:
                with prefect_server(place):
                    make_report(place)
                    names = {"place": folder, **last_artifact()}
                    for page in rest:
                        take(browser, page, page.url.format_map(names))
            browser.close()


if __name__ == "__main__":
    main()
