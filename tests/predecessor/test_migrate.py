"""`cpr migrate`: what custom-prefect-result has stored becomes ours, and no file is copied or changed."""

from __future__ import annotations

import json
import uuid

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr import io
from cpr.cli.app import run
from cpr.operations.migrate import migrate
from tests.predecessor import written

STACK = (np.arange(3 * 5 * 7) % 251).reshape(3, 5, 7).astype("uint8")
TABLE = pd.DataFrame({"label": [1, 2], "area": [0.5, 1.5]})
SERIALIZER = {"type": "json", "object_encoder": "cpr.Serializer.target_encoder"}


def stored(value) -> str:
    """What Prefect 2 has stored of a result."""
    return json.dumps({"serializer": SERIALIZER, "data": json.dumps(value), "prefect_version": "2.13.0"})


@pytest.fixture
def folder(tmp_path):
    """Records and results of a run, among other files."""
    data, records = tmp_path / "data", tmp_path / "records"
    data.mkdir(), records.mkdir()
    image = written.image_target(data, STACK, metadata={"axes": "ZYX", "unit": "micron"})
    value = {
        "mask": image,
        "flows": [written.numpy_target(data, STACK), None, 3.5],
        "n": {"__class__": "x.Y"},
    }
    (records / "3f2a").write_text(stored(value))
    (records / "77ab").write_text(
        stored(written.source("ImageSource", data / "raw.tif", metadata=None, resolution=None))
    )
    (records / "other").write_text(stored([1, 2]))
    (records / "pickled").write_bytes(b"\x80\x04gibberish")
    written.csv_target(data, TABLE)  # no record mentions it
    ours = cpr.NumpyTarget.from_path(data / "ours.npy")
    ours.set_data(STACK)
    ours.persist()
    return tmp_path


def put(url: str, content: bytes) -> None:
    with io.writing(url) as file:
        file.write(content)


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_dry_first_then_written_then_nothing_is_left_to_do(folder, capsys):
    before = contents(folder)
    assert run(["migrate", str(folder)]) == 0
    assert "would get" in capsys.readouterr().out
    assert contents(folder) == before
    assert run(["migrate", str(folder), "--write"]) == 0
    after = contents(folder)
    assert {path: after[path] for path in before} == before
    new = sorted(set(after) - set(before))
    assert [path.rpartition("/")[2].rpartition("-")[0] or path.rpartition("/")[2] for path in new] == [
        "cells", "3f2a.cpr.json", "77ab.cpr.json",
    ]  # fmt: skip
    again = migrate(str(folder), write=True)
    assert (again.done, again.failed, again.before) == ([], [], 3)
    assert contents(folder) == after


def test_migrated_results_are_results(folder, capsys):
    migrate(str(folder), write=True)
    value = cpr.cpr_serializer(verify="full").loads((folder / "records" / "3f2a.cpr.json").read_bytes())
    assert np.array_equal(value["mask"].get_data(), STACK)
    assert value["mask"].get_metadata() == {"axes": "ZYX", "unit": "micron"}
    assert value["flows"][1:] == [None, 3.5] and value["n"] == {"__class__": "x.Y"}
    (record,) = (folder / "data").glob("cells-*.cpr.json")
    pd.testing.assert_frame_equal(cpr.load(record.read_text()).get_data(), TABLE)
    assert run(["verify", str(folder)]) == 0
    assert run(["ls", str(folder)]) == 0
    assert "cells" in capsys.readouterr().out


@pytest.mark.parametrize(
    "place",
    [
        "memory",
        pytest.param("s3", marks=pytest.mark.s3),
        "gs",
        pytest.param("az", marks=[pytest.mark.azure, pytest.mark.xdist_group("azure")]),
        pytest.param("sftp", marks=pytest.mark.sftp),
    ],
)
def test_wherever_they_lie(place, tmp_path, request):
    """Not on local disks alone, where links are asked for."""
    base = f"memory://{uuid.uuid4().hex}" if place == "memory" else request.getfixturevalue(f"{place}_url")
    image = written.image_target(tmp_path, STACK)
    written.csv_target(tmp_path, TABLE)
    image["data"]["location"] = f"{base}/data"
    (tmp_path / "3f2a").write_text(stored({"mask": image}))
    for path in tmp_path.glob("*.*"):
        put(f"{base}/data/{path.name}", path.read_bytes())
    put(f"{base}/records/3f2a", (tmp_path / "3f2a").read_bytes())
    for write in (False, True):
        found = migrate(base, write=write)
        assert (len(found.done), found.failed) == (2, [])
    assert migrate(base).before == 2
    with io.reading(f"{base}/records/3f2a.cpr.json") as file:
        value = cpr.cpr_serializer().loads(file.read())
    assert np.array_equal(value["mask"].get_data(), STACK)


def test_what_is_damaged_or_gone_is_told(folder):
    (path,) = (folder / "data").glob("cell-*.tif")
    path.write_bytes(path.read_bytes()[:-20])
    done = migrate(str(folder), write=True)
    assert [one.url for one in done.failed] == [str(folder / "records" / "3f2a")]
    assert done.failed[0].error.url == str(path)
    assert not (folder / "records" / "3f2a.cpr.json").exists()
    assert run(["migrate", str(folder)]) == 1


def test_records_that_lie_are_refused(tmp_path):
    hostile = {
        "__class__": "cpr.image.ImageTarget.ImageTarget",
        "data": {"location": "http://x/y", "name": "a"},
    }
    (tmp_path / "a").write_text(stored(hostile))
    (tmp_path / "b").write_text('{"serializer": {}, "data": "{\\"__class__\\": ')
    done = migrate(str(tmp_path), write=True)
    assert [type(one.error).__name__ for one in done.failed] == ["RecordError", "RecordError"]
    assert done.done == []


def test_a_result_of_a_class_that_is_not_defined_here_is_told(tmp_path):
    own = {
        "__class__": "flows.of.somebody.Spots",
        "data": {"location": str(tmp_path), "name": "a", "ext": ".parq"},
    }
    (tmp_path / "a").write_text(stored([own, 1]))
    (tmp_path / "b").write_text(stored([{"__class__": "builtins.set", "data": [1]}]))
    (failed,) = migrate(str(tmp_path), write=True).failed
    assert failed.url == str(tmp_path / "a") and "import the module" in failed.error.remedy
    assert not list(tmp_path.glob("*.cpr.json"))


def test_nothing_there(tmp_path):
    assert run(["migrate", str(tmp_path / "none")]) == 3


@pytest.mark.parametrize("depth", [100, 300, 450, 800, 960, 980, 5000, 100_000])
def test_a_record_that_is_nested_without_end_stops_nothing(depth, tmp_path):
    written.numpy_target(tmp_path, STACK)
    inner = json.dumps(written.source("ImageSource", tmp_path / "raw.tif", metadata=None, resolution=None))
    (tmp_path / "deep").write_text("[" * depth + inner + "]" * depth)
    (tmp_path / "foreign").write_text('["__class__",' + "[" * depth + "]" * depth + "]")
    found = migrate(str(tmp_path))
    assert [one.url.rpartition("-")[2][-4:] for one in found.done if one.targets] == [".npy"]
    assert all(isinstance(one.error, cpr.CprError) for one in found.failed)
    assert len(found.failed) + found.others + len(found.done) == 3
