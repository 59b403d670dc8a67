"""An HTTP proxy before an S3 server that breaks the requests it is told to break.

    with FaultProxy(server.endpoint) as proxy:
        proxy.break_request(2, "cut after")     # the third request from now on
        ...                                     # a client that talks to proxy.endpoint
        proxy.kinds                             # what was asked: ["head", "create", "part", ...]

Requests and answers pass whole, so that a fault hits exactly one of them. The Host header is left alone:
the client has signed it, and the server checks the signature with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self
from urllib.parse import parse_qs, urlsplit

FAULTS = (
    "cut before",  # the request never reaches the server
    "cut after",  # the server has acted, its answer is lost
    "500",
    "503",
    "403",
    "412",
    "delay",
    "flip request",
    "flip response",
    "short",  # fewer bytes, and a Content-Length that agrees
    "cut body",  # fewer bytes than Content-Length says
)

DELAY_SECONDS = 0.3
WAVE_SECONDS = 20.0

# Status: the reason in the first line, S3's code in the body.
_ANSWERS = {
    "500": ("Internal Server Error", "InternalError"),
    "503": ("Service Unavailable", "SlowDown"),
    "403": ("Forbidden", "AccessDenied"),
    "412": ("Precondition Failed", "PreconditionFailed"),
}
_IS_ANSWER = re.compile(r"\d{3}(?: \w+)?")


@dataclass
class Message:
    """A request or an answer: first line, headers as they came, body."""

    first: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def encode(self, length: int | None = None) -> bytes:
        """The message with a Content-Length of its own body, or of another length."""
        drop = {"transfer-encoding", "content-length"} if self.get("transfer-encoding") else set()
        lines = [self.first, *(f"{key}: {value}" for key, value in self.headers if key.lower() not in drop)]
        if length is not None or drop:
            lines = [line for line in lines if not line.lower().startswith("content-length:")]
            lines.append(f"Content-Length: {len(self.body) if length is None else length}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body

    def flipped(self) -> Message:
        """The same with one bit of the body wrong."""
        if not self.body:
            return self
        body = bytearray(self.body)
        body[len(body) // 2] ^= 0x10
        return Message(self.first, self.headers, bytes(body))


def kind_of(request: Message) -> str:
    """What a request does, in S3's words."""
    method, target, _ = request.first.split(" ", 2)
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    if "uploads" in query:
        return "create" if method == "POST" else "list uploads"
    if "partNumber" in query:
        return "part"
    if "uploadId" in query:
        return {"POST": "complete", "DELETE": "abort"}.get(method, "list parts")
    if "list-type" in query:
        return "list"
    if request.get("x-amz-copy-source"):
        return "copy"
    return {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}.get(method, method)


Fault = str | Callable[[bytes], bytes]
Plan = Callable[[int, str], Fault | None]


class FaultProxy:
    """A proxy in a thread of its own; see the module's docstring.

    Before a server that speaks another language, `kinds` tells what a request does, and `codes` what the
    statuses of faults are called there.
    """

    def __init__(
        self,
        endpoint: str,
        kinds: Callable[[Message], str] = kind_of,
        codes: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._kind_of = kinds
        self._codes = codes
        parts = urlsplit(endpoint)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._lock = threading.Lock()
        self._plan: Plan = lambda _number, _kind: None
        self.kinds: list[str] = []
        self.broken: list[str] = []
        self.late: list[str] = []
        self._waves: list[int] = []
        self._arrived: list[asyncio.Event] = []
        #: Of bodies, past the faults.
        self.request_bytes = 0
        self.response_bytes = 0
        # asyncio itself lets go of a connection's task when the client goes; its request must go on.
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    # ---- what tests say

    def clear(self) -> None:
        """Forget the plan and the count."""
        self.plan(lambda _number, _kind: None)

    def plan(self, plan: Plan) -> None:
        """plan(number, kind) names the fault of a request, or None; numbers start at 0 again.

        A status is a fault too, with a code or without ("400 BadDigest"), and so is no answer at all
        ("silent"). A function is a fault as well: it gets an answer's body and returns what the client is to
        get, with a Content-Length that agrees.
        """
        with self._lock:
            self._plan = plan
            self._waves, self._arrived, self.late = [], [], []
            self.kinds = []
            self.broken = []
            self.request_bytes = 0
            self.response_bytes = 0

    def waves(self, *sizes: int) -> None:
        """Answer the requests that come in waves: none of a wave before all of it have come.

        A request that waits for another's answer cannot be of its wave: `late` then names what was answered
        after a long time all the same.
        """
        self.plan(lambda _number, _kind: None)
        with self._lock:
            self._waves = list(itertools.accumulate(sizes))
            self._arrived = [asyncio.Event() for _ in sizes]

    async def _wait_for_wave(self, number: int, kind: str) -> None:
        for stop, arrived in zip(self._waves, self._arrived, strict=True):
            if number + 1 == stop:
                self._loop.call_soon(arrived.set)
            if number < stop:
                try:
                    await asyncio.wait_for(arrived.wait(), WAVE_SECONDS)
                except TimeoutError:
                    self.late.append(kind)
                return

    def break_request(self, number: int, fault: str, kind: str | None = None) -> None:
        """Break one request, counted from now: of all requests, or of those of a kind."""
        of_kind = itertools.count()

        def plan(n: int, its_kind: str) -> str | None:
            if kind is not None:
                n = next(of_kind) if its_kind == kind else -1
            return fault if n == number else None

        self.plan(plan)

    def break_some(self, share: float, faults: tuple[str, ...], seed: int) -> None:
        """Break a share of all requests, the same ones for the same seed and order."""
        dice = random.Random(seed)
        self.plan(lambda _n, _kind: dice.choice(faults) if dice.random() < share else None)

    # ---- running

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        if not started.wait(10):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self, started: threading.Event) -> None:
        asyncio.run(self._main(started))

    async def _main(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=1 << 20)
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.set()
        await self._stop.wait()
        await asyncio.sleep(0.05)  # asyncio would lose, unclosed, what it has accepted and not announced
        server.close()
        open_ones = dict(self._connections)
        for task, writer in open_ones.items():
            task.cancel()
            writer.close()
        await asyncio.gather(*open_ones, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read_message(reader, writer)) is not None:
                if not await self._answer(request, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has left
        finally:
            writer.close()

    async def _answer(self, request: Message, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is to be closed."""
        kind = self._kind_of(request)
        with self._lock:
            number = len(self.kinds)
            fault = self._plan(number, kind)
            self.kinds.append(kind)
            if fault:
                self.broken.append(f"{kind}: {fault if isinstance(fault, str) else 'damage'}")
            self.request_bytes += len(request.body)
        await self._wait_for_wave(number, kind)
        if fault == "silent":
            await self._stop.wait()
        if fault in ("silent", "cut before"):
            return False
        if isinstance(fault, str) and _IS_ANSWER.fullmatch(fault):
            writer.write(_error(fault, request, self._codes.get(fault)))
            await writer.drain()
            return True
        if fault == "delay":
            await asyncio.sleep(DELAY_SECONDS)
        if fault == "flip request":
            request = request.flipped()
        response, bare_head = await self._forward(request)
        if fault == "cut after":
            return False
        if fault == "flip response":
            response = response.flipped()
        if callable(fault):
            response.body = fault(response.body)
        full = len(response.body)
        if fault in ("short", "cut body"):
            response.body = response.body[: full // 2]
        self.response_bytes += len(response.body)
        if bare_head:
            writer.write(bare_head)
        elif fault == "short" or callable(fault):
            writer.write(response.encode(len(response.body)))
        else:
            writer.write(response.encode(full))
        await writer.drain()
        return fault != "cut body"

    async def _forward(self, request: Message) -> tuple[Message, bytes]:
        """The server's answer; also as it came where it has no body, whatever length it tells (HEAD)."""
        reader, writer = await asyncio.open_connection(*self._upstream, limit=1 << 20)
        try:
            writer.write(request.encode())
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            response = _parse(head)
            if request.first.startswith("HEAD ") or response.first.split(" ")[1] in ("204", "304"):
                return response, head.encode("latin-1")
            response.body = await _read_body(reader, response)
            return response, b""
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def _read_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    message = _parse(head.decode("latin-1"))
    if (message.get("expect") or "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        message.headers = [(k, v) for k, v in message.headers if k.lower() != "expect"]
    if message.get("content-length") or message.get("transfer-encoding"):
        message.body = await _read_body(reader, message)
    return message


def _parse(head: str) -> Message:
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    return Message(first, [(key.strip(), value.strip()) for key, _, value in pairs])


async def _read_body(reader: asyncio.StreamReader, message: Message) -> bytes:
    if length := message.get("content-length"):
        return await reader.readexactly(int(length))
    if "chunked" not in (message.get("transfer-encoding") or ""):
        return await reader.read()
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


def _error(status: str, request: Message, other: str | None = None) -> bytes:
    status, _, named = status.partition(" ")
    reason, code = _ANSWERS.get(status, ("Refused", status))
    code = named or other or code
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>broken on purpose</Message></Error>"
    if request.first.startswith("HEAD "):
        body = ""
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()
