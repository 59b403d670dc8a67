"""Plates: images of wells, which are results of their own, become one that viewers open."""

from __future__ import annotations

import json
import pickle
import uuid
from itertools import permutations

import numpy as np
import pytest
import zarr

import cpr
from cpr import io
from cpr.errors import (
    CorruptDataError,
    DecodeError,
    FormatError,
    PartError,
    RecordError,
    ResourceNotFoundError,
    UsageError,
)

RANDOM = np.random.default_rng(0)


def base() -> str:
    return f"memory://{uuid.uuid4().hex}"


def image_of(value, folder, name="well", **options):
    """A small image whose pixels tell it from others."""
    data = np.full((2, 20, 30), value, "uint16")
    data[1] += 1
    options = {"metadata": {"axes": "CYX", "unit": "micron"}, "resolution": (4, 4), "levels": 2, **options}
    image = cpr.OMEZarrTarget.from_path(f"{folder}/{name}.ome.zarr", **options)
    image.set_data(data)
    return image


def plate_of(folder, wells, **options):
    fill = options.pop("fill", False)
    plate = cpr.OMEPlateTarget.from_path(f"{folder}/plate.ome.zarr", **options)
    plate.set_data(wells, fill=fill)
    return cpr.load(json.loads(json.dumps(plate.serialize())))


def some_plate(folder, **options):
    wells = {
        (row, column): [image_of(100 * r + 10 * column + field, folder) for field in range(2)]
        for r, row in enumerate("AB")
        for column in (1, 2, 3)
    }
    return plate_of(folder, wells, **options)


def test_a_plate_comes_back():
    plate = some_plate(base(), rows=2, columns=3)
    assert plate.rows() == ("A", "B")
    assert plate.columns() == ("1", "2", "3")
    assert plate.wells() == tuple((row, str(column)) for row in "AB" for column in (1, 2, 3))
    assert plate.acquisitions() == {}
    for row, column in plate.wells():
        images = plate[row, column]
        assert [image.path for image in images] == [f"{row}/{column}/0", f"{row}/{column}/1"]
        for field, image in enumerate(images):
            value = 100 * "AB".index(row) + 10 * int(column) + field
            assert image.get_data(region=np.s_[:, 0, 0]).tolist() == [value, value + 1]
            assert [level.shape for level in image.levels()] == [(2, 20, 30), (2, 10, 15)]
            assert image.get_metadata()["unit"] == "micrometer" or image.get_metadata()["unit"] == "micron"
    assert [image.path for image in plate["B", "3"]] == [image.path for image in plate["B", 3]]
    assert plate.verify() == len(list(io.find(f"{plate.url}/**", hidden=True)))


def test_it_is_valid(tmp_path):
    yaozarrs = pytest.importorskip("yaozarrs")
    import warnings

    plate = some_plate(str(tmp_path), rows=8, columns=12, fill=True, acquisitions=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yaozarrs.validate_zarr_store(plate.url)
    attributes = dict(zarr.open_group(plate.url, mode="r").attrs)["ome"]["plate"]
    assert attributes["wells"][4] == {"path": "B/2", "rowIndex": 1, "columnIndex": 1}
    assert attributes["field_count"] == 2
    assert len(attributes["columns"]) == 12


def test_acquisitions():
    folder = base()
    wells = {"A1": {1: image_of(1, folder), 2: [image_of(2, folder), image_of(3, folder)]}}
    plate = plate_of(folder, wells, acquisitions={1: "before", 2: "after"})
    assert plate.acquisitions() == {1: "before", 2: "after"}
    assert [image.path for image in plate.fields("A", 1, acquisition=2)] == ["A/1/1", "A/1/2"]
    assert len(plate["A", 1]) == 3


def test_either_stays_whole_without_the_other():
    folder = base()
    images = [image_of(n, folder, name=f"well{n}") for n in (3, 4)]
    plate = plate_of(folder, {"A1": images[0], "A2": images[1]})
    for place in io.find(f"{images[0].url}/**", hidden=True):
        io.remove(place)
    plate.verify()
    assert plate["A", 1][0].get_data(region=np.s_[0, 0, 0]) == 3
    for place in io.find(f"{plate.url}/**", hidden=True):
        io.remove(place)
    images[1].verify()
    with pytest.raises(ResourceNotFoundError):
        plate.check()


def test_equal_images_make_equal_plates():
    folder = base()
    first, second = some_plate(folder), some_plate(folder)
    assert first.data_hash == second.data_hash
    assert first.identity() == second.identity()
    assert first.url != second.url


def test_an_image_of_a_plate_is_a_value_of_its_own():
    folder = base()
    wells = {(row, 1): image_of(n, folder) for n, row in enumerate("AB")}
    first = plate_of(folder, wells)
    second = plate_of(folder, {**wells, ("B", 1): image_of(9, folder)})
    assert first["A", 1][0].identity() == second["A", 1][0].identity()
    assert first["B", 1][0].identity() != second["B", 1][0].identity()
    field = first["B", 1][0]
    for one in (cpr.load(json.loads(json.dumps(field.serialize()))), pickle.loads(pickle.dumps(field))):
        assert one.identity() == field.identity()
        assert one.get_data(region=np.s_[1, 0, 0]) == 2
        one.check()
        one.check(full=True)
    region = field.region(np.s_[1], level=1)
    assert region.identity() == first["B", 1][0].region(np.s_[1], level=1).identity()
    assert np.array_equal(region.get_data(), np.full((10, 15), 2, "uint16"))
    assert first.region(np.s_[0, 0, 0], "A/1/0/0").get_data() == 0
    assert field.preview() is not None
    with pytest.raises(UsageError, match="never written"):
        field.set_data(np.ones((3, 3)))
    with pytest.raises(UsageError, match="is of a stored Zarr"):
        cpr.OMEZarrField.from_path("a.ome.zarr")


def test_labels_come_along():
    folder = base()
    image = image_of(5, folder)
    image.add_labels("nuclei", np.ones((20, 30), "uint8"))
    plate = plate_of(folder, {"A1": image})
    assert plate["A", 1][0].labels()["nuclei"].levels[0].shape == (20, 30)
    assert plate["A", 1][0].region(np.s_[:, 0], labels="nuclei").get_data().sum() == 20


def test_damage_in_one_well_is_told_there():
    plate = some_plate(base())
    victim = next(name for name in io.find(f"{plate.url}/B/2/0/0/c/**"))
    with io.writing(victim) as file:
        file.write(b"else")
    with pytest.raises(CorruptDataError):
        plate.verify()
    with pytest.raises(CorruptDataError):
        plate["B", 2][0].check(full=True)
    for image in (plate["B", 2][1], plate["A", 1][0]):
        image.check(full=True)


def test_an_image_that_is_damaged_or_gone_makes_no_plate():
    folder = base()
    image = image_of(5, folder).persist()
    (victim,) = io.find(f"{image.url}/0/c/1/**")
    with io.writing(victim) as file:
        file.write(b"else")
    plate = cpr.OMEPlateTarget.from_path(f"{folder}/plate.ome.zarr")
    with pytest.raises(CorruptDataError):
        plate.set_data({"A1": image})
    for place in io.find(f"{folder}/.cpr/**", hidden=True):
        io.remove(place)
    with pytest.raises(ResourceNotFoundError):
        plate.set_data({"A1": image})
    assert not io.find(f"{folder}/plate*/**", hidden=True)


@pytest.mark.parametrize(
    ("wells", "options", "problem"),
    [
        ({"A1": 1}, {"rows": 1, "columns": 2}, "wells are missing.*A2"),
        ({("A", 1): 1, "A1": 1}, {}, "given twice"),
        ({("A", 1): 1, ("A", "01"): 1}, {"columns": ["01"]}, "given twice"),
        ({"C1": 1, "A1": 1, "B1": 1}, {"rows": 2}, "not on the plate.*rows A, B and columns 1"),
        ({"A13": 1}, {"rows": 8, "columns": 12}, "not on the plate"),
        ({"A": 1}, {}, "no name of a well"),
        ({"A1": []}, {}, "without images"),
        ({"A1": {3: 1}}, {"acquisitions": {1: "before"}}, "acquisition that is not known"),
        ({"A1": 1}, {"acquisitions": {1: "before"}}, "acquisition that is not known"),
        ({"A1": {1: 1}, "A2": 1}, {}, "acquisition that is not known"),
    ],
    ids=str,
)
def test_wells_that_do_not_make_a_plate(wells, options, problem):
    folder = base()
    image = image_of(1, folder).persist()

    def filled(value):
        if isinstance(value, dict):
            return {number: filled(one) for number, one in value.items()}
        return image if value == 1 else value

    before = sorted(io.find(f"{folder}/**", hidden=True))
    plate = cpr.OMEPlateTarget.from_path(f"{folder}/plate.ome.zarr", **options)
    with pytest.raises(PartError, match=problem):
        plate.set_data({key: filled(value) for key, value in wells.items()})
    assert sorted(io.find(f"{folder}/**", hidden=True)) == before


def test_what_is_no_plate():
    folder = base()
    plate = cpr.OMEPlateTarget.from_path(f"{folder}/plate.ome.zarr")
    for wells in ([1], {}, None):
        with pytest.raises(UsageError, match="images of its wells"):
            plate.set_data(wells)
    for image in (np.ones((3, 3)), cpr.OMEZarrSource.from_path("a.ome.zarr")):
        with pytest.raises(UsageError, match="images that cpr has written"):
            plate.set_data({"A1": image})
    with pytest.raises(UsageError, match="not written in parts"):
        plate.part(np.s_[0])
    with pytest.raises(UsageError, match="not written in parts"):
        plate["A", 1] = np.ones(3)
    with pytest.raises(FormatError, match="written by set_data"):
        plate.create()
    for options in ({"rows": 0}, {"rows": ["A", "a"]}, {"columns": ["1_"]}, {"acquisitions": {"a": "b"}}):
        with pytest.raises(FormatError):
            cpr.OMEPlateTarget.from_path("a.ome.zarr", **options)
    done = some_plate(folder)
    for well in ("B3", 3, ("C", 1), ("A", 9)):
        with pytest.raises(FormatError, match="well"):
            done[well]
    record = done["A", 1][0].serialize()["__cpr__"]
    with pytest.raises(RecordError):
        cpr.load({"__cpr__": {**record, "path": "../other"}})


def test_names_of_rows_and_columns():
    assert cpr.OMEPlateTarget.from_path("a.ome.zarr", rows=32, columns=48).format.rows[25:] == (
        *("Z", "AA", "AB", "AC", "AD", "AE", "AF"),
    )
    folder = base()
    image = image_of(1, folder)
    plate = plate_of(folder, {("A", 2): image, ("A", 10): image, ("AA", 2): image}, fill=True)
    assert (plate.rows(), plate.columns()) == (("A", "AA"), ("2", "10"))
    padded = plate_of(folder, {("A", 2): image}, columns=["01", "02"], fill=True)
    assert [one.path for one in padded["A", 2]] == ["A/02/0"]


@pytest.mark.parametrize("columns", list(permutations(["1", "01", "001"])), ids="-".join)
def test_names_that_are_one_number_are_told_apart(columns, tmp_path):
    """Whoever asks for the well A1 is never given the pixels of A01."""
    folder = str(tmp_path)
    values = {"1": 7, "01": 17, "001": 27}
    images = {("A", name): image_of(value, folder, f"w{value}") for name, value in values.items()}
    plate = plate_of(folder, images, columns=columns)
    for one in (plate, cpr.OMEPlateSource.from_path(plate.url)):
        for name, value in values.items():
            (field,) = one["A", name]
            assert int(field.get_data(level=0)[0, 0, 0]) == value
        assert int(one["A", 1][0].get_data(level=0)[0, 0, 0]) == values["1"]
        with pytest.raises(FormatError, match="no images of this well"):
            one["A", "0001"]
    # Nor does an image go into another well than was named.
    alone = plate_of(f"{folder}/alone", {("A", "1"): images["A", "1"]}, columns=columns, fill=True)
    assert alone.wells() == (("A", "1"),)
    with pytest.raises(PartError, match="not on the plate"):
        plate_of(f"{folder}/none", {("A", "0001"): images["A", "1"]}, columns=columns, fill=True)


def test_a_copy_is_a_plate(tmp_path):
    plate = some_plate(base())
    twin = plate.copy_to(str(tmp_path))
    assert twin.verify() == plate.verify()
    assert twin["A", 1][0].get_data(region=np.s_[0, 0, 0]) == 10


def plate_04(folder: str) -> str:
    """As ome-zarr-py writes version 0.4: format 2, metadata without `ome`."""
    root = zarr.open_group(folder, mode="w", zarr_format=2)
    root.attrs["plate"] = {
        "version": "0.4",
        "rows": [{"name": "A"}, {"name": "B"}],
        "columns": [{"name": "01"}],
        "wells": [{"path": "B/01", "rowIndex": 1, "columnIndex": 0}],
        "acquisitions": [{"id": 0, "name": "first"}],
    }
    well = root.create_group("B").create_group("01")
    well.attrs["well"] = {"version": "0.4", "images": [{"path": "0", "acquisition": 0}]}
    image = well.create_group("0")
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scale = [{"type": "scale", "scale": [1, 1]}]
    image.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    ]
    image.create_array("0", shape=(4, 4), chunks=(4, 4), dtype="u1")[:] = 7
    return folder


def test_a_plate_of_version_04(tmp_path):
    plate = cpr.OMEPlateSource.from_path(plate_04(f"{tmp_path}/old.zarr"))
    assert (plate.rows(), plate.columns(), plate.wells()) == (("A", "B"), ("01",), (("B", "01"),))
    assert plate.acquisitions() == {0: "first"}
    (image,) = plate["B", 1]
    assert isinstance(image, cpr.OMEZarrSource)
    assert image.get_data(region=np.s_[0]).tolist() == [7, 7, 7, 7]
    assert cpr.load(plate.serialize()).wells() == plate.wells()


def test_a_plate_of_cpr_as_a_source(tmp_path):
    plate = some_plate(str(tmp_path))
    source = cpr.OMEPlateSource.from_path(plate.url)
    assert source.wells() == plate.wells()
    one, other = source["B", 3]
    assert one.get_data(region=np.s_[:, 0, 0]).tolist() == [130, 131]
    # What is written into another field is not seen by this one.
    before = cpr.OMEZarrSource.deserialize(one.serialize()).identity()
    array = zarr.open(f"{other.url}/B/3/1/0", mode="r+")
    array[:] = 1
    assert cpr.OMEZarrSource.deserialize(one.serialize()).identity() == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"wells": [{"path": "C/01"}]}, "plate.wells"),
        ({"wells": [{"path": "../B"}]}, "plate.wells"),
        ({"wells": [{"path": "B/01"}, {"path": "B/01"}]}, "names that differ"),
        ({"rows": []}, "plate.rows"),
        ({"rows": 3}, "plate.rows"),
        ({"columns": [{"name": 1}]}, "plate.columns"),
        ({"version": "0.9"}, "plate.version"),
    ],
    ids=str,
)
def test_broken_metadata(tmp_path, change, problem):
    url = plate_04(f"{tmp_path}/old.zarr")
    root = zarr.open_group(url, mode="r+", zarr_format=2)
    root.attrs["plate"] = {**root.attrs["plate"], **change}
    with pytest.raises(DecodeError, match=problem):
        cpr.OMEPlateSource.from_path(url).wells()


def test_what_is_listed_and_not_there(tmp_path):
    url = plate_04(f"{tmp_path}/old.zarr")
    root = zarr.open_group(url, mode="r+", zarr_format=2)
    root.attrs["plate"] = {**root.attrs["plate"], "wells": [{"path": "A/01"}]}
    with pytest.raises(FormatError, match="listed and not there"):
        cpr.OMEPlateSource.from_path(url)["A", "01"]
    with pytest.raises(FormatError, match="no OME-Zarr plate"):
        cpr.OMEPlateSource.from_path(f"{url}/B/01").wells()
    with pytest.raises(FormatError, match="OMEPlateSource"):
        cpr.OMEZarrSource.from_path(url).levels()
