"""Flows in the style of custom-prefect-result, on Prefect 3: locally and on S3, and cached when run again."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr

import cpr
from cpr.zarr.stores.url_store import UrlStore
from tests.flows import predecessor_flows as flows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]

SECTIONS = (np.arange(3 * 16 * 16) % 251).reshape(3, 16, 16).astype("uint8")
IMAGES = {name: np.random.default_rng(i).integers(0, 255, (16, 16), "uint8") for i, name in enumerate("ab")}


def put(path, url):
    with cpr.io.writing(url) as file:
        file.write(path.read_bytes())


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def folder(request, tmp_path):
    """What the flows begin with."""
    url = str(tmp_path / "lab") if request.param == "local" else request.getfixturevalue("s3_url")
    for name, image in IMAGES.items():
        tifffile.imwrite(tmp_path / "image.tif", image)
        put(tmp_path / "image.tif", f"{url}/raw/{name}.tif")
    np.savez(tmp_path / "background.npz", offset=IMAGES["a"])
    put(tmp_path / "background.npz", f"{url}/background.npz")
    plate = zarr.open_group(UrlStore(f"{url}/plate.zarr"), mode="w", zarr_format=2)
    for row, image in zip("AB", IMAGES.values(), strict=True):
        plate.create_array(f"{row}/1/0", data=image)
    sections = zarr.open_group(UrlStore(f"{url}/sections.zarr"), mode="w", zarr_format=2)
    sections.create_array("0", data=SECTIONS)
    return url


def twice(flow, folder, results, counted):
    """The result of the second run, whose tasks are all cached, as those of the first are not."""
    flow = flow.with_options(result_storage=results)
    for expected in ("Completed", "Cached"):
        result, counts = counted(flow, folder)
        assert {state for states in counts.values() for state in states} == {expected}, counts
    return result


def test_cells(folder, results, counted):
    found = twice(flows.cells, folder, results, counted)
    assert [sorted(one) for one in found] == [["flows", "mask"]] * 2
    for one, image in zip(found, IMAGES.values(), strict=True):
        assert np.array_equal(one["mask"].get_data(), image > image.mean())
        assert one["mask"].get_metadata() == {"axes": "YX", "unit": "micron"}
        assert len(one["flows"]) == 2 and one["flows"][0].get_data().dtype == "float32"


def test_denoising(folder, results, counted):
    found = twice(flows.denoising, folder, results, counted)
    mean = np.stack([one[:8, :8] for one in IMAGES.values()]).mean(axis=0).astype("float32").mean()
    for one, image in zip(found, IMAGES.values(), strict=True):
        assert np.allclose(one.get_data(), image - mean) and one.imagej is False
        assert one.get_resolution() == pytest.approx((1 / 0.134, 1 / 0.134))


def test_screening(folder, results, counted):
    found = twice(flows.screening, folder, results, counted)
    means = [table.get_data()["mean"][0] for table in found["tables"]]
    assert means == [image[:4, :4].mean() for image in IMAGES.values()]
    assert np.array_equal(found["background"].get_data()["offset"], IMAGES["a"])


def test_spots(folder, results, counted):
    merged = twice(flows.spots, folder, results, counted)
    assert type(merged) is flows.ParquetTarget
    assert len(merged.get_data()) == sum(int((image > 200).sum()) for image in IMAGES.values())
    assert merged.checksum is not None and merged.location == f"{folder}/spots"


def test_alignment(folder, results, counted):
    found = twice(flows.alignment, folder, results, counted)
    for z, one in enumerate(found):
        assert np.array_equal(one.get_data()[0], np.roll(SECTIONS[z], z, axis=0))
