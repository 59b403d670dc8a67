"""Reads through obstore: where they are taken, where they are not, and that nobody notices."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cpr import io
from cpr.errors import ResourceNotFoundError
from cpr.io import error_translation as failures
from cpr.io.clients.s3fs import S3Client
from cpr.io.filesystems import filesystem
from cpr.io.objects import open_store
from cpr.io.stores import s3_obstore as fast

pytestmark = pytest.mark.s3


@pytest.fixture
def url(s3_url):
    with io.writing(f"{s3_url}/a.bin") as file:
        file.write(bytes(range(256)) * 5000)
    return f"{s3_url}/a.bin"


def bucket_of(url):
    fs, path = filesystem(url)
    return fast.fast_bucket(fs, path.partition("/")[0]), path.partition("/")[2]


def read(url) -> bytes:
    with io.reading(url) as file:
        return file.read()


def test_obstore_gives_what_s3fs_gives(url, monkeypatch):
    bucket, key = bucket_of(url)
    assert bytes(bucket.fetch(key, 100, 300)) == (bytes(range(256)) * 2)[100:300]
    assert bucket.stat(key) == io.stat(url)
    with_it = io.stat(url), read(url), list(io.find(f"{url[:-5]}*").items())
    monkeypatch.setattr("cpr.io.stores.s3_obstore.fast_bucket", lambda fs, name: None)
    assert (io.stat(url), read(url), list(io.find(f"{url[:-5]}*").items())) == with_it


def test_what_is_missing_is_missing(url, s3_url):
    bucket, _ = bucket_of(url)
    with pytest.raises(FileNotFoundError):
        bucket.stat("no/such/key")
    assert io.lookup(f"{s3_url}/nothing.bin") is None
    with pytest.raises(ResourceNotFoundError, match="no such bucket"):
        io.stat(f"s3://no-such-bucket-{os.getpid()}/a.bin")


# One that obstore spells otherwise, in the midst: MinIO has no "a//b", other stores do.
NAMES = [
    "a b.txt",
    "a#?%41.txt",
    "a%2fb",
    "é/ü.txt",
    "c/d/e.txt",
    "c.txt",
    "c/.hidden",
    "~",
    "[x]",
    "folder/",
]


def walked(url):
    store, path = open_store(url)
    return [(entry.url, entry.modified, entry.nbytes) for entry in store.walk(path)]


def test_listings_of_obstore_are_those_of_s3fs(s3_url, s3_server, monkeypatch):
    prefix = s3_url.partition("://")[2].partition("/")[2]
    client = s3_server.client()
    for number, name in enumerate([*NAMES, *(f"many/{n:04}" for n in range(1100))]):
        body = b"" if name.endswith("/") else b"x" * number
        client.put_object(Bucket=s3_server.bucket, Key=f"{prefix}/{name}", Body=body)
    # It begins like the folder, and is not in it.
    client.put_object(Bucket=s3_server.bucket, Key=f"{prefix}-beside/a.txt", Body=b"")
    with_it = walked(s3_url)
    # The marker of a folder is no object.
    assert len(with_it) == len([name for name in NAMES if not name.endswith("/")]) + 1100
    assert len(walked(f"{s3_url}/c")) == 2
    below = fast.FastBucket.list_keys

    def breaking(self, folder, may_begin_anywhere):
        for number, one in enumerate(below(self, folder, may_begin_anywhere)):
            if number == 700:
                raise ValueError("a key that it cannot spell")
            yield one

    monkeypatch.setattr(fast.FastBucket, "list_keys", breaking)
    assert walked(s3_url) == with_it
    monkeypatch.setattr("cpr.io.stores.s3_obstore.fast_bucket", lambda fs, name: None)
    assert walked(s3_url) == with_it


def test_minio_is_listed_page_by_page(s3_url, s3_server):
    if "MinIO" not in s3_server.description:
        pytest.skip("another server")
    store, path = open_store(s3_url)
    assert store._is_minio(path.partition("/")[0])


@pytest.mark.parametrize(
    "name", ["run 1", "run#1", "50%", "a%20b", "~", "[x]", "{a}", "a?b", "a*b", "a\\b", "é", "<a>"]
)
def test_a_folder_of_any_name_is_listed(s3_url, name):
    with io.writing(f"{s3_url}/{name}/a.txt") as file:
        file.write(b"x")
    assert [url for url, _, _ in walked(f"{s3_url}/{name}")] == [f"{s3_url}/{name}/a.txt"]
    bucket, key = bucket_of(f"{s3_url}/{name}")
    assert [found.key for found in bucket.list_keys(key)] == [f"{key}/a.txt"]


def test_a_bucket_that_is_missing_is_said_to_be(s3_url):
    raised = pytest.raises(ResourceNotFoundError, match="no such bucket")
    with raised, failures.translate_errors("s3://no-such-bucket", "list"):
        walked(f"s3://no-such-bucket-{os.getpid()}/a")


@pytest.mark.parametrize(
    "configuration",
    [
        '{"requester_pays": true}',
        '{"client_kwargs": {"verify": false}}',
        '{"config_kwargs": {"proxies": {}}}',
        '{"config_kwargs": {"s3": {"addressing_style": "virtual"}}}',
        '{"version_aware": true}',
        '{"s3_additional_kwargs": {"RequestPayer": "requester"}}',
    ],
)
def test_what_obstore_may_not_understand_is_left_to_s3fs(url, configuration, monkeypatch):
    import fsspec.config

    monkeypatch.setenv("FSSPEC_S3", configuration)
    monkeypatch.setattr(fsspec.config, "conf", {})
    fsspec.config.set_conf_env(fsspec.config.conf)
    assert bucket_of(url)[0] is None


def test_it_is_given_up_when_it_keeps_failing(url, monkeypatch):
    _bucket, _key = bucket_of(url)
    asked = []

    def failing(*args, **kwargs):
        asked.append(args)
        raise RuntimeError("no")

    broken = fast.FastBucket(None)
    monkeypatch.setattr("obstore.get_range", failing)
    monkeypatch.setattr("cpr.io.stores.s3_obstore.fast_bucket", lambda fs, name: broken)
    for _ in range(9):
        assert read(url)[:3] == b"\0\1\2"
    assert 0 < len(asked) < 9


def test_without_obstore_s3fs_reads(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    monkeypatch.setattr(fast, "_BUCKETS", "_of_this_test")
    assert bucket_of(url)[0] is None
    assert len(read(url)) == 256 * 5000


FORK = """
import os, sys
from cpr import io
from cpr.io import error_translation
from cpr.io.stores import s3_obstore as fast
from cpr.io.filesystems import filesystem
from cpr.io.fork_safe import PerProcess
from cpr.io.objects import open_store

def read():
    fs, path = filesystem(sys.argv[1])
    with io.reading(sys.argv[1]) as file:
        return fast.fast_bucket(fs, path.partition("/")[0]), file.read()

bucket, data = read()
assert bucket is not None
child = os.fork()
if not child:
    bucket, again = read()
    os._exit(0 if bucket is None and again == data else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_reads_through_s3fs(url):
    # In a process of its own, which has no threads but those that matter here.
    done = subprocess.run(
        [sys.executable, "-c", FORK, url], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_credentials_that_rotate_are_asked_for_again(url, s3_server):
    fs, _path = filesystem(url)
    bucket, _ = bucket_of(url)
    assert bucket is not None
    given = fast._credentials(S3Client(fs)._credentials(fs.s3))
    assert given["access_key_id"] == s3_server.access_key
    assert given["expires_at"] is None
    credentials = fs.s3._request_signer._credentials

    class Rotating:
        def refresh_needed(self):
            return False

        get_frozen_credentials = credentials.get_frozen_credentials

    class Client:
        class _request_signer:
            _credentials = Rotating()

    assert fast._credentials(S3Client(fs)._credentials(Client()))["expires_at"] is not None
