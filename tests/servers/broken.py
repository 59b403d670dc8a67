"""A server that breaks the promises of HTTP and of object stores, in one way at a time."""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time
from collections.abc import Callable

__all__ = ["BrokenServer", "answer"]

Handler = Callable[[str, str], bytes | None]


def answer(status: str, body: bytes = b"", length: int | None = None, **headers: str) -> bytes:
    """An answer of HTTP; `length` is what its header says, if that is not the body's."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


class BrokenServer(socketserver.ThreadingTCPServer):
    """Answers each request with what `handler(method, target)` gives; None: never."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, handler: Handler, drip: float = 0.0) -> None:
        self.handler, self.drip, self.requests = handler, drip, []
        super().__init__(("127.0.0.1", 0), _Connection)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Connection(socketserver.StreamRequestHandler):
    server: BrokenServer

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._handle()

    def _handle(self) -> None:
        method, target, _ = self.rfile.readline().decode().split(" ", 2)
        size = 0
        while (line := self.rfile.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
            if line == b"expect: 100-continue":
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.rfile.read(size)
        self.server.requests.append((method, target))
        found = self.server.handler(method, target)
        if found is None:
            time.sleep(3600)
        if not self.server.drip:
            self.wfile.write(found.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else found)
            return
        head, _, body = found.partition(b"\r\n\r\n")
        self.wfile.write(head + b"\r\n\r\n")
        for byte in body:
            self.wfile.write(bytes([byte]))
            time.sleep(self.server.drip)
