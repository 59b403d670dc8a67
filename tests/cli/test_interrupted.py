"""Ctrl-C at once, in each command: exit code 130, what was done by then, and no traceback."""

from __future__ import annotations

import os
import pty
import re
import socket
import sys
import time
from contextlib import closing, suppress

import pytest

from cpr.cli.app import COMMANDS, run
from tests.stored_flow import store

ARGUMENTS = {
    "show": ["URL", "x"],
    "why": ["URL", "x"],
    "lineage": ["URL"],
    "diff": ["URL", "0123abcd", "4567cdef"],
    "report": ["URL", "-o", "OUT/report.html"],
    "cp": ["URL", "OUT/copy"],
    "export": ["URL", "--ro-crate", "0123abcd", "-o", "OUT/crate"],
    "forget": ["URL", "--task", "x", "--delete"],
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


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="pseudo terminals")
# doctor and gc take back what they have written, and wait for the store again; savings asks Prefect first.
@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"doctor", "gc", "savings"}))
def test_in_a_terminal_while_a_store_does_not_answer(command, tmp_path):
    """A server that accepts and says nothing: the command hangs there for sure when Ctrl-C is typed."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FSSPEC"))
        }
        environ |= {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "PREFECT_API_URL": f"{endpoint}/api",
            "COLUMNS": "100",
        }
        words = words_of(command, "s3://bucket/records", str(tmp_path))
        child, terminal = pty.fork()
        if child == 0:
            with suppress(BaseException):
                os.execve(sys.executable, [sys.executable, "-m", "cpr", *words], environ)
            os._exit(99)
        try:
            server.settimeout(300)
            connection, _ = server.accept()
            with connection:
                connection.settimeout(300)
                assert connection.recv(1)
                typed = time.monotonic()
                os.write(terminal, b"\x03")
                pieces = []
                with suppress(OSError):
                    while piece := os.read(terminal, 65536):
                        pieces.append(piece)
                _, status = os.waitpid(child, 0)
        finally:
            os.close(terminal)
        text = b"".join(pieces).decode()
        assert os.waitstatus_to_exitcode(status) == 130, text
        require_told(command, text)
        assert time.monotonic() - typed < 60
