"""NPY: the laws of every format, foreign files, damaged files, and parts of an array."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile

import hypothesis.extra.numpy as st_numpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpr
from cpr.errors import DecodeError, EncodeError, FormatError
from cpr.numpy.npy import NPY
from cpr.testing import FormatTests, ForwardFile, SeekableBytes
from tests.array_cases import lazies, same

DTYPES = st.one_of(
    st_numpy.scalar_dtypes(),
    st_numpy.unicode_string_dtypes(max_len=5),
    st_numpy.byte_string_dtypes(max_len=5),
)
ARRAYS = st_numpy.arrays(DTYPES, st_numpy.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=5))


class TestNPY(FormatTests):
    format = NPY()
    target_class = cpr.NumpyTarget
    samples = [
        np.array(3.5),
        np.zeros((0, 4), "uint8"),
        np.arange(24, dtype=">u2").reshape(2, 3, 4),
        np.arange(24, dtype="float32").reshape(4, 6)[:, ::2],
        np.asfortranarray(np.arange(12).reshape(3, 4)),
        np.array([True, False]),
        np.array(["a", "bcd"]),
        np.array([1 + 2j]),
        np.array(["2026-01-01", "NaT"], "datetime64[ns]"),
        np.array([(1, 2.5)], [("label", "i4"), ("area", "f8")]),
    ]
    refused = [np.array([{}]), np.zeros(1, [("é" * 66000, "u1")]), np.zeros(1, [("日本", "u1")])]

    def equal(self, a, b) -> bool:
        return same(a, b)


@given(ARRAYS)
def test_any_array_comes_back_through_a_record(array):
    target = cpr.NumpyTarget.from_path("memory://npy/a.npy")
    target.set_data(array)
    again = cpr.load(json.dumps(target.serialize()))
    found = again.get_data()
    assert same(found, array)
    assert found.dtype.isnative
    assert found.flags.writeable


@given(ARRAYS)
def test_numpy_reads_what_is_written(array):
    file = ForwardFile()
    NPY().encode(array, file)
    assert same(np.load(io.BytesIO(file.getvalue()), allow_pickle=False), array)


@given(ARRAYS)
def test_what_numpy_writes_is_read(array):
    file = io.BytesIO()
    np.save(file, array)
    assert same(NPY().decode(SeekableBytes(file.getvalue())), array)


@settings(max_examples=300)
@given(st.data())
def test_any_region_is_what_indexing_gives(data):
    shape = data.draw(st_numpy.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=6))
    order = data.draw(st.sampled_from("CF"))
    array = np.asarray(np.arange(np.prod(shape), dtype=">i4").reshape(shape), order=order)
    region = data.draw(st_numpy.basic_indices(shape, allow_newaxis=False))
    file = io.BytesIO()
    np.save(file, array)
    found = NPY().decode_region(SeekableBytes(file.getvalue()), region)
    assert same(np.asarray(found), np.asarray(array[region]))


@pytest.mark.parametrize("region", [9, (0, 0, 0, 0), None, [0, 1], "x", (0, True, 1.5)])
def test_what_is_no_region_is_refused(region):
    file = ForwardFile()
    NPY().encode(np.zeros((2, 3, 4)), file)
    with pytest.raises(FormatError, match=r"region.*shape \(2, 3, 4\)"):
        NPY().decode_region(SeekableBytes(file.getvalue()), region)


def header(text: str) -> bytes:
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"PK\x03\x04",
        b"\x93NUMPY\x09\x00",
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}") + b"12345678",
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + b"cos\nsystem\n",
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}") + b"123456789",
        header("__import__('os').system('true')"),
        header("(" * 100),
    ],
    ids=range(10),
)
def test_what_is_not_npy_is_refused(bad):
    for decode in (NPY().decode, lambda file: NPY().decode_region(file, 0)):
        with pytest.raises(DecodeError) as caught:
            decode(SeekableBytes(bad))
        assert caught.value.remedy


def test_a_source_reads_a_foreign_file(tmp_path):
    np.save(tmp_path / "big-endian.npy", np.arange(6, dtype=">i8").reshape(2, 3))
    source = cpr.NumpySource.from_path(tmp_path / "big-endian.npy")
    assert same(source.get_data(), np.arange(6).reshape(2, 3))
    assert same(source.get_data(region=(1, slice(1, None))), np.array([4, 5]))


@lazies
def test_streams_are_written_at_once(lazy, tmp_path):
    array = np.random.default_rng(0).integers(0, 9999, (7, 5, 9), dtype="uint16")
    target = cpr.NumpyTarget.from_path(tmp_path / "a.npy")
    target.set_data(lazy(array, tmp_path), shape=array.shape, dtype=array.dtype)
    assert target.checksum is not None
    held = cpr.NumpyTarget.from_path(tmp_path / "a.npy")
    held.set_data(array)
    assert held.data_hash == target.data_hash
    assert same(cpr.load(target.serialize()).get_data(), array)


def test_what_is_no_array_is_refused():
    target = cpr.NumpyTarget.from_path("memory://npy/a.npy")
    for data, match in [
        (np.ma.masked_array([1, 2], [True, False]), "mask"),
        ([[1, 2], [3]], "one shape"),
        (iter([np.zeros(3)]), "shape= and dtype="),
        ({"a": 1}, "each of its values"),
        (None, "give the data"),
    ]:
        with pytest.raises(EncodeError, match=match) as caught:
            target.set_data(data)
        assert caught.value.remedy
    with pytest.raises(EncodeError, match="another shape than announced"):
        target.set_data(np.zeros((2, 3)), shape=(3, 2))


@pytest.mark.parametrize("order", ["C", "F"])
def test_version_3_of_the_format(order, tmp_path):
    array = np.zeros((2, 3), [("größe", "<f8"), ("細胞", "<u2")], order=order)
    array["細胞"] = np.arange(6).reshape(2, 3)
    with pytest.warns(UserWarning, match="3.0"):
        np.save(tmp_path / "a.npy", array)
    source = cpr.NumpySource.from_path(tmp_path / "a.npy")
    np.testing.assert_array_equal(source.get_data(), array)
    np.testing.assert_array_equal(source.get_data(region=np.s_[1, 1:]), array[1, 1:])


@pytest.mark.parametrize(
    "header",
    [
        b"", b"{}", b"x", b"[1]", b"{'descr': '<u2', 'fortran_order': 0, 'shape': (1,)}", b"\xff" * 20,
        b"{'descr': '<u2', 'fortran_order': False, 'shape': 1}",
        b"{'descr': 5, 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b" " * 20_000,
    ],
    ids=lambda header: header[:30].decode("latin-1"),
)  # fmt: skip
def test_damaged_headers_of_version_3(header, tmp_path):
    data = b"\x93NUMPY\x03\x00" + len(header).to_bytes(4, "little") + header + b"\0\0"
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(DecodeError):
        cpr.NumpySource.from_path(tmp_path / "a.npy").get_data()


def test_an_npz_within_the_memory_that_there_is_as_a_whole(tmp_path, monkeypatch):
    """Each array fits, and a few kilobytes hold thirty of them."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **{f"a{number}": np.zeros(8 << 20, "uint8") for number in range(30)})
    assert path.stat().st_size < 1 << 20
    monkeypatch.setenv("CPR_MEMORY", "100MiB")
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="CPR_MEMORY"):
            cpr.NumpySource.from_path(path).get_data()
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
    monkeypatch.setenv("CPR_MEMORY", "300MiB")
    assert len(cpr.NumpySource.from_path(path).get_data()) == 30


def test_an_npz_that_names_an_array_twice(tmp_path):
    """As small files can, forty times."""
    data = io.BytesIO()
    np.save(data, np.arange(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", data.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", data.getvalue())
    with pytest.raises(DecodeError, match="twice"):
        cpr.NumpySource.from_path(tmp_path / "a.npz").get_data()
