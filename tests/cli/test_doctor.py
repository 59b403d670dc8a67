"""`cpr doctor` passes on stores that are fit, and names what is wrong with others."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from cpr import io
from cpr.operations.doctor import examine
from tests.cli.faulty_stores import READ, WRITE, DropsConditions, OtherTime, open_to_everybody
from tests.minio import buckets
from tests.minio.process import free_ports


def wrong(found) -> dict[str, str]:
    return {one.check: f"{one.text}. {one.remedy}" for one in found.findings if one.status == "wrong"}


@pytest.fixture
def bucket(s3_server):
    """A bucket of the test's own."""
    name = f"cpr-doctor-{secrets.token_hex(6)}"
    client = s3_server.client()
    buckets.create(client, name)
    yield name
    client.delete_bucket_policy(Bucket=name)
    buckets.remove(client, name)


def test_fit_places(tmp_path):
    for url in (str(tmp_path), "memory://doctor"):
        found = examine(url, mib=1)
        assert found.is_fit, wrong(found)
        assert {one.status for one in found.findings} <= {"good", "not tried"}
        assert io.find(f"{url}/**") == {}
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_below_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    found = examine(str(tmp_path / "file"), mib=0)
    assert not found.is_fit


@pytest.mark.real_s3
def test_fit_on_s3(s3_url, open_uploads):
    found = examine(s3_url, mib=2)
    assert found.is_fit, wrong(found)
    assert {one.status for one in found.findings} == {"good"}
    assert io.find(f"{s3_url}/**") == {}
    assert open_uploads() == []


@pytest.mark.real_s3
def test_wrong_key(s3_url, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    assert "does not know this key" in wrong(examine(s3_url))["reach"]


@pytest.mark.real_s3
def test_wrong_secret(s3_url, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    assert "secret key does not fit" in wrong(examine(s3_url))["reach"]


@pytest.mark.real_s3
def test_no_such_bucket(s3_server):
    assert "no such bucket" in wrong(examine("s3://cpr-no-such-bucket/results"))["reach"]


@pytest.mark.real_s3
@pytest.mark.slow
def test_wrong_endpoint(s3_url, monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_ports(1)[0]}")
    found = wrong(examine(s3_url))
    assert "answers at the endpoint" in found["reach"]
    assert "AWS_ENDPOINT_URL" in found["reach"]


@pytest.mark.real_s3
def test_read_only(s3_server, bucket, monkeypatch):
    open_to_everybody(s3_server.client(), bucket, READ)
    monkeypatch.setenv("FSSPEC_S3", json.dumps({"anon": True}))
    _as_configured(monkeypatch)
    found = wrong(examine(f"s3://{bucket}/results"))
    assert list(found) == ["write"]
    assert "no permission to write" in found["write"]


@pytest.mark.real_s3
def test_a_proxy_that_drops_conditions(s3_server, bucket, monkeypatch):
    open_to_everybody(s3_server.client(), bucket, READ + WRITE)
    monkeypatch.setenv("FSSPEC_S3", json.dumps({"anon": True}))
    _as_configured(monkeypatch)
    with DropsConditions(s3_server.endpoint) as proxy:
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, proxy.endpoint)
        found = wrong(examine(f"s3://{bucket}/results", mib=1))
    assert list(found) == ["conditional writes"]
    assert "proxy" in found["conditional writes"]


@pytest.mark.real_s3
def test_another_time(s3_server, s3_url, monkeypatch):
    with OtherTime(s3_server.endpoint, -timedelta(minutes=20)) as proxy:
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, proxy.endpoint)
        found = wrong(examine(s3_url, mib=1))
    assert list(found) == ["clock"]
    assert "ahead of the store's" in found["clock"]


@pytest.mark.real_s3
def test_a_time_that_the_store_refuses(s3_url, monkeypatch):
    """Requests are signed as by a machine whose clock is an hour late."""
    for module in ("botocore.auth", "botocore.crt.auth"):
        monkeypatch.setattr(f"{module}.get_current_datetime", _an_hour_ago)
    monkeypatch.setattr("cpr.io.stores.s3_obstore.fast_bucket", lambda *_: None)
    assert "clocks" in wrong(examine(s3_url))["reach"]


@pytest.mark.real_s3
def test_leftovers_are_listed_and_removed(s3_server, s3_url, monkeypatch, open_uploads):
    bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
    s3_server.client().create_multipart_upload(Bucket=bucket, Key=f"{prefix}/half.tif")
    assert examine(s3_url, mib=0).orphans == []  # it may be somebody's work
    monkeypatch.setattr("cpr.operations.doctor._A_DAY", timedelta(seconds=-60))
    found = examine(s3_url, mib=0)
    assert wrong(found) == {}
    assert [one.url for one in found.orphans] == [f"{s3_url}/half.tif"]
    assert len(open_uploads()) == 1  # only told of
    assert examine(s3_url, mib=0, remove_orphans=True).removed
    assert open_uploads() == []


def _as_configured(monkeypatch) -> None:
    """Have fsspec read its variables again, as a new process would."""
    import fsspec.config

    configuration: dict = {}
    fsspec.config.set_conf_env(configuration)
    monkeypatch.setattr(fsspec.config, "conf", {**fsspec.config.conf, **configuration})


def _an_hour_ago(remove_tzinfo: bool = True) -> datetime:
    then = datetime.now(UTC) - timedelta(hours=1)
    return then.replace(tzinfo=None) if remove_tzinfo else then


def test_fit_on_the_gcs_emulator(gs_url):
    found = examine(gs_url, mib=1)
    assert found.is_fit, wrong(found)
    assert {one.check for one in found.findings if one.status != "good"} == {"checksums"}  # not tried
    assert io.find(f"{gs_url}/**") == {}


def test_fit_on_sftp(sftp_url):
    found = examine(sftp_url, mib=1)
    assert found.is_fit, wrong(found)
    assert {one.check for one in found.findings if one.status == "poor"} <= {"conditional writes"}
