"""The S3 server of the test run, and the fixtures that lead to it.

A test that asks for `gs_url` or `sftp_url` gets the marker `gcs` or `sftp`, and a server of its own process,
for those start in no time.

A test that asks for `s3_server`, `s3_url` or `open_uploads`, or is marked `real_s3`, gets the marker `s3`.
When one of those is selected, the ladder of tests/minio/server.py starts one server for the whole run, its
variables go into os.environ (so child processes and Dask workers see them), and the summary says what it was.
Otherwise nothing starts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import fsspec.config
import pytest
from hypothesis import settings

from tests.minio import buckets
from tests.minio.broker import Broker, ask
from tests.minio.process import Unavailable
from tests.minio.server import S3Server
from tests.servers.azure import AzureServer, running_azure
from tests.servers.gcs import GCSServer, running_gcs
from tests.servers.prefect import counted, dask_cluster, prefect_server, results  # noqa: F401 (fixtures)
from tests.servers.sftp import SFTPServer, running_sftp

# No deadline: a first example that starts a store or imports a package is slow, and that is no failure.
settings.register_profile("cpr", deadline=None, max_examples=50)
settings.register_profile("long", deadline=None, max_examples=1000)
# In CI the same examples each time: what is refused there is refused here. `make test-long` draws new ones.
settings.register_profile("ci", settings.get_profile("cpr"), derandomize=True, print_blob=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "cpr")  # --hypothesis-profile=long overrides it

# gcsfs reads it when it is imported, by whichever test comes first.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

# Every fault at every moment of every format takes half an hour: of these, some combinations stand for all.
SWEEPS = {
    "test_azure_faults.py",
    "test_changed_on_the_way.py",
    "test_crashes.py",
    "test_crashes_zarr.py",
    "test_fault_injection.py",
    "test_fault_matrix.py::test_every_operation",
    "test_only_changes.py::test_each_request_breaks_once",
}

_ADDRESS = re.compile("at 0x[0-9a-f]")

# Set in the process of a test that is marked `own_process`.
OWN_PROCESS = "CPR_TEST_OWN_PROCESS"

OpenUploads = Callable[..., list[str]]

BROKER = pytest.StashKey[Broker]()  # in the only process, or in xdist's controller
STACK = pytest.StashKey[ExitStack]()
ANSWER = pytest.StashKey[S3Server | str]()  # the server, or the reason why there is none


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked `long`")
    parser.addoption(
        "--one-of", type=int, default=1, help="run one of so many tests, each time the same ones"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STACK] = ExitStack()
    if not hasattr(config, "workerinput"):
        config.stash[BROKER] = Broker()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[STACK].close()
    if BROKER in config.stash:
        config.stash[BROKER].close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    broker = node.config.stash[BROKER]
    if not hasattr(node.config, "cpr_s3_address"):
        node.config.cpr_s3_address = broker.listen()
    node.workerinput["cpr_s3_address"] = node.config.cpr_s3_address


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by the markers set here
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if named_by_address := [item.nodeid for item in items if _ADDRESS.search(item.nodeid)]:
        # Each process would have other names, and pytest-xdist would run none, after a minute.
        raise pytest.UsageError(f"an address in the name of a test; give it ids=: {named_by_address[0]}")
    long_too, one_of = config.getoption("--long"), config.getoption("--one-of")
    kept = [item for item in items if zlib.crc32(item.nodeid.encode()) % one_of == 0]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept
    named = any("::" in argument for argument in config.args)
    for item in items:
        if "s3_server" in getattr(item, "fixturenames", ()) or item.get_closest_marker("real_s3"):
            item.add_marker("s3")
        for name in ("gcs", "sftp", "azure"):
            if f"{name}_server" in getattr(item, "fixturenames", ()):
                item.add_marker(name)
        if item.get_closest_marker("azure"):
            item.add_marker(pytest.mark.xdist_group("azure"))  # one emulator, which is large, for all
        if item.get_closest_marker("long") and not long_too:
            item.add_marker(pytest.mark.skip(reason="long: make test-long"))
        places = {item.path.name, f"{item.path.name}::{getattr(item, 'originalname', '')}"}
        sweep = bool(places & SWEEPS) and hasattr(item, "callspec")
        if sweep and not (long_too or named) and zlib.crc32(item.nodeid.encode()) % 3:
            item.add_marker(pytest.mark.skip(reason="a third of the sweep; all of it: make test-long"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    # Here rather than in a fixture: building MinIO takes minutes, which is no test's time to be limited.
    config = session.config
    if config.option.collectonly or not any(item.get_closest_marker("s3") for item in session.items):
        return
    try:
        server = (
            ask(tuple(config.workerinput["cpr_s3_address"]))
            if hasattr(config, "workerinput")
            else config.stash[BROKER].get()
        )
    except Unavailable as error:
        config.stash[ANSWER] = str(error)
    else:
        config.stash[ANSWER] = server
        config.stash[STACK].enter_context(server.exported())


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("real_s3") and _server(item.config).kind == "moto":
        pytest.skip("moto cannot prove this: needs a real S3 server")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a test that is marked `own_process` in one; None lets others run the rest as usual."""
    if pyfuncitem.get_closest_marker("own_process") is None or OWN_PROCESS in os.environ:
        return None
    plugins = [*(pyfuncitem.config.option.plugins or ()), "no:cacheprovider", "no:xdist"]
    command = [sys.executable, "-m", "pytest", "-q", *(word for name in plugins for word in ("-p", name))]
    command += ["--long", "--hypothesis-profile", settings.get_current_profile_name()]
    run = subprocess.run(
        [*command, f"{pyfuncitem.path}::{pyfuncitem.nodeid.partition('::')[2]}"],
        cwd=pyfuncitem.config.rootpath,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        | {OWN_PROCESS: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if run.returncode or " passed" not in run.stdout:
        pytest.fail(run.stdout, pytrace=False)
    return True


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    broker = config.stash.get(BROKER, None)
    if broker is None or broker.answer is None:
        return
    terminalreporter.section("S3 server")
    if isinstance(broker.answer, S3Server):
        terminalreporter.line(f"The S3 tests ran on {broker.answer.description}.")
        for reason in broker.answer.passed_over:
            terminalreporter.line(f"Not used: {reason}")
    else:
        terminalreporter.line(f"No S3 tests ran: {broker.answer}")


def _server(config: pytest.Config) -> S3Server:
    answer = config.stash.get(ANSWER, "this run was not prepared for S3 tests")
    if isinstance(answer, S3Server):
        return answer
    if os.environ.get("CPR_TEST_S3") or os.environ.get("CPR_TEST_S3_ENDPOINT"):
        pytest.fail(f"the S3 server that was asked for is not to be had: {answer}", pytrace=False)
    pytest.skip(f"no S3 server: {answer}")


@pytest.fixture(scope="session")
def s3_server(pytestconfig: pytest.Config) -> S3Server:
    """The S3 server of this run; skips where there is none, fails where one was demanded."""
    return _server(pytestconfig)


@pytest.fixture
def s3_url(s3_server: S3Server) -> Iterator[str]:
    """A prefix in the bucket that is this test's alone, `s3://bucket/<hex>`; emptied afterwards."""
    prefix = uuid.uuid4().hex
    yield f"s3://{s3_server.bucket}/{prefix}"
    buckets.empty(s3_server.client(), s3_server.bucket, prefix + "/")


@pytest.fixture
def open_uploads(s3_server: S3Server, s3_url: str) -> OpenUploads:
    """open_uploads(): the URLs of multipart uploads left open under s3_url, or under the URL given."""

    def listed(url: str = s3_url) -> list[str]:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        uploads = buckets.open_uploads(s3_server.client(), bucket, prefix)
        return [f"s3://{bucket}/{key}" for key, _ in uploads]

    return listed


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GCSServer]:
    """The GCS emulator of this process; its variables are in os.environ from now on."""
    try:
        with running_gcs() as server, server.exported():
            yield server
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def gs_url(gcs_server: GCSServer) -> str:
    """A prefix in the bucket that is this test's alone, `gs://bucket/<hex>`."""
    return f"gs://{gcs_server.bucket}/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def azure_server() -> Iterator[AzureServer]:
    """The Azure emulator of this process; its variables are in os.environ from now on."""
    try:
        with running_azure() as server, server.exported():
            yield server
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def az_url(azure_server: AzureServer) -> str:
    """A prefix in the container that is this test's alone, `az://container/<hex>`."""
    return f"az://{azure_server.container}/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory) -> Iterator[SFTPServer]:
    """The SFTP server of this process."""
    with running_sftp(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture
def sftp_url(sftp_server: SFTPServer, monkeypatch) -> str:
    """A folder of the server that is this test's alone; fsspec is configured for it."""
    monkeypatch.setitem(fsspec.config.conf, "sftp", sftp_server.options)
    return f"{sftp_server.url}/{uuid.uuid4().hex}"


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Callable[[str], str]]:
    """small_disk("16k"): a folder on a file system of that size; skips where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(size: str) -> str:
        nonlocal mounted
        if os.name != "posix" or os.geteuid() != 0:
            pytest.skip("mounting needs root")
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        mounted = True
        return str(folder)

    yield mount
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; skips where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on PATH")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=[*flags, "--disable-sync"])
        yield running
        running.close()
