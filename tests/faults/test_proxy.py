"""Each fault does what its name says, to exactly the request that was chosen.

The requests are made with http.client at signed URLs: no client that could repair anything.
"""

from __future__ import annotations

import http.client
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from tests.faults.proxy import DELAY_SECONDS, FaultProxy
from tests.minio import buckets

pytestmark = pytest.mark.real_s3

DATA = os.urandom(100_001)
STATUSES = {"500": "InternalError", "503": "SlowDown", "403": "AccessDenied", "412": "PreconditionFailed"}


@pytest.fixture
def where(s3_url):
    """Bucket and key of an object that is not there yet."""
    bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": f"{prefix}/object"}


@pytest.fixture
def direct(s3_server):
    """A client past the proxy."""
    return s3_server.client()


@pytest.fixture
def through(s3_server, proxy):
    """A client through the proxy; it repeats nothing."""
    return replace(s3_server, endpoint=proxy.endpoint).client()


@pytest.fixture
def ask(through, where):
    """ask("PUT", body): one request about the object; the answer, read, and its body."""
    calls = {"GET": "get_object", "PUT": "put_object", "HEAD": "head_object", "DELETE": "delete_object"}

    def ask(method, body=None, headers=None):
        url = urlsplit(through.generate_presigned_url(calls[method], Params=where))
        connection = http.client.HTTPConnection(url.netloc, timeout=20)
        try:
            connection.request(method, f"{url.path}?{url.query}", body, headers or {})
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    return ask


@pytest.fixture
def stored(direct, where):
    """stored(): the object's bytes, past the proxy; None when there is none."""

    def stored():
        try:
            return direct.get_object(**where)["Body"].read()
        except direct.exceptions.NoSuchKey:
            return None

    return stored


def flipped_bits(a, b):
    assert len(a) == len(b)
    return sum((x ^ y).bit_count() for x, y in zip(a, b, strict=True))


def test_without_a_plan_everything_passes_and_is_named(proxy, through, direct, where):
    through.put_object(**where, Body=DATA)
    assert through.get_object(**where)["Body"].read() == DATA
    assert through.head_object(**where)["ContentLength"] == len(DATA)
    assert through.list_objects_v2(Bucket=where["Bucket"], Prefix=where["Key"])["KeyCount"] == 1
    upload = {**where, "UploadId": through.create_multipart_upload(**where)["UploadId"]}
    assert len(buckets.open_uploads(through, where["Bucket"], where["Key"])) == 1
    etags = [
        through.upload_part(**upload, PartNumber=number, Body=body)["ETag"]
        for number, body in enumerate([bytes(5 << 20), DATA], 1)
    ]
    assert len(through.list_parts(**upload)["Parts"]) == 2
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    through.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert direct.head_object(**where)["ContentLength"] == (5 << 20) + len(DATA)
    other = {**where, "UploadId": through.create_multipart_upload(**where)["UploadId"]}
    through.abort_multipart_upload(**other)
    through.delete_object(**where)
    assert proxy.kinds == [
        *("put", "get", "head", "list", "create", "list uploads", "part", "part", "list parts"),
        *("complete", "create", "abort", "delete"),
    ]
    assert proxy.broken == []
    assert proxy.response_bytes > len(DATA)


def test_cut_before_the_server_hears_nothing(proxy, ask, stored):
    proxy.break_request(0, "cut before")
    with pytest.raises(http.client.RemoteDisconnected):
        ask("PUT", DATA)
    assert stored() is None
    assert proxy.broken == ["put: cut before"]


def test_cut_after_the_server_has_acted(proxy, ask, stored):
    proxy.break_request(0, "cut after")
    with pytest.raises(http.client.RemoteDisconnected):
        ask("PUT", DATA)
    assert stored() == DATA
    proxy.break_request(0, "cut after")
    with pytest.raises(http.client.RemoteDisconnected):
        ask("DELETE")
    assert stored() is None


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_answered_in_the_servers_stead(proxy, ask, stored, status):
    proxy.break_request(0, status)
    answer, body = ask("PUT", DATA)
    assert answer.status == int(status)
    assert f"<Code>{STATUSES[status]}</Code>".encode() in body
    assert stored() is None
    assert ask("PUT", DATA)[0].status == 200
    proxy.break_request(0, status)
    answer, body = ask("HEAD")
    assert (answer.status, body) == (int(status), b"")


@pytest.mark.parametrize("status", STATUSES)
def test_clients_take_a_status_for_the_servers(proxy, through, where, status):
    proxy.break_request(0, status)
    with pytest.raises(through.exceptions.ClientError) as caught:
        through.put_object(**where, Body=DATA)
    assert caught.value.response["Error"]["Code"] == STATUSES[status]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == int(status)


def test_a_connection_is_kept_after_a_status(proxy, through, where):
    url = urlsplit(through.generate_presigned_url("put_object", Params=where))
    connection = http.client.HTTPConnection(url.netloc, timeout=20)
    proxy.break_request(0, "503")
    found = []
    for _ in range(2):
        connection.request("PUT", f"{url.path}?{url.query}", DATA)
        answer = connection.getresponse()
        answer.read()
        found.append(answer.status)
    connection.close()
    assert found == [503, 200]


def test_delay(proxy, ask, stored):
    proxy.break_request(0, "delay")
    started = time.monotonic()
    assert ask("PUT", DATA)[0].status == 200
    assert time.monotonic() - started >= DELAY_SECONDS
    assert stored() == DATA
    assert ask("GET")[1] == DATA
    assert proxy.broken == ["put: delay"]


def test_flip_request_stores_one_wrong_bit(proxy, ask, stored):
    proxy.break_request(0, "flip request")
    assert ask("PUT", DATA)[0].status == 200
    assert flipped_bits(stored(), DATA) == 1


def test_flip_request_is_seen_by_a_server_that_was_told_the_digest(proxy, through, where, stored):
    proxy.break_request(0, "flip request")
    with pytest.raises(through.exceptions.ClientError, match="XAmzContentSHA256Mismatch"):
        through.put_object(**where, Body=DATA)
    assert stored() is None


def test_flip_response_gives_one_wrong_bit(proxy, ask, stored):
    ask("PUT", DATA)
    proxy.break_request(0, "flip response")
    answer, body = ask("GET")
    assert answer.status == 200
    assert flipped_bits(body, DATA) == 1
    assert stored() == DATA
    assert ask("GET")[1] == DATA


def test_short_agrees_with_its_length(proxy, ask, stored):
    ask("PUT", DATA)
    proxy.break_request(0, "short")
    answer, body = ask("GET")
    assert answer.status == 200
    assert body == DATA[: len(DATA) // 2]
    assert int(answer.headers["Content-Length"]) == len(body)
    assert len(answer.headers.get_all("Content-Length")) == 1
    assert stored() == DATA


def test_cut_body_does_not(proxy, ask):
    ask("PUT", DATA)
    proxy.break_request(0, "cut body")
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask("GET")
    assert caught.value.partial == DATA[: len(DATA) // 2]
    assert caught.value.expected == len(DATA) - len(DATA) // 2


def test_the_share_that_arrived_is_counted(proxy, ask):
    ask("PUT", DATA)
    proxy.break_request(1, "short")
    ask("GET")
    ask("GET")
    assert proxy.response_bytes == len(DATA) + len(DATA) // 2


@pytest.mark.parametrize("fault", ["flip request", "flip response", "short", "cut body"])
def test_what_has_no_body_cannot_be_damaged(proxy, ask, fault):
    ask("PUT", DATA)
    proxy.break_request(0, fault)
    answer, body = ask("HEAD")
    assert (answer.status, body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(DATA)
    proxy.break_request(0, fault)
    assert ask("DELETE")[0].status == 204


def test_one_request_is_hit_and_no_other(proxy, ask):
    proxy.break_request(2, "503")
    assert [ask("PUT", DATA)[0].status for _ in range(5)] == [200, 200, 503, 200, 200]
    assert proxy.broken == ["put: 503"]
    proxy.break_request(1, "403", kind="get")
    statuses = [ask(method)[0].status for method in ("HEAD", "GET", "HEAD", "GET", "GET", "HEAD")]
    assert statuses == [200, 200, 200, 403, 200, 200]
    assert proxy.kinds == ["head", "get", "head", "get", "get", "head"]
    assert proxy.broken == ["get: 403"]
    proxy.clear()
    assert ask("GET")[0].status == 200
    assert (proxy.kinds, proxy.broken) == (["get"], [])


def test_requests_side_by_side_are_counted_once_each(proxy, ask):
    ask("PUT", DATA)
    proxy.break_request(7, "503")
    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(lambda _: ask("GET")[0].status, range(40)))
    assert sorted(statuses) == [200] * 39 + [503]
    assert proxy.kinds == ["get"] * 40


def test_a_share_is_the_same_for_the_same_seed(proxy, ask):
    ask("PUT", DATA)
    runs = []
    for seed in (1, 1, 2):
        proxy.break_some(0.5, ("503", "403"), seed)
        runs.append([ask("HEAD")[0].status for _ in range(30)])
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {200, 403, 503}


def test_bodies_that_wait_or_come_in_chunks_arrive_whole(proxy, through, where, stored):
    url = urlsplit(through.generate_presigned_url("put_object", Params=where))
    pieces = [DATA[:10], DATA[10:70_000], DATA[70_000:]]
    connection = http.client.HTTPConnection(url.netloc, timeout=20)
    connection.request("PUT", f"{url.path}?{url.query}", iter(pieces), encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    assert stored() == DATA
    with socket.create_connection(url.netloc.split(":"), timeout=20) as waiting:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 4\r\n"
        waiting.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert waiting.recv(1000).startswith(b"HTTP/1.1 100 ")
        waiting.sendall(b"body")
        assert waiting.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert stored() == b"body"


def test_a_server_that_is_gone_is_no_hang(s3_server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, and nobody listens
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with FaultProxy(endpoint) as proxy:
            connection = http.client.HTTPConnection(urlsplit(proxy.endpoint).netloc, timeout=20)
            connection.request("GET", "/bucket/key")
            with pytest.raises(http.client.RemoteDisconnected):
                connection.getresponse()
            connection.close()


def test_nothing_is_left_of_it(s3_server):
    with FaultProxy(s3_server.endpoint) as proxy:
        thread, address = proxy._thread, urlsplit(proxy.endpoint)
        idle = socket.create_connection((address.hostname, address.port), timeout=20)
    assert not thread.is_alive()
    with suppress(ConnectionResetError):
        assert idle.recv(1) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=5)
