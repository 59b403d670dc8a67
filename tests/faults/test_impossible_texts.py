"""Texts of characters that there are not, which numpy makes of any bytes: told when they are read."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import cpr
from cpr.errors import DecodeError

GOOD = np.array([["ab", "cd"], ["ef", "\U0010ffff"]], "<U2")
# numpy itself converts between byte orders without looking.
NUMBERS = [0x110000, 0x7FFFFFFF, 0xFFFFFFFF]
RECORDS = np.dtype([("n", "<i2"), ("t", "<U2"), ("many", "<U2", (2,)), ("in", [("t", "<U2")])])


def broken(number: int, order: str) -> np.ndarray:
    found = GOOD.astype(f"{order}U2")
    found.view(f"{order}u4")[1, 0] = number
    return found


def records(field: str) -> np.ndarray:
    found = np.zeros(3, RECORDS)
    part = found[field]["t"] if field == "in" else found[field]
    np.lib.stride_tricks.as_strided(part.view("V8"), part.shape, part.strides)[1] = np.void(b"\xff" * 8)
    return found


def told(read) -> None:
    with pytest.raises(DecodeError) as caught:
        read()
    assert caught.value.remedy


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("number", NUMBERS)
def test_of_numpy_files(number, order, tmp_path):
    np.save(tmp_path / "a.npy", broken(number, order))
    np.save(tmp_path / "f.npy", np.asfortranarray(broken(number, order)))
    np.savez(tmp_path / "a.npz", x=broken(number, order))
    for name in ("a.npy", "f.npy", "a.npz"):
        told(cpr.NumpySource.from_path(tmp_path / name).get_data)
    told(lambda: cpr.NumpySource.from_path(tmp_path / "a.npy").get_data(region=np.s_[1]))


@pytest.mark.parametrize("field", ["t", "many", "in"])
def test_of_records_of_numpy(field, tmp_path):
    np.save(tmp_path / "a.npy", records(field))
    told(cpr.NumpySource.from_path(tmp_path / "a.npy").get_data)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("number", NUMBERS)
def test_of_zarrs(number, zarr_format, tmp_path):
    place = str(tmp_path / "a.zarr")
    data = broken(number, "<")
    zarr.create_array(place, data=GOOD, chunks=(1, 2), compressors=None, zarr_format=zarr_format)
    chunk = tmp_path / "a.zarr" / ("c/1/0" if zarr_format == 3 else "1.0")
    assert chunk.stat().st_size == data[1].nbytes
    chunk.write_bytes(data[1].tobytes())
    source = cpr.ZarrSource.from_path(place)
    told(lambda: source.get_data()[...])
    told(lambda: source.get_data(region=np.s_[1]))
    told(lambda: source.get_data()[1, 0])
    assert source.get_data()[0].tolist() == ["ab", "cd"]


def test_texts_are_read_as_before(tmp_path):
    for number, data in enumerate((GOOD, GOOD.astype(">U2"), np.array("ab"), np.zeros((0, 2), "U3"))):
        np.save(tmp_path / f"{number}.npy", data)
        assert np.array_equal(cpr.NumpySource.from_path(tmp_path / f"{number}.npy").get_data(), data)
    np.save(tmp_path / "r.npy", np.zeros(3, RECORDS))
    assert cpr.NumpySource.from_path(tmp_path / "r.npy").get_data()["t"].tolist() == [""] * 3
