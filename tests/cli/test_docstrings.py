"""The examples in the docstrings of the command line and of what is below it."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "cpr.cli.gc",
    "cpr.cli.output",
    "cpr.results.copying",
    "cpr.doctor",
    "cpr.io.many",
    "cpr.results.lineage",
    "cpr.results.listing",
    "cpr.marks",
    "cpr.results.objects",
    "cpr.results.records",
    "cpr.results.verifying",
]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    failed, attempted = doctest.testmod(importlib.import_module(module))
    assert attempted > 0
    assert failed == 0
