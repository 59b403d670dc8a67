"""A region means the same of data in memory, of data that is kept, of a small file and of a large one."""

from __future__ import annotations

import numpy as np
import pytest
from tifffile import imwrite

import cpr
from cpr.errors import FormatError

ODD = {
    "a list": [0, 1],
    "an array": np.array([0, 1]),
    "a mask": np.array([True, False, True]),
    "a bool": True,
    "a number with a point": 1.0,
    "a new axis": (None, 0),
    "too many": (0, 0, 0, 0, 0),
    "beyond": 99,
    "far beyond": 10**5000,
    "a text": "a",
    "a list behind a slice": (slice(0, 1), [0, 0]),
    "a step of 0": slice(None, None, 0),
}
TAKEN = [np.s_[0], np.s_[-1], np.s_[..., 0], np.s_[::-1], np.s_[1:1], np.s_[np.int64(1), ...], np.s_[...], ()]
SHAPES = {"a line": (3,), "planes": (3, 4, 5), "more than a block": (3, 300, 400), "nothing": (3, 0, 4)}


def held(cls, ext, array, tmp_path):
    target = cls.from_path(f"{tmp_path}/held{ext}")
    target.set_data(array)
    return target


def stored(cls, ext, array, tmp_path):
    return cpr.load(held(cls, ext, array, tmp_path).serialize())


def kept(cls, ext, array, tmp_path):
    target = stored(cls, ext, array, tmp_path)
    target.get_data(cache=True)
    return target


def source(cls, ext, array, tmp_path):
    kind = {cpr.NumpyTarget: cpr.NumpySource, cpr.ImageTarget: cpr.ImageSource}[cls]
    return kind.from_path(stored(cls, ext, array, tmp_path).url)


def kept_source(cls, ext, array, tmp_path):
    found = source(cls, ext, array, tmp_path)
    found.get_data(cache=True)
    return found


def written_again(cls, ext, array, tmp_path):
    """By another program, so that it is read whole."""
    target = stored(cls, ext, array, tmp_path)
    if cls is cpr.ImageTarget:
        imwrite(target.url, array, software="other", photometric="minisblack")
    return target


READS = [held, stored, kept, source, kept_source, written_again]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    "of", [held, stored, kept, source, kept_source, written_again], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("kind", ["npy", "tif"])
def test_what_is_no_region_is_refused_alike(kind, of, shape, tmp_path):
    cls, ext = {"npy": (cpr.NumpyTarget, ".npy"), "tif": (cpr.ImageTarget, ".tif")}[kind]
    array = np.arange(np.prod(shape), dtype="uint16").reshape(shape)
    if kind == "tif" and of in (source, kept_source, written_again) and (array.ndim < 2 or not array.size):
        pytest.skip("as a file of others it is a page of one row, or none")
    resource = of(cls, ext, array, tmp_path)
    for name, region in ODD.items():
        with pytest.raises(FormatError, match="no such region") as caught:
            resource.get_data(region=region)
        assert caught.value.url == resource.url, name
        assert caught.value.remedy, name
    for region in TAKEN:
        found = resource.get_data(region=region)
        np.testing.assert_array_equal(found, array[region])
        assert np.shape(found) == array[region].shape


def test_arrays_of_an_npz_that_are_kept_have_no_regions(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.arange(3), two=np.arange(4))
    arrays = cpr.NumpySource.from_path(tmp_path / "a.npz")
    for _ in range(2):
        with pytest.raises(FormatError, match="read in parts"):
            arrays.get_data(region=np.s_[0])
        assert sorted(arrays.get_data(cache=True)) == ["one", "two"]
