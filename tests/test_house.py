"""The shape of the package: how many layers there are, and how long modules and classes are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tools.architecture import layers

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "cpr").rglob("*.py"))


def test_there_are_eight_layers_and_all_rooms_are_in_one():
    rows = layers()
    assert len(rows) == 8
    rooms = [room for row in rows for room in row]
    assert len(rooms) == len(set(rooms))
    found = {path.stem for path in (ROOT / "cpr").glob("*.py")} - {"__init__", "__main__"}
    found |= {path.parent.name for path in (ROOT / "cpr").glob("*/__init__.py")}
    # These have no layer: they only name other modules.
    assert found - {"_lazy", "_version", "Serializer", "utilities"} == set(rooms)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_in_camel_case_holds_the_class_of_that_name(path):
    if not path.stem[0].isupper() or path.stem == "Serializer":  # a name of cpr.prefect.serializer
        return
    # The formats of sources of Zarr are beside their only users.
    formats = {"ZarrSourceOptions", "OMEZarrSourceOptions"}
    public = [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name not in formats
    ]
    assert public == [path.stem]


MOST_LINES, MOST_LINES_OF_A_CLASS = 350, 300


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_classes_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    classes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in classes}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_CLASS} == {}
