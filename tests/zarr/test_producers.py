"""What hands out data may lie, or change it later: what is stored is what was declared, or nothing is."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest

import cpr
from cpr import EncodeError, OMEZarrTarget, ZarrTarget
from cpr.errors import FormatError

KINDS = [ZarrTarget, OMEZarrTarget]
DECLARED = np.arange(8 * 40 * 40, dtype="uint16").reshape(8, 40, 40)


def lazy(chunks=(2, 40, 40), array=DECLARED):
    return da.from_array(array, chunks=chunks)


def one_block(change, chunks=(2, 40, 40), **declared):
    """The declared array, one block of which is what `change` makes of it."""

    def maybe(block, block_id=()):
        return change(block) if block_id == (1, 0, 0) else block

    return lazy(chunks).map_blocks(maybe, meta=np.empty((0, 0, 0), "uint16"), dtype="uint16", **declared)


LIES = {
    "larger integers": lambda b: b.astype("int32") + 70_000,
    "smaller integers": lambda b: (b % 200).astype("uint8"),
    "floats": lambda b: b / 2,
    "NaN": lambda b: np.full(b.shape, np.nan),
    "booleans": lambda b: b > 3,
    "dates": lambda b: b.astype("int64").view("M8[s]"),
    "text": lambda b: b.astype(str),
    "objects": lambda b: b.astype(object),
    "a plane less": lambda b: b[:1],
    "a plane more": lambda b: np.concatenate([b, b[:1]]),
    "an axis less": lambda b: b[0],
    "an axis more": lambda b: b[None],
    "axes of one": lambda b: b[:1, :1, :1],
    "turned axes": lambda b: b.transpose(1, 2, 0),
    "a number": lambda _: np.uint16(7),
    "masked": lambda b: np.ma.masked_greater(b, 5),
    "masked, nothing is": lambda b: np.ma.asarray(b),
}


def refuses(kind, tmp_path, data):
    target = kind.from_path(tmp_path / "cells.ome.zarr")
    with pytest.raises(EncodeError) as caught:
        target.set_data(data)
    assert caught.value.remedy and caught.value.field
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
    with pytest.raises(cpr.NoDataError):
        target.persist()
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lie", LIES)
def test_a_block_that_is_not_what_dask_declares_is_refused(kind, lie, tmp_path):
    with dask.config.set(scheduler="threads"):
        error = refuses(kind, tmp_path, one_block(LIES[lie]))
    assert "(1, 0, 0)" in str(error) or "masked" in str(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunks", [(3, 40, 40), (2, 40, 16), (1, 7, 9)], ids=str)
@pytest.mark.parametrize("lie", ["larger integers", "smaller integers", "a plane more", "masked"])
def test_also_where_blocks_are_rechunked_before_they_are_written(kind, chunks, lie, tmp_path):
    data = one_block(LIES[lie], chunks)
    target = kind.from_path(tmp_path / "cells.ome.zarr", chunks=(4, 16, 16))
    with dask.config.set(scheduler="threads"), pytest.raises(EncodeError):
        target.set_data(data)


@pytest.mark.parametrize("kind", KINDS)
def test_also_in_the_other_byte_order(kind, tmp_path):
    def swap(block):
        return block.astype("<i4") + 70_000

    data = lazy(array=DECLARED.astype(">u2")).map_blocks(swap, dtype=">u2", meta=np.empty((0, 0, 0), ">u2"))
    with dask.config.set(scheduler="threads"):
        refuses(kind, tmp_path, data)


@pytest.mark.parametrize("kind", KINDS)
def test_byte_order_alone_is_no_lie(kind, tmp_path):
    data = lazy().map_blocks(lambda b: b.astype(">u2"), dtype="uint16")
    target = kind.from_path(tmp_path / "cells.ome.zarr")
    with dask.config.set(scheduler="threads"):
        target.set_data(data)
    stored = cpr.load(target.serialize()).get_data(region=np.s_[:])
    assert np.array_equal(stored, DECLARED) and stored.dtype == np.dtype("uint16")


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_dask_array_is_refused_before_anything_is_computed(kind, tmp_path):
    data = da.ma.masked_greater(lazy(), 5).map_blocks(lambda b: 1 / 0 if b.size else b, dtype="uint16")
    error = refuses(kind, tmp_path, data)
    target = kind.from_path(tmp_path / "cells.ome.zarr")
    target.set_data(da.ma.filled(da.ma.masked_greater(lazy(), 5), 0))  # the remedy
    assert "ma.filled" in error.remedy
    assert target.get_data(region=np.s_[:]).max() == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"chunks": (4, 16, 16)}])
def test_blocks_of_unknown_size_are_refused(kind, options, tmp_path):
    data = lazy()[lazy()[:, 0, 0] > 4]
    target = kind.from_path(tmp_path / "cells.ome.zarr", **options)
    with pytest.raises(EncodeError, match="compute_chunk_sizes"):
        target.set_data(data)
    target.set_data(data.compute_chunk_sizes())  # the remedy


class Elsewhere:
    """An array that declares something, and gives what it likes."""

    def __init__(self, change, chunks=(2, 40, 40)):
        self.shape, self.dtype, self.chunks, self._change = DECLARED.shape, DECLARED.dtype, chunks, change
        self._array = DECLARED

    def __getitem__(self, region):
        return self._change(self._array[region])

    @classmethod
    def of(cls, array):
        found = cls(lambda part: part)
        found.dtype, found._array = array.dtype, array
        return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lie", LIES)
def test_an_array_elsewhere_that_lies_is_refused(kind, lie, tmp_path):
    refuses(kind, tmp_path, Elsewhere(LIES[lie]))


@pytest.mark.parametrize("made", [np.asarray, Elsewhere.of, lambda a: da.from_array(a, chunks=(2, 40, 40))])
@pytest.mark.parametrize("kind", KINDS)
def test_booleans_of_any_byte_are_stored_as_one(kind, made, tmp_path):
    odd = (DECLARED % 3).astype("uint8").view(bool)
    hashes = set()
    for array in (odd, odd.astype("uint8") > 0, odd[:, ::-1][:, ::-1]):
        target = kind.from_path(tmp_path / "cells.ome.zarr")
        with dask.config.set(scheduler="threads"):
            target.set_data(made(array))
        hashes.add(target.data_hash)
        stored = target.get_data(region=np.s_[:])
        assert set(np.unique(stored.view("uint8"))) == {0, 1}
    assert len(hashes) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_array_is_refused(kind, tmp_path):
    refuses(kind, tmp_path, np.ma.masked_greater(DECLARED, 5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compressors", ["zstd", None])
def test_one_buffer_that_is_filled_again_and_again(kind, compressors, tmp_path):
    def planes():
        buffer = np.empty(DECLARED.shape[1:], DECLARED.dtype)
        for plane in DECLARED:
            buffer[...] = plane
            yield buffer
            buffer[...] = 0xDEAD

    target = kind.from_path(tmp_path / "cells.ome.zarr", compressors=compressors)
    target.set_data(planes(), shape=DECLARED.shape, dtype=DECLARED.dtype)
    assert np.array_equal(cpr.load(target.serialize()).get_data(region=np.s_[:]), DECLARED)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compressors", ["zstd", None])
@pytest.mark.parametrize("made", [np.array, lambda a: da.from_array(a, chunks=(2, 40, 40))])
def test_what_is_changed_after_set_data_is_not_stored(kind, compressors, made, tmp_path):
    array = DECLARED.copy()
    target = kind.from_path(tmp_path / "cells.ome.zarr", compressors=compressors)
    with dask.config.set(scheduler="threads"):
        target.set_data(made(array))
    array[...] = 0
    assert np.array_equal(cpr.load(target.serialize()).get_data(region=np.s_[:]), DECLARED)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cache", [False, True])
def test_what_a_reader_does_to_what_it_got_changes_nothing(kind, cache, tmp_path):
    target = kind.from_path(tmp_path / "cells.ome.zarr", attributes={"stage": [1, 2]})
    target.set_data(DECLARED)
    stored = cpr.load(target.serialize())
    node = stored.get_data(cache=cache)
    node.attrs["stage"].clear()
    with pytest.raises((cpr.CprError, ValueError)):
        node.attrs["stage"] = "gone"
    array = node["0"] if kind is OMEZarrTarget else node
    with pytest.raises((cpr.CprError, ValueError)):
        array[...] = 0
    part = stored.get_data(region=np.s_[:])
    part[...] = 0
    assert stored.get_data(cache=cache).attrs["stage"] == [1, 2]
    assert np.array_equal(stored.get_data(region=np.s_[:]), DECLARED)
    assert np.array_equal(cpr.load(target.serialize()).get_data(region=np.s_[:]), DECLARED)


def test_a_part_that_a_source_keeps_is_not_changed_by_who_gets_it(tmp_path):
    target = ZarrTarget.from_path(tmp_path / "cells.zarr")
    target.set_data(DECLARED)
    source = cpr.ZarrSource.from_path(target.persist().url, slices_stop=(2,))
    kept = source.get_data(cache=True)
    with pytest.raises(ValueError, match="read-only"):
        kept[...] = 0
    part = source.get_data(region=np.s_[0])
    part[...] = 0
    own = cpr.ZarrSource.from_path(target.url, slices_stop=(2,)).get_data()
    own[...] = 0
    assert np.array_equal(source.get_data(), DECLARED[:2])


def test_a_source_is_read_only(tmp_path):
    target = ZarrTarget.from_path(tmp_path / "cells.zarr")
    target.set_data(DECLARED)
    node = cpr.ZarrSource.from_path(target.persist().url).get_data()
    with pytest.raises((ValueError, FormatError)):
        node[0] = 0
