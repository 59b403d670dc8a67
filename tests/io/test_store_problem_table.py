"""Whatever a store refuses: the failure is provoked, its remedy read and carried out, and the same works.

A case is a generator: it sets something wrong and yields what is then to fail; it is sent the error, does
what the remedy says, and yields what is to work from then on, where that is something else.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
import tomllib
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec.config
import pytest

from cpr import io
from cpr.errors import CprError, MissingDependencyError
from cpr.io.store_problem_table import PROBLEMS
from cpr.operations.scan import find_records
from tests.cli.faulty_stores import open_to_everybody
from tests.faults.proxy import FaultProxy, Message
from tests.minio import binaries, buckets
from tests.minio.process import free_ports, kept, wait
from tests.minio.server import S3Server
from tests.servers.azure import ACCOUNT
from tests.servers.gcs_faults import FaultyGCS
from tests.text_format import TextSource

ENDPOINT = "AWS_ENDPOINT_URL_S3"
REGION = "eu-west-3"
CASES: dict[str, tuple[str, Callable[..., Any]]] = {}
SECONDS = 15.0  # a machine that has nothing else to do takes at most 3

Call = Callable[[], object]
Steps = Iterator[list[Call]]


def case(topic: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def kept_as(make: Callable[..., Any]) -> Callable[..., Any]:
        CASES[make.__name__] = (topic, make)
        return make

    return kept_as


class Place:
    """What a case may use; fixtures are made when they are asked for."""

    def __init__(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp: Path) -> None:
        self.request, self.patch, self.tmp = request, monkeypatch, tmp

    def __getattr__(self, name: str) -> Any:
        return self.request.getfixturevalue(name)

    def set(self, **variables: str | None) -> None:
        for name, value in variables.items():
            self.patch.delenv(name, raising=False) if value is None else self.patch.setenv(name, value)
        configuration: dict[str, Any] = {}
        fsspec.config.set_conf_env(configuration)
        self.patch.setattr(fsspec.config, "conf", configuration)

    def endpoint(self, url: str) -> None:
        self.set(AWS_ENDPOINT_URL=url, AWS_ENDPOINT_URL_S3=url)


def put(url: str) -> None:
    with io.writing(url) as file:
        file.write(b"text")


def get(url: str) -> None:
    assert TextSource.from_path(url).get_data() == "text"


def ls(url: str) -> None:
    assert url in io.find(f"{url.rpartition('/')[0]}/*")


def each(url: str, *asks: Callable[[str], None]) -> list[Call]:
    return [lambda ask=ask: ask(url) for ask in asks or (put, get, ls)]


def found(pattern: str, error: CprError) -> str:
    assert error.remedy is not None
    match = re.search(pattern, error.remedy)
    assert match is not None, error.remedy
    return match[1]


# ---- S3, on MinIO


@case("endpoint-without-scheme")
def no_scheme(place: Place) -> Steps:
    url, right = place.s3_url, place.s3_server.endpoint
    place.endpoint(right.removeprefix("http://"))
    error = yield each(f"{url}/a.txt")
    place.set(**{found(r"before the value of (\w+)", error): right})
    yield []


@case("missing-profile")
def profile(place: Place) -> Steps:
    url = place.s3_url
    place.set(AWS_PROFILE="nobody")
    error = yield each(f"{url}/a.txt")
    place.set(**{found(r"unset (\w+)", error): None})
    yield []


@case("no-credentials")
def no_credentials(place: Place) -> Steps:
    url, server = place.s3_url, place.s3_server
    place.set(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_EC2_METADATA_DISABLED="true")
    error = yield each(f"{url}/a.txt")
    place.set(
        **{
            found(r"for S3 set (\w+)", error): server.access_key,
            found(r"and (\w+)", error): server.secret_key,
        }
    )
    yield []


@case("unknown-key")
def unknown_key(place: Place) -> Steps:
    url, server = place.s3_url, place.s3_server
    place.set(AWS_ACCESS_KEY_ID="nobody")
    error = yield each(f"{url}/a.txt")
    place.set(**{found(r"set (\w+)", error): server.access_key})
    yield []


@case("wrong-secret")
def wrong_secret(place: Place) -> Steps:
    url, server = place.s3_url, place.s3_server
    place.set(AWS_SECRET_ACCESS_KEY=f"{server.secret_key} ")
    error = yield each(f"{url}/a.txt")
    place.set(**{found(r"set (\w+)", error): server.secret_key})
    yield []


@case("wrong-session-token")
def wrong_token(place: Place) -> Steps:
    url = place.s3_url
    place.set(AWS_SESSION_TOKEN="of other credentials")
    error = yield each(f"{url}/a.txt")
    place.set(**{found(r"unset (\w+)", error): None})
    yield []


class Refusing(FaultProxy):
    """A server that refuses some requests as AWS does, where MinIO never would."""

    def __init__(self, endpoint: str, code: str, refuses: Callable[[Message], bool]) -> None:
        super().__init__(endpoint)
        self.code, self.refuses = code, refuses

    async def _forward(self, request: Message) -> tuple[Message, bytes]:
        if not self.refuses(request):
            return await super()._forward(request)
        body = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>no</Message></Error>".encode()
        answer = Message("HTTP/1.1 403 Forbidden", [("Content-Type", "application/xml")], body)
        if request.first.startswith("HEAD "):
            return answer, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        return answer, b""


@case("expired-session")
def expired(place: Place) -> Steps:
    url, server = place.s3_url, place.s3_server
    with Refusing(
        server.endpoint, "ExpiredToken", lambda sent: sent.get("x-amz-security-token") == "old"
    ) as proxy:
        place.endpoint(proxy.endpoint)
        place.set(AWS_SESSION_TOKEN="old")
        error = yield each(f"{url}/a.txt")
        given = session_of(server)
        place.set(
            **{found(r"set (\w+) with its key and secret", error): given["SessionToken"]},
            AWS_ACCESS_KEY_ID=given["AccessKeyId"],
            AWS_SECRET_ACCESS_KEY=given["SecretAccessKey"],
        )
        yield []


def session_of(server: S3Server) -> dict[str, str]:
    """Log in: temporary credentials of MinIO's."""
    import botocore.session

    sts = botocore.session.get_session().create_client(
        "sts",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
    )
    given = sts.assume_role(
        RoleArn="arn:minio:iam:::role/any-role", RoleSessionName="cpr", DurationSeconds=900
    )
    return dict(given["Credentials"])


@case("wrong-clock")
def clock(place: Place) -> Steps:
    """Requests are signed as by a machine whose clock is an hour late."""
    url = place.s3_url
    with pytest.MonkeyPatch.context() as patch:
        for module in ("botocore.auth", "botocore.crt.auth"):
            patch.setattr(f"{module}.get_current_datetime", _an_hour_ago)
        patch.setattr("cpr.io.stores.s3_obstore.fast_bucket", lambda *_: None)
        error = yield each(f"{url}/a.txt")
        assert "set this machine's clock" in error.remedy
    yield []


def _an_hour_ago(remove_tzinfo: bool = True) -> datetime:
    then = datetime.now(UTC) - timedelta(hours=1)
    return then.replace(tzinfo=None) if remove_tzinfo else then


@case("unknown-host")
def unknown_host(place: Place) -> Steps:
    url, right = place.s3_url, place.s3_server.endpoint
    place.endpoint("http://no-such-host.invalid:9000")
    error = yield each(f"{url}/a.txt")
    place.set(**{found(r"the host in (\w+)", error): right})
    yield []


@case("no-connection")
def nothing_listens(place: Place) -> Steps:
    url, right = place.s3_url, place.s3_server.endpoint
    place.endpoint(f"http://127.0.0.1:{free_ports(1)[0]}")
    error = yield each(f"{url}/a.txt")
    place.set(**{found(r"host and port in (\w+)", error): right})
    yield []


@case("no-connection")
def nothing_listens_gcs(place: Place) -> Steps:
    url, right = place.gs_url, place.gcs_server.endpoint
    put(f"{url}/b.txt")  # importing gcsfs takes its time
    place.set(STORAGE_EMULATOR_HOST=f"http://127.0.0.1:{free_ports(1)[0]}")
    error = yield each(f"{url}/a.txt")
    place.set(**{found(r"host and port in (\w+)", error): right})
    yield []


@case("no-connection")
def nothing_listens_sftp(place: Place) -> Steps:
    right = place.sftp_url
    wrong = re.sub(r":\d+/", f":{free_ports(1)[0]}/", right)
    error = yield each(f"{wrong}/a.txt")
    assert "host and port in the URL" in error.remedy
    yield each(f"{right}/a.txt")


@case("no-tls")
def plain_http(place: Place) -> Steps:
    url, right = place.s3_url, place.s3_server.endpoint
    place.endpoint(right.replace("http://", "https://"))
    error = yield each(f"{url}/a.txt")
    name = found(r"http:// instead of https:// in (\w+)", error)
    place.set(**{name: os.environ[name].replace("https://", "http://")})
    yield []


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory) -> Iterator[tuple[S3Server, Path]]:
    """A MinIO of another region that speaks TLS, and the certificate of who signed its own."""
    program, openssl = binaries.find("minio"), shutil.which("openssl")
    if program is None or openssl is None:
        pytest.skip("needs a minio program and openssl")
    folder = tmp_path_factory.mktemp("tls")
    certificate = folder / "certs" / "public.crt"
    certificate.parent.mkdir()
    request = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=cpr"]
    request += ["-addext", "subjectAltName=IP:127.0.0.1"]
    request += ["-keyout", str(certificate.with_name("private.key")), "-out", str(certificate)]
    subprocess.run(request, check=True, capture_output=True)
    (port,) = free_ports(1)
    server = S3Server(
        "binary", "MinIO", f"https://127.0.0.1:{port}", "somebody", uuid.uuid4().hex, "tls", REGION
    )
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": server.access_key,
        "MINIO_ROOT_PASSWORD": server.secret_key,
        "MINIO_SITE_REGION": REGION,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "HOME": str(folder),
    }
    command = [str(program), "server", str(folder / "data"), "--address", f"127.0.0.1:{port}"]
    with kept([*command, "--certs-dir", str(certificate.parent)], environment) as process:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_CA_BUNDLE", str(certificate))
            client = server.client()
            wait(client.list_buckets, process, server.description)
            buckets.create(client, server.bucket)
        yield server, certificate


def at_tls(place: Place) -> tuple[S3Server, str]:
    server, certificate = place.tls_server
    place.set(AWS_CA_BUNDLE=str(certificate), **server.environment())
    return server, f"s3://{server.bucket}/{uuid.uuid4().hex}/a.txt"


@case("wrong-certificate")
def certificate(place: Place) -> Steps:
    _, url = at_tls(place)
    right = os.environ["AWS_CA_BUNDLE"]
    place.set(AWS_CA_BUNDLE=None)
    error = yield each(url)
    place.set(**{found(r"set (\w+)", error): right})
    yield []


@case("no-store")
def tls_without_https(place: Place) -> Steps:
    server, url = at_tls(place)
    place.endpoint(server.endpoint.replace("https://", "http://"))
    error = yield each(url)
    place.set(**{found(r"that (\w+) is the store's: host, port, and https://", error): server.endpoint})
    yield []


@case("undecodable-name")
def latin1_name(place: Place) -> Steps:
    folder = place.sftp_url.rpartition("/")[2]
    there = os.fsencode(place.sftp_server.folder / folder)
    os.mkdir(there)
    old = os.path.join(there, "Pr\xe4parat.txt".encode("latin1"))
    Path(os.fsdecode(old)).write_bytes(b"text")
    url = f"{place.sftp_server.url}/{folder}"
    error = yield [lambda: io.find(f"{url}/*.txt"), lambda: list(find_records(url))]
    found(r"(rename the file) on the server", error)
    os.rename(old, os.path.join(there, "Pr\xe4parat.txt".encode()))
    yield []


@case("wrong-region")
def region(place: Place) -> Steps:
    _, url = at_tls(place)
    place.set(AWS_REGION="Paris 3", AWS_DEFAULT_REGION="Paris 3")  # botocore corrects another that there is
    error = yield each(url)
    place.set(**dict.fromkeys((found(r"set (\w+)", error), found(r"and (\w+)", error)), REGION))
    yield []


class Slow(FaultProxy):
    """A server that takes its time."""

    async def _answer(self, request: Message, writer: Any) -> bool:
        import asyncio

        await asyncio.sleep(1)
        return await super()._answer(request, writer)


@case("no-answer")
def slow(place: Place) -> Steps:
    url = f"{place.s3_url}/a.txt"
    put(url)
    with Slow(place.s3_server.endpoint) as proxy:
        place.endpoint(proxy.endpoint)
        place.set(CPR_TIMEOUT="0.5")
        error = yield [lambda: io.stat(url)]
        name, _, seconds = found(r"(\w+=\d+) waits longer", error).partition("=")
        place.set(**{name: seconds})
        yield []


@case("no-bucket")
def no_bucket(place: Place) -> Steps:
    client, name = place.s3_server.client(), f"cpr-{uuid.uuid4().hex[:12]}"
    error = yield each(f"s3://{name}/a.txt")
    assert found(r"create the bucket '([^']+)'", error) == name
    buckets.create(client, name)
    yield []
    buckets.remove(client, name)


@case("no-bucket")
def no_bucket_gcs(place: Place) -> Steps:
    name = f"cpr-{uuid.uuid4().hex[:12]}"
    server = place.gcs_server
    error = yield each(f"gs://{name}/a.txt")
    server.create_bucket(found(r"create the bucket '([^']+)'", error))
    yield []


@case("bucket-name")
def upper_case(place: Place) -> Steps:
    bucket, _, prefix = place.s3_url.removeprefix("s3://").partition("/")
    error = yield each(f"s3://{bucket.upper()}/{prefix}/a.txt")
    assert "no upper-case letters" in error.remedy
    right = found("'([^']+)'", error).lower()
    yield each(f"s3://{right}/{prefix}/a.txt")


def no_right(place: Place, ask: Callable[[str], None]) -> Steps:
    """Requests without credentials, in a bucket whose policy allows none of them."""
    client, name = place.s3_server.client(), f"cpr-{uuid.uuid4().hex[:12]}"
    buckets.create(client, name)
    url = f"s3://{name}/folder/a.txt"
    put(url)
    place.set(FSSPEC_S3=json.dumps({"anon": True}))
    error = yield each(url, ask)
    open_to_everybody(client, name, [found(r"allow (s3:\w+)", error)])
    yield []
    client.delete_bucket_policy(Bucket=name)
    buckets.remove(client, name)


for ask in (put, get, ls):
    CASES[f"no_right_to_{ask.__name__}"] = ("no-permission", lambda place, ask=ask: no_right(place, ask))


@case("archived")
def archived(place: Place) -> Steps:
    url = f"{place.s3_url}/a.txt"
    put(url)
    with Refusing(
        place.s3_server.endpoint, "InvalidObjectState", lambda sent: sent.first[:4] == "GET "
    ) as proxy:
        place.endpoint(proxy.endpoint)
        error = yield each(url, get)
        assert "restore-object" in error.remedy
        proxy.refuses = lambda sent: False
        yield []


@case("upload-ended")
def upload_ended(place: Place) -> Steps:
    url = f"{place.s3_url}/a.txt"
    bucket, key = url.removeprefix("s3://").split("/", 1)
    client = place.s3_server.client()
    ending = [True]

    def write() -> None:
        with io.writing(url) as file:
            file.write(os.urandom(17 << 20))
            for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) if ending else []:
                if upload["Key"] == key:
                    client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload["UploadId"])

    error = yield [write]
    assert "run again" in error.remedy
    ending.clear()
    yield []


@case("changed-on-the-way")
def changed(place: Place) -> Steps:
    url, server = place.s3_url, place.s3_server
    with FaultProxy(server.endpoint) as proxy:
        place.endpoint(proxy.endpoint)
        proxy.plan(lambda _number, kind: "flip request" if kind == "put" else None)
        error = yield each(f"{url}/a.txt", put)
        assert "without the proxy" in error.remedy
        place.endpoint(server.endpoint)
        yield []


@case("name-too-long")
def long_key(place: Place) -> Steps:
    base = place.s3_url
    error = yield each(f"{base}/{'/'.join(['long' * 50] * 6)}/a.txt", put)
    yield each(shortened(f"{base}/{'/'.join(['long' * 50] * 6)}/a.txt", error))


@case("name-too-long")
def long_name_local(place: Place) -> Steps:
    url = f"{place.tmp}/{'ü' * 200}.txt"
    error = yield each(url, put, get)
    yield each(shortened(url, error))


@case("name-too-long")
def long_path_local(place: Place) -> Steps:
    url = f"{place.tmp}/{'/'.join(['folder' * 30] * 30)}/a.txt"
    error = yield each(url)
    yield each(shortened(url, error))


def shortened(url: str, error: CprError) -> str:
    """What the remedy says about names and paths."""
    name, path = int(found(r"each name to (\d+)", error)), int(found(r"the path to (\d+)", error))
    steps = [
        os.fsencode(step)[: name - 4].decode(errors="ignore") for step in url.removesuffix(".txt").split("/")
    ]
    while len(os.fsencode("/".join(steps))) > path:
        del steps[-2]
    return "/".join(steps) + ".txt"


@case("quota")
def quota(place: Place) -> Steps:
    program = binaries.find("mc")
    if program is None:
        pytest.skip("needs MinIO's client, mc")
    server, name = place.s3_server, f"cpr-{uuid.uuid4().hex[:12]}"
    client = server.client()
    buckets.create(client, name)
    host = server.endpoint.replace("http://", f"http://{server.access_key}:{server.secret_key}@")
    environment = {**os.environ, "MC_HOST_cpr": host, "HOME": str(place.tmp)}

    def allow(size: str) -> None:
        command = [str(program), "quota", "set", f"cpr/{name}", "--size", size]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    def write() -> None:
        with io.writing(f"s3://{name}/a.bin") as file:
            file.write(bytes(2 << 20))

    allow("1MiB")
    error = yield [write]
    assert "ask for a larger quota" in error.remedy
    allow("1GiB")
    yield []
    buckets.remove(client, name)


# ---- GCS and SFTP


@case("missing-credentials-file")
def no_credentials_file(place: Place) -> Steps:
    server = place.gcs_server
    place.set(
        STORAGE_EMULATOR_HOST=None,
        FSSPEC_GS=json.dumps({"endpoint_url": server.endpoint}),
        GOOGLE_APPLICATION_CREDENTIALS=str(place.tmp / "nothing.json"),
    )
    error = yield each(f"gs://{server.bucket}/{uuid.uuid4().hex}/a.txt")
    user = {"type": "authorized_user", "client_id": "x", "client_secret": "x", "refresh_token": "x"}
    path = Path(os.environ[found(r"correct (\w+)", error)])
    path.write_text(json.dumps(user))
    place.patch.setattr("gcsfs.credentials.GoogleCredentials.apply", lambda *_: None)  # it would ask Google
    yield []


@case("no-permission")
def no_right_gcs(place: Place) -> Steps:
    url = place.gs_url
    with FaultyGCS(place.gcs_server.endpoint, refuse=lambda method, path: 403) as proxy:
        place.set(STORAGE_EMULATOR_HOST=proxy.endpoint)
        error = yield each(f"{url}/a.txt")
        assert found(r"storage.objects.(\w+)", error) in ("create", "get", "list")
        proxy.refuse = lambda method, path: None
        yield []


@case("no-credentials")
def wrong_password(place: Place) -> Steps:
    url, options = place.sftp_url, dict(place.sftp_server.options)
    place.patch.setitem(fsspec.config.conf, "sftp", {**options, "password": "not-the-password"})
    error = yield each(f"{url}/a.txt")
    place.patch.setitem(fsspec.config.conf, "sftp", {k: v for k, v in options.items() if k != "password"})
    place.set(**{found(r"(FSSPEC_SFTP_\w+)", error): options["password"]})
    place.patch.setitem(fsspec.config.conf, "sftp", {**options, **fsspec.config.conf["sftp"]})
    yield []


# ---- folders of this machine


@case("folder")
def a_folder_is_read(place: Place) -> Steps:
    folder = place.tmp / "cells.txt"
    folder.mkdir()
    put(f"{folder}/a.txt")
    error = yield each(str(folder), get)
    (source,) = TextSource.glob(found(r"glob\('([^']+)'\)", error))
    yield [source.get_data]


@case("folder-in-place")
def a_folder_in_place(place: Place) -> Steps:
    folder = place.tmp / "a.txt"
    folder.mkdir()
    error = yield each(str(folder), put)
    assert "move the folder away" in error.remedy
    folder.rename(place.tmp / "elsewhere")
    yield each(str(folder))


@case("file-in-path")
def a_file_in_the_path(place: Place) -> Steps:
    (place.tmp / "cells").write_text("")
    url = f"{place.tmp}/cells/a.txt"
    error = yield each(url, put, get)
    assert "move the file away" in error.remedy
    (place.tmp / "cells").rename(place.tmp / "elsewhere")
    yield each(url)


@case("special-file")
def a_pipe(place: Place) -> Steps:
    path = place.tmp / "a.txt"
    os.mkfifo(path)
    error = yield each(str(path), get)
    assert "name a file" in error.remedy
    put(f"{place.tmp}/b.txt")
    yield each(f"{place.tmp}/b.txt", get)


@case("link-loop")
def a_link_to_itself(place: Place) -> Steps:
    path = place.tmp / "a.txt"
    path.symlink_to(path)
    error = yield each(str(path), get)
    assert "remove the link" in error.remedy
    path.unlink()
    yield each(str(path))


@case("no-permission")
def somebody_elses_folder(place: Place) -> Steps:
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    folder = Path(os.path.realpath("/tmp")) / f"cpr-{uuid.uuid4().hex}"
    folder.mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        error = yield each(f"{folder}/a.txt")
        os.seteuid(0)
        os.chmod(found(r"the owner of '([^']+)'", error), 0o777)
        os.seteuid(65534)
        yield []
    finally:
        os.seteuid(0)
        shutil.rmtree(folder)


@case("disk-full")
def full(place: Place) -> Steps:
    folder = place.small_disk("64k")
    Path(folder, "filler").write_bytes(bytes(60 << 10))

    def write() -> None:
        with io.writing(f"{folder}/a.bin") as file:
            file.write(bytes(32 << 10))

    error = yield [write]
    assert "free some space" in error.remedy
    Path(folder, "filler").unlink()
    yield []


@case("read-only")
def read_only(place: Place) -> Steps:
    folder = place.small_disk("64k")
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    error = yield each(f"{folder}/a.txt", put)
    subprocess.run([*found(r"\((mount [^)]+)\)", error).split(), folder], check=True)
    yield each(f"{folder}/a.txt")


@case("file-too-large")
def file_too_large(place: Place) -> Steps:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def write() -> None:
        with io.writing(f"{place.tmp}/a.bin") as file:
            file.write(bytes(2 << 20))

    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        error = yield [write]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "ulimit -f" in error.remedy
    yield []


@case("too-many-files")
def too_many_files(place: Place) -> Steps:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    put(f"{place.tmp}/a.txt")
    get(f"{place.tmp}/a.txt")

    def crowded(ask: Callable[[str], None]) -> Call:
        def call() -> None:
            first_free = os.dup(0)
            os.close(first_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(first_free, limit[0]), hard))
            try:
                ask(f"{place.tmp}/a.txt")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        return call

    limit = [0]
    limit[0] = soft
    lowered = [crowded(put), crowded(get)]
    error = yield lowered
    assert int(found(r"ulimit -n (\d+)", error)) > 0
    yield each(f"{place.tmp}/a.txt")


# ---- Azure, on its emulator


@case("no-account")
def no_account(place: Place) -> Steps:
    url, server = place.az_url, place.azure_server
    place.set(AZURE_STORAGE_CONNECTION_STRING=None)
    error = yield each(f"{url}/a.txt")
    place.set(**{found(r"set (\w+) as the portal", error): next(iter(server.environment().values()))})
    yield []


@case("no-account")
def cut_connection_string(place: Place) -> Steps:
    url, server = place.az_url, place.azure_server
    place.set(AZURE_STORAGE_CONNECTION_STRING="AccountName")
    error = yield each(f"{url}/a.txt")
    place.set(**{found(r"set (\w+) as the portal", error): next(iter(server.environment().values()))})
    yield []


@case("other-account")
def other_account(place: Place) -> Steps:
    url = place.az_url
    container, _, rest = url.removeprefix("az://").partition("/")
    error = yield each(f"abfss://{container}@another.dfs.core.windows.net/{rest}/a.txt")
    assert "correct the URL" in error.remedy
    yield each(f"abfss://{container}@{ACCOUNT}.dfs.core.windows.net/{rest}/a.txt")


@case("folder-gone")
def a_folder_goes_away(place: Place) -> Steps:
    folder = place.tmp / "cells"
    going = [True]

    def write() -> None:
        with io.writing(f"{folder}/a.txt") as file:
            file.write(b"text")
            if going:
                shutil.rmtree(folder)

    error = yield [write]
    going.clear()
    assert "run again" in error.remedy
    yield []


@case("folder-gone")
def a_disk_goes_away(place: Place) -> Steps:
    folder = place.small_disk("64k")
    going = [True]

    def write() -> None:
        with io.writing(f"{folder}/a.txt") as file:
            file.write(b"text")
            if going:
                subprocess.run(["umount", "-l", folder], check=True)

    error = yield [write]
    going.clear()
    assert "mount or create the folder again" in error.remedy
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield []


S3_CASES = {
    name
    for name, (_, make) in CASES.items()
    if {"s3_url", "s3_server", "tls_server"} & set(make.__code__.co_names)
    or name.startswith("no_right_to")
    or "at_tls" in make.__code__.co_names
}
AZURE_CASES = {name for name, (_, make) in CASES.items() if "az_url" in make.__code__.co_names}
MARKS = {
    **dict.fromkeys(S3_CASES, pytest.mark.real_s3),
    **dict.fromkeys(AZURE_CASES, pytest.mark.azure),
}
MARKED = [pytest.param(name, marks=MARKS.get(name, ())) for name in CASES]


@pytest.mark.parametrize("name", MARKED)
def test_the_remedy_works(name, request, monkeypatch, tmp_path):
    topic, make = CASES[name]
    steps = make(Place(request, monkeypatch, tmp_path))
    calls, error = next(steps), None
    with contextlib.closing(steps):
        for call in calls:
            started = time.monotonic()
            with pytest.raises(CprError) as caught:
                call()
            assert time.monotonic() - started < SECONDS
            error = caught.value
            assert error.topic == topic, error
            assert error.url or error.field
            assert error.expected and error.actual and error.remedy
            assert f"docs/errors.md#{topic}" in str(error)
            assert str(pickle.loads(pickle.dumps(error))) == str(error)
            assert "127.0.0.1" not in str(error).replace(str(error.url), "")
        for call in steps.send(error) or calls:
            call()
        assert next(steps, None) is None


def test_each_row_is_provoked():
    assert {topic for topic, _ in CASES.values()} == {row.topic for row in PROBLEMS}


def test_each_row_has_its_place_in_the_docs():
    page = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
    assert re.findall(r"^### (.+)$", page, re.MULTILINE) == [row.topic for row in PROBLEMS]


def test_no_name_has_two_meanings():
    codes = [code for row in PROBLEMS for code in row.codes]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(("protocol", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("az", "adlfs")])
def test_a_client_that_is_not_installed(protocol, package, monkeypatch):
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError) as caught:
        io.stat(f"{protocol}://bucket/a.txt")
    extra = re.search(r"prefect-cpr\[(\w+)\]", caught.value.remedy)[1]
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert any(one.startswith(package) for one in project["optional-dependencies"][extra])
