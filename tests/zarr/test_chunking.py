"""How arrays are cut when nobody says how."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpr.zarr.options import default_chunks, dividing_chunks

MiB = 1 << 20


@pytest.mark.parametrize(
    ("shape", "itemsize", "chunks"),
    [
        ((660, 550), 2, (660, 550)),  # a camera's image
        ((2048, 2048), 2, (1024, 1024)),
        ((80000, 100000), 1, (1024, 1024)),  # a slide
        ((80000, 100000, 3), 1, (1024, 1024, 3)),
        ((80000, 100000, 3), 2, (512, 1024, 3)),
        ((200, 2048, 2048), 2, (1, 1024, 1024)),  # a stack
        ((200, 2048, 2048), 4, (1, 1024, 1024)),
        ((200, 2048, 2048), 8, (1, 512, 1024)),
        ((1000, 64, 64), 2, (256, 64, 64)),  # many small planes
        ((3, 50, 2048, 2048), 2, (1, 1, 1024, 1024)),
        ((10, 2, 30, 1024, 1024), 2, (1, 1, 1, 1024, 1024)),  # TCZYX
        ((2, 3, 4, 300, 300), 1, (1, 3, 4, 300, 300)),
        ((5000,), 8, (5000,)),
        ((), 4, ()),
        ((0, 4), 1, (1, 4)),
    ],
    ids=str,
)
def test_what_microscopes_make(shape, itemsize, chunks):
    assert default_chunks(shape, itemsize) == chunks


@given(st.lists(st.integers(0, 100_000), max_size=6), st.sampled_from([1, 2, 4, 8, 16]))
def test_chunks_fit_the_array_and_memory(shape, itemsize):
    chunks = default_chunks(tuple(shape), itemsize)
    assert len(chunks) == len(shape)
    assert all(1 <= c <= max(1, n) for c, n in zip(chunks, shape, strict=True))
    assert math.prod(chunks) * itemsize <= 4 * MiB
    whole = math.prod(max(1, n) for n in shape)
    if whole * itemsize <= 2 * MiB and all(n <= 1024 for n in shape):
        assert math.prod(chunks) == whole


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=4))
def test_shards_are_made_of_whole_chunks(shards):
    chunks = dividing_chunks(tuple(shards), 2)
    assert all(n % c == 0 for n, c in zip(shards, chunks, strict=True))
