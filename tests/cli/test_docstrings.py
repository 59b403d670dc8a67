"""The examples in the docstrings of the command line and of what is below it."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "cpr.cli.gc",
    "cpr.cli.output",
    "cpr.operations.cp",
    "cpr.operations.doctor",
    "cpr.io.parallel",
    "cpr.operations.lineage",
    "cpr.operations.ls",
    "cpr.io.tombstones",
    "cpr.operations.object_names",
    "cpr.operations.places",
    "cpr.operations.scan",
    "cpr.operations.verify",
]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    failed, attempted = doctest.testmod(importlib.import_module(module))
    assert attempted > 0
    assert failed == 0
