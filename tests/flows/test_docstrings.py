"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import json

import prefect
import pytest
from prefect.cache_policies import TASK_SOURCE

import cpr
from tests.record_values import text_target

MODULES = [
    "cpr.records.pack",
    "cpr.prefect.locks",
    "cpr.prefect.serializer",
    "cpr.prefect.artifacts",
    "cpr.provenance.diff",
    "cpr.provenance.journal",
    "cpr.prefect.task",
    "cpr.prefect.source_code",
    "cpr.prefect.canonical_form",
    "cpr.prefect.redaction",
    "cpr.prefect.cache_keys",
    "cpr.prefect.cache_policy",
    "cpr.prefect.run_log",
]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    names = {
        **{
            name: getattr(cpr, name) for name in ("BucketLocks", "ImageSource", "ImageTarget", "TargetInputs")
        },
        "cpr": cpr,
        "json": json,
        "prefect": prefect,
        "TASK_SOURCE": TASK_SOURCE,
        "target": text_target(),
    }
    failed, attempted = doctest.testmod(importlib.import_module(module), extraglobs=names)
    assert attempted > 0
    assert failed == 0
