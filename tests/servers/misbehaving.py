"""An HTTP proxy before a real object store that misbehaves in one way, for every request or some.

    with MisbehavingProxy(server.endpoint) as proxy:
        proxy.fault = "trickle"

Faults: see `FAULTS`. The Host header is left alone, for the client has signed it.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import itertools
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

FAULTS = (
    "no answer",
    "trickle",  # a byte a second
    "endless list",  # the same page again and again, each with another token
    "circle of redirects",
    "429 for ever",
    "short body",  # and headers that agree
    "wrong range",
    "other bytes",  # in a range; the headers are right
    "gzip encoding",
    "closed half",  # half of an answer, then the end of the connection
)
# What is in a page of a listing: of S3, of GCS, of Azure.
_LISTINGS = (b"IsTruncated", b"storage#objects", b"<EnumerationResults")
_CLOSED = {"connection", "transfer-encoding", "content-length", "date", "server"}


class MisbehavingProxy:
    """The proxy; `fault` is None while it is well."""

    def __init__(self, target: str) -> None:
        self._target, self.fault, self._page = target, None, b""
        self._tokens = itertools.count()

    def __enter__(self) -> Self:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                with contextlib.suppress(OSError):
                    proxy.serve(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self, handler: Any) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        fault = self.fault
        if fault == "no answer":
            time.sleep(3600)
        if fault == "circle of redirects":
            self._send(handler, 302, {"Location": f"{self.endpoint}{handler.path}"}, b"")
            return
        if fault == "429 for ever":
            self._send(handler, 429, {"Retry-After": "1"}, b"")
            return
        is_next = re.search(r"[?&](continuation-token|pageToken|key-marker|marker)=\w", handler.path)
        if fault == "endless list" and is_next and self._page:
            self._send(handler, 200, {"Content-Type": "application/xml"}, self._with_token(self._page))
            return
        status, headers, answer = self._forward(handler, body)
        if fault == "endless list" and any(sign in answer for sign in _LISTINGS):
            self._page, answer = answer, self._with_token(answer)
        partial = status == 206
        if fault == "short body":
            answer = answer[: len(answer) // 2]
        elif fault == "other bytes" and partial:
            answer = bytes(byte ^ 1 for byte in answer)
        elif fault == "wrong range" and partial:
            found = re.fullmatch(r"bytes (\d+)-(\d+)/(.*)", headers["Content-Range"])
            headers["Content-Range"] = f"bytes {int(found[1]) + 1}-{int(found[2]) + 1}/{found[3]}"
            answer = answer[1:] + b"\0"
        elif fault == "gzip encoding" and handler.command == "GET":
            headers["Content-Encoding"], answer = "gzip", gzip.compress(answer)
        self._send(handler, status, headers, answer, fault)

    def _with_token(self, answer: bytes) -> bytes:
        token = str(next(self._tokens))
        if answer.startswith(b"{"):
            return answer.rstrip().removesuffix(b"}") + f', "nextPageToken": "{token}"}}'.encode()
        if b"<EnumerationResults" in answer:
            return re.sub(
                rb"<NextMarker *(/>|>[^<]*</NextMarker>)",
                f"<NextMarker>{token}</NextMarker>".encode(),
                answer,
            )
        answer = answer.replace(b"<IsTruncated>false", b"<IsTruncated>true")
        more = "".join(
            f"<{name}>{token}</{name}>"
            for name in ("NextContinuationToken", "NextMarker", "NextKeyMarker", "NextUploadIdMarker")
        )
        return re.sub(rb"</(List\w+)>$", lambda end: more.encode() + end[0], answer.rstrip())

    def _send(
        self, handler: Any, status: int, headers: dict[str, str], body: bytes, fault: str | None = None
    ) -> None:
        length = headers.pop("Content-Length", None) if handler.command == "HEAD" else str(len(body))
        lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in headers.items())]
        lines += [] if length is None else [f"Content-Length: {length}"]
        data = "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if handler.command == "HEAD" else body)
        if fault == "trickle":
            for byte in data:
                handler.wfile.write(bytes([byte]))
                time.sleep(1)
        elif fault == "closed half":
            handler.wfile.write(data[: len(data) // 2])
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
        else:
            handler.wfile.write(data)

    def _forward(self, handler: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(urlsplit(self._target).netloc, timeout=30)
        connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in handler.headers.items():
            if name.lower() not in ("connection", "expect"):
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in _CLOSED}
        kept = {name: value.replace(self._target, self.endpoint) for name, value in kept.items()}
        if handler.command == "HEAD" and (size := answer.getheader("Content-Length")) is not None:
            kept["Content-Length"] = size
        connection.close()
        return answer.status, kept, data
