"""Programs of others open what cpr has written as a plate; see also docs/decisions/plates.md."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import zarr

from tests.zarr.plates.test_plates import image_of, some_plate


@pytest.fixture(params=["wells", "acquisitions"])
def plate(request, tmp_path):
    from tests.zarr.plates.test_plates import plate_of

    if request.param == "wells":
        return some_plate(str(tmp_path), rows=2, columns=3)
    folder = str(tmp_path)
    wells = {"A1": {1: image_of(10, folder), 2: image_of(11, folder)}, "B3": {2: image_of(130, folder)}}
    return plate_of(folder, wells, rows=2, columns=3, fill=True, acquisitions={1: "before", 2: "after"})


def test_ngio(plate):
    ngio = pytest.importorskip("ngio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what ngio will do some day
        found = ngio.open_ome_zarr_plate(plate.url, mode="r")
        assert (found.rows, found.columns) == (["A", "B"], ["1", "2", "3"])
        assert sorted(found.acquisition_ids) == sorted(plate.acquisitions())
        images = found.get_images()
    assert sorted(images) == sorted(image.path for well in plate.wells() for image in plate[well])
    for well in plate.wells():
        for image in plate[well]:
            pixels = images[image.path].get_image(path="0").get_as_numpy()
            assert np.array_equal(np.squeeze(pixels), image.get_data(level=0)[...])


def test_napari(plate):
    napari_ome_zarr = pytest.importorskip("napari_ome_zarr")
    reader = napari_ome_zarr.napari_get_reader(plate.url)
    ((levels, *_),) = reader(plate.url)
    whole = np.asarray(levels[0] if isinstance(levels, (list, tuple)) else levels)
    assert whole.shape == (2, 40, 90)
    for row, column in plate.wells():
        first = plate[row, column][0].get_data(level=0)[...]
        y, x = 20 * "AB".index(row), 30 * (int(column) - 1)
        assert np.array_equal(whole[:, y : y + 20, x : x + 30], first)


def test_ome_zarr_models(plate):
    models = pytest.importorskip("ome_zarr_models")
    root = zarr.open_group(plate.url, mode="r")
    assert type(models.open_ome_zarr(root)).__name__ == "HCS"
    for row, column in plate.wells():
        assert type(models.open_ome_zarr(root[f"{row}/{column}"])).__name__ == "Well"
