"""A run as a Workflow Run RO-Crate: what archives accept, and others can read."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from cpr import io
from cpr.cli.app import run
from cpr.errors import ResourceNotFoundError
from cpr.operations.crate import export_crate
from tests.operations.test_run_diff import IMAGE, NEW, OLD, Runs

# Reads a crate with json alone: each result, what has made it, and from what.
LINEAGE = r"""
import json, sys
from urllib.parse import unquote

graph = json.load(open(sys.argv[1]))["@graph"]
entities = {one["@id"]: one for one in graph}


def several(value):
    return value if isinstance(value, list) else [] if value is None else [value]


made_by = {}
for action in graph:
    tool = entities.get(action.get("instrument", {}).get("@id"), {})
    if action["@type"] == "CreateAction" and "SoftwareApplication" in several(tool.get("@type")):
        for result in several(action.get("result")):
            made_by[result["@id"]] = action


def told(place, depth):
    entity, action = entities[place], made_by.get(place)
    print("  " * depth + unquote(entity["name"]))
    if action is None:
        return
    given = [entities[one["@id"]] for one in several(action.get("object"))]
    settings = [f"{one['name']}={one['value']}" for one in given
                if one["@type"] == "PropertyValue" and not isinstance(one["value"], (dict, list))]
    task = entities[action["instrument"]["@id"]]["name"]
    print("  " * depth + f"  by {task}({', '.join(settings)})")
    for one in given:
        if one["@type"] in ("File", "Dataset"):
            told(one["@id"], depth + 2)


used = {one["@id"] for action in made_by.values() for one in several(action.get("object"))}
for place in made_by:
    if place not in used:
        told(place, 0)
"""


@pytest.fixture
def runs(tmp_path):
    runs = Runs(f"{tmp_path}/run")
    mask = runs.make(OLD, "segment", "mask ü%20.tif", IMAGE, sigma=3, parent=_Raw())
    stack = runs.make(OLD, "stack", "all.zarr", np.zeros((4, 4)), parent=mask)
    runs.make(OLD, "measure", "table.csv", pd.DataFrame({"n": [1]}), parent=stack)
    runs.make(NEW, "measure", "other.csv", pd.DataFrame({"n": [1]}))
    return runs


class _Raw:
    data_hash = "0123456789abcdef"
    url = "s3://bucket/raw/cell 1.tif"


def _entities(folder):
    with open(f"{folder}/ro-crate-metadata.json") as file:
        graph = json.load(file)["@graph"]
    found = {one["@id"]: one for one in graph}
    assert len(found) == len(graph)
    return found


def _references(value):
    if isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        else:
            yield from (one for name, part in value.items() for one in _references(part))
    elif isinstance(value, list):
        yield from (one for part in value for one in _references(part))


@pytest.mark.parametrize("data", [False, True])
def test_all_that_is_named_is_told_of(runs, tmp_path, data):
    done = export_crate(runs.url, OLD[:6], f"{tmp_path}/crate", data, "https://spdx.org/licenses/CC0-1.0")
    assert (done.flow_run, done.actions, done.results, done.sources) == (OLD, 3, 3, 1)
    found = _entities(f"{tmp_path}/crate")
    known = {*found, "https://w3id.org/ro/crate/1.1"}
    for one in found.values():
        assert set(_references(one)) <= known
    files = [one for one in found.values() if one["@type"] in ("File", "Dataset") and one["@id"] != "./"]
    assert {one["@id"] for one in files} | {"workflow.json"} == {one["@id"] for one in found["./"]["hasPart"]}
    for one in files:
        if data and one["name"] != "cell 1.tif":
            from urllib.parse import unquote

            assert os.path.exists(f"{tmp_path}/crate/{unquote(one['@id'])}")
        else:
            assert one["@id"].startswith(("file:///", "s3://bucket/raw/cell%201.tif"))
    properties = {one["name"] for one in found.values() if one["@type"] == "PropertyValue"}
    assert {"checksum", "data_hash", "sigma", "image"} <= properties
    assert (done.nbytes > 0) == data


@pytest.mark.parametrize("data", [False, True])
def test_lineage_is_read_without_cpr(runs, tmp_path, data):
    assert len(LINEAGE.strip().splitlines()) <= 50
    export_crate(runs.url, OLD, f"{tmp_path}/crate", data)
    command = [sys.executable, "-I", "-c", LINEAGE, f"{tmp_path}/crate/ro-crate-metadata.json"]
    lines = subprocess.run(
        command, capture_output=True, text=True, check=True, encoding="utf-8"
    ).stdout.splitlines()
    table, by_measure, stack, by_stack, mask, by_segment, raw = (line.strip() for line in lines)
    assert table.startswith("table-")
    assert by_measure == "by measure(sigma=2)"
    assert stack.startswith("all-")
    assert by_stack == "by stack(sigma=2)"
    assert mask.startswith("mask ü")
    assert by_segment == "by segment(sigma=3)"
    assert raw == "cell 1.tif"


def test_a_maintained_validator_accepts_it(runs, tmp_path, monkeypatch):
    services = pytest.importorskip("rocrate_validator.services")
    from rocrate_validator.models import Severity
    from rocrate_validator.utils import document_loader

    # What RO-Crate's context makes of the terms that are used here: no network is asked for it.
    context = {
        "@vocab": "http://schema.org/",
        "File": "http://schema.org/MediaObject",
        "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
        "conformsTo": "http://purl.org/dc/terms/conformsTo",
    }
    monkeypatch.setattr(document_loader, "_fetch_json_ld", lambda _: {"@context": context})
    for data in (False, True):
        folder = f"{tmp_path}/crate-{data}"
        export_crate(runs.url, OLD, folder, data, "https://spdx.org/licenses/CC0-1.0")
        settings = services.ValidationSettings(
            rocrate_uri=folder,
            profile_identifier="workflow-run-crate-0.5",
            requirement_severity=Severity.REQUIRED,
            skip_availability_check=True,
        )
        issues = services.validate(settings).get_issues()
        # Two checks are of the network alone.
        found = [one for one in issues if not one.check.identifier.startswith("ro-crate-1.1_3.")]
        assert not [f"{one.check.identifier}: {one.message}" for one in found]


def test_data_that_is_gone_is_told(runs, tmp_path):
    for entry in os.scandir(f"{tmp_path}/run/data/0a"):
        if entry.name.startswith("mask"):
            io.remove(entry.path)
    with pytest.raises(ResourceNotFoundError):
        export_crate(runs.url, OLD, f"{tmp_path}/crate", data=True)
    assert not os.path.exists(f"{tmp_path}/crate/ro-crate-metadata.json")


def test_the_command(runs, tmp_path, capsys):
    assert run(["export", runs.url, "--ro-crate", OLD, "-o", f"{tmp_path}/crate", "--data"]) == 0
    assert "3 results" in capsys.readouterr().out
    assert run(["export", runs.url, "--ro-crate", "ff", "-o", f"{tmp_path}/other", "--json"]) == 3
    assert run(["export", runs.url]) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a/x.tif", "b/x.tif"),
        ("a/x.tif", "b/X.tif"),
        ("a/\u00e9.tif", "b/e\u0301.tif"),
        ("a/q#1 %41.tif", "b/q#1 %41.tif"),
    ],
)
def test_results_of_one_name_are_both_in_a_crate(tmp_path, first, second):
    from urllib.parse import unquote

    runs = Runs(f"{tmp_path}/run")
    for number, name in enumerate((first, second)):
        source = _Raw()
        source.url = f"s3://bucket/raw/{number}.tif"
        image = runs.make(OLD, "segment", name, IMAGE, parent=source)
        runs.make(OLD, "measure", f"table{number}.csv", pd.DataFrame({"n": [number]}), parent=image)
    export_crate(runs.url, OLD, f"{tmp_path}/crate", data=True)
    found = _entities(f"{tmp_path}/crate")
    images = [one for place, one in found.items() if place.startswith("data/") and ".tif" in place]
    images = [one for one in images if one["@type"] == "File"]
    assert len({one["@id"].casefold() for one in images}) == 2
    for one in images:
        assert os.path.isfile(f"{tmp_path}/crate/{unquote(one['@id'])}")
    by_result = {
        result["@id"]: action
        for action in found.values()
        if action["@type"] == "CreateAction" and action["@id"].startswith("#task-run")
        for result in action["result"]
    }
    for number in (0, 1):
        table = next(place for place in by_result if place.startswith(f"data/table{number}"))
        image = next(one["@id"] for one in by_result[table]["object"] if one["@id"] in by_result)
        assert f"s3://bucket/raw/{number}.tif" in {one["@id"] for one in by_result[image]["object"]}
    # Again: what is there is equal.
    export_crate(runs.url, OLD, f"{tmp_path}/crate", data=True)
