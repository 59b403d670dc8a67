"""A result whose metadata somebody has consolidated is read from the metadata that cpr wrote."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

import cpr
from cpr.errors import CorruptDataError


@pytest.fixture(params=[2, 3])
def result(request, tmp_path):
    target = cpr.ZarrTarget.from_path(
        tmp_path / "plate.zarr", zarr_format=request.param, attributes={"a": "µ"}
    )
    group = target.create()
    group.create_group("A").create_array("1", shape=(4, 4), chunks=(2, 2), dtype="uint8")[...] = 7
    record = target.serialize()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(target.url)
        if request.param == 3:
            zarr.consolidate_metadata(target.url, path="A")
    return cpr.load(record)


def test_it_reads_on_and_says_what_was_done(result, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        group = result.get_data()
        assert np.array_equal(group["A/1"][...], np.full((4, 4), 7))
        assert np.array_equal(group["A"]["1"][...], np.full((4, 4), 7))
        assert dict(group.attrs) == {"a": "µ"}
        assert group.metadata.consolidated_metadata is None
        result.check()
        result.check(full=True)
    assert caplog.text.count("consolidated by another program") == 1
    copy = result.copy_to(str(tmp_path / "elsewhere"))
    copy.verify()
    for path in (tmp_path / "elsewhere").rglob(".z*"):
        assert path.name != ".zmetadata"
    for path in (tmp_path / "elsewhere").rglob("zarr.json"):
        assert b"consolidated" not in path.read_bytes()


def test_what_the_consolidated_metadata_say_is_not_believed(result):
    path = Path(result.url) / (".zmetadata" if result.get_data().metadata.zarr_format == 2 else "zarr.json")
    document = json.loads(path.read_text())
    nodes = (
        document["metadata"] if path.name == ".zmetadata" else document["consolidated_metadata"]["metadata"]
    )
    for node in nodes.values():
        if "shape" in node:
            node["shape"] = [2, 2]
    path.write_text(json.dumps(document))
    assert result.get_data()["A/1"].shape == (4, 4)


def test_metadata_that_were_changed_otherwise_are_corrupt(result):
    path = Path(result.url) / ("zarr.json" if (Path(result.url) / "zarr.json").exists() else ".zattrs")
    path.write_text(path.read_text().replace('"a"', '"b"'))
    with pytest.raises(CorruptDataError):
        dict(result.get_data().attrs)
    with pytest.raises(CorruptDataError):
        result.verify()
