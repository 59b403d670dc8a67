"""An HTTP proxy before the GCS emulator that breaks what it is told to break.

    with FaultyGCS(server.endpoint) as proxy:
        proxy.faults[1] = "cut after"     # the second part from now on

The emulator takes the bytes of a part twice when they are sent twice, publishes what it has when asked
how far it is, and forgets no upload. So the proxy keeps the sessions of resumable uploads, by the rules of
the service (https://cloud.google.com/storage/docs/performing-resumable-uploads): bytes that are there already
are passed over, a question is answered, a session cancelled; before anything is shown a checksum is compared,
and the condition that nothing is there.
"""

from __future__ import annotations

import http.client
import re
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

import google_crc32c

FAULTS = (
    "cut before",  # the part never reaches the server
    "cut after",  # the server has it, its answer is lost
    "503 before",
    "503 after",
    "half",  # the server has half of it, then the connection ends
    "half, said",  # the server has half of it, and says so
)
_GRAIN = 256 << 10


@dataclass
class Session:
    """A resumable upload; `new` is where the object is that there must not be by its end."""

    new: str | None = None
    persisted: int = 0
    crc: int = 0
    done: tuple[int, bytes] | None = None
    cancelled: bool = False


@dataclass
class FaultyGCS:
    """The proxy.

    Attributes:
        target: the emulator's endpoint; None swallows uploads and shows nothing.
        faults: by the number of the part.
        refuse: a status for a method and path, None to let it pass.
        checks: whether checksums in requests are compared.
        damage: whether a byte of each part is changed on its way.
    """

    target: str | None
    faults: dict[int, str] = field(default_factory=dict)
    refuse: Callable[[str, str], int | None] = lambda method, path: None
    checks: bool = True
    damage: bool = False
    parts: int = 0
    sessions: dict[str, Session] = field(default_factory=dict)

    def __enter__(self) -> Self:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.serve(self, body)

            do_GET = do_PUT = do_POST = do_DELETE = serve

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)

    @property
    def open_sessions(self) -> int:
        """How many uploads were begun and neither completed nor cancelled."""
        return sum(session.done is None and not session.cancelled for session in self.sessions.values())

    def serve(self, handler: Any, body: bytes) -> None:
        status = self.refuse(handler.command, handler.path)
        if status is not None:
            self._answer(handler, status)
            return
        upload = parse_qs(urlsplit(handler.path).query).get("upload_id")
        if upload and handler.command == "DELETE":
            self.sessions[upload[0]].cancelled = True
            self._answer(handler, 499)
        elif upload:
            self._part(handler, self.sessions[upload[0]], body)
        else:
            status, headers, answer = self._forward(handler, dict(handler.headers), body)
            if (location := headers.get("Location")) is not None:
                assert self.target is None or location.startswith(self.target)
                headers["Location"] = self.endpoint + location.removeprefix(self.target or "")
                session = Session(_place_to_be_free(handler.path))
                self.sessions[parse_qs(urlsplit(location).query)["upload_id"][0]] = session
            self._answer(handler, status, headers, answer)

    def _part(self, handler: Any, session: Session, body: bytes) -> None:
        number, self.parts = self.parts, self.parts + 1
        fault = self.faults.get(number, "") if body else ""
        if fault == "cut before":
            handler.close_connection = True
            return
        if fault == "503 before":
            self._answer(handler, 503)
            return
        status, headers, answer = self._taken(handler, session, body, fault)
        if fault in ("cut after", "half"):
            handler.close_connection = True
        elif fault == "503 after":
            self._answer(handler, 503)
        else:
            self._answer(handler, status, headers, answer)

    def _taken(
        self, handler: Any, session: Session, body: bytes, fault: str
    ) -> tuple[int, dict[str, str], bytes]:
        if session.cancelled:
            return 499, {}, b""
        if session.done is not None:
            return session.done[0], {}, session.done[1]
        match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", handler.headers["Content-Range"])
        assert match is not None
        total = None if match[3] == "*" else int(match[3])
        if match[1] is not None:
            first, last = int(match[1]), int(match[2])
            assert len(body) == last + 1 - first
            assert total is not None or (last + 1) % _GRAIN == 0
            if first > session.persisted:
                return 400, {}, b""
            body = body[session.persisted - first :]
        if fault.startswith("half"):
            body, total = body[: len(body) // 2 // _GRAIN * _GRAIN], None
        if self.damage and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        session.crc = google_crc32c.extend(session.crc, body)
        stop = session.persisted + len(body)
        if stop == total:
            hashed = handler.headers.get("X-Goog-Hash")
            expected = f"crc32c={b64encode(session.crc.to_bytes(4, 'big')).decode()}"
            if self.checks and hashed is not None and hashed != expected:
                return 400, {}, b""
            if session.new is not None and self._is_there(session.new):
                return 412, {}, b""
        if body or stop == total:
            where = f"{session.persisted}-{stop - 1}" if body else "*"
            headers = {"Content-Range": f"bytes {where}/{'*' if total is None else total}"}
            status, _, answer = self._forward(handler, headers, body)
            session.persisted = stop
            if status == 200:
                session.done = (status, answer)
                return status, {}, answer
        return 308, {"Range": f"bytes=0-{session.persisted - 1}"} if session.persisted else {}, b""

    def _is_there(self, path: str) -> bool:
        assert self.target is not None
        connection = http.client.HTTPConnection(urlsplit(self.target).netloc, timeout=60)
        connection.request("GET", path)
        found = connection.getresponse().status == 200
        connection.close()
        return found

    def _forward(
        self, handler: Any, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if self.target is None and handler.command == "GET":
            return 404, {}, b""
        if self.target is None:
            goes_on = headers.get("Content-Range", "").endswith("/*")
            begins = "uploadType=resumable" in handler.path
            return (308 if goes_on else 200), {"Location": "/upload?upload_id=1"} if begins else {}, b"{}"
        connection = http.client.HTTPConnection(urlsplit(self.target).netloc, timeout=60)
        kept = {k: v for k, v in headers.items() if k.lower() not in ("host", "connection", "content-length")}
        connection.request(handler.command, handler.path, body, kept)
        answer = connection.getresponse()
        found = answer.status, dict(answer.headers), answer.read()
        connection.close()
        return found

    def _answer(
        self, handler: Any, status: int, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        handler.send_response_only(status)
        for name, value in (headers or {}).items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def _place_to_be_free(path: str) -> str | None:
    """The object that an upload is to create, as the request says that begins it; None if it may replace."""
    asked = parse_qs(urlsplit(path).query)
    if asked.get("ifGenerationMatch") != ["0"]:
        return None
    bucket = urlsplit(path).path.removeprefix("/upload/storage/v1/b/").removesuffix("/o")
    return f"/storage/v1/b/{bucket}/o/{quote(asked['name'][0], safe='')}"
