"""Every client that s3fs makes has our rule of repeating requests, whichever of them sends a request."""

from __future__ import annotations

import gc
import weakref

import pytest
from fsspec.asyn import sync

from cpr.io.clients.s3fs import S3Client
from cpr.io.filesystems import filesystem
from tests.faults.conftest import proxy, running_proxy  # noqa: F401 - fixtures


def is_limited(client) -> bool:
    return "cpr-retries" in client.meta.events._emitter._unique_id_handlers


def closed(fs) -> None:
    """End a client's connections, as a loop that ends does: s3fs makes another one for the next request."""
    sync(fs.loop, fs._s3.close)


@pytest.mark.real_s3
def test_a_client_that_is_made_anew(s3_url):
    fs, path = filesystem(s3_url)
    bucket = path.partition("/")[0]
    client = S3Client(fs)
    client.call("list_objects_v2", Bucket=bucket, MaxKeys=1)
    first = fs._s3
    assert is_limited(first)
    closed(fs)
    client.call("list_objects_v2", Bucket=bucket, MaxKeys=1)
    assert fs._s3 is not first
    assert is_limited(fs._s3)
    # And s3fs's own requests, be it without ours before.
    closed(fs)
    fs.call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1)
    assert is_limited(fs._s3)


@pytest.mark.real_s3
def test_clients_of_regions(s3_url, monkeypatch):
    """Where neither region nor endpoint is set s3fs asks each bucket's region, and has a client for each."""
    fs, path = filesystem(s3_url)
    bucket = path.partition("/")[0]
    S3Client(fs).call("list_objects_v2", Bucket=bucket, MaxKeys=1)
    there = fs._s3

    class Regions:
        """As s3fs's: clients by bucket."""

        async def get_bucket_client(self, name):
            assert name == bucket
            return there

    monkeypatch.setattr(fs, "_s3creator", Regions())
    monkeypatch.setattr(fs, "cache_regions", True)
    there.meta.events.unregister("needs-retry.s3", unique_id="cpr-retries")
    assert not is_limited(there)
    S3Client(fs).call("list_objects_v2", Bucket=bucket, MaxKeys=1)
    assert is_limited(there)


@pytest.mark.real_s3
def test_what_a_new_client_sends_is_repeated_as_often(s3_url, proxy):  # noqa: F811
    """BadDigest is repeated in one place, four times in all: botocore alone would make it twenty."""
    fs, path = filesystem(s3_url)
    bucket = path.partition("/")[0]
    S3Client(fs).call("list_objects_v2", Bucket=bucket, MaxKeys=1)
    closed(fs)
    proxy.clear()
    proxy.plan(lambda _, kind: "flip request" if kind == "put" else None)
    with pytest.raises(OSError):
        S3Client(fs).call("put_object", Bucket=bucket, Key=f"{path.partition('/')[2]}/a", Body=b"x" * 1000)
    assert proxy.kinds == ["put"] * 4


def test_the_rule_does_not_keep_a_filesystem():
    from cpr.io.clients.s3_retries import limit_retries

    class Filesystem:
        async def get_s3(self, bucket=None):
            raise AssertionError

    fs = Filesystem()
    limit_retries(fs)
    gone = weakref.ref(fs)
    del fs
    gc.collect()
    assert gone() is None
