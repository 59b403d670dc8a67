"""Stores that give empty pages of a listing without an end, each with another token: a typed error."""

from __future__ import annotations

import itertools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cpr import io
from cpr.errors import TransferError
from tests.servers.environment import every_store_at

PAGES = {
    "gs": '{{"kind": "storage#objects", "nextPageToken": "{0}"}}',
    "s3": "<?xml version='1.0'?><ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys>"
    "<IsTruncated>true</IsTruncated><NextContinuationToken>{0}</NextContinuationToken></ListBucketResult>",
    "az": "<?xml version='1.0'?><EnumerationResults ServiceEndpoint='http://a/' ContainerName='b'><Blobs />"
    "<NextMarker>{0}</NextMarker></EnumerationResults>",
}


@pytest.fixture
def asked(request, monkeypatch):
    """How often a server was asked that answers everything with another empty page."""
    count = itertools.count(1)
    numbers: list[int] = []
    page = PAGES[request.param]
    monkeypatch.setenv("CPR_TIMEOUT", "5")

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16

        def do_GET(self):
            numbers.append(next(count))
            body = page.format(numbers[-1]).encode()
            self.send_response(200)
            kind = "application/json" if page.startswith("{") else "application/xml"
            for name, value in (("Content-Type", kind), ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with every_store_at(url):
            yield request.param, numbers
        server.shutdown()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("asked", PAGES, indirect=True)
def test_empty_pages_have_an_end(asked):
    scheme, numbers = asked
    with pytest.raises(TransferError):
        io.find(f"{scheme}://bucket/folder/**")
    assert numbers
