"""Keys that S3 allows and other tools trip over: read as they are, never another object's data.

On moto, for MinIO refuses most of them; Amazon's S3 and Google's store take them all.
"""

from __future__ import annotations

import boto3
import pytest

import cpr
from cpr import io
from cpr.io.objects import open_store

moto = pytest.importorskip("moto.server")

ODD = ["2018/11//a.csv", "2018/11/a.csv", "only//b.csv", "/root.csv", "root.csv", "x/?a=1.csv",
       "x/#b.csv", "x/a%2Fb.csv", "x/a+b c.csv", "x/ü.csv", "x/dir/", "x/dir/inside.csv",
       "x/empty.csv", "deep///c.csv"]  # fmt: skip


@pytest.fixture
def bucket(monkeypatch):
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="odd")
    for key in ODD:
        body = b"" if key in ("x/dir/", "x/empty.csv") else b"key\n" + key.encode() + b"\n"
        client.put_object(Bucket="odd", Key=key, Body=body)
    yield client
    server.stop()


FULL = [key for key in ODD if key not in ("x/dir/", "x/empty.csv")]


@pytest.mark.parametrize("key", FULL)
def test_a_key_is_read_as_it_is(bucket, key):
    source = cpr.CSVSource.from_path(f"s3://odd/{key}")
    assert source.get_data()["key"].tolist() == [key]
    assert source.url == f"s3://odd/{key}"
    assert cpr.load(source.serialize()).get_data()["key"].tolist() == [key]


def test_all_are_found_under_their_own_names(bucket):
    assert set(io.find("s3://odd/**")) == {f"s3://odd/{key}" for key in ODD if not key.endswith("/")}
    assert set(io.find("s3://odd/2018/**/*.csv")) == {"s3://odd/2018/11//a.csv", "s3://odd/2018/11/a.csv"}
    assert set(io.find("s3://odd/only/**/*.csv")) == {"s3://odd/only//b.csv"}
    found = cpr.CSVSource.glob("s3://odd/2018/**/*.csv")
    assert [source.get_data()["key"][0] for source in found] == ["2018/11//a.csv", "2018/11/a.csv"]


@pytest.mark.parametrize("folder", ["", "/x", "/2018/11", "/2018/11//", "/only", "/deep"])
def test_a_walk_gives_every_key_once(bucket, folder):
    store, path = open_store(f"s3://odd{folder}")
    prefix = folder[1:] if folder.endswith("/") or not folder else f"{folder[1:]}/"
    expected = sorted(f"s3://odd/{key}" for key in ODD if key.startswith(prefix) and not key.endswith("/"))
    assert sorted(entry.url for entry in store.walk(path)) == expected


def test_what_is_written_there_comes_back(bucket):
    target = cpr.NumpyTarget.from_path("s3://odd/out//twice.npy")
    target.set_data([1, 2, 3])
    record = target.serialize()
    assert cpr.load(record).get_data().tolist() == [1, 2, 3]
    keys = [one["Key"] for one in bucket.list_objects_v2(Bucket="odd", Prefix="out/")["Contents"]]
    assert len(keys) == 1
    assert keys[0].startswith("out//twice-")
