"""On S3 objects go through obstore; where it fails, the other store does the same."""

from __future__ import annotations

import numpy as np
import pytest
from zarr.storage import FsspecStore, ObjectStore

import cpr

pytest.importorskip("obstore")
pytestmark = pytest.mark.s3

DATA = np.random.default_rng(0).integers(0, 9, (6, 40, 60)).astype("uint16")


def there_and_back(url: str, **options) -> None:
    target = cpr.ZarrTarget.from_path(f"{url}/cells.zarr", **options)
    target.set_data(DATA)
    again = cpr.load(target.serialize())
    assert np.array_equal(again.get_data()[...], DATA)
    again.verify()


@pytest.mark.parametrize(
    "options", [{"chunks": (2, 20, 20)}, {"chunks": (1, 20, 20), "shards": (6, 40, 60)}], ids=str
)
def test_obstore_is_what_is_asked(options, s3_url, monkeypatch):
    async def never(*args, **kwargs):
        raise AssertionError("s3fs was asked")

    monkeypatch.setattr(FsspecStore, "get", never)
    monkeypatch.setattr(FsspecStore, "set", never)
    there_and_back(s3_url, **options)


@pytest.mark.parametrize("often", [2, 1])
def test_what_fails_there_is_asked_of_s3fs(often, s3_url, monkeypatch):
    calls = []

    def failing(method):
        async def failed(*args, **kwargs):
            calls.append(method)
            if len(calls) % often == 0:
                raise RuntimeError("no answer, at http://secret")
            return await method(*args, **kwargs)

        return failed

    monkeypatch.setattr(ObjectStore, "get", failing(ObjectStore.get))
    monkeypatch.setattr(ObjectStore, "set", failing(ObjectStore.set))
    there_and_back(s3_url, chunks=(1, 20, 20))
    assert len(calls) > 5


def test_without_obstore_s3fs_does_everything(s3_url, monkeypatch):
    import cpr.zarr.stores.bare_store

    monkeypatch.setattr(cpr.zarr.stores.bare_store, "fast_bucket", lambda fs, bucket: None)
    there_and_back(s3_url, chunks=(1, 20, 20))
