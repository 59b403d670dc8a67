"""A key changes when an edit of the user's own code may change the result, and hardly ever otherwise."""

from __future__ import annotations

import types

import pytest
from prefect.cache_policies import TASK_SOURCE

import cpr
from tests.prefect.projects import BY_NAME, FEATURES, Project, edits, imported, project


def looked_at(folder, made: Project) -> tuple[tuple[str, str], list[float]]:
    """The keys of a project's task in both styles, before it has run; and what it gives."""
    with imported(folder, made.files()) as flow:
        context = types.SimpleNamespace(task=flow.task, task_run=None)

        def keys():
            policy = cpr.TargetInputs() + TASK_SOURCE
            return policy.compute_key(context, {"x": 3}, {}), cpr.task_input_hash(context, {"x": 3})

        before = keys()
        results = [flow.task.fn(x) for x in (1, 2, 3)]
        assert keys() == before  # what the body imports counts the same once it is imported
    return before, results


def test_300_edits(tmp_path):
    stale, needless, effective, idle = [], [], 0, 0
    for seed in range(20):
        base = project(seed)
        keys, results = looked_at(tmp_path / f"{seed}", base)
        for number, (what, edited) in enumerate(edits(base, seed, 15)):
            new_keys, new_results = looked_at(tmp_path / f"{seed}-{number}", edited)
            same = [one == other for one, other in zip(keys, new_keys, strict=True)]
            if new_results != results:
                effective += 1
                stale += [what] * any(same)
            elif edited.additions:
                idle += 1
                needless += [what] * (not all(same))
    assert stale == []
    assert effective > 150
    assert idle > 50
    assert len(needless) <= 0.05 * idle, needless  # modules that a body imports count whole


@pytest.mark.parametrize("feature", [*FEATURES, *BY_NAME], ids=lambda one: one.name)
def test_every_feature(tmp_path, feature):
    numbers = {(feature.name, name): 3 for name in "nm"}
    keys, results = looked_at(tmp_path / "base", Project([feature], numbers))
    assert looked_at(tmp_path / "again", Project([feature], numbers)) == (keys, results)
    text = "".join([*feature.files.values(), feature.imports, feature.use])
    for name in "nm":
        if f"{{{name}}}" not in text:
            continue
        edited = Project([feature], {**numbers, (feature.name, name): 5})
        new_keys, new_results = looked_at(tmp_path / name, edited)
        if new_results != results:
            assert set(new_keys).isdisjoint(keys)
