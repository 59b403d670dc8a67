"""What a store may answer to an upload, however odd: a typed error, or a record of what is really there."""

from __future__ import annotations

import gzip
import re
import threading
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cpr
from cpr.errors import CprError, TransferError
from cpr.io.answer_checks import BadAnswerError
from cpr.io.objects import open_store
from tests.faults.behind_proxies import HTTP_STORES, store_behind
from tests.servers.misbehaving import MisbehavingProxy

LIMIT = 3.0
MOST = 90.0
SMALL, LARGE = 1000, 4 << 20  # of 4 bytes
HTML = b"<!doctype html><html><body>Please log in</body></html>"
ERROR = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>no</Message></Error>'

Answer = tuple[int, dict[str, str], bytes]


class AnswersProxy(MisbehavingProxy):
    """Alters the answers to requests that write.

    Attributes:
        alter: of a status, headers and body makes others; of None, too, where the store is not asked.
        is_asked: whether the store gets such requests at all.
        kind: of requests, as `kind_of` names them.
    """

    alter: Callable[[int, dict[str, str], bytes], Answer] | None = None
    is_asked = True
    kind = ""
    altered = 0

    def serve(self, handler: Any) -> None:
        alter = self.alter
        if alter is None or kind_of(handler.command, handler.path) != self.kind:
            super().serve(handler)
            return
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        found = self._forward(handler, body) if self.is_asked else (200, {}, b"")
        self.altered += 1
        self._send(handler, *alter(*found))


def kind_of(method: str, path: str) -> str:
    """What a request of a client does in an upload."""
    query = path.partition("?")[2]
    if "uploadType=multipart" in query:
        return "put"
    if (method == "POST" and "uploadType=resumable" in query) or re.match(r"uploads(=|&|$)", query):
        return "begin"
    if method == "POST" and "uploadId=" in query:
        return "complete"
    if "comp=blocklist" in query:
        return "complete"
    if method == "PUT" and re.search("partNumber=|comp=block|upload_id=", query):
        return "part"
    return "put" if method == "PUT" and "comp=" not in query else ""


def header(name: str, value: str | None) -> Callable[..., Answer]:
    def alter(status: int, headers: dict[str, str], body: bytes) -> Answer:
        kept = {key: old for key, old in headers.items() if key.lower() != name.lower()}
        return status, kept if value is None else {**kept, name: value}, body

    return alter


def with_body(body: bytes, status: int | None = None, **more: str) -> Callable[..., Answer]:
    def alter(old: int, headers: dict[str, str], _: bytes) -> Answer:
        return status or old, {**headers, **more}, body

    return alter


def with_status(status: int, **more: str) -> Callable[..., Answer]:
    return lambda _, headers, body: (status, {**headers, **more}, body)


def replaced(pattern: bytes, by: bytes) -> Callable[..., Answer]:
    found = re.compile(pattern, re.DOTALL)
    return lambda status, headers, body: (status, headers, found.sub(lambda _: by, body))


def bare(status: int, body: bytes = b"", **more: str) -> Callable[..., Answer]:
    return lambda *_: (status, more, body)


ANSWERS: dict[str, Callable[..., Answer]] = {
    "no etag": header("ETag", None),
    "empty etag": header("ETag", '""'),
    "no quotes": header("ETag", "0"),
    "another etag": header("ETag", '"00000000000000000000000000000000"'),
    "odd etag": header("ETag", '"\xff\xfe<&>%0a../"'),
    "long etag": header("ETag", '"' + "a" * 6000 + '"'),
    "very long header": header("X-Long", "a" * 300_000),
    "crc64": header("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
    "no headers": bare(200),
    "no headers, 201": bare(201),
    "204": with_status(204),
    "202": with_status(202),
    "206": with_status(206),
    "304": with_status(304),
    "308": with_status(308),
    "418": with_status(418),
    "999": with_status(999),
    "html": bare(200, HTML, **{"Content-Type": "text/html", "ETag": '"5f-1"'}),
    "html, 201": bare(201, HTML, **{"Content-Type": "text/html", "ETag": '"5f-1"'}),
    "error under 200": with_body(ERROR, 200, **{"Content-Type": "application/xml"}),
    "error under 201": with_body(ERROR, 201, **{"Content-Type": "application/xml"}),
    "empty body": with_body(b""),
    "noise": with_body(bytes(range(256)) * 20),
    "null": with_body(b"null"),
    "list": with_body(b"[]"),
    "object": with_body(b"{}"),
    "half": lambda status, headers, body: (status, headers, body[: len(body) // 2]),
    "deep json": with_body(b'{"a":' * 100_000),
    "deep xml": with_body(b"<a>" * 100_000),
    "entities": with_body(
        b'<!DOCTYPE a [<!ENTITY b "' + b"c" * 10_000 + b'">]><a>' + b"&b;" * 1000 + b"</a>"
    ),
    "gzip": lambda status, headers, body: (
        status,
        {**headers, "Content-Encoding": "gzip"},
        gzip.compress(body),
    ),
    "no gzip": lambda status, headers, body: (status, {**headers, "Content-Encoding": "gzip"}, body),
    "br": lambda status, headers, body: (status, {**headers, "Content-Encoding": "br"}, body),
    "another key": replaced(rb"<Key>.*?</Key>", b"<Key>else</Key>"),
    "id ../": replaced(rb"<UploadId>.*?</UploadId>", b"<UploadId>../../x?y=1#z</UploadId>"),
    "id &": replaced(rb"<UploadId>.*?</UploadId>", b"<UploadId>a&amp;partNumber=2&#10;b</UploadId>"),
    "id unicode": replaced(rb"<UploadId>.*?</UploadId>", "<UploadId>\u202eé😀</UploadId>".encode()),
    "id long": replaced(rb"<UploadId>.*?</UploadId>", b"<UploadId>" + b"a" * 100_000 + b"</UploadId>"),
    "id empty": replaced(rb"<UploadId>.*?</UploadId>", b"<UploadId></UploadId>"),
    "id none": replaced(rb"<UploadId>.*?</UploadId>", b""),
    "ids": replaced(rb"<UploadId>.*?</UploadId>", b"<UploadId>a</UploadId><UploadId>b</UploadId>"),
    "id nested": replaced(rb"<UploadId>.*?</UploadId>", b"<UploadId><a>b</a></UploadId>"),
    "etag none": replaced(rb"<ETag>.*?</ETag>", b""),
    "etag empty": replaced(rb"<ETag>.*?</ETag>", b"<ETag/>"),
    "crc none": replaced(rb'"crc32c": ?".*?"', b'"crc32c": null'),
    "crc other": replaced(rb'"crc32c": ?".*?"', b'"crc32c": "AAAAAA=="'),
    "crc list": replaced(rb'"crc32c": ?".*?"', b'"crc32c": ["a"]'),
    "size other": replaced(rb'"size": ?"?\d+"?', b'"size": "1"'),
    "size list": replaced(rb'"size": ?"?\d+"?', b'"size": [1]'),
    "size large": replaced(rb'"size": ?"?\d+"?', b'"size": 1' + b"0" * 4000),
    "generation none": replaced(rb'"generation": ?"?\d+"?', b'"generation": null'),
    "generation odd": replaced(rb'"generation": ?"?\d+"?', b'"generation": {"a": "../x"}'),
    "generation negative": replaced(rb'"generation": ?"?\d+"?', b'"generation": -5'),
    "location none": header("Location", None),
    "location empty": header("Location", ""),
    "location file": header("Location", "file:///etc/passwd"),
    "location script": header("Location", "javascript://x"),
    "location path": header("Location", "/upload"),
    "location odd": header("Location", "http://[::1:%zz/ \xff?upload_id=1"),
    "location port": header("Location", "http://127.0.0.1:99999/x?upload_id=1"),
    "location user": header("Location", "http://a:b@127.0.0.1:1/x?upload_id=1"),
    "location nobody": header("Location", "http://127.0.0.1:1/x?upload_id=1"),
    "location long": header("Location", "http://127.0.0.1:1/" + "a" * 5000),
    "range back": with_status(308, Range="bytes=0-0"),
    "range none": lambda _, headers, body: header("Range", None)(308, headers, body),
    "range beyond": with_status(308, Range="bytes=0-99999999999"),
    "range 20 digits": with_status(308, Range="bytes=0-99999999999999999999"),
    "range odd": with_status(308, Range="bytes=0-\xb2"),
    "range negative": with_status(308, Range="bytes=0--5"),
    "range open": with_status(308, Range="bytes=0-"),
    "range word": with_status(308, Range="bytes"),
    "md5": header("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="),
    "md5 odd": header("Content-MD5", "\xff"),
    "no date": header("Date", "yesterday"),
    "modified odd": header("Last-Modified", "yesterday"),
    "encrypted odd": header("x-ms-request-server-encrypted", "perhaps"),
    "version odd": header("x-ms-version-id", "\xff" * 100),
}


STEPS = {
    "s3": ["put", "begin", "part", "complete"],
    "gs": ["put", "begin", "part"],
    "az": ["put", "part", "complete"],
}
# Whoever says in S3's own words that it has stored what it has not is believed.
UNKNOWABLE = {("s3", "put", "another etag")}
# What has passed for an answer once, and some that have not.
FEW = ["no headers, 201", "html", "html, 201", "error under 200", "empty etag", "md5"]


@pytest.fixture(params=HTTP_STORES)
def place(request, monkeypatch):
    """A store behind a proxy: its protocol, a folder there, and the proxy."""
    with store_behind(AnswersProxy, request, monkeypatch) as found:
        yield found


def outcome_of(base: str, proxy: AnswersProxy, step: str, name: str, monkeypatch) -> str:
    """What becomes of an upload whose answers are altered: an error, or a record of what is there."""
    size = SMALL if step == "put" else LARGE
    data = np.random.default_rng(uuid.uuid4().int % 2**60).integers(0, 2**32, size, "uint32")
    target = cpr.NumpyTarget.from_path(f"{base}/a.npy")
    target.set_data(data)
    found: list[Any] = []

    def store() -> None:
        try:
            found.append(target.serialize())
        except BaseException as error:
            found.append(error)

    monkeypatch.setenv("CPR_TIMEOUT", str(LIMIT))
    proxy.alter, proxy.kind = ANSWERS[name], step
    thread = threading.Thread(target=store, daemon=True)
    thread.start()
    thread.join(MOST)
    proxy.alter = None
    monkeypatch.setenv("CPR_TIMEOUT", "30")
    if not found:
        return "HANGS"
    if isinstance(found[0], CprError):
        return "typed"
    if isinstance(found[0], BaseException):
        return f"UNTYPED {found[0]!r}"
    try:
        return "right" if np.array_equal(cpr.load(found[0]).get_data(), data) else "WRONG"
    except CprError as error:
        return f"NOT THERE {error!r}"


def bad_ones(place: tuple[str, str, AnswersProxy], names: list[str], monkeypatch) -> dict[Any, str]:
    """What is neither right nor typed, by whether the store was asked, step and answer."""
    scheme, base, proxy = place
    found = {}
    for proxy.is_asked in (True, False):
        for step in STEPS[scheme]:
            for name in names:
                outcome = outcome_of(base, proxy, step, name, monkeypatch)
                if outcome not in ("right", "typed") and (scheme, step, name) not in UNKNOWABLE:
                    found[proxy.is_asked, step, name] = outcome
    return found


@pytest.mark.slow
def test_what_is_no_answer_of_a_store(place, monkeypatch):
    assert bad_ones(place, FEW, monkeypatch) == {}
    assert place[2].altered


@pytest.mark.slow
@pytest.mark.long
def test_every_answer(place, monkeypatch):
    assert bad_ones(place, list(ANSWERS), monkeypatch) == {}


SESSIONS = [
    "",
    "/upload",
    "file:///etc/passwd",
    "ftp://a/b",
    "javascript:x",
    "http://",
    "http://a:b/c",
    "http://[::1",
    "http://h/\u00e9 x",
]


@pytest.mark.parametrize("url", SESSIONS)
def test_what_is_no_session_of_an_upload_is_said_at_once(url, gs_url, gcs_server, monkeypatch):
    with AnswersProxy(gcs_server.endpoint) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.endpoint)
        proxy.alter, proxy.kind = header("Location", url), "begin"
        target = cpr.NumpyTarget.from_path(f"{gs_url}/a.npy")
        target.set_data(np.arange(LARGE, dtype="uint32"))
        with pytest.raises(TransferError, match="no store of this kind"):
            target.persist()
        assert proxy.altered == 1


def test_a_session_is_no_less_protected_than_the_endpoint(gs_url, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "https://127.0.0.1:1")
    store, _ = open_store(f"{gs_url}/a")
    requests = store._requests
    assert requests.place_given("https://storage.googleapis.com/upload?upload_id=1")
    with pytest.raises(BadAnswerError):
        requests.place_given("http://storage.googleapis.com/upload?upload_id=1")
