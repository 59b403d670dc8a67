"""The local table: two endpoints in one process, and what records may name."""

from __future__ import annotations

import json
import logging
import os
import pickle
from contextlib import ExitStack
from pathlib import Path

import fsspec.config
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cpr
from cpr import io
from cpr.errors import ConfigurationError, CprError, RecordError, TransferError
from cpr.io.config import VARIABLE, Table, current_table, steps_of
from cpr.io.filesystems import filesystem
from cpr.io.url_policy import require_safe
from tests.minio import buckets
from tests.minio.server import S3Server, running_server

CANARY = "canary-0123456789"


def configured(monkeypatch, table) -> None:
    monkeypatch.setenv(VARIABLE, table if isinstance(table, str) else json.dumps(table))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://lab/a.tif", {"n": 1}),
        ("s3a://lab/a.tif", {"n": 1}),
        ("s3://lab", {"n": 1}),
        ("s3://lab/raw/a.tif", {"n": 2}),
        ("s3://lab/raw", {"n": 2}),
        ("s3://lab/raw2/a.tif", {"n": 1}),
        ("s3://lab/deep/raw/a.tif", {"n": 1}),
        ("s3://lab2/a.tif", {}),
        ("gs://lab/a.tif", {"n": 3}),
        ("gcs://any/a.tif", {"n": 3}),
        ("sftp://host:22/a.tif", {"n": 4}),
        ("sftp://host/a.tif", {}),
        ("/lab/raw/a.tif", {}),
    ],
)
def test_the_longest_prefix_wins_folder_by_folder(monkeypatch, url, expected):
    places = {"s3://lab": {"n": 1}, "s3://lab/raw/": {"n": 2}, "gs://": {"n": 3}, "sftp://host:22": {"n": 4}}
    configured(monkeypatch, {"places": places})
    assert current_table().options_for(url) == expected


STEPS = st.lists(st.text("ab/.[*", min_size=1, max_size=3).map(lambda s: s.replace("/", "a")), max_size=4)


@given(st.dictionaries(STEPS.map(tuple), st.integers(), max_size=6), STEPS)
def test_no_url_is_covered_by_what_is_no_folder_of_it(prefixes, steps):
    places = {steps_of("s3://" + "/".join(prefix)): {"n": n} for prefix, n in prefixes.items()}
    found = Table(places).options_for("s3://" + "/".join(steps))
    covering = [prefix for prefix in prefixes if tuple(steps[: len(prefix)]) == prefix]
    assert found == ({"n": prefixes[max(covering, key=len)]} if covering else {})


def test_files_in_toml_and_json_are_read_again_when_they_change(monkeypatch, tmp_path):
    toml, other = tmp_path / "storage.toml", tmp_path / "storage.json"
    toml.write_text('records = ["s3://lab"]\n[places."s3://lab"]\nanon = true\n')
    configured(monkeypatch, str(toml))
    assert current_table().options_for("s3://lab/a") == {"anon": True}
    assert current_table() is current_table()
    toml.write_text('[places."s3://lab"]\nanon = false\n')
    assert current_table().options_for("s3://lab/a") == {"anon": False}
    other.write_text('{"places": {"s3://lab": {"anon": null}}}')
    other.replace(toml.with_suffix(".json"))
    configured(monkeypatch, str(toml.with_suffix(".json")))
    assert current_table().options_for("s3://lab/a") == {"anon": None}
    monkeypatch.delenv(VARIABLE)
    assert current_table().options_for("s3://lab/a") == {}
    assert current_table().allows("/anything")


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ('{"places": ' + CANARY, None),
        ("[]", None),
        ('{"place": {}}', "'place'"),
        ('{"places": []}', "places"),
        ('{"places": {"s3://b": "' + CANARY + '"}}', "places.'s3://b'"),
        ('{"places": {"s3://b": {"key": NaN}}}', "places.'s3://b'.'key'"),
        ('{"places": {"s3://b": {"config_kwargs": {"s3": [1, Infinity]}}}}', "config_kwargs'.'s3'[1]"),
        ('{"places": {"s3://b": {"asynchronous": true}}}', "places.'s3://b'.'asynchronous'"),
        ('{"places": {"s3://b": {"target_options": {}}}}', "'target_options'"),
        ('{"places": {"s3://b": {}, "s3a://b/": {}}}', "places.'s3a://b/'"),
        ('{"places": {"/data": {}}}', "places.'/data'"),
        ('{"places": {"file:///data": {}}}', "places.'file:///data'"),
        ('{"places": {"bucket": {}}}', "places.'bucket'"),
        ('{"places": {"": {}}}', "places.''"),
        ('{"places": {"nonsense://b": {}}}', "places.'nonsense://b'"),
        ('{"places": {"zip://x::s3://b": {}}}', "places.'zip://x::s3://b'"),
        ('{"places": {"s3://b/../c": {}}}', "places.'s3://b/../c'"),
        ('{"places": {"sftp://me:' + CANARY + '@host": {}}}', "places.'sftp://***@host'"),
        ('{"records": "s3://b"}', "records"),
        ('{"records": ["s3://b", 7]}', "records[1]"),
        ('{"records": ["results"]}', "records[0]"),
        ('{"records": ["s3://b\\u0000"]}', "records[0]"),
    ],
)
def test_what_is_wrong_is_named_and_not_quoted(monkeypatch, tmp_path, table, field):
    path = tmp_path / "storage.json"
    path.write_text(table)
    for setting, name in [(str(path), str(path)), *([(table, VARIABLE)] if table.startswith("{") else [])]:
        configured(monkeypatch, setting)
        for ask in (current_table, lambda: io.stat("memory://a/b"), lambda: require_safe("/data", "a.tif")):
            with pytest.raises(ConfigurationError) as caught:
                ask()
            assert caught.value.url == name
            assert field is None or field in caught.value.field
            assert CANARY not in str(caught.value)
            assert caught.value.__cause__ is None
            assert pickle.loads(pickle.dumps(caught.value)).field == caught.value.field


@pytest.mark.parametrize("text", ["[places", "a = 1979-05-27", '[places."s3://b"]\nday = 1979-05-27'])
def test_toml_that_is_wrong(monkeypatch, tmp_path, text):
    (tmp_path / "t.toml").write_text(text)
    configured(monkeypatch, str(tmp_path / "t.toml"))
    with pytest.raises(ConfigurationError):
        current_table()


def test_the_example_of_the_readme(monkeypatch, tmp_path):
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (tmp_path / "storage.toml").write_text(text.partition("```toml\n")[2].partition("```")[0])
    configured(monkeypatch, str(tmp_path / "storage.toml"))
    assert current_table().options_for("s3://open-data/a.tif")["anon"] is True
    assert current_table().allows("s3://my-bucket/a.tif")
    assert not current_table().allows("s3://open-data/a.tif")


def test_a_file_that_cannot_be_read(monkeypatch, tmp_path):
    (tmp_path / "latin.json").write_bytes(b'{"\xff": 1}')
    for path in (tmp_path / "none.json", tmp_path, tmp_path / "latin.json"):
        configured(monkeypatch, str(path))
        with pytest.raises(ConfigurationError) as caught:
            current_table()
        assert caught.value.field == VARIABLE


def test_the_repr_of_a_table_has_no_options(monkeypatch):
    configured(monkeypatch, {"places": {"s3://b": {"secret": CANARY}}})
    assert CANARY not in repr(current_table())


@pytest.mark.parametrize(
    ("location", "name", "allowed"),
    [
        ("s3://lab/results", "a.tif", True),
        ("s3://lab/results/deep", "a.tif", True),
        ("s3://lab", "results", True),
        ("s3://lab", "a.tif", False),
        ("s3://lab/results2", "a.tif", False),
        ("s3://other/lab/results", "a.tif", False),
        ("gs://lab/results", "a.tif", False),
        ("memory://lab/results", "a.tif", False),
        ("/data/results", "a.tif", True),
        ("/data", "a.tif", False),
        ("/", "data", False),
    ],
)
def test_records_may_name_what_the_table_says(monkeypatch, location, name, allowed):
    configured(monkeypatch, {"records": ["s3://lab/results", "/data/results/"]})
    if allowed:
        require_safe(location, name)
        return
    with pytest.raises(RecordError, match="does not let records name"):
        require_safe(location, name)


def test_a_record_outside_is_refused_before_anything_is_opened(monkeypatch):
    target = cpr.NumpyTarget.from_path("memory://outside/a.npy")
    target.set_data(np.arange(3))
    record = target.serialize()
    configured(monkeypatch, {"records": ["s3://lab"]})
    monkeypatch.setattr("cpr.io.filesystems.new_filesystem", lambda *args: pytest.fail(f"{args} was opened"))
    for load in (lambda: cpr.load(record), lambda: cpr.load(json.loads(json.dumps(record)))):
        with pytest.raises(RecordError, match="does not let records name"):
            load()
    configured(monkeypatch, {"records": []})
    with pytest.raises(RecordError):
        cpr.load(record)


def test_links_of_a_chain_have_the_options_of_their_own_places(monkeypatch, sftp_url, sftp_server):
    """Chains are no place for records, but whoever reads one uses the same table."""
    monkeypatch.delitem(fsspec.config.conf, "sftp")
    configured(monkeypatch, {"places": {sftp_server.url: sftp_server.options}})
    with io.writing(f"{sftp_url}/a.txt") as file:
        file.write(b"text")
    fs, path = filesystem(f"simplecache::{sftp_url}/a.txt")
    assert fs.cat_file(path) == b"text"


@pytest.mark.parametrize("url", ["sftp://me:hunter2@host/a.tif", "simplecache::sftp://me:hunter2@host/a.tif"])
def test_a_password_in_a_url_is_refused(url):
    with pytest.raises(CprError, match="password") as caught:
        io.normalise(url)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(RecordError):
        require_safe(url.rpartition("/")[0], "a.tif")


def test_generic_backends_need_no_other_configuration(monkeypatch, sftp_url, sftp_server):
    monkeypatch.delitem(fsspec.config.conf, "sftp")
    with pytest.raises(TransferError):
        io.stat(f"{sftp_url}/a.npy")
    configured(monkeypatch, {"places": {sftp_server.url: sftp_server.options}})
    target = cpr.NumpyTarget.from_path(f"{sftp_url}/a.npy")
    target.set_data(np.arange(3))
    record = json.dumps(target.serialize())
    assert (cpr.load(record).get_data() == np.arange(3)).all()
    assert [source.url for source in cpr.NumpySource.glob(f"{sftp_url}/*.npy")] == [target.url]
    assert sftp_server.password not in record + repr(target) + str(pickle.dumps(target))


@pytest.fixture(scope="module")
def other_server():
    """A second server, with other credentials; nothing in the environment leads to it."""
    with ExitStack() as stack:
        yield stack.enter_context(running_server(build=False))


def place_of(server: S3Server) -> dict[str, str]:
    return {"endpoint_url": server.endpoint, "key": server.access_key, "secret": server.secret_key}


@pytest.fixture
def two_servers(s3_server, s3_url, other_server, monkeypatch, tmp_path):
    """A bucket on each server, and a table with both; the environment has neither."""
    prefix = s3_url.rpartition("/")[2]
    there = f"s3://{other_server.bucket}/{prefix}"
    table = tmp_path / "storage.json"
    places = {f"s3://{server.bucket}": place_of(server) for server in (s3_server, other_server)}
    table.write_text(json.dumps({"places": places}))
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nobody")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    configured(monkeypatch, str(table))
    yield s3_url, there
    buckets.empty(other_server.client(), other_server.bucket, prefix + "/")


def keys(server: S3Server, url: str) -> list[str]:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    found = server.client().list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return [item["Key"].removeprefix(prefix) for item in found]


@pytest.mark.parametrize("swapped", [False, True])
def test_two_servers_in_one_process(two_servers, s3_server, other_server, swapped, caplog):
    caplog.set_level(logging.DEBUG)
    inputs, results = reversed(two_servers) if swapped else two_servers
    pixels = np.random.default_rng(0).integers(0, 999, (4, 300, 700), "uint16")
    raw = cpr.ImageTarget.from_path(f"{inputs}/raw/a.tif")
    raw.set_data(pixels)
    raw.persist()
    (source,) = cpr.ImageSource.glob(f"{inputs}/raw/*.tif")
    image = cpr.ImageTarget.from_path(f"{results}/b.tif")
    image.set_data(source.get_data() + 1)
    zarr = cpr.ZarrTarget.from_path(f"{results}/c.zarr", chunks=(1, 300, 700))
    zarr.set_data(source.get_data())
    records = [json.dumps(target.serialize()) for target in (image, zarr)]
    image, zarr = (cpr.load(record) for record in records)
    assert (image.get_data() == pixels + 1).all()
    assert (image.get_data(region=np.s_[2, 10:20]) == pixels[2, 10:20] + 1).all()
    assert (zarr.get_data()[:] == pixels).all()
    assert (zarr.get_dask().compute(scheduler="synchronous") == pixels).all()
    assert zarr.verify() > 4
    assert io.find_orphans(results) == io.find_orphans(inputs) == []
    # Each is where it should be, and nowhere else.
    first, second = (other_server, s3_server) if swapped else (s3_server, other_server)
    assert [key for key in keys(first, inputs) if key.endswith(".tif")] == [
        f"/raw/{raw.url.rpartition('/')[2]}"
    ]
    assert {key.partition("/")[2][0] for key in keys(second, results)} >= {"b", "c"}
    for server, url in ((first, results), (second, inputs)):
        with pytest.raises(buckets.Failure):
            server.client().head_bucket(Bucket=url.split("/")[2])
    kept = "".join(records) + repr((source, image, zarr, raw))
    kept += str(pickle.dumps((source, image, zarr, raw, raw.identity(), zarr.get_data())))
    ours = "".join(one.getMessage() for one in caplog.records if one.name.startswith("cpr"))
    for server in (s3_server, other_server):
        # botocore itself logs endpoints and names of keys at DEBUG.
        assert server.secret_key not in kept + caplog.text
        for private in (server.access_key, server.endpoint.partition("://")[2]):
            assert private not in kept + ours


@pytest.mark.s3
def test_without_the_table_neither_is_found(two_servers, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for url in two_servers:
        with pytest.raises(TransferError):
            io.stat(f"{url}/a.tif")


@pytest.mark.s3
def test_credentials_of_one_place_are_not_those_of_another(two_servers, s3_server, other_server, monkeypatch):
    here, there = two_servers
    swapped = {
        "places": {
            f"s3://{s3_server.bucket}": {**place_of(other_server), "endpoint_url": s3_server.endpoint},
            f"s3://{other_server.bucket}/none": {},
        }
    }
    configured(monkeypatch, swapped)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    target = cpr.NumpyTarget.from_path(f"{here}/a.npy")
    target.set_data(np.arange(3))
    with pytest.raises(TransferError) as caught:
        target.persist()
    assert other_server.secret_key not in str(caught.value)
    with pytest.raises(TransferError):
        io.stat(f"{there}/a.npy")


VARIABLES = [
    "CHECKSUM",
    "CONNECTIONS",
    "MEMORY",
    "OPENLINEAGE",
    "PROGRESS",
    "STORAGE",
    "TIMEOUT",
    "ZARR_CODECS",
]


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_that_is_empty_is_as_if_it_were_not_set(name, monkeypatch, tmp_path):
    def checksum(file: str) -> str:
        target = cpr.NumpyTarget.from_path(tmp_path / file)
        target.set_data(np.arange(3))
        record = target.serialize()
        assert np.array_equal(cpr.load(record).get_data(), np.arange(3))
        return target.checksum

    monkeypatch.delenv(f"CPR_{name}", raising=False)
    expected = checksum("a.npy")
    monkeypatch.setenv(f"CPR_{name}", "")
    assert checksum("b.npy") == expected
