"""What parts ask of a bucket beside their objects, counted at a proxy."""

from __future__ import annotations

import pickle
import time

import dask
import dask.array as da
import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError, TransferError
from cpr.zarr.parts import resumed, target_in_parts
from cpr.zarr.stores import versioned_store

pytestmark = pytest.mark.real_s3

COUNT = 6
DATA = np.random.default_rng(0).integers(1, 60_000, (COUNT, 64, 96)).astype("uint16")
OPTIONS = {"chunks": (1, 64, 96), "compressors": None}


def volume(url, data=DATA):
    whole = cpr.ZarrTarget.from_path(
        f"{url}/volume.zarr", shape=data.shape, dtype=data.dtype, base=False, **OPTIONS
    )
    parts = [whole.part(region) for region in whole.regions((1,))]
    for part, plane in zip(parts, data, strict=True):
        part.set_data(plane[None])
        part.persist()
    return whole, parts


def test_a_part_asks_for_what_is_published_and_twice_for_the_marker(proxy, s3_url):
    whole, parts = volume(s3_url)
    proxy.clear()
    again = whole.part(np.s_[2:3])
    again.set_data(DATA[2:3])
    again.persist()
    assert proxy.kinds.count("head") == 3
    assert proxy.kinds.count("put") == 3  # its chunk, the metadata, its digests
    whole.assemble([*parts[:2], again, *parts[3:]]).verify()


def test_what_was_changed_later_is_read(proxy, s3_url):
    """However closely the store tells times."""
    whole, parts = volume(s3_url)
    time.sleep(1.1)  # not in the same second
    with io.writing(next(iter(io.find(f"{s3_url}/volume-*.zarr/c/3/**")))) as file:
        file.write(bytes(DATA[3].nbytes))
    with pytest.raises(CorruptDataError):
        whole.assemble(parts)


def test_what_was_not_changed_is_not_read_however_closely_the_store_tells_times(proxy, s3_url):
    whole, parts = volume(s3_url)
    proxy.clear()
    whole.assemble(parts)
    # The manifests, and the array's metadata: of the chunks nothing, and no HEAD for each part.
    assert proxy.kinds.count("get") == COUNT + 1
    assert proxy.kinds.count("head") < COUNT
    whole.verify()


def test_a_store_that_refuses_the_parts_of_an_earlier_run_is_an_error(proxy, s3_url, monkeypatch):
    """All would be computed anew otherwise, without a word."""
    monkeypatch.setattr(target_in_parts, "running_key", lambda: "a task and its inputs")
    options = {"shape": DATA.shape, "dtype": DATA.dtype, "base": False, **OPTIONS}
    killed = cpr.ZarrTarget.from_path(f"{s3_url}/volume.zarr", **options)
    for region in killed.missing((1,))[:4]:
        killed[region] = DATA[region]
    again = cpr.ZarrTarget.from_path(f"{s3_url}/volume.zarr", **options)
    proxy.plan(lambda _number, kind: "403" if kind == "get" else None)
    with pytest.raises(TransferError):
        again.missing((1,))
    assert proxy.broken
    proxy.clear()
    assert len(again.missing((1,))) == COUNT - 4


@pytest.mark.parametrize("size", [(64, 96), (512, 512)], ids=["small", "over 1 MiB"])
def test_parts_of_a_run_find_the_earlier_result(size, proxy, s3_url, monkeypatch):
    """Whether it is worth looking for, the whole says, however small its parts are."""
    data = np.random.default_rng(1).integers(1, 60_000, (COUNT, *size)).astype("uint16")
    changed = data + (np.arange(COUNT) == 4)[:, None, None].astype("uint16")
    written = []
    for key, values in (("first", data), ("second", changed)):
        monkeypatch.setattr(resumed, "running_key", lambda key=key: key)
        target = cpr.ZarrTarget.from_path(f"{s3_url}/cells.zarr", chunks=(1, *size), compressors=None)
        with dask.config.set(scheduler="threads"):
            target.set_data(da.from_array(values, chunks=(1, *size)))
        written.append(target.persist())
        assert np.array_equal(target.get_data()[...], values)
    assert written[0].copied == 0
    assert written[1].copied == (5 * data[0].nbytes if data.nbytes > 1 << 20 else 0)
    written[1].verify()


def test_the_earlier_manifest_is_fetched_once_for_all_chunks(proxy, s3_url):
    data = np.random.default_rng(2).integers(1, 60_000, (32, 128, 256)).astype("uint16")
    options = {"chunks": (1, 128, 256), "compressors": None}
    written = []
    for step in (0, 1):
        data[7] += step
        target = cpr.ZarrTarget.from_path(f"{s3_url}/volume.zarr", **options)
        proxy.clear()
        target.set_data(data.copy())
        written.append(target.persist())
    assert written[1].copied == 31 * data[0].nbytes
    assert proxy.kinds.count("get") <= 2


def test_threads_of_a_worker_list_a_source_once(proxy, s3_url):
    target = cpr.ZarrTarget.from_path(f"{s3_url}/volume.zarr", base=False, **OPTIONS)
    target.set_data(DATA)
    target.persist()
    source = cpr.ZarrSource.from_path(target.url)
    source.identity()
    sent = pickle.dumps(source.get_data())
    versioned_store._listings.clear()
    array = pickle.loads(sent)
    proxy.clear()
    assert np.array_equal(array[...], DATA)
    assert proxy.kinds.count("list") == 1
