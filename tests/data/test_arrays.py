"""The content hash of arrays, and planes of everything that is an array or yields planes."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xxhash
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cpr.data.arrays import Planes, hash_array
from cpr.data.lazy_arrays import is_lazy_array
from cpr.errors import EncodeError

arrays = hnp.arrays(
    dtype=hnp.scalar_dtypes() | hnp.complex_number_dtypes(),
    shape=hnp.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=4),
)


def expected_hash(array):
    """The definition, written out: header, then elements in C order and native byte order."""
    native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return xxhash.xxh3_64_hexdigest(f"{native.dtype},{native.shape},".encode() + native.tobytes())


@given(arrays)
def test_hash_is_the_definition(array):
    assert hash_array(array) == expected_hash(array)


@given(arrays, st.randoms())
def test_hash_ignores_layout_and_byte_order(array, random):
    axes = list(range(array.ndim))
    random.shuffle(axes)
    view = np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes)) if axes else array
    assert view.shape == array.shape
    assert hash_array(view) == hash_array(array)
    assert hash_array(array.astype(array.dtype.newbyteorder(">"))) == hash_array(array)
    assert hash_array(array[::-1][::-1] if array.ndim else array) == hash_array(array)


def test_hash_of_a_large_array_that_is_not_contiguous():
    array = np.random.default_rng(0).integers(0, 255, (300, 400, 5), dtype=np.uint8)
    for view in (array.T, array[::2], array[:, ::3], np.asfortranarray(array)):
        assert hash_array(view) == expected_hash(view)


@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (2, 300, 1024), (5, 3, 7)])
def test_pieces_are_the_bytes_of_the_planes(shape):
    array = np.random.default_rng(0).integers(0, 1000, shape).astype(">u2")
    pieces, planes = Planes(array), Planes(array)
    passed = b"".join(map(bytes, pieces.pieces()))  # each is good until the next one
    assert passed == b"".join(plane.tobytes() for plane in planes)
    assert pieces.fingerprint == planes.fingerprint == hash_array(array)


def test_hash_tells_dtype_and_shape():
    zeros = [
        np.zeros(4, "u1"),
        np.zeros(4, "i1"),
        np.zeros((2, 2), "u1"),
        np.zeros(2, "u2"),
        np.zeros(4, bool),
    ]
    assert len({hash_array(z) for z in zeros}) == len(zeros)


ARRAY = np.arange(2 * 5 * 6 * 7, dtype="u2").reshape(2, 5, 6, 7)


@pytest.mark.parametrize(
    "data",
    [
        ARRAY,
        ARRAY.astype(">u2"),
        np.asfortranarray(ARRAY),
        dask.array.from_array(ARRAY, chunks=(1, 2, 6, 7)),
        dask.array.from_array(ARRAY, chunks=(2, 5, 3, 4)),
        dask.array.from_array(ARRAY, chunks=(1, 1, 6, 3)),
        zarr.array(ARRAY, chunks=(1, 2, 3, 7)),
        zarr.array(ARRAY, chunks=(2, 5, 6, 7)),
    ],
    ids=lambda data: type(data).__name__,
)
def test_planes_of_arrays_near_and_far(data):
    planes = Planes(data)
    passed = list(planes)
    assert np.array_equal(np.stack(passed).reshape(ARRAY.shape), ARRAY)
    assert all(plane.shape == (6, 7) and plane.flags.c_contiguous and plane.dtype == "u2" for plane in passed)
    assert planes.count == len(passed) == 10
    assert planes.fingerprint == hash_array(ARRAY)


def test_planes_of_a_memmap(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert is_lazy_array(mapped)
    planes = Planes(mapped)
    assert len(list(planes)) == 10
    assert planes.fingerprint == hash_array(ARRAY)


@pytest.mark.parametrize(
    "items", [list(ARRAY.reshape(10, 6, 7)), list(ARRAY), [ARRAY], [ARRAY[0], *ARRAY[1]]]
)
def test_planes_of_iterables(items):
    planes = Planes(iter(items), shape=ARRAY.shape, dtype="u2")
    assert len(list(planes)) == 10
    assert planes.fingerprint == hash_array(ARRAY)


def test_lazy_chunks_are_computed_once():
    seen = []

    def load(block_info=None):
        seen.append(block_info[None]["chunk-location"])
        return np.zeros(block_info[None]["chunk-shape"], "u1")

    data = dask.array.map_blocks(
        load, chunks=((1, 1), (2, 3), (6,), (4, 3)), dtype="u1", meta=np.zeros(0, "u1")
    )
    list(Planes(data))
    assert len(seen) == len(set(seen)) == 2 * 2 * 2


@pytest.mark.parametrize(
    ("items", "match"),
    [
        ([np.zeros((6, 7), "u2")] * 9, "another number of planes"),
        ([np.zeros((6, 7), "u2")] * 11, "another number of planes"),
        ([np.zeros((7, 6), "u2")] * 10, "another shape"),
        ([np.zeros((6, 7), "i2")] * 10, "another dtype"),
        ([np.zeros(7, "u2")] * 60, "another shape"),
    ],
)
def test_iterables_that_are_not_what_was_announced(items, match):
    with pytest.raises(EncodeError, match=match) as caught:
        list(Planes(iter(items), shape=ARRAY.shape, dtype="u2"))
    assert caught.value.remedy


def test_an_iterable_needs_shape_and_dtype():
    with pytest.raises(EncodeError, match="shape= and dtype="):
        Planes(iter([]))


def test_objects_are_refused():
    with pytest.raises(EncodeError, match="Python objects"):
        Planes(np.array([object()]))
