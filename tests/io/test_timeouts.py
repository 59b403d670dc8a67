"""Stores that do not answer, or answer nonsense: a typed error in time, and never wrong data."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

import pytest

import cpr
from cpr import io
from cpr.errors import ConfigurationError, CprError, TransferError
from cpr.io import timeouts
from cpr.io.timeouts import NoAnswerError, cleaning_up, request_seconds, wait_for, within_limit
from tests.servers.broken import BrokenServer, answer

LIMIT = 4.0
# What a test may take beyond its limit on a busy machine: cleaning up takes up to the limit again.
SLACK = 3 * LIMIT + 10
SOON = 15.0

KEY = "folder/a.npy"
DATA = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (100,), }".ljust(127) + b"\n"
DATA += bytes(100)
WHEN = "Wed, 21 Oct 2026 07:28:00 GMT"
HTML = b"<html><body>please log in</body></html>"


def listing(*, more: bool, token: bool) -> bytes:
    body = (
        '<?xml version="1.0"?><ListBucketResult><Name>bucket</Name><Prefix></Prefix><KeyCount>1</KeyCount>'
        f"<MaxKeys>1000</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
        + ("<NextContinuationToken>same</NextContinuationToken>" if token else "")
        + f"<Contents><Key>{KEY}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        '<ETag>"x"</ETag><Size>228</Size></Contents></ListBucketResult>'
    )
    return answer("200 OK", body.encode(), Content_Type="application/xml")


def s3_object(status: str, body: bytes, content_range: str | None, length: int | None = None) -> bytes:
    more = {} if content_range is None else {"Content_Range": content_range}
    return answer(status, body, length, ETag='"x"', Last_Modified=WHEN, **more)


def normal(method: str, target: str) -> bytes:
    """What a store would answer."""
    if "list-type" in target:
        return listing(more=False, token=False)
    if method == "HEAD":
        return s3_object("200 OK", DATA, None)
    if method == "GET":
        return s3_object("206 Partial Content", DATA, "bytes 0-227/228")
    return answer("200 OK", b"", ETag='"x"')


def only(method: str, found: bytes):
    def handler(asked, target):
        return found if asked == method and "list-type" not in target else normal(asked, target)

    return handler


def error_of(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>m</Message></Error>'.encode()


NEVER = lambda method, target: None
BROKEN = {
    "never answers": NEVER,
    "throttles for ever": lambda *_: answer(
        "429 Too Many Requests", error_of("TooManyRequests"), Retry_After="1"
    ),
    "slow down": lambda *_: answer("503 Slow Down", error_of("SlowDown"), Retry_After="3600"),
    "HTML": lambda *_: answer("200 OK", HTML, Content_Type="text/html", Last_Modified=WHEN, ETag='"x"'),
    "HTML without an ETag": lambda *_: answer("200 OK", HTML, Content_Type="text/html", Last_Modified=WHEN),
    "nothing": lambda *_: answer("200 OK"),
    "no HTTP": lambda *_: b"\x16\x03\x01\x02\x00garbage\r\n\r\n",
    "a redirect in a circle": lambda _, target: answer("302 Found", Location=target),
}


AS_A_STORE_ANSWERS = {("HTML", "stat"), ("HTML", "put")}


@pytest.fixture
def broken(monkeypatch):
    servers = []

    def start(handler, drip=0.0):
        server = BrokenServer(handler, drip)
        servers.append(server)
        for name, value in {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ENDPOINT_URL_S3": server.endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "canary-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "CPR_TIMEOUT": str(LIMIT),
        }.items():
            monkeypatch.setenv(name, value)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def put(nbytes: int) -> None:
    with io.writing("s3://bucket/folder/b.bin") as file:
        file.write(b"x" * nbytes)


OPERATIONS = {
    "read": lambda: cpr.NumpySource.from_path(f"s3://bucket/{KEY}").get_data(),
    "region": lambda: cpr.NumpySource.from_path(f"s3://bucket/{KEY}").get_data(region=slice(3, 5)),
    "stat": lambda: io.stat(f"s3://bucket/{KEY}"),
    "put": lambda: put(100),
    "put in parts": lambda: put(20 << 20),
    "glob": lambda: cpr.NumpySource.glob("s3://bucket/folder/*.npy"),
    "walk": lambda: io.find_orphans("s3://bucket/folder"),
}


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("how", BROKEN)
def test_every_operation_ends_in_time_with_a_typed_error(broken, how, operation):
    if (how, operation) in AS_A_STORE_ANSWERS:
        pytest.skip("an ETag and a time are all that the answer of a store has")
    broken(BROKEN[how])
    begun = time.monotonic()
    with pytest.raises(CprError) as caught:
        OPERATIONS[operation]()
    assert time.monotonic() - begun < LIMIT + SLACK
    assert "canary-secret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    if how == "never answers":
        assert "no answer within 4 s" in str(caught.value)
        assert "CPR_TIMEOUT" in caught.value.remedy


def test_a_store_that_is_well_passes(broken):
    broken(normal)
    assert OPERATIONS["read"]().sum() == 0
    assert len(OPERATIONS["glob"]()) == 1


def test_a_byte_a_second_is_no_answer(broken):
    broken(normal, drip=1)
    begun = time.monotonic()
    with pytest.raises(TransferError, match="did not answer in time"):
        OPERATIONS["read"]()
    assert time.monotonic() - begun < LIMIT + SLACK


@pytest.mark.parametrize("operation", ["glob", "walk"])
@pytest.mark.parametrize(("token", "code"), [(True, "ListingRepeats"), (False, "ListingCut")])
def test_a_listing_that_never_ends_or_is_cut(broken, operation, token, code):
    broken(lambda method, target: listing(more=True, token=token))
    with pytest.raises(TransferError, match=code if operation == "glob" else "Listing"):
        OPERATIONS[operation]()


SHORT = {
    "ignores the range": s3_object("200 OK", DATA, None),
    "HTML instead": answer("200 OK", HTML, ETag='"x"', Last_Modified=WHEN),
    "another range": s3_object("206 Partial Content", DATA[1:], "bytes 1-227/228"),
    "less than its range": s3_object("206 Partial Content", DATA[:150], "bytes 0-227/228"),
    "less than its length": s3_object("206 Partial Content", DATA[:150], "bytes 0-227/228", length=228),
    "a smaller object": s3_object("206 Partial Content", DATA[:150], "bytes 0-149/150"),
    "nothing": s3_object("206 Partial Content", b"", "bytes 0-227/228"),
}


@pytest.mark.parametrize("operation", ["read", "region"])
@pytest.mark.parametrize("how", SHORT)
def test_what_is_not_the_range_is_never_data(broken, how, operation):
    broken(only("GET", SHORT[how]))
    with pytest.raises(CprError):
        OPERATIONS[operation]()


@pytest.mark.parametrize("setting", ["0", "-1", "soon", "inf", "nan"])
def test_a_limit_that_is_none(monkeypatch, setting):
    monkeypatch.setenv("CPR_TIMEOUT", setting)
    with pytest.raises(ConfigurationError, match="CPR_TIMEOUT"):
        request_seconds()


def test_the_limit_is_a_minute_and_may_be_set(monkeypatch):
    monkeypatch.delenv("CPR_TIMEOUT", raising=False)
    assert request_seconds() == 60
    monkeypatch.setenv("CPR_TIMEOUT", "7.5")
    assert request_seconds(512 << 10) == 9.5


CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start jobs in the background without it
from cpr import io
import cpr
print("ready", flush=True)
try:
    if sys.argv[1] == "read": io.stat("s3://bucket/a.npy")
    elif sys.argv[1] == "glob": io.find("s3://bucket/*")
    else:
        with io.writing("s3://bucket/a.npy") as file:
            file.write(b"x" * int(sys.argv[1]))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["read", "glob", "10", str(60 << 20)])
def test_ctrl_c_acts_on_a_stalled_transfer(broken, what):
    broken(NEVER)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, what],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CPR_TIMEOUT": "60"},
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(3)
    begun = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "interrupted\n"
    # 2 s on a quiet machine, and a minute where nothing acts; the process itself ends with its interpreter.
    assert time.monotonic() - begun < SOON
    child.wait(20)


@pytest.mark.parametrize("operation", ["read", "put", "put in parts", "glob"])
def test_a_timeout_raised_in_a_thread_acts(broken, monkeypatch, operation):
    """As Prefect's does, which cannot interrupt a wait in one piece."""
    broken(NEVER)
    monkeypatch.setenv("CPR_TIMEOUT", "60")
    ended = []

    def run():
        try:
            OPERATIONS[operation]()
        except BaseException as error:
            ended.append(error)

    class TaskTimeoutError(TimeoutError):
        pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    time.sleep(1.5)
    begun = time.monotonic()
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(TaskTimeoutError)
    )
    thread.join(30)
    assert time.monotonic() - begun < SOON
    assert len(ended) == 1
    assert type(ended[0]) is TaskTimeoutError


@pytest.mark.parametrize(
    ("ago", "work", "cleaning"), [(-30, True, True), (2, False, True), (99, False, False)]
)
def test_a_process_that_is_to_end_waits_for_nothing(monkeypatch, ago, work, cleaning):
    """So many seconds after Ctrl-C: whether a request still gets the half second that its answer takes."""
    monkeypatch.setattr(timeouts, "_CLEANING_SECONDS", 60.0)  # however busy the machine is
    monkeypatch.setattr(timeouts, "_told_to_end", [])
    timeouts.end_soon()
    timeouts._told_to_end[0] = time.monotonic() - ago

    async def slow() -> bool:
        await asyncio.sleep(0.5)
        return True

    def answered(request) -> bool:
        try:
            return request()
        except NoAnswerError:
            return False

    def wait_for_slow() -> bool:
        future: Future[bool] = Future()

        def answer_late() -> None:
            with suppress(InvalidStateError):  # it is waited for no longer
                future.set_result(True)

        threading.Timer(0.5, answer_late).start()
        return wait_for(future)

    for request in (wait_for_slow, lambda: asyncio.run(within_limit(slow()))):
        begun = time.monotonic()
        assert answered(request) is work
        if not work:
            assert time.monotonic() - begun < 5
        with cleaning_up():
            assert answered(request) is cleaning
