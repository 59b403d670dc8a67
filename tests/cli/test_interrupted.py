"""Ctrl-C at once, in each command: exit code 130, what was done by then, and no traceback."""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress

import pytest

from cpr.cli.app import COMMANDS, run
from tests.faults.proxy import FaultProxy
from tests.stored_flow import store

ARGUMENTS = {
    "show": ["URL", "image"],
    "why": ["URL", "image"],
    "lineage": ["URL"],
    "diff": ["URL", "0123abcd", "4567cdef"],
    "report": ["URL", "-o", "OUT/report.html"],
    "cp": ["URL", "OUT/copy"],
    "export": ["URL", "--ro-crate", "abababab", "-o", "OUT/crate"],
    "forget": ["URL", "--task", "make_image", "--delete"],
    "gc": ["URL", "--delete"],
    "migrate": ["URL", "--write"],
}
# Ones that change something, and so tell what; the others say that they have changed nothing.
CHANGING = {"verify", "cp", "export", "migrate", "forget", "gc"}


def words_of(command: str, url: str, out: str) -> list[str]:
    words = [command, *ARGUMENTS.get(command, ["URL"])]
    return [word.replace("URL", url).replace("OUT", out) for word in words]


def require_told(command: str, text: str) -> None:
    assert "Traceback" not in text
    assert "Interrupted" in text
    if command in CHANGING:
        _, _, told = text.partition("What was done by then:")
        assert told.strip()
    else:
        assert "Results and records are as they were." in text


def test_every_command_is_of_one_sort_or_the_other():
    assert set(COMMANDS) >= CHANGING | set(ARGUMENTS)


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"savings"}))
def test_each_says_what_was_done(command, tmp_path, monkeypatch, capsys):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    # Only what it has: Python remembers that a class fits a protocol, after the test too.
    for name in ("walk", "find", "stat"):
        monkeypatch.setattr(f"cpr.io.stores.memory.MemoryStore.{name}", stop)
    code = run(words_of(command, "memory://interrupted", str(tmp_path)))
    said = capsys.readouterr()
    assert code == 130
    require_told(command, said.out + said.err)


def test_how_far_it_was_is_told(tmp_path, monkeypatch, capsys):
    from cpr.operations import result

    results = store(str(tmp_path / "run"), ("small", "table"))
    calls = []

    def third(record):
        calls.append(record)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return []

    monkeypatch.setattr(result.Result, "all_in", third)
    assert run(["lineage", results.url]) == 130
    assert re.search(r"Interrupted while reading records, after 2 of \d", capsys.readouterr().out)


# A session of its own, whose terminal Ctrl-C is typed in.
_IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "cpr", *sys.argv[1:]])
"""


class Terminal:
    """A command line in a terminal of its own, whose store is at an endpoint."""

    def __init__(self, words: list[str], endpoint: str) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FSSPEC")}
        environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"} | environ
        environ |= {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ENDPOINT_URL_S3": endpoint,
            "PREFECT_API_URL": f"{endpoint}/api",
            "COLUMNS": "100",
            "CPR_TIMEOUT": "300",  # who still waits for an answer is seen to do so
        }
        self._screen, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environ,
            start_new_session=True,
        )
        os.close(theirs)
        self._pieces: list[bytes] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # Linux's way to say that the other end is closed
            while piece := os.read(self._screen, 65536):
                self._pieces.append(piece)

    def interrupt(self) -> None:
        os.write(self._screen, b"\x03")

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> tuple[int, str]:
        """Exit code, and all that was printed."""
        try:
            code = self._process.wait(200)
        finally:
            self._process.kill()
            self._reader.join()
            os.close(self._screen)
        # What stays on the screen of the lines that were drawn over.
        lines = b"".join(self._pieces).decode().replace("\r\n", "\n").split("\n")
        return code, "\n".join(line.rpartition("\x1b[2K")[2] for line in lines)


def require_ended_at_once(command: str, terminal: Terminal) -> None:
    """Ctrl-C now: it is told, and ends within seconds, of which a busy machine makes more."""
    typed = time.monotonic()
    terminal.interrupt()
    code, text = terminal.end()
    assert time.monotonic() - typed < 30, text
    assert code == 130, text
    require_told(command, text)


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="pseudo terminals")
@pytest.mark.parametrize("command", COMMANDS)
def test_in_a_terminal_while_a_store_does_not_answer(command, tmp_path):
    """A server that accepts and says nothing: the command hangs there for sure when Ctrl-C is typed."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        terminal = Terminal(words_of(command, "s3://bucket/records", str(tmp_path)), endpoint)
        server.settimeout(300)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(300)
            assert connection.recv(1)
            require_ended_at_once(command, terminal)


@pytest.mark.long
@pytest.mark.real_s3
@pytest.mark.skipif(os.name != "posix", reason="pseudo terminals")
# What savings asks the store is what ls does; Prefect's server, which it asks first, is in the test above.
@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"savings"}))
def test_in_a_terminal_when_a_store_falls_silent(command, s3_server, s3_url, tmp_path):
    """Wherever in its work a command is: threads, uploads and what it has to take back are under way."""
    url = f"{s3_url}/{command}"
    store(url)
    fell_silent = 0
    for answered in (1, 4, 16, 64, 256):
        with FaultProxy(s3_server.endpoint) as proxy:
            proxy.plan(lambda number, _, answered=answered: "silent" if number >= answered else None)
            place = url if command == "doctor" else f"{url}/records"
            terminal = Terminal(words_of(command, place, str(tmp_path / str(answered))), proxy.endpoint)
            while not proxy.broken and not terminal.has_ended():
                time.sleep(0.1)
            if not proxy.broken:
                code, text = terminal.end()
                assert code in (0, 1, 3), text
                assert "Traceback" not in text
                break
            fell_silent += 1
            require_ended_at_once(command, terminal)
    assert fell_silent
