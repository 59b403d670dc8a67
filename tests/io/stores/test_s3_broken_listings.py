"""A server that speaks S3's language and lists what no store has: typed errors, in all that lists."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import cpr
from cpr import io
from cpr.errors import TransferError
from cpr.operations.ls import list_results

_DATE = "2026-01-01T00:00:00.000Z"


def _object(key="<Key>r/a.tif</Key>", size="<Size>10</Size>", date=f"<LastModified>{_DATE}</LastModified>"):
    return f"<Contents>{key}{date}<ETag>a</ETag>{size}</Contents>"


BROKEN = {
    "no key": _object(key=""),
    "no size": _object(size=""),
    "a size that is none": _object(size="<Size>abc</Size>"),
    "a size with an exponent": _object(size="<Size>1e3</Size>"),
    "a size below 0": _object(size="<Size>-5</Size>"),
    "no date": _object(date=""),
    "a date that is none": _object(date="<LastModified>yesterday</LastModified>"),
    "a date of 400 digits": _object(date=f"<LastModified>{'9' * 400}</LastModified>"),
    "the year 99999": _object(date="<LastModified>99999-01-01T00:00:00Z</LastModified>"),
    "an offset of four days": _object(date="<LastModified>2026-01-01T00:00:00+99:99</LastModified>"),
    "a folder without a name": "<CommonPrefixes></CommonPrefixes>",
}
_FILES = "s3://bucket/r/*.tif"
LISTINGS = {
    "glob": lambda: cpr.ImageSource.glob(_FILES, empty="ignore"),
    "glob below": lambda: cpr.ImageSource.glob("s3://bucket/r/**/*.tif", empty="ignore"),
    "results": lambda: list_results("s3://bucket/r"),
    "orphans": lambda: io.find_orphans("s3://bucket/r"),
}


@pytest.fixture
def listing(monkeypatch):
    """listing(items): what a server lists from now on, whatever it is asked."""
    said = {"items": ""}

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            head = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>'
            body = f"{head}{said['items']}</ListBucketResult>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
        for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield lambda items: said.update(items=items)
        server.shutdown()
        thread.join()


def test_a_listing_that_is_sound_is_read(listing):
    listing(_object())
    assert [one.url for one in LISTINGS["glob"]()] == ["s3://bucket/r/a.tif"]
    assert LISTINGS["results"]().targets == 0


@pytest.mark.parametrize("name", BROKEN)
def test_what_no_store_lists_is_a_typed_error(listing, name):
    # A folder is asked for only by who lists one level.
    asked = ["glob"] if "folder" in name else list(LISTINGS)
    for what in asked:
        listing(BROKEN[name])
        with pytest.raises(TransferError) as caught:
            LISTINGS[what]()
        assert caught.value.remedy
