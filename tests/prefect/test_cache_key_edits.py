"""Edits that are more than another number: each changes what a task gives, and so its keys."""

from __future__ import annotations

import re
import types
from pathlib import Path

import pytest
from prefect.cache_policies import TASK_SOURCE

import cpr
from tests.prefect.projects import imported, parts_of

EDITS = parts_of((Path(__file__).parent / "edits.txt").read_text())  # of `<<before|||after>>`
WITHOUT_EFFECT = parts_of((Path(__file__).parent / "edits_without_effect.txt").read_text())


def looked_at(folder, parts, version: int):
    """The keys of a task in both styles, before and after a run, and what it gives."""
    files = {
        name: re.sub(r"<<(.*?)\|\|\|(.*?)>>", lambda found: found[version], text, flags=re.DOTALL)
        for name, text in parts.items()
    }
    use = "".join(f"    {line}\n" for line in files.pop("use").splitlines())
    head = files.pop("head", "")
    files["flow.py"] = f"import cpr\n{head}\n@cpr.task\ndef task(x):\n    total = 0\n{use}    return total\n"
    with imported(folder, files) as flow:
        context = types.SimpleNamespace(task=flow.task, task_run=None)

        def keys():
            policy = cpr.TargetInputs() + TASK_SOURCE
            return policy.compute_key(context, {"x": 3}, {}), cpr.task_input_hash(context, {"x": 3})

        before = keys()
        results = repr([flow.task.fn(x) for x in (1, 2, 3)])
        assert keys() == before
    return before, results


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_that_changes_the_result(tmp_path, name):
    (keys, results), (new_keys, new_results) = (
        looked_at(tmp_path / f"{version}", EDITS[name], version) for version in (1, 2)
    )
    assert results != new_results
    assert set(keys).isdisjoint(new_keys)


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_an_edit_without_effect(tmp_path, name):
    first, second = (looked_at(tmp_path / f"{version}", WITHOUT_EFFECT[name], version) for version in (1, 2))
    assert first == second
