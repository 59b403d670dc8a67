"""Servers that send more than they were asked for, without an end: little of it is read."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cpr import io
from cpr.errors import TransferError
from cpr.io.locks.compare_and_swap import read
from cpr.io.objects import open_store
from cpr.io.stores.base import MOST_SMALL_BYTES
from tests.servers.environment import every_store_at

_MOST_SENT = 32 << 20  # a network buffers some, and a client tries a few times
_PIECE = b"{" * (256 << 10)
_ENDLESS = 1 << 40


@pytest.fixture
def endless(monkeypatch):
    """A server whose every object is a TiB, and how much of them was taken."""
    taken = {"nbytes": 0}
    monkeypatch.setenv("CPR_TIMEOUT", "30")

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            for name, value in (
                ("Content-Length", str(_ENDLESS)),
                ("ETag", '"0x1"'),
                ("X-Goog-Generation", "1"),
                ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
                # Some name no zone.
                ("Date", "Thu, 01 Jan 2026 00:00:00 -0000"),
                ("x-ms-blob-type", "BlockBlob"),
            ):
                self.send_header(name, value)
            self.end_headers()
            try:
                while taken["nbytes"] < 8 * _MOST_SENT:
                    self.wfile.write(_PIECE)
                    taken["nbytes"] += len(_PIECE)
            except OSError:
                pass
            self.close_connection = True

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        with every_store_at(url):
            yield taken
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_range_is_no_more_than_was_asked_for(endless, scheme):
    store, path = open_store(f"{scheme}://bucket/r/a.bin")
    with pytest.raises(OSError):
        store.fetch(path, 0, 1000)
    assert endless["nbytes"] < _MOST_SENT


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_lock_is_a_small_object(endless, scheme):
    found = read(f"{scheme}://bucket/locks/a.cpr-lease")
    assert len(found.content) == MOST_SMALL_BYTES + 1
    assert endless["nbytes"] < _MOST_SENT


def test_a_lock_of_azures_that_comes_without_its_range(endless):
    with pytest.raises(TransferError):
        read("az://bucket/locks/a.cpr-lease")
    assert endless["nbytes"] < _MOST_SENT


def test_a_listing_of_gcs_is_read_up_to_a_limit(endless):
    with pytest.raises(TransferError):
        io.find("gs://bucket/*.tif")
    assert endless["nbytes"] < 4 * _MOST_SENT
