"""What cpr.zarr.zarr_internals rests on: these fail when another zarr does it in another way."""

from __future__ import annotations

import threading

import numpy as np
import zarr
from zarr.storage import LocalStore

from cpr.zarr import zarr_internals


def test_sync_awaits_on_zarrs_own_loop():
    async def thread() -> str:
        return threading.current_thread().name

    assert zarr_internals.sync(thread()) != threading.current_thread().name


def test_a_group_holds_an_asynchronous_group_and_is_made_of_one():
    group = zarr.create_group({}, attributes={"a": 1})
    group.create_array("x", shape=(2,), dtype="u1")
    inner = zarr_internals.async_group_of(group)
    assert isinstance(inner, zarr.AsyncGroup)
    assert zarr.Group(inner)["x"].shape == (2,)


def test_codecs_that_are_put_in_the_place_of_an_arrays_are_what_it_reads_with():
    array = zarr.array(np.arange(4), store={})
    seen = []

    class Codecs:
        def __init__(self, codecs):
            self._codecs = codecs

        async def read(self, *args, **kwargs):
            seen.append(1)
            return await self._codecs.read(*args, **kwargs)

        def __getattr__(self, name):
            return getattr(self._codecs, name)

    zarr_internals.wrap_codecs(array, Codecs)
    selections = (
        lambda: array[...],
        lambda: array[1],
        lambda: array.oindex[[1, 2]],
        lambda: array.vindex[[1, 2]],
        lambda: array.blocks[0],
        lambda: array.get_mask_selection(np.array([True, False, True, False])),
        lambda: np.asarray(array),
    )
    for number, select in enumerate(selections, 1):
        select()
        assert len(seen) == number


def test_a_local_store_can_be_opened_twice(tmp_path):
    store = LocalStore(tmp_path)
    zarr_internals.open_local(store)
    zarr_internals.open_local(store)
    assert store._is_open
