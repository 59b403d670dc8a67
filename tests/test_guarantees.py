"""docs/guarantees.md: every line names a test that exists, and no kind that is tested is missing."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from tests.data import test_producers as producers
from tests.prefect import test_argument_kinds as arguments

PAGE = (Path(__file__).parents[1] / "docs" / "guarantees.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
ROWS = [row for row in ROWS if not row.endswith("| test |")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split(" | ")[0].removeprefix("| "))
def test_a_row_names_a_test(row):
    found = re.search(r"`(tests/[\w/]+\.py)::([\w:]+)(?:\[(.+)\])?` \|$", row)
    assert found is not None, "the last column names a test"
    path, names, parameter = found.groups()
    tested: Any = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    for name in names.split("::"):
        tested = getattr(tested, name)
    assert names.split("::")[-1].startswith("test_")
    if parameter is not None:
        marks = [mark for mark in tested.pytestmark if mark.name == "parametrize"]
        assert any(parameter in mark.args[1] for mark in marks), parameter


def test_no_kind_is_missing():
    kinds = [*arguments.CONTENT, *arguments.VERSION, *arguments.NONE]
    kinds += [*producers.SAME, *producers.FRAMES, *producers.REFUSED]
    first = {row.split(" | ")[0].removeprefix("| ") for row in ROWS}
    assert [kind for kind in kinds if kind not in first] == []
