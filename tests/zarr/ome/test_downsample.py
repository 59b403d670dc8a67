"""Half the pixels: exact means, rounded without a drift, in every dtype; modes that make up no value."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import hypothesis.extra.numpy as st_numpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpr.zarr.ome.chunking import halved_shapes
from cpr.zarr.ome.downsample import halve

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64", "complex64", "complex128"]


def neighbours(block: np.ndarray, axes: tuple[int, ...]):
    """For each element of the result, the elements that it stands for; a last one is alone twice."""
    shape = [-(-n // 2) if axis in axes else n for axis, n in enumerate(block.shape)]
    for index in np.ndindex(*shape):
        along = [
            [min(2 * i, n - 1), min(2 * i + 1, n - 1)] if axis in axes else [i]
            for axis, (i, n) in enumerate(zip(index, block.shape, strict=True))
        ]
        yield index, [block[position] for position in product(*along)]


@st.composite
def blocks(draw, dtypes):
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(st_numpy.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5))
    axes = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1, max_size=3))
    return draw(st_numpy.arrays(dtype, shape)), tuple(sorted(axes))


@given(blocks(INTEGERS))
def test_the_mean_of_integers_is_exact_and_halves_go_to_even(case):
    block, axes = case
    found = halve(block, axes, "mean")
    assert found.dtype == block.dtype
    for index, values in neighbours(block, axes):
        assert found[index] == round(Fraction(sum(map(int, values)), len(values)))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_extremes_do_not_overflow(dtype):
    info = np.iinfo(dtype)
    for value in (info.min, info.max):
        assert (halve(np.full((4, 4, 5), value, dtype), (0, 1, 2), "mean") == value).all()


def test_levels_grow_neither_brighter_nor_darker():
    block = np.random.default_rng(0).integers(0, 256, (1024, 1024)).astype("uint8")
    mean = block.mean()
    for _ in range(5):
        block = halve(block, (0, 1), "mean")
    assert abs(block.mean() - mean) < 0.05


@given(blocks(FLOATS))
def test_the_mean_of_floats_is_the_mean(case):
    block, axes = case
    found = halve(block, axes, "mean")
    assert found.dtype == block.dtype
    for index, values in neighbours(block, axes):
        if np.isfinite(values).all():
            wide = np.array(values, "complex128") / 8
            limit = np.finfo(block.dtype)
            error = 8 * float(limit.eps) * float(np.abs(wide).max()) + float(limit.tiny)
            assert abs(complex(found[index]) / 8 - wide.mean()) <= error
        else:
            assert not np.isfinite(found[index])


@given(blocks([*INTEGERS, "bool"]))
def test_the_mode_is_the_most_frequent_and_the_first_among_equals(case):
    block, axes = case
    found = halve(block % 3 if block.dtype.kind in "iu" else block, axes, "mode")
    assert found.dtype == block.dtype
    for index, values in neighbours(block % 3 if block.dtype.kind in "iu" else block, axes):
        counts = dict.fromkeys(values, 0)
        for value in values:
            counts[value] += 1
        assert found[index] == max(counts, key=counts.get)


def test_the_mean_of_booleans_is_their_mode():
    block = np.array([[True, False, True], [True, True, False]])
    assert np.array_equal(halve(block, (0, 1), "mean"), [[True, True]])


@pytest.mark.parametrize(
    ("shape", "axes", "levels", "expected"),
    [
        ((600, 400), (0, 1), None, [(600, 400), (300, 200), (150, 100)]),
        ((256, 257), (0, 1), None, [(256, 257), (128, 129)]),
        ((256, 256), (0, 1), None, [(256, 256)]),
        ((5, 7), (0, 1), 9, [(5, 7), (3, 4), (2, 2), (1, 1)]),
        ((9, 1, 1), (1, 2), 3, [(9, 1, 1)]),
        ((9, 1, 3), (0, 1, 2), 3, [(9, 1, 3), (5, 1, 2), (3, 1, 1)]),
        ((2, 1, 5000), (1, 2), None, [(2, 1, n) for n in (5000, 2500, 1250, 625, 313, 157)]),
        ((5, 7), (0, 1), 1, [(5, 7)]),
    ],
    ids=str,
)
def test_levels_until_small(shape, axes, levels, expected):
    assert halved_shapes(shape, axes, levels, 256) == expected
