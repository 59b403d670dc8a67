"""Processes of one machine that transfer with the same place know how many they are."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from cpr.io import transferring_processes
from cpr.io.transfer_width import _CONNECTIONS, _DIRECTIONS, TransferWidth
from cpr.io.transferring_processes import HostShare
from tests.io.test_transfer_width import Network, clock, settle

__all__ = ["clock"]

PLACE = "s3://bucket read"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return Path(transferring_processes._folder())


def others(folder: Path, place: str, count: int, age: float = -3600.0) -> None:
    """As so many other processes leave it; a file of the future stays new, however long a test takes."""
    for number in range(count):
        path = folder / f"{HostShare(place)._prefix}other{number}"
        path.touch()
        os.utime(path, (time.time() - age,) * 2)


def test_a_process_is_one(folder):
    assert HostShare(PLACE).processes() == 1
    assert HostShare(PLACE).processes() == 1
    assert len(os.listdir(folder)) == 1


def test_those_count_that_transfer_with_the_same_place_now(folder):
    others(folder, PLACE, 3)
    others(folder, "s3://bucket write", 5)
    assert HostShare(PLACE).processes() == 4


@pytest.mark.parametrize(("age", "left"), [(100.0, 3), (100_000.0, 1)], ids=["idle", "long gone"])
def test_who_is_idle_or_gone_does_not_count(folder, age, left):
    others(folder, PLACE, 2, age)
    assert HostShare(PLACE).processes() == 1
    assert len(os.listdir(folder)) == left


def test_it_is_looked_up_now_and_then(folder, monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr(transferring_processes, "time", clock)
    share = HostShare(PLACE)
    assert share.processes() == 1
    others(folder, PLACE, 3)
    clock.monotonic = lambda: 1000.01
    assert share.processes() == 1
    # Soon after it has begun: others may have begun with it.
    clock.monotonic = lambda: 1000.05
    assert share.processes() == 4
    clock.monotonic = lambda: 1003.0
    assert share.processes() == 4
    others(folder, PLACE, 5)
    clock.monotonic = lambda: 1003.9
    assert share.processes() == 4
    clock.monotonic = lambda: 1004.1
    assert share.processes() == 6
    # It was idle, and begins again.
    clock.monotonic = lambda: 1100.0
    assert share.processes() == 6
    others(folder, PLACE, 7)
    clock.monotonic = lambda: 1100.05
    assert share.processes() == 8


def test_who_waits_long_still_counts(folder, monkeypatch):
    monkeypatch.setattr(transferring_processes, "_EVERY_SECONDS", 0.02)
    share = HostShare(PLACE)
    share.processes()
    (file,) = folder.iterdir()

    def becomes_new(seconds: float) -> bool:
        os.utime(file, (1.0, 1.0))
        end = time.monotonic() + seconds
        while time.monotonic() < end and file.stat().st_mtime == 1.0:
            time.sleep(0.005)
        return file.stat().st_mtime != 1.0

    for _ in range(2):  # also when it does so again
        with share.waiting(), share.waiting():
            assert becomes_new(60)
            assert becomes_new(60)
        while share._is_touched:
            time.sleep(0.005)
        assert not becomes_new(0.2)


def test_requests_and_wide_transfers_are_waited_for(folder):
    width = TransferWidth(*_DIRECTIONS["write"], HostShare(PLACE))
    with width.transfer():
        assert len(list(folder.iterdir())) == 1
        with width.request(1):
            assert width._host._waiting == 1
        with width.waiting():
            assert width._host._waiting == 1
        assert width._host._waiting == 0


@pytest.mark.parametrize("way", ["a file", "a link"])
def test_without_such_a_folder_a_process_is_the_only_one(folder, tmp_path, way):
    others(folder, PLACE, 3)
    moved = folder.rename(tmp_path / "elsewhere")
    if way == "a file":
        folder.touch()
    else:
        folder.symlink_to(moved)
    assert HostShare(PLACE).processes() == 1


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("processes", [2, 8, 32, 200])
def test_they_share_what_a_machine_has(folder, processes):
    others(folder, PLACE, processes - 1)
    widths = [TransferWidth(*_DIRECTIONS["read"], HostShare(PLACE)) for _ in range(min(processes, 8))]
    for width in widths:
        # Of all of them only this process is real, and each of its shares is one of them.
        assert width.connections == max(1, _CONNECTIONS // processes)
    settle(widths, Network(0.03, 4e6, 40e6))
    found = [width.requests for width in widths]
    assert max(found) <= max(2, _CONNECTIONS // processes)
    assert max(found) <= 1.5 * min(found)


def test_what_is_set_is_of_each_process(folder, monkeypatch):
    others(folder, PLACE, 7)
    monkeypatch.setenv("CPR_CONNECTIONS", "50")
    assert TransferWidth(*_DIRECTIONS["read"], HostShare(PLACE)).connections == 50


def test_real_processes(tmp_path):
    """Each of three sees all three, sooner or later."""
    code = (
        "import sys, tempfile, time\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "from cpr.io.transferring_processes import HostShare\n"
        "share, end = HostShare('s3://b read'), time.monotonic() + 60\n"
        "while (found := share.processes()) < 3 and time.monotonic() < end: time.sleep(0.05)\n"
        "print(found, flush=True)\n"
        "import threading\n"
        "done = threading.Thread(target=sys.stdin.read); done.start()\n"
        "while done.is_alive(): share.processes(); time.sleep(0.05)\n"
    )
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code, str(tmp_path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(3)
        ]
        assert [process.stdout.readline().strip() for process in started] == ["3"] * 3
        for process in started:
            process.stdin.close()
