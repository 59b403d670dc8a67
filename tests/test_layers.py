"""The layers of cpr: no circle of imports, those for type checkers and inside functions included."""

from __future__ import annotations

import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]


def test_no_circle_of_imports():
    graph = grimp.build_graph("cpr", exclude_type_checking_imports=False)
    TopologicalSorter({m: graph.find_modules_directly_imported_by(m) for m in graph.modules}).prepare()


def test_imports_for_type_checkers_and_in_functions_point_downward_too():
    """import-linter checks the layers without the former; here they count."""
    (contract,) = (
        one
        for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        if one["type"] == "layers" and one["containers"] == ["cpr"]
    )
    level = {
        name: number
        for number, layer in enumerate(reversed(contract["layers"]))
        for name in re.split(r" *[|:] *", layer)
    }
    graph = grimp.build_graph("cpr", exclude_type_checking_imports=False)
    places = {module: module.split(".")[1] for module in graph.modules if "." in module}
    upward = [
        f"{module} imports {other}"
        for module, place in places.items()
        for other in graph.find_modules_directly_imported_by(module)
        if place in level and level.get(places.get(other, ""), -1) > level[place]
    ]
    assert not upward


def test_few_files_lie_at_the_root():
    assert len(list((ROOT / "cpr").glob("*.py"))) <= 12
