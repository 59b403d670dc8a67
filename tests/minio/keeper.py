"""A small process that owns a server and outlives whoever asked for it, just long enough to clean up.

    python keeper.py '{"command": [...] | null, "after": [[...], ...], "folder": "/tmp/..."}'

It runs `command` until its standard input says a byte or closes - which the operating system does for a
parent that was killed - or until the command ends by itself. Then it ends the command, runs `after` and
removes `folder`. So no exception, SIGTERM or even SIGKILL of a test run leaves a server, a container or a
data folder behind.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading

TERMINATE_SECONDS = 10
AFTER_SECONDS = 90


def main(spec: dict[str, object]) -> int:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait_for_parent, args=(stop,), daemon=True).start()
    command, after, folder = spec["command"], spec["after"], spec["folder"]
    assert isinstance(after, list)
    server: subprocess.Popen[bytes] | None = None
    try:
        if isinstance(command, list):
            # stdin is the parent's pipe: the server must not read it.
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
            print(server.pid, flush=True)
        else:
            print(0, flush=True)
        while not stop.wait(0.1):
            if server is not None and server.poll() is not None:
                return server.returncode or 1
        return 0
    finally:
        if server is not None and server.poll() is None:
            server.terminate()
            try:
                server.wait(TERMINATE_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        for step in after:
            try:
                subprocess.run(
                    step, stdin=subprocess.DEVNULL, stdout=sys.stderr, timeout=AFTER_SECONDS, check=False
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                print(f"{step}: {error}", file=sys.stderr)
        shutil.rmtree(str(folder), ignore_errors=True)


def _wait_for_parent(stop: threading.Event) -> None:
    os.read(0, 1)  # a byte or the end of the file, either means stop
    stop.set()


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
