"""Whatever is given for a region: what numpy's basic indexing gives, or a FormatError."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tifffile

import cpr
from cpr.data.regions import Selection
from cpr.errors import CprError, FormatError
from cpr.records.record_digest import seal_of


class Thing:
    """What is no region, with a name in which no address is."""

    def __repr__(self):
        return "a thing"


DATA = np.arange(3 * 8 * 10, dtype="uint16").reshape(3, 8, 10)
_HUGE = 1 << 70
GOOD = [
    *(np.s_[:], np.s_[::-1], np.s_[5:2], np.s_[_HUGE:], np.s_[-_HUGE:_HUGE], np.s_[::_HUGE], np.s_[::-_HUGE]),
    *(
        np.s_[1:2:_HUGE],
        np.s_[::True],
        np.int64(1),
        np.array(1),
        1,
        -1,
        ...,
        (..., 0),
        (0, 0, 0),
        (0, ..., 0),
    ),
    *((0, ..., 0, 0), np.s_[0:0], np.s_[3:], np.s_[:, 1:8:3, 9::-4], np.s_[::-1, ::-2, 0], ()),
    *((slice(np.int64(0), np.int64(2)),), (slice(np.array(0), 2),), np.s_[:, 7:0:-7], np.s_[2::-2, ..., 3]),
]
BAD = [
    *(np.s_[::0], slice("a"), slice(1.0), np.s_[0:2:1.5], True, False, np.True_, (slice(0, 2), True), 3, -4),
    *(
        1 << 63,
        -(1 << 63),
        np.uint8(255),
        np.array([1]),
        np.array([True, False, True]),
        [0, 1],
        1.0,
        "a",
        b"a",
    ),
    *((..., ...), (0, 0, 0, 0), (0, ..., 0, 0, 0), ({},), Thing(), range(2), (1, (2,)), 1j, math.nan, {1}),
    *((None, 0), (0, None), np.datetime64(1, "D"), "0:2"),
]


@pytest.fixture(scope="module")
def resources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regions")
    tifffile.imwrite(folder / "s.tif", DATA, metadata={"axes": "ZYX"})
    np.save(folder / "c.npy", DATA)
    np.save(folder / "f.npy", np.asfortranarray(DATA))
    targets = [
        cpr.ImageTarget.from_path(folder / "t.tif"),
        cpr.NumpyTarget.from_path(folder / "t.npy"),
        cpr.ZarrTarget.from_path(folder / "t.zarr", chunks=(1, 4, 4)),
        cpr.OMEZarrTarget.from_path(folder / "t.ome.zarr", levels=1),
    ]
    for target in targets:
        target.set_data(DATA)
        target.persist()
    sources = [
        cpr.ImageSource.from_path(folder / "s.tif"),
        cpr.NumpySource.from_path(folder / "c.npy"),
        cpr.NumpySource.from_path(folder / "f.npy"),
        cpr.ZarrSource.from_path(targets[2].url),
    ]
    return [*targets, *sources, targets[2].region(np.s_[:])]


@pytest.mark.parametrize("region", GOOD, ids=repr)
def test_what_numpy_takes(resources, region):
    for resource in resources:
        found = np.asarray(resource.get_data(region=region))
        assert found.shape == DATA[region].shape, resource
        assert np.array_equal(found, DATA[region]), resource
    assert np.array_equal(DATA[Selection.of(region, DATA.shape).index], DATA[region])


@pytest.mark.parametrize("region", BAD, ids=lambda region: repr(region)[:30])
def test_what_is_no_region(resources, region):
    for resource in resources:
        with pytest.raises(FormatError) as caught:
            resource.get_data(region=region)
        assert caught.value.remedy
    with pytest.raises(FormatError):
        resources[2].region(region)


@pytest.mark.parametrize(
    "size",
    [5, 1.0, True, "12", "a", np.s_[:], np.array(1), (..., 0), (0, 0, 0, 0), ({},), (1, (2,)), math.nan],
)
def test_what_is_no_size_of_regions(tmp_path, size):
    whole = cpr.ZarrTarget.from_path(tmp_path / "a.zarr", shape=(3, 8, 10), dtype="uint16", chunks=(1, 4, 5))
    for ask in (whole.regions, whole.missing):
        with pytest.raises(FormatError):
            ask(size)


@pytest.mark.parametrize("end", [(1 << 63) - 1, 1 << 63, 1 << 64, 10**30])
def test_a_record_of_a_region_without_an_end(resources, end):
    record = resources[-1].serialize()
    record["__cpr__"]["region"][2][1] = end
    record["__cpr__"]["seal"] = seal_of(record["__cpr__"])
    with pytest.raises(CprError):
        cpr.load(record).get_data()


@pytest.mark.parametrize("bounds", [5, 1.5, True, np.s_[:], np.array(1), ..., "a", ({},)])
def test_what_is_no_end_of_slices(tmp_path, bounds):
    for name in ("slices_start", "slices_stop"):
        with pytest.raises(FormatError):
            cpr.ZarrSource.from_path(tmp_path / "a.zarr", **{name: bounds})


@pytest.mark.parametrize("data", [0, 1.5, None, True, object()])
def test_a_region_is_filled_with_arrays(tmp_path, data):
    whole = cpr.ZarrTarget.from_path(tmp_path / "a.zarr", shape=(3, 8, 10), dtype="uint16", chunks=(1, 8, 10))
    with pytest.raises(CprError):
        whole[0] = data
