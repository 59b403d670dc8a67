"""A small process that owns a server and outlives whoever asked for it, just long enough to clean up.

    python server_supervisor.py '{"before": [[...]], "command": [...] | null, "after": [[...]], ...}'

It runs the steps `before`, prints the process id of `command` (0 without one) and keeps that running until
its standard input says a byte or closes - which the operating system does for a parent that was killed - or
until the command ends by itself. Then it ends the command, runs `after` and removes `folder`. So no
exception, SIGTERM or even SIGKILL of a test run, at any moment, leaves a server, a container or a data
folder behind.

Starting is its business too: a step of a parent that is killed would go on starting what nobody stops.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

TERMINATE_SECONDS = 10
BEFORE_SECONDS = 180
AFTER_SECONDS = 90
AFTER_TRIES = 3


def main(spec: dict[str, object]) -> int:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait_for_parent, args=(stop,), daemon=True).start()
    before, command, after = spec["before"], spec["command"], spec["after"]
    assert isinstance(before, list) and isinstance(after, list)
    try:
        for step in before:
            code = _run_until(stop, _start(step), time.monotonic() + BEFORE_SECONDS)
            if code != 0:
                print(f"{' '.join(step)}: exit code {code}", file=sys.stderr)
                return 1
        if not isinstance(command, list):
            print(0, flush=True)
            stop.wait()
            return 0
        server = _start(command)
        print(server.pid, flush=True)
        return _run_until(stop, server) or 0
    finally:
        for step in after:
            _insist(step)
        shutil.rmtree(str(spec["folder"]), ignore_errors=True)


def _wait_for_parent(stop: threading.Event) -> None:
    os.read(0, 1)  # a byte or the end of the file, either means stop
    stop.set()


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # stdin is the parent's pipe and stdout the parent's answer: neither is for the programs.
    # A session of its own: what a step has started can be ended with it.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)


def _run_until(
    stop: threading.Event, process: subprocess.Popen[bytes], deadline: float | None = None
) -> int | None:
    """Wait for a process; its exit code, or None where `stop` or the deadline came first and it was ended."""
    while (code := process.poll()) is None:
        if stop.wait(0.1) or (deadline is not None and time.monotonic() > deadline):
            _end(process)
            return None
    return code


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(TERMINATE_SECONDS)
    # What it has started and not waited for; the group is its own, whether it lives or not.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _insist(step: list[str]) -> None:
    """Run a step of cleaning up, and again where it fails: something may still have been on its way."""
    for attempt in range(AFTER_TRIES):
        if attempt:
            time.sleep(1)
        try:
            done = subprocess.run(
                step, stdin=subprocess.DEVNULL, stdout=sys.stderr, timeout=AFTER_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"{step}: {error}", file=sys.stderr)
        else:
            if done.returncode == 0:
                return


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
