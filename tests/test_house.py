"""The shape of the package: how many layers there are, and how long modules and classes are."""

from __future__ import annotations

import ast
import re
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


# The reader of it; and what is no stranger's: settings of the user's own (whose errors name a line), what pip
# has installed, a key file that is only tried, and a file of this process.
OWN_JSON = {
    "io/outside_json.py",
    "io/config.py",
    "prefect/packages.py",
    "io/clients/gcsfs.py",
    "operations/record_spool.py",
    "testing/format_tests.py",
}


JSON_READERS = {"load", "loads", "JSONDecoder", "from_json", "model_validate_json", "validate_json"}


def test_json_from_outside_is_read_in_one_place():
    found = {}
    for path in MODULES:
        text = path.read_text()
        if "json" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            called = node.attr if isinstance(node, ast.Attribute) else ""
            of = node.value.id if called and isinstance(node.value, ast.Name) else ""
            imported = isinstance(node, ast.ImportFrom) and node.module in {"json", "pydantic_core"}
            if (
                (imported and JSON_READERS & {name.name for name in node.names})
                or called in {"model_validate_json", "validate_json"}
                or (of in {"json", "pydantic_core"} and called in JSON_READERS)
            ):
                found.setdefault(str(path.relative_to(ROOT / "cpr")), set()).add(called)
    # That is JSON of ours, made a line before.
    assert found.pop("data/tables/layout.py") == {"model_validate_json"}
    assert found.pop("records/format_fields.py") == {"validate_json"}
    assert found.keys() == OWN_JSON


# Their threads outlive whoever starts them, or bound each of their requests: no limit of one call is theirs.
# Those of io.request_threads are used again, and enter a context with each call.
OWN_CONTEXT = {
    *("prefect/miss_log.py", "prefect/openlineage.py", "io/locks/leases.py"),
    *("io/stores/fsspec.py", "io/request_threads.py"),
}


def test_threads_see_the_context_of_who_starts_them():
    """Limits of time, what may be written where, and whether somebody still waits are in it."""
    found = set()
    for path in MODULES:
        text = path.read_text()
        if not re.search(r"\bThread(PoolExecutor)?\(|\bTimer\(|start_new_thread|run_in_executor", text):
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            called, words = ast.unparse(node.func).rpartition(".")[2], ast.unparse(node)
            if (
                (called == "Thread" and "target=copy_context().run" not in words)
                or called in {"Timer", "start_new_thread", "run_in_executor"}
                or (called == "submit" and "submit(copy_context().run, " not in words)
                # A context can be entered by one thread at a time: map has no way to give each its own.
                or words.startswith("pool.map(")
            ):
                found.add(str(path.relative_to(ROOT / "cpr")))
    assert found == OWN_CONTEXT
