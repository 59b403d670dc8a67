"""What commands make of regions, plates and their fields, of which records name the folder of a whole."""

from __future__ import annotations

import json
import os
from datetime import timedelta

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.io import gc_mark_lists
from cpr.operations.cp import copy_results
from cpr.operations.gc import collect
from cpr.operations.load import load
from cpr.operations.ls import list_results
from cpr.operations.show import preview_of, show
from cpr.operations.verify import verify


def recorded(folder, name, resource) -> str:
    url = f"{folder}/records/{name}.json"
    with io.writing(url) as file:
        file.write(json.dumps(resource.serialize()).encode())
    return url


@pytest.fixture
def plate(tmp_path):
    images = {}
    for number, well in enumerate(("A1", "A2")):
        images[well] = cpr.OMEZarrTarget.from_path(
            f"{tmp_path}/images/{well}.ome.zarr", metadata={"axes": "CYX"}
        )
        images[well].set_data(np.full((2, 16, 16), number + 1, "uint16"))
    made = cpr.OMEPlateTarget.from_path(f"{tmp_path}/plate/plate.ome.zarr")
    made.set_data(images)
    return made.persist()


def excerpts(plate):
    field = plate["A", 2][0]
    return {"plate": plate, "field": field, "region": field.region(np.s_[1])}


def test_they_are_listed_once_and_shown(tmp_path, plate):
    for name, one in excerpts(plate).items():
        url = recorded(tmp_path, name, one)
        (shown,) = show(url)
        assert (shown.reference.type, shown.state) == (type(one).__name__, "there")
        assert load(url).identity() == one.identity()
        assert (preview_of(shown) is not None) == (name == "field")
    listing = list_results(f"{tmp_path}/records")
    assert (listing.targets, listing.nbytes) == (1, plate.nbytes)


@pytest.mark.parametrize("kept", ["plate", "field", "region"])
def test_a_record_of_any_of_them_keeps_the_whole(tmp_path, plate, kept, monkeypatch):
    monkeypatch.setattr(gc_mark_lists._Folder, "is_fresh", lambda _: False)
    one = excerpts(plate)[kept]
    recorded(tmp_path, kept, one)
    for _ in range(2):
        for folder, _, names in os.walk(tmp_path):
            for name in names:
                path = os.path.join(folder, name)
                then = os.stat(path).st_mtime - 30 * 86400
                os.utime(path, (then, then))
        done = collect([str(tmp_path)], delete=True, grace=timedelta(days=7))
    assert done.records == 1
    # The images, which no record names, have gone.
    assert not [
        path for path in (tmp_path / "images").rglob("*") if path.is_file() and ".cpr" not in path.parts
    ]
    plate.verify()
    one.check(full=True)


def test_damage_beside_a_region_is_found_in_the_whole_alone(tmp_path, plate):
    made = excerpts(plate)
    for name, one in reversed(made.items()):  # whichever record comes first
        recorded(tmp_path, {"region": "1", "field": "2", "plate": "3"}[name], one)
    assert (verify(f"{tmp_path}/records").intact, verify(f"{tmp_path}/records").targets) == (3, 3)
    (victim,) = (path for path in io.find(f"{plate.url}/A/1/0/0/c/1/**"))
    with io.writing(victim) as file:
        file.write(b"else")
    report = verify(f"{tmp_path}/records")
    assert (report.intact, [one.state for one in report.wrong]) == (2, ["damaged"])
    assert report.wrong[0].record.endswith("3.json")


def test_they_are_copied_with_the_whole(tmp_path, plate):
    made = excerpts(plate)
    for name, one in made.items():
        recorded(tmp_path, name, one)
    done = copy_results(f"{tmp_path}/records", f"{tmp_path}/copy/records", data=f"{tmp_path}/copy/data")
    assert not done.failed
    for name in made:
        twin = load(f"{tmp_path}/copy/records/{name}.json")
        assert twin.url.startswith(f"{tmp_path}/copy/")
        assert twin.data_hash == made[name].data_hash
        twin.check(full=True)
