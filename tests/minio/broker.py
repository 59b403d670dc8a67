"""One server for all processes of a test run, started when the first of them asks for it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from multiprocessing.connection import Client, Listener

from tests.minio.process import Unavailable
from tests.minio.server import S3Server, running_server

Address = tuple[str, int, str]


class Broker:
    """Starts the server when it is first asked for, and stops it on close().

    pytest-xdist's workers ask through `listen` and `ask`: only the controller outlives all of them.
    """

    def __init__(self, start: Callable[[], AbstractContextManager[S3Server]] | None = None) -> None:
        self._start = start or (lambda: running_server(build=True))
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self.answer: S3Server | Unavailable | None = None  # None: nobody has asked yet

    def get(self) -> S3Server:
        """The server, started now if need be. Raises Unavailable, each time for the same reason."""
        with self._lock:
            if self.answer is None:
                try:
                    self.answer = self._stack.enter_context(self._start())
                except Unavailable as error:
                    self.answer = error
        if isinstance(self.answer, Unavailable):
            raise self.answer
        return self.answer

    def listen(self) -> Address:
        """Answer other processes from now on, at the address returned; its last part is a secret."""
        secret = secrets.token_hex(16)
        self._listener = Listener(("127.0.0.1", 0), backlog=64, authkey=secret.encode())
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()
        host, port = self._listener.address
        return str(host), int(port), secret

    def _serve(self, listener: Listener) -> None:
        while True:
            try:
                with listener.accept() as asker:
                    try:
                        asker.send(self.get())
                    except Unavailable as error:
                        asker.send(Unavailable(str(error)))
            except OSError:  # the listener was closed, or an asker went away
                if self._listener is None:
                    return

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        with self._lock:
            self._stack.close()


def ask(address: Address) -> S3Server:
    """The server of the Broker that listens at `address`. Raises Unavailable."""
    host, port, secret = address
    with Client((host, port), authkey=secret.encode()) as broker:
        answer = broker.recv()
    if isinstance(answer, S3Server):
        return answer
    raise answer
