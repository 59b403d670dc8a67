"""What mkdocs does besides (see mkdocs.yml): pages that are made from what is elsewhere in the repository.

README is the page Overview, its section Start a page besides, CONTRIBUTING a page of its own; every public
name has an entry in the reference.
Notebooks are pages with the outputs that they have; `python -m tools.notebooks` makes these.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

import cpr

ROOT = Path(__file__).parents[1]
PAGES = {"start.md": "README.md", "index.md": "README.md", "contributing.md": "CONTRIBUTING.md"}
EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
# A table of pandas, which may be wider than a telephone.
TABLE, SCROLLING = "<div>\n<style scoped>", "<div style='overflow-x:auto'>\n<style scoped>"
LINK = re.compile(r"(\]\()(?!https?:|#|mailto:)([^)#\s]+)((?:#[\w-]+)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, page, content=start(text) if page == "start.md" else text))
    files.append(File.generated(config, "reference.md", content=reference()))
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        text, pictures = MarkdownExporter().from_filename(str(notebook))
        files.append(
            File.generated(config, f"notebooks/{notebook.stem}.md", content=text.replace(TABLE, SCROLLING))
        )
        for name, content in pictures["outputs"].items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links lead where they lead in the repository."""
    name = page.file.src_uri
    folder = posixpath.dirname(PAGES.get(name, f"docs/{name}"))
    moved = {source: page for page, source in PAGES.items()}

    def rewritten(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        target = moved.get(target, target.removeprefix("docs/"))
        return link[1] + posixpath.relpath(target, posixpath.dirname(name) or ".") + link[3]

    return LINK.sub(rewritten, markdown)


def start(readme: str) -> str:
    """The section Start of README as a page."""
    (section,) = re.findall(r"^(## Start\n.*?)^## ", readme, re.MULTILINE | re.DOTALL)
    return re.sub(r"^##", "#", section, flags=re.MULTILINE)


def reference() -> str:
    """An entry for each public name, where it is defined."""
    parts = ["# Reference\n\nEverything here is imported from `cpr` itself: `from cpr import ImageTarget`."]
    groups: dict[str, list[str]] = {"Sources and targets": [], "Prefect": [], "Errors": [], "More": []}
    for name in sorted(cpr.__all__, key=str.lower):
        groups[group_of(name)].append(name)
    for title, names in groups.items():
        parts.append(f"## {title}")
        if title == "Errors":
            parts.append("Causes and remedies: [errors](errors.md).")
        parts += [f"::: {path_of(name)}\n    options:\n      heading_level: 3" for name in names]
    return "\n\n".join(parts) + "\n"


def group_of(name: str) -> str:
    """Where in the reference a name is."""
    if name.endswith("Error"):
        return "Errors"
    if name.endswith(("Source", "Target", "Resource")):
        return "Sources and targets"
    return "Prefect" if path_of(name).startswith("cpr.prefect.") else "More"


def path_of(name: str) -> str:
    """The module that defines a public name, and the name."""
    return f"{getattr(cpr, name).__module__}.{name}"


class FencedExamples(griffe.Extension):
    """Examples of docstrings are shown as code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put a fence around each example; one ends with an empty line."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)
