"""Commands that take long say something at once: what they are at is shown before a store has answered."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import subprocess
import sys

import psutil
import pytest

from tests.cli.test_json import WORDS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="terminals of Unix")]

_SECONDS = 1.0  # of the processor: where others use it too, a clock runs on
_START = 1.5  # and what each takes of it is more, as is what it takes to start
_ATTEMPTS = 3


@pytest.fixture
def silent_store():
    """The endpoint of a store that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("command", sorted(WORDS.keys() - {"migrate"}))  # of local folders
def test_output_begins_within_a_second(command, silent_store, tmp_path):
    pytest.importorskip("s3fs")
    place = "s3://bucket/records"
    words = [word.replace("PLACE", place).replace("OUT", str(tmp_path)) for word in WORDS[command]]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FSSPEC_"))},
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": silent_store,
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    program = [sys.executable, "-m", "cpr", command, *words]
    tried = []
    for _ in range(_ATTEMPTS):
        starts = seconds_until_it_says_something([*program[:3], "--version"], environment)
        tried.append((seconds_until_it_says_something(program, environment), starts))
        if tried[-1][0] <= max(_SECONDS, _START * starts):
            return
    pytest.fail(f"seconds until there is something to read, and until a version is told: {tried}")


def seconds_until_it_says_something(program, environment):
    """What a program has taken of the processor until there was a word of it on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(program, stdout=theirs, stderr=theirs, env=environment)
    said = ""
    try:
        os.close(theirs)
        while not re.search(r"[a-z]{3}", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)):
            assert select.select([ours], [], [], 60)[0], said
            said += os.read(ours, 65536).decode(errors="replace")
        used = psutil.Process(process.pid).cpu_times()
        return used.user + used.system
    finally:
        process.kill()
        process.wait()
        os.close(ours)
