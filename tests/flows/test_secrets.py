"""A canary for a secret, set through every way there is, is nowhere afterwards.

Looked through are records, pickles, texts of objects, our log at DEBUG, errors with their whole chain, all of
Prefect's database, artifacts, and what lies in the bucket. The debug logs of the clients (botocore,
aiohttp, urllib3, paramiko) are not cpr's, and neither are local variables that a tool prints in tracebacks.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import cloudpickle
import pytest

import cpr

CANARY = "Canary7SecretXyz"
ENDPOINT = "canary-endpoint"

# What runs in a process of its own, whose configuration is the canary. It writes all that it can be made to
# tell to a file.
CODE = """
import base64, contextlib, io, json, logging, os, pickle, sys, traceback
import cloudpickle

heard = io.StringIO()
logging.getLogger("cpr").setLevel(logging.DEBUG)
logging.getLogger("cpr").addHandler(logging.StreamHandler(heard))

import cpr
from cpr import io as cpr_io
import numpy as np

base, told = sys.argv[1], []

def tell(*things):
    for thing in things:
        told.append(repr(thing))
        told.append(str(thing))
        with contextlib.suppress(TypeError):
            told.append(repr(vars(thing)))

def chain(error, seen):
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        tell(type(error), error, error.args)
        told.append("".join(traceback.format_exception(error)))
        chain(error.__cause__, seen)
        error = error.__context__

def attempt(act):
    try:
        result = act()
    except Exception as error:
        chain(error, set())
        with contextlib.suppress(Exception):
            blob = pickle.dumps(error)
            told.append(repr(blob))
            chain(pickle.loads(blob), set())
        return None
    tell(result)
    return result

def everything(url, data):
    target = attempt(lambda: cpr.NumpyTarget.from_path(f"{url}/a.npy"))
    if target is None:
        return
    attempt(lambda: target.set_data(data))
    attempt(target.persist)
    attempt(target.serialize)
    attempt(target.identity)
    attempt(lambda: pickle.dumps(target))
    attempt(lambda: cloudpickle.dumps([target]))
    attempt(lambda: cpr.cpr_serializer().dumps({"a": (target,)}))
    attempt(lambda: cpr.cpr_serializer().loads(cpr.cpr_serializer().dumps([target])))
    attempt(lambda: cpr.cpr_serializer(verify="full").loads(cpr.cpr_serializer().dumps([target])))
    attempt(target.get_data)
    attempt(lambda: target.get_data(region=np.s_[:2]))
    attempt(target.check)
    source = attempt(lambda: cpr.NumpySource.from_path(f"{url}/none.npy"))
    for act in (source.get_data, source.identity, source.version, source.serialize, source.__reduce__):
        attempt(act)
    attempt(lambda: cpr.task_input_hash(None, {"x": source}))
    attempt(lambda: cpr.hash_objects("x", a=target))
    attempt(lambda: cpr.NumpySource.glob(f"{url}/*.npy"))
    attempt(lambda: cpr.load(f"{url}/record.json"))
    attempt(lambda: list(cpr_io.find_orphans(url)))
    zarr = attempt(lambda: cpr.ZarrTarget.from_path(f"{url}/a.zarr"))
    attempt(lambda: zarr.set_data(data))
    attempt(zarr.persist)
    node = attempt(zarr.get_data)
    attempt(lambda: pickle.dumps(node))
    attempt(lambda: pickle.dumps(zarr))
    attempt(lambda: zarr.get_data(region=...))
    attempt(lambda: pickle.dumps(zarr.get_dask()))
    missing = attempt(lambda: cpr.ZarrSource.from_path(f"{url}/none.zarr"))
    attempt(missing.get_data)

if "127.0.0.1:9" in str(dict(os.environ)):
    # Every request waits for its repetitions: few are made.
    target = cpr.NumpyTarget.from_path(f"{base}/a.npy")
    target.set_data(np.arange(3))
    attempt(target.persist)
    attempt(cpr.NumpySource.from_path(f"{base}/a.npy").get_data)
else:
    everything(base, np.arange(400_000.0))
if base.startswith("s3://") and "127.0.0.1:9" not in str(dict(os.environ)):
    everything("s3://no-such-bucket-at-all/x", np.arange(3))
with contextlib.suppress(ImportError):
    from upath import UPath
    path = UPath(f"{base}/a.npy", secret=os.environ["CANARY"], token=os.environ["CANARY"])
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        attempt(lambda: cpr.NumpySource.from_path(path))
        attempt(lambda: cpr.NumpySource.from_path(path).serialize())
    told.extend(str(one.message) for one in caught)
    attempt(lambda: cpr.cpr_serializer().dumps([path]))
canary = os.environ["CANARY"]
for url in (f"s3://KEY:{canary}@bucket/a.npy", f"sftp://me:{canary}@host/a.npy",
            f"https://bucket.example/a.npy?X-Amz-Signature={canary}"):
    everything(url.rpartition("/")[0], np.arange(3)) if "?" not in url else None
    attempt(lambda: cpr.NumpySource.from_path(url))
    attempt(lambda: cpr.NumpyTarget.from_path(url))
    attempt(lambda: cpr.load(url))
    place = {"location": url.rpartition("/")[0], "name": "a", "ext": ".npy"}
    attempt(lambda: cpr.load({"__cpr__": {"type": "NumpySource", **place}}))
with open(sys.argv[2], "w") as file:
    json.dump({"told": told, "log": heard.getvalue()}, file)
"""


def spellings(secret: str) -> set[bytes]:
    """A secret as it stands in texts, pickles and headers."""
    import base64

    inner = [base64.b64encode(b"x" * shift + secret.encode())[4:-4] for shift in range(3)]
    return {secret.encode(), secret.encode().hex().encode(), *inner}


def found_in(data: bytes, *secrets: str) -> list[bytes]:
    return [one for secret in secrets for one in spellings(secret) if one in data]


def environment(**variables: str) -> dict[str, str]:
    """This process's, without what leads anywhere, and with the canary."""
    drop = ("AWS_", "FSSPEC_", "GOOGLE_", "STORAGE_", "GCSFS_")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    return {**plain, "CANARY": CANARY, "AWS_EC2_METADATA_DISABLED": "true", **variables}


def ask(url: str, tmp_path: Path, **variables: str) -> bytes:
    """All that a process tells of itself, and all files it leaves."""
    out = tmp_path / "told.json"
    command = [sys.executable, "-c", CODE, url, str(out)]
    done = subprocess.run(command, env=environment(**variables), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(out.read_text())
    assert len(told["told"]) > 30
    return json.dumps(told, ensure_ascii=False).encode() + done.stdout.encode() + done.stderr.encode()


DEAD = "http://127.0.0.1:9"
CREDENTIALS = {
    "type": "authorized_user",
    "client_id": f"id-{CANARY}",
    "client_secret": CANARY,
    "refresh_token": CANARY,
}


def ways(tmp_path: Path, endpoint: str) -> dict[str, dict[str, str]]:
    """Every way to tell a secret: what goes into the environment."""
    profile = tmp_path / "credentials"
    profile.write_text(f"[lab]\naws_access_key_id = {CANARY}\naws_secret_access_key = {CANARY}\n")
    config = tmp_path / "fsspec"
    config.mkdir()
    s3 = {"key": CANARY, "secret": CANARY, "client_kwargs": {"endpoint_url": endpoint}}
    (config / "conf.json").write_text(json.dumps({"s3": s3}))
    google = tmp_path / "google.json"
    google.write_text(json.dumps(CREDENTIALS))
    keys = {"AWS_ACCESS_KEY_ID": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY}
    return {
        "variables": {**keys, "AWS_SESSION_TOKEN": CANARY, "AWS_ENDPOINT_URL": endpoint},
        "profile": {"AWS_SHARED_CREDENTIALS_FILE": str(profile), "AWS_PROFILE": "lab",
                    "AWS_ENDPOINT_URL": endpoint},
        "fsspec json": {"FSSPEC_S3": json.dumps(s3)},
        "fsspec variables": {"FSSPEC_S3_KEY": CANARY, "FSSPEC_S3_SECRET": CANARY,
                             "FSSPEC_S3_ENDPOINT_URL": endpoint},
        "fsspec file": {"FSSPEC_CONFIG_DIR": str(config)},
        "google": {"GOOGLE_APPLICATION_CREDENTIALS": str(google), "STORAGE_EMULATOR_HOST": DEAD,
                   "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"},
    }  # fmt: skip


WAYS = [
    "variables",
    "fsspec json",
    *(
        pytest.param(way, marks=pytest.mark.long)
        for way in ("profile", "fsspec variables", "fsspec file", "google")
    ),
]


@pytest.mark.slow
@pytest.mark.real_s3
@pytest.mark.parametrize("way", WAYS)
def test_a_secret_that_the_store_refuses(way, s3_server, tmp_path):
    """Every request fails, and says so: the store does not know the canary."""
    url = f"gs://{s3_server.bucket}/x" if way == "google" else f"s3://{s3_server.bucket}/x"
    data = ask(url, tmp_path, **ways(tmp_path, s3_server.endpoint)[way])
    assert found_in(data, CANARY) == []
    assert b"TransferError" in data
    # What leads to the store is nobody's business either.
    assert s3_server.endpoint.removeprefix("http://").encode() not in data


@pytest.mark.slow
def test_a_secret_of_a_store_that_is_not_there(tmp_path):
    data = ask("s3://bucket/x", tmp_path, **ways(tmp_path, DEAD)["variables"])
    assert found_in(data, CANARY) == []
    assert b"TransferError" in data
    assert b"127.0.0.1:9" not in data


@pytest.mark.slow
@pytest.mark.real_s3
def test_a_secret_that_opens_the_store(s3_server, s3_url, tmp_path):
    """Everything succeeds, and the bucket holds no secret either."""
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    own = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    data = ask(s3_url, tmp_path, **own)
    assert b"NumpyTarget" in data
    assert found_in(data, CANARY) == []
    client, stored = s3_server.client(), b""
    prefix = s3_url.removeprefix(f"s3://{s3_server.bucket}/")
    keys = [
        item["Key"] for item in client.list_objects_v2(Bucket=s3_server.bucket, Prefix=prefix)["Contents"]
    ]
    for key in keys:
        stored += key.encode() + client.get_object(Bucket=s3_server.bucket, Key=key)["Body"].read()
    assert len(keys) > 3
    # The server of the tests may have a common word for a secret: it is looked for as one would spell it.
    for text in (data, stored):
        assert f"'{secret}'".encode() not in text
        assert f'"{secret}"'.encode() not in text
        assert s3_server.endpoint.removeprefix("http://").encode() not in text


def test_the_search_finds_what_it_is_for():
    for hidden in (
        pickle.dumps({"secret": CANARY}),
        cloudpickle.dumps(lambda: CANARY),
        json.dumps({"Authorization": spellings(CANARY).pop().decode()}).encode(),
        repr(OSError(f"http://key:{CANARY}@host")).encode(),
    ):
        assert found_in(hidden, CANARY)
    assert found_in(b"nothing", CANARY) == []


@pytest.mark.parametrize("kind", [OSError, FileNotFoundError, PermissionError, ConnectionRefusedError])
def test_nothing_of_the_clients_error_hangs_on_ours(kind):
    from cpr.io import error_translation as failures

    with pytest.raises(cpr.CprError) as caught, failures.translate_errors("s3://bucket/a", "read"):
        try:
            raise ValueError(CANARY)
        except ValueError:
            raise kind(CANARY)  # noqa: B904 - as clients do
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
def test_prefects_database_artifacts_and_records(
    prefect_server, s3_server, tmp_path, results, monkeypatch, caplog
):
    """A flow that succeeds and one that fails, with the canary as their process's secret."""
    import prefect
    from prefect.artifacts import create_markdown_artifact

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in ways(tmp_path, s3_server.endpoint)["variables"].items():
        monkeypatch.setenv(name, value)

    @cpr.task(result_storage=results)
    def good(url):
        target = cpr.NumpyTarget.from_path(f"{url}/a.npy")
        target.set_data([1, 2, 3])
        target.persist()
        create_markdown_artifact(f"{target!r} {target.serialize()}", key="a-target")
        return target

    @cpr.task(result_storage=results)
    def bad(url):
        target = cpr.NumpyTarget.from_path(f"{url}/a.npy")
        target.set_data([1, 2, 3])
        return target

    @prefect.flow(persist_result=True, result_storage=results, result_serializer=cpr.cpr_serializer())
    def flow(url, task):
        return {"good": good, "bad": bad}[task](url)

    caplog.set_level("DEBUG", "cpr")
    caplog.set_level("DEBUG", "prefect")
    assert flow(str(tmp_path / "data"), "good").get_data().tolist() == [1, 2, 3]
    state = flow(f"s3://{s3_server.bucket}/x", "bad", return_state=True)
    assert state.is_failed()
    assert "permission" in state.message or "store" in state.message
    with pytest.raises(cpr.TransferError):
        state.result()
    everything = b"".join(path.read_bytes() for path in results.rglob("*") if path.is_file())
    assert everything
    database = b"".join(path.read_bytes() for path in databases())
    assert b"a-target" in database
    assert b"TransferError" in database
    ours = "".join(
        record.getMessage() for record in caplog.records if record.name.startswith(("cpr", "prefect"))
    )
    for data in (everything, database, ours.encode(), pickle.dumps(state.message)):
        assert found_in(data, CANARY) == []
        assert s3_server.endpoint.removeprefix("http://").encode() not in data


def databases() -> list[Path]:
    """The files of the server's database, with what is not written back yet."""
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    path = Path(str(getattr(url, "get_secret_value", lambda: url)()).partition("///")[2])
    return [found for found in path.parent.glob(f"{path.name}*") if found.is_file()]
