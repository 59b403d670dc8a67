import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import fsspec
import psutil
import pytest

from tests.minio import binaries, buckets
from tests.minio.compose import IMAGES, find_engine
from tests.minio.process import StartError, Unavailable, kept, wait
from tests.minio.server import running_server


@pytest.fixture
def force(monkeypatch):
    monkeypatch.delenv("CPR_TEST_S3_ENDPOINT", raising=False)
    monkeypatch.delenv("CPR_TEST_S3", raising=False)
    return lambda kind: monkeypatch.setenv("CPR_TEST_S3", kind)


def is_open(endpoint):
    host, _, port = endpoint.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) == 0


def put_and_get(server):
    with server.exported():
        url = f"s3://{server.bucket}/folder/object"
        options = {"skip_instance_cache": True, "use_listings_cache": False}
        with fsspec.open(url, "wb", **options) as file:
            file.write(b"\x00bytes\xff")
        with fsspec.open(url, "rb", **options) as file:
            return file.read()


@pytest.mark.s3
@pytest.mark.parametrize("kind", ["container", "binary", "moto"])
def test_a_rung_starts_serves_and_leaves_nothing(force, kind):
    if kind == "container" and isinstance(reason := find_engine(), str):
        pytest.skip(reason)
    if kind == "binary" and binaries.find("minio") is None:
        pytest.skip("no minio on PATH or in .tools/bin")
    force(kind)
    try:
        with running_server(build=False) as server:
            assert server.kind == kind
            assert is_open(server.endpoint)
            assert not server.endpoint.endswith(":9000")
            assert put_and_get(server) == b"\x00bytes\xff"
            assert server.secret_key not in repr(server)
    except Unavailable as reason:
        if kind != "container":
            raise
        pytest.skip(str(reason))  # an engine without the images
    assert not is_open(server.endpoint)
    if server.pid is not None:
        assert not psutil.pid_exists(server.pid)


PROGRAM = """
import sys, time
from tests.minio import server
server.PROJECT = sys.argv[1]
print("starting", flush=True)
with server.running_server(build=False) as server:
    print(server.pid, server.endpoint, flush=True)
    time.sleep(600)
"""


@contextmanager
def child(tmp_path, kind, project="cpr-test"):
    """A process that starts a server; its temporary files are in tmp_path."""
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(binaries.ROOT),
        "CPR_TEST_S3": kind,
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, project], stdout=subprocess.PIPE, text=True, env=environment
    ) as run:
        try:
            assert run.stdout.readline() == "starting\n"
            yield run
        finally:
            run.kill()


def eventually(holds, seconds, otherwise):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


@pytest.mark.s3
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_no_server(tmp_path, number):
    with child(tmp_path, "moto" if binaries.find("minio") is None else "binary") as run:
        pid, endpoint = run.stdout.readline().split()
        assert is_open(endpoint)
        run.send_signal(number)
        run.wait()
    eventually(
        lambda: not psutil.pid_exists(int(pid)) and not list(tmp_path.iterdir()),
        20,
        "the server or its data outlived the run",
    )
    assert not is_open(endpoint)


def left_of(engine, project):
    """The project's containers, networks, volumes and supervisors."""
    found = set()
    for command in (
        "ps -a --format {{.Names}}",
        "network ls --format {{.Name}}",
        "volume ls --format {{.Name}}",
    ):
        done = subprocess.run(
            [engine.program, *command.split()],
            env=engine.environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        found |= {name for name in done.stdout.split() if name.startswith(project)}
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if "server_supervisor.py" in line and project in line:
            found.add(f"process {process.pid}")
    return found


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "seconds"),
    [
        (signal.SIGKILL, 0.3),
        (signal.SIGTERM, 0.8),
        (signal.SIGKILL, 1.2),
        (signal.SIGTERM, None),
        (signal.SIGKILL, None),
    ],
)
def test_a_killed_run_leaves_no_container(tmp_path, number, seconds):
    """Killed while it starts them, or (None) when they are up."""
    engine = find_engine()
    if isinstance(engine, str):
        pytest.skip(engine)
    if missing := [image for image in IMAGES if not engine.has_image(image)]:
        pytest.skip(f"{engine.name} has no image {missing[0]}")
    project = f"cpr-kill-{secrets.token_hex(4)}"
    with child(tmp_path, "container", project) as run:
        if seconds is None:
            _, endpoint = run.stdout.readline().split()
            assert is_open(endpoint)
            assert len(left_of(engine, project)) >= 4
        else:
            time.sleep(seconds)
        run.send_signal(number)
        run.wait()
    eventually(
        lambda: not list(tmp_path.iterdir()) and not left_of(engine, project),
        60,
        "a container, its network, its volume or its supervisor outlived the run",
    )


def test_the_server_at_the_endpoint_of_the_environment_comes_first(force, monkeypatch, s3_server):
    monkeypatch.setenv("CPR_TEST_S3_ENDPOINT", s3_server.endpoint)
    with running_server(build=False) as server:
        assert server.kind == "endpoint"
        assert server.endpoint == s3_server.endpoint
        assert server.bucket != s3_server.bucket
        assert put_and_get(server) == b"\x00bytes\xff"
    with pytest.raises(buckets.Failure):
        s3_server.client().head_bucket(Bucket=server.bucket)


def test_an_endpoint_that_does_not_answer_is_not_replaced_by_another_server(force, monkeypatch):
    monkeypatch.setenv("CPR_TEST_S3_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"), running_server(build=False):
        pass


def test_a_demanded_rung_that_cannot_be_had_says_why(force, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    force("container")
    with pytest.raises(Unavailable, match="container: no docker, no podman"), running_server(build=False):
        pass
    force("container,bucket")
    with pytest.raises(Unavailable, match="can be container, binary, moto"), running_server(build=False):
        pass


@pytest.mark.s3
def test_several_rungs_can_be_allowed(force, monkeypatch):
    if (program := binaries.find("minio")) is None:
        pytest.skip("no minio on PATH or in .tools/bin")
    monkeypatch.setattr(binaries, "find", lambda _: program)
    monkeypatch.setenv("PATH", "")
    force("container,binary")
    with running_server(build=False) as server:
        assert server.kind == "binary"
        assert server.passed_over == ("container: no docker, no podman",)
    monkeypatch.setattr(binaries, "find", lambda _: None)
    with pytest.raises(Unavailable, match="container: no docker, no podman; binary: no minio on PATH"):
        running_server(build=False).__enter__()


@pytest.mark.s3
def test_the_last_rung_tells_why_it_was_not_a_better_one(force, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binaries, "TOOLS", tmp_path)
    with running_server(build=True) as server:
        assert server.kind == "moto"
        container, binary = server.passed_over
        assert container == "container: no docker, no podman"
        assert "no go on PATH" in binary


@pytest.mark.s3
@pytest.mark.parametrize(
    ("hidden", "summary"),
    [
        ({"go"}, ["The S3 tests ran on moto, an imitation", "Not used: container: no docker, no podman"]),
        (
            {"go", "moto"},
            ["No S3 tests ran: container: no docker, no podman", "moto[server] is not installed"],
        ),
    ],
    ids=["moto", "nothing"],
)
def test_the_summary_says_what_a_run_was_on(tmp_path, hidden, summary):
    (tmp_path / "hidden.py").write_text(
        "import pathlib, sys\n"
        "from tests.minio import binaries\n"
        f"binaries.TOOLS = pathlib.Path({str(tmp_path)!r})\n"
        f"sys.modules.update(dict.fromkeys({sorted(hidden)!r}))\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CPR_TEST_S3")}
    environment |= {"PATH": str(tmp_path), "PYTHONPATH": f"{tmp_path}:{binaries.ROOT}"}
    test = f"{__file__}::test_open_uploads_are_seen_until_they_are_aborted"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-p", "hidden", "-p", "no:cacheprovider", test],
        env=environment,
        cwd=binaries.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    for line in (*summary, "no go on PATH to build minio with"):
        assert line in done.stdout
    assert ("1 skipped" if "moto" in hidden else "1 passed") in done.stdout


def test_a_step_before_the_server_that_fails_is_cleaned_up_behind(tmp_path):
    done = tmp_path / "cleaned"
    say = [sys.executable, "-c", "import sys; sys.exit('no such network')"]
    clean = [sys.executable, "-c", f"open({str(done)!r}, 'w').close()"]
    with pytest.raises(StartError, match="no such network"), kept(None, dict(os.environ), [say], [clean]):
        pass
    assert done.exists()


def test_a_server_that_ends_at_once_shows_what_it_said():
    command = [sys.executable, "-c", "import sys; sys.exit('no more inodes')"]

    def refused():
        raise buckets.ClientError({}, "ListBuckets")

    with pytest.raises(StartError, match="no more inodes"), kept(command, dict(os.environ)) as process:
        wait(refused, process, "the server")


def test_the_environment_is_as_before_afterwards(s3_server, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    before = dict(os.environ)
    with s3_server.exported():
        assert os.environ["AWS_ENDPOINT_URL_S3"] == s3_server.endpoint
        assert "AWS_PROFILE" not in os.environ
        assert "127.0.0.1" in os.environ["NO_PROXY"]
    assert dict(os.environ) == before


def test_open_uploads_are_seen_until_they_are_aborted(s3_server, s3_url, open_uploads):
    client = s3_server.client()
    bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
    key = f"{prefix}/deep/object"
    assert open_uploads() == []
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    assert open_uploads() == [f"s3://{bucket}/{key}"]
    assert open_uploads(f"s3://{bucket}/{prefix}/deep") == [f"s3://{bucket}/{key}"]
    assert open_uploads(f"s3://{bucket}/{prefix}/flat") == []
    client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    assert open_uploads() == []
