"""Requests that wait for one another, of every basic operation: what a far store costs, whatever passes.

The proxy answers in waves: none of a wave before all of it have come. So many waves are so many round trips.
"""

from __future__ import annotations

import numpy as np
import pytest

import cpr
from cpr.io.objects import open_store
from cpr.io.transfer_width import TransferWidth
from cpr.operations.doctor import examine

pytestmark = pytest.mark.s3

PLANES = np.random.default_rng(0).integers(0, 1 << 12, (8, 1024, 1024), "uint16")  # 16 MiB
SMALL = PLANES[0, :32, :64].copy()  # 4 KiB


def stored(target, data):
    target.set_data(data)
    return target.serialize()


@pytest.fixture
def folder(proxy, s3_url):
    """A folder in which nothing is about to be deleted, as is known: it is asked once a minute."""
    stored(cpr.NumpyTarget.from_path(f"{s3_url}/first.npy"), SMALL + 1)
    return s3_url


def trips(proxy, *waves):
    """What the requests since `proxy.waves` were, when it is sure that they came in so many round trips."""
    assert proxy.late == []
    assert len(proxy.kinds) == sum(waves), proxy.kinds
    return proxy.kinds


def test_a_small_write_a_check_and_a_read(proxy, folder):
    proxy.waves(1)
    record = stored(cpr.NumpyTarget.from_path(f"{folder}/a.npy"), SMALL)
    assert trips(proxy, 1) == ["put"]
    proxy.waves(1)
    assert np.array_equal(cpr.load(record).get_data(), SMALL)
    assert trips(proxy, 1) == ["get"]
    proxy.waves(1)
    serializer = cpr.cpr_serializer()
    serializer.loads(serializer.dumps(cpr.load(record)))
    assert trips(proxy, 1) == ["head"]


@pytest.mark.real_s3
def test_a_refusal_that_is_wanted_is_asked_for_once(proxy, s3_url):
    """`cpr doctor` sends a body with a wrong checksum; botocore would send it for half a minute."""
    assert {one.check: one.status for one in examine(s3_url, mib=0).findings}["checksums"] == "good"
    assert proxy.kinds.count("put") < 12
    before = len(proxy.kinds)
    store, path = open_store(f"{s3_url}/digest")
    with pytest.raises(OSError, match="Content"):
        store.put_once(path, b"a body", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
    assert proxy.kinds[before:] == ["put"]


REGIONS = {
    # Digests, begin and end at once; then the page's directory, and its pixels.
    "tiff-zlib": (lambda f: cpr.ImageTarget.from_path(f"{f}/a.tif"), (3, 1, 1)),
    "tiff-none": (lambda f: cpr.ImageTarget.from_path(f"{f}/a.tif", compression=None), (3, 1)),
    "ome-tiff-zlib": (lambda f: cpr.ImageTarget.from_path(f"{f}/a.ome.tif"), (3, 1, 1)),
    "ome-tiff-none": (lambda f: cpr.ImageTarget.from_path(f"{f}/a.ome.tif", compression=None), (3, 1)),
    "imagej": (lambda f: cpr.ImageTarget.from_path(f"{f}/a.tif", imagej=True), (3, 1, 1)),
    # Whose end tells nothing.
    "npy": (lambda f: cpr.NumpyTarget.from_path(f"{f}/a.npy"), (2, 1)),
}


@pytest.mark.parametrize("name", REGIONS)
def test_a_region(proxy, folder, name):
    make, waves = REGIONS[name]
    record = stored(make(folder), PLANES)
    proxy.waves(*waves)
    assert np.array_equal(cpr.load(record).get_data(region=np.s_[5, 100:900]), PLANES[5, 100:900])
    assert set(trips(proxy, *waves)) == {"get"}


def test_regions_of_many_planes_are_read_side_by_side(proxy, folder):
    record = stored(cpr.ImageTarget.from_path(f"{folder}/a.tif"), PLANES)
    proxy.waves(3, 3, 3)
    assert np.array_equal(cpr.load(record).get_data(region=np.s_[1:7:2]), PLANES[1:7:2])
    trips(proxy, 3, 3, 3)


def test_a_chunk_of_a_zarr(proxy, folder):
    data = PLANES[:, :512, :512]
    record = stored(cpr.ZarrTarget.from_path(f"{folder}/a.zarr", chunks=(1, 512, 512)), data)
    # Manifest and metadata at once, then the chunk.
    proxy.waves(2, 1)
    assert np.array_equal(cpr.load(record).get_data()[3], data[3])
    trips(proxy, 2, 1)


def test_a_large_write(proxy, s3_url, monkeypatch):
    """Four beside the parts: what is about to be deleted, is the place free and begin, complete, preview."""
    monkeypatch.setattr(TransferWidth, "is_far", True)
    target = cpr.NumpyTarget.from_path(f"{s3_url}/a.npy")
    target.set_data(PLANES)
    proxy.waves(1, 2, 5, 1, 1)
    target.persist()
    kinds = trips(proxy, 1, 2, 5, 1, 1)
    assert kinds[0] == "list"
    assert sorted(kinds[1:3]) == ["create", "head"]
    assert sorted(kinds[3:8]) == ["part"] * 4 + ["put"]  # 5 MiB each, and the digests of blocks
    assert kinds[8:] == ["complete", "put"]


def test_an_object_that_is_there_is_not_sent_again(proxy, folder, monkeypatch, open_uploads):
    monkeypatch.setattr(TransferWidth, "is_far", True)
    target = cpr.NumpyTarget.from_path(f"{folder}/a.npy")
    record = stored(target, PLANES)
    proxy.clear()
    twin = cpr.NumpyTarget.from_path(f"{folder}/a.npy")
    assert stored(twin, PLANES) == record
    assert "part" not in proxy.kinds
    assert open_uploads() == []
