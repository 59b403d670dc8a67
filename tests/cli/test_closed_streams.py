"""Commands whose output nobody takes: closed streams, full disks, a working folder that is gone."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import cpr
from cpr.errors import CprError
from tests.stored_flow import store

CPR = [sys.executable, "-m", "cpr"]
COMMANDS = {
    "ls": ["ls", "URL"],
    "ls as JSON": ["ls", "URL", "--json"],
    "show": ["show", "URL", "small"],
    "verify": ["verify", "URL"],
    "no such place": ["ls", "URL-missing"],
    "help": ["--help"],
}
CODES = {"no such place": 3}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    place = tmp_path_factory.mktemp("closed")
    return store(str(place)).url + "/records"


def shell(line, *words, **more):
    return subprocess.run(
        ["bash", "-c", line, "bash", *words], capture_output=True, text=True, timeout=120, check=False, **more
    )


def words_of(command, records):
    return [*CPR, *(word.replace("URL", records) for word in COMMANDS[command])]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_the_same_with_closed_streams(command, closed, records):
    found = shell(f'"$@" {closed}', *words_of(command, records))
    assert found.returncode == CODES.get(command, 0)
    assert "Traceback" not in found.stdout + found.stderr
    if not re.search(r"(?<!2)>&-", closed):
        assert found.stdout.strip() or command in CODES


def test_no_file_gets_the_number_of_a_stream(records, tmp_path):
    """What is written to stderr by its number would stand in the file."""
    seen = tmp_path / "seen"
    program = f"""
import os, sys
from cpr import cli
cli_run = __import__("cpr.cli.app", fromlist=["run"])
def run():
    with open({str(seen)!r}, "w") as file:
        file.write(str(file.fileno()))
        file.flush()
        os.write(2, b"a library says something")
        os.write(1, b"another one as well")
    return 0
cli_run.run = run
cli.main()
"""
    found = shell('"$@" <&- >&- 2>&-', sys.executable, "-c", program)
    assert found.returncode == 0
    assert int(seen.read_text()) > 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in CODES])
def test_an_output_that_cannot_be_written_is_told(command, records):
    found = shell('"$@" > /dev/full', *words_of(command, records))
    assert found.returncode == 3
    assert "Traceback" not in found.stderr
    assert "Exception ignored" not in found.stderr
    assert "the output cannot be written" in found.stderr
    assert shell('"$@" > /dev/full 2>&1', *words_of(command, records)).returncode == 3


def test_a_relative_path_where_the_working_folder_is_gone(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    program = "import os, cpr.cli.app, cpr.cli; os.rmdir(os.getcwd()); cpr.cli.main()"
    found = shell('"$@"', sys.executable, "-P", "-c", program, "ls", "results", cwd=gone)
    assert found.returncode == 3, found.stderr
    assert "Traceback" not in found.stderr
    assert "works in is gone" in found.stderr


def test_the_same_in_python(tmp_path, monkeypatch):
    def gone():
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", gone)
    for name in ("a.npy", "./a.npy"):
        with pytest.raises(CprError, match="is gone"):
            cpr.NumpyTarget.from_path(name)
    assert cpr.NumpyTarget.from_path(tmp_path / "a.npy").location == str(tmp_path)
